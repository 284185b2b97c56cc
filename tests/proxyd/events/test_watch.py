"""What becomes an event, and in which words."""
from __future__ import annotations

import pytest

from proxyd.caching.purge import Purge
from proxyd.events.ring import Event, Events
from proxyd.events.watch import Watch
from proxyd.stats.figures import NOTHING
from proxyd.stats.history import Gauges, Point
from tests.support.clock import FakeClock
from tests.support.daemon import running, whole_config
from tests.support.wait import until


def texts(events: Events, kind: str) -> list[str]:
    return [event.text for event in events.after() if event.kind == kind]


# ---------------------------------------------------------------------- what a look every second shows
class Looks:
    def __init__(self, *, threads: bool = True) -> None:
        self.events, self.at = Events(FakeClock()), 100.0
        self.watch = Watch(self.events, threads)

    def see(self, *beats: int, dropped: int = 0, seconds: float = 1.0) -> list[Event]:
        """What is noted `seconds` later, with these heartbeats."""
        known = len(self.events.after())
        self.at += seconds
        self.watch.on_point(Point(self.at, 0.0, seconds, NOTHING, None, Gauges(dropped=dropped, heartbeats=beats)))
        return self.events.after()[known:]


def test_dropped_records_are_told_when_it_begins_and_when_it_has_ended() -> None:
    looks = Looks()
    assert looks.see() == []
    begin, = looks.see(dropped=5)
    assert (begin.kind, begin.facts) == ("log.drops", {"dropped": 5, "over": False})
    assert looks.see(dropped=7) == looks.see(seconds=9.0) == []
    end, = looks.see()
    assert end.facts == {"dropped": 12, "over": True}
    assert end.text == "no access records are dropped any more; 12 were"
    assert [event.facts["over"] for event in looks.see(dropped=1)] == [False]


def test_an_engine_that_does_not_turn() -> None:
    looks = Looks()
    assert looks.see(1, 1) == looks.see(2, 2) == looks.see(2, 3) == looks.see(2, 4) == []
    stuck, = looks.see(2, 5)
    assert (stuck.text, stuck.facts) == ("engine 0 has not turned for 3 s: its connections wait", {"engine": 0, "over": False})
    assert looks.see(2, 6) == []
    again, = looks.see(3, 7)
    assert (again.text, again.facts) == ("engine 0 turns again after 5 s", {"engine": 0, "over": True})


def test_an_inline_engine_rests_while_nothing_happens() -> None:
    looks = Looks(threads=False)
    assert [looks.see(1) for _ in range(9)] == [[]] * 9


# ---------------------------------------------------------------------- what the daemon tells
async def test_a_server_that_left_and_returned() -> None:
    text = 'listen: "127.0.0.1:0"\nto: app\nupstreams: {app: {servers: ["127.0.0.1:1", "127.0.0.1:2"]}}\n'
    async with running(text) as daemon:
        for state in ("drain", "ready", "maint"):
            await daemon.set_server("app", "127.0.0.1:1", {"state": state}, by="ops")
        await daemon.set_server("app", "127.0.0.1:1", {"state": "maint"}, by="ops")
        assert texts(daemon.events, "server.state") == [
            "app/127.0.0.1:1 drains; 1 of 2 up",
            "app/127.0.0.1:1 is up, was draining; 2 of 2 up",
            "app/127.0.0.1:1 is in maintenance; 1 of 2 up",
        ]
        assert texts(daemon.events, "server.change") == [
            "app/127.0.0.1:1 drained by ops", "app/127.0.0.1:1 ready by ops", "app/127.0.0.1:1 in maintenance by ops",
        ], "what was so before is no event"


async def test_a_failed_check_says_why() -> None:
    check = "health: {active: {path: /, interval: 1s, timeout: 500ms, fall: 1}}"
    text = f'listen: "127.0.0.1:0"\nto: app\nupstreams: {{app: {{servers: ["127.0.0.1:1"], {check}}}}}\n'
    async with running(text) as daemon:
        await until(lambda: bool(texts(daemon.events, "server.state")))
        event, = (event for event in daemon.events.after() if event.kind == "server.state")
        assert event.text == "app/127.0.0.1:1 is down: check failed: connection refused; 0 of 1 up"
        assert event.facts == {
            "upstream": "app", "server": "127.0.0.1:1", "was": "up", "state": "down", "reason": "check failed: connection refused",
        }


@pytest.mark.parametrize("threads", [0, 1])
async def test_reloads(threads: int) -> None:
    text = 'listen: "127.0.0.1:0"\nroutes: [{respond: 200}]\n'
    async with running(text, threads=threads) as daemon:
        assert (await daemon.reload(whole_config(text, threads=threads))).changed is False
        assert not (await daemon.reload("listen: 1\n")).ok
        assert (await daemon.reload(whole_config(text.replace("200", "204"), threads=threads), dry_run=True)).ok
        assert (await daemon.reload(whole_config(text.replace("200", "204"), threads=threads))).ok
        refused, taken = texts(daemon.events, "config.reload")
        assert refused.startswith("reload refused, the old config serves on: ")
        assert taken == f"config {daemon.config_hash[:12]} serves: 1 route changed, no connection will drain"


async def test_purges() -> None:
    async with running('listen: "127.0.0.1:0"\nroutes: [{to: app, cache: 1m}]\nupstreams: {app: {servers: ["127.0.0.1:1"]}}\n') as daemon:
        await daemon.purge([Purge("host", "example.com")])
        await daemon.purge([Purge("all"), Purge("tag", "x", soft=True)])
        assert texts(daemon.events, "cache.purge") == [
            "cache purged of host example.com: 0 objects", "cache purged of 2 orders: 0 objects",
        ]
