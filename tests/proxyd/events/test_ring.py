"""The ring of events."""
from __future__ import annotations

from proxyd.events.ring import LIMIT, Events
from tests.support.clock import FakeClock


def test_events_are_told_and_kept_in_order() -> None:
    events = Events(FakeClock())
    with events.feed.listen() as listening:
        first = events.note("daemon.stop", "one", now=False)
        second = events.note("cache.purge", "two", objects=3)
        assert listening.take() == [first, second]
    assert events.after() == [first, second]
    assert events.after(first.id) == [second]
    assert events.after(limit=1) == [second]
    assert (second.at, second.kind, second.facts) == (1_000.0, "cache.purge", {"objects": 3})


def test_ids_grow_within_a_millisecond_and_over_a_restart() -> None:
    clock = FakeClock()
    before = Events(clock)
    ids = [before.note("daemon.stop", "").id for _ in range(3)]
    clock.pass_time(1.0)
    ids.append(Events(clock).note("daemon.stop", "").id)
    assert ids == sorted(set(ids))


def test_the_ring_is_bounded() -> None:
    events = Events(FakeClock())
    for number in range(LIMIT + 5):
        events.note("cache.purge", str(number))
    assert [event.text for event in events.after()[:1]] == ["5"]
    assert len(events.after()) == LIMIT
