"""Records as they come, for those who follow: all of them, or those that are tapped without anybody asking."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from proxyd.feed import ROOM, Feed, Listening
from proxyd.records.tap import Listener, Record


class Subscribing(Protocol):
    """The part of the `Tap` that gives records."""

    @property
    def dropped(self) -> int: ...

    def subscribe(self, on_records: Listener, *, everything: bool = False) -> Callable[[], None]: ...


class Live(Feed[Record]):
    """Listens to the tap while somebody listens here. What the tap drops meanwhile, everybody here has missed."""

    def __init__(self, tap: Subscribing, *, everything: bool) -> None:
        super().__init__()
        self._tap, self._everything = tap, everything
        self._dropped = 0
        self._end: Callable[[], None] = lambda: None

    @contextmanager
    def listen(self, room: int = ROOM) -> Iterator[Listening[Record]]:
        if not len(self):
            self._dropped = self._tap.dropped
            self._end = self._tap.subscribe(self._on_records, everything=self._everything)
        with super().listen(room) as listening:
            try:
                yield listening
            finally:
                if len(self) == 1:
                    self._end()

    def _on_records(self, records: list[Record]) -> None:
        dropped, self._dropped = self._tap.dropped - self._dropped, self._tap.dropped
        if dropped:
            self.miss(dropped)
        for record in records:
            self.tell(record)


def is_telling(words: Mapping[str, str]) -> bool:
    """Whether records that these filters let pass are tapped without anybody asking for everything: failures and 5xx."""
    statuses = words.get("status", "").split(",")
    return "error" in words or all(status.strip().startswith("5") for status in statuses)
