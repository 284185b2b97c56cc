from __future__ import annotations

from proxyd.config import Config
from proxyd.snapshot.gates import configure_gate, needs_lane
from proxyd.snapshot.store import Store
from proxyd_ext.limit.probe import GateProbe
from tests.support.config import config_of

SHARED = """
    listeners: {a: {bind: ['127.0.0.1:1']}, b: {bind: ['127.0.0.1:2']}, own: {bind: ['127.0.0.1:3'], routes: [%s]}}
    upstreams: {app: {servers: ['127.0.0.1:9']}}
    routes: [%s]
"""


def config(top: str = "", routes: str = "{name: web, to: app}", own: str = "{name: web, to: app}") -> Config:
    return config_of(SHARED % (own, routes) + top)


def lanes(store: Store, config: Config) -> dict[str, tuple[int, int]]:
    """As a snapshot asks for them, and then what holds once it serves: (reserved, max) by name."""
    for name, listener in config.listeners.items():
        for route in config.routes_of(listener):
            store.lane(config, name, route)
    configure_gate(store, config)
    return {name: (stats["reserved"], stats["max"]) for name, stats in ((name, lane.stats()) for name, lane in store.lanes.items())}


def needing(config: Config) -> list[bool]:
    return [needs_lane(config, route) for routes in config.tables() for route in routes]


def test_without_bounds_there_are_no_lanes() -> None:
    store = Store()
    assert needing(config()) == [False, False]
    assert lanes(store, config()) == {}
    assert store.gate.stats()["total"] == 0


def test_a_bound_of_one_route_is_its_own() -> None:
    bounded = config(routes="{name: web, to: app, concurrency: 5}, {name: rest, to: app}")
    store = Store()
    assert needing(bounded) == [True, False, False]
    assert lanes(store, bounded) == {"web": (0, 5)}
    assert store.gate.stats()["total"] == 0


def test_a_total_bounds_all_and_a_reservation_brings_one() -> None:
    total = config("    concurrency: {total: 300}")
    assert needing(total) == [True, True]
    store = Store()
    assert lanes(store, total) == {"web": (0, 0), "own/web": (0, 0)}     # a and b share their table
    assert store.gate.stats()["total"] == 300
    reserving = config(own="{name: web, to: app, concurrency: {reserved: 20}}, {respond: {status: 204}}")
    assert needing(reserving) == [True, True, True]
    store = Store()
    assert lanes(store, reserving) == {"web": (0, 0), "own/web": (20, 20)}
    assert (store.gate.stats()["total"], store.gate.stats()["shared"]) == (1000, 980)


def test_every_option_reaches_the_gate() -> None:
    store = Store()
    app = store.upstream("app")
    full = config("    concurrency: {total: 4, unreserved: 1, target: 5ms, interval: 10ms}",
                  routes="{name: web, to: app, concurrency: {reserved: 1, max: 2, queue: 3, queue_timeout: 250ms}}")
    assert lanes(store, full) == {"web": (1, 2), "own/web": (0, 0)}
    inside = [GateProbe(store.lanes["web"]) for _ in range(2)]
    assert [probe.enter() for probe in inside] == [True, True]
    waiters = [GateProbe(store.lanes["web"]) for _ in range(4)]
    assert [waiter.wait(1, 1) for waiter in waiters] == ["waits", "waits", "waits", "full"]
    # CoDel, with its times: the interval begins at 6 ms, and is over at 16 ms.
    inside[0].leave(6_000)
    assert waiters[0].told() == "granted"
    waiters[0].leave(16_000)
    assert [waiter.told() for waiter in waiters[1:3]] == ["shed", "granted"]
    assert app.shedding == (5_000, 10_000)
    lanes(store, config())
    assert app.shedding == (0, 0)


def test_a_queue_of_a_route_alone_does_not_shed() -> None:
    store = Store()
    lanes(store, config(routes="{name: web, to: app, concurrency: {max: 1, queue: 3}}"))
    inside = GateProbe(store.lanes["web"])
    assert inside.enter()
    waiters = [GateProbe(store.lanes["web"]) for _ in range(3)]
    assert [waiter.wait(1, 1) for waiter in waiters] == ["waits"] * 3
    inside.leave(1_000_000)
    waiters[0].told()
    waiters[0].leave(9_000_000)
    assert [waiter.told() for waiter in waiters[1:]] == ["granted", ""]


def test_another_config_is_in_force_at_once() -> None:
    store = Store()
    lanes(store, config("    concurrency: {total: 200}", routes="{name: web, to: app, concurrency: {reserved: 50}}"))
    lane = store.lanes["web"]
    inside = GateProbe(lane)
    assert inside.enter()
    assert lanes(store, config(routes="{name: web, to: app, concurrency: 1}")) == {"web": (0, 1), "own/web": (0, 0)}
    assert store.lanes["web"] is lane            # what is in flight counts on
    assert not GateProbe(lane).enter()
    assert store.gate.stats()["total"] == 0
