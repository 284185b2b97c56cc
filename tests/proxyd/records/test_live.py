"""Records as they come, for as long as somebody listens."""
from __future__ import annotations

from collections.abc import Callable

from proxyd.records.live import Live
from proxyd.records.tap import Listener, Record
from tests.proxyd.records.sample import record


class Tap:
    def __init__(self) -> None:
        self.dropped = 7
        self.listening: dict[Listener, bool] = {}

    def subscribe(self, on_records: Listener, *, everything: bool = False) -> Callable[[], None]:
        self.listening[on_records] = everything
        return lambda: self.listening.clear()

    def give(self, *records: Record) -> None:
        for on_records in self.listening:
            on_records(list(records))


def test_it_listens_to_the_tap_while_somebody_listens_to_it() -> None:
    tap = Tap()
    live = Live(tap, everything=True)
    assert tap.listening == {}
    with live.listen() as one:
        assert list(tap.listening.values()) == [True]
        with live.listen() as two:
            tap.give(record(path=b"/a"), record(path=b"/b"))
            assert [entry["path"] for entry in two.take()] == ["/a", "/b"]
        assert len(tap.listening) == 1, "one still does"
        assert len(one.take()) == 2
    assert tap.listening == {}


def test_what_the_tap_drops_meanwhile_is_missed() -> None:
    tap = Tap()
    live = Live(tap, everything=False)
    with live.listen() as listening:
        tap.give(record())
        assert listening.missed == 0, "what it had dropped before is no matter"
        tap.dropped += 5
        tap.give(record())
        tap.give(record())
        assert listening.missed == 5
    tap.dropped += 3
    with live.listen() as again:
        tap.give(record())
        assert again.missed == 0
