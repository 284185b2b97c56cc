"""One line of the history of configs."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from proxyd.transactions.guard import METRICS, Condition, Guard
from proxyd.transactions.terms import How, Terms

Result = Literal["serving", "on trial", "served", "refused", "rolled back", "cut short"]
"""What became of it. `served`: until another one took its place; `cut short`: the daemon ended while it was on trial."""

GOOD: frozenset[Result] = frozenset({"serving", "served"})
LIVE: frozenset[Result] = frozenset({"serving", "on trial"})
CHANGES_MAX = 100


@dataclass(frozen=True, slots=True)
class Tried:
    """What whoever goes on with a trial has to know, beside when it began."""

    back_to: int                 # the entry that served before
    terms: Terms


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
    of_file: bool = True         # it was read from the daemon's own file, not gone back to nor given as text
    tried: Tried | None = None   # of one that is, or was, on trial


def entry_of(value: Mapping[str, Any]) -> Entry:
    """From its JSON object, perhaps of a proxyd before this one. KeyError, TypeError, ValueError: it is none."""
    value = {"of_file": not value["restores"], "tried": None, **value}
    facts = {field.name: value[field.name] for field in fields(Entry)}
    if type(facts["number"]) is not int or facts["result"] not in get_args(Result) or facts["how"] not in get_args(How):
        raise ValueError("not an entry of the history")
    tried = _tried(facts["tried"]) if facts["tried"] is not None else None
    return Entry(**{**facts, "at": float(facts["at"]), "changes": tuple(facts["changes"]), "tried": tried})


def _tried(value: Mapping[str, Any]) -> Tried:
    guard, confirm = value["terms"]["guard"], value["terms"]["confirm"]
    conditions = tuple(map(_condition, guard["conditions"])) if guard is not None else ()
    return Tried(int(value["back_to"]), Terms(Guard(conditions) if conditions else None, float(confirm) if confirm is not None else None))


def _condition(value: Mapping[str, Any]) -> Condition:
    if value["metric"] not in METRICS:
        raise ValueError("not a metric of a guard")
    above, seconds = float(value["above"]), float(value["seconds"])
    return Condition(value["metric"], above, bool(value["inclusive"]), seconds, str(value["route"]), str(value["upstream"]))
