"""A plan in one line: `2 routes changed, 1 upstream removed, 37 connections will drain, caches kept`."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxyd.state import Change

if TYPE_CHECKING:
    from proxyd.config.model import Config

COUNTED = ("listener", "route", "upstream", "server")
KINDS = ("changed", "added", "removed")


@dataclass(frozen=True, slots=True)
class Drains:
    """What serves out on listeners and servers that leave."""

    connections: int = 0
    flows: int = 0               # of UDP


def plan_text(changes: Sequence[Change], drains: Drains, caches: str = "") -> str:
    """`caches`: what becomes of them, of `caches_text`."""
    parts = [*_counts(changes), *_sections(changes)] or ["nothing that requests meet changes"]
    return ", ".join([*parts, *_drain_texts(drains), *([caches] if caches else [])])


def caches_text(old: Config, new: Config) -> str:
    """What becomes of what is stored; "" where nothing is. Keys are the routes' own: a route whose key changes misses at first."""
    if not old.stores:
        return ""
    if not new.stores:
        return "the cache is given up"
    if new.cache.memory.size < old.cache.memory.size:
        return f"the cache shrinks to {new.cache.memory.size}"
    return "caches kept"


def _counts(changes: Sequence[Change]) -> Iterator[str]:
    for thing in COUNTED:
        for kind in KINDS:
            number = len({change.name for change in changes if change.thing == thing and change.kind == kind})
            if number:
                yield f"{_plural(number, thing)} {kind}"


def _sections(changes: Sequence[Change]) -> Iterator[str]:
    for thing in dict.fromkeys(change.thing for change in changes if change.thing not in COUNTED):
        yield f"{thing} changed"


def _drain_texts(drains: Drains) -> Iterator[str]:
    if drains.connections or not drains.flows:
        yield f"{_plural(drains.connections, 'connection')} will drain" if drains.connections else "no connection will drain"
    if drains.flows:
        yield f"{_plural(drains.flows, 'flow')} will drain"


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
