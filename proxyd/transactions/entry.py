"""One line of the history of configs."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from proxyd.transactions.terms import How

Result = Literal["serving", "on trial", "served", "refused", "rolled back", "cut short"]
"""What became of it. `served`: until another one took its place; `cut short`: the daemon ended while it was on trial."""

GOOD: frozenset[Result] = frozenset({"serving", "served"})
LIVE: frozenset[Result] = frozenset({"serving", "on trial"})
CHANGES_MAX = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """`number` grows and is never used again."""

    number: int
    at: float                    # epoch seconds
    by: str                      # a user's name, "signal", "watch", "proxyd"
    how: How
    hash: str                    # of the config; "": it could not be read
    result: Result
    plan: str = ""               # what changed, in one line; "" at start and when refused
    note: str = ""               # why it was refused or rolled back; who confirmed it
    changes: tuple[str, ...] = ()      # a sentence each, the first hundred
    restores: int = 0            # the entry whose config this is; 0: it is its own
    terms: str = ""              # of its trial: "guard errors > 2% for 30s"
    kept: bool = False           # its files are, so that it can be gone back to


def entry_of(value: Mapping[str, Any]) -> Entry:
    """From its JSON object. KeyError, TypeError, ValueError: it is none."""
    facts = {field.name: value[field.name] for field in fields(Entry)}
    if type(facts["number"]) is not int or facts["result"] not in get_args(Result) or facts["how"] not in get_args(How):
        raise ValueError("not an entry of the history")
    return Entry(**{**facts, "changes": tuple(facts["changes"])})
