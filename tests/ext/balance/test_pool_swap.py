"""Pools that are swapped, and room that comes back, while exchanges are under way or wait."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace

import pytest

from proxyd_ext.balance.pool import Pool
from proxyd_ext.snapshot.spec import ProxyAction, RetrySpec, RouteSpec, StickySpec, TargetSpec
from tests.support.engine import OK, Rig, get


def test_a_key_for_a_pool_without_a_ring(rig: Rig) -> None:
    """The exchange's snapshot says sticky, the pool of a later config is not: the balancer chooses."""
    rig.serve(rig.origin().serve(), rig.origin().serve(), upstream={"sticky": StickySpec("key", hash_key="client.ip")})
    assert rig.spec is not None
    spec = rig.spec.upstreams[0]
    spec.state.use(Pool(replace(spec, sticky=None), len(rig.engines)))
    client = rig.connect()
    client.send(get())
    assert client.response().status == 200


@pytest.mark.parametrize("how", ["limit", "servers"])
def test_room_that_grows_is_used_at_once(rig: Rig, how: str) -> None:
    origin = rig.origin()
    spec = rig.upstream(origin, max_pending=100, queue_ms=30_000, max_requests=1 if how == "limit" else 0)
    if how == "servers":
        spec = replace(spec, members=[replace(member, max_requests=1) for member in spec.members])
    rig.publish([RouteSpec("all", ProxyAction([TargetSpec(0)]))], [spec])
    clients = [rig.connect() for _ in range(6)]
    for client in clients:
        client.send(get())
    state = rig.states["app"]
    rig.until(lambda: (state.stats()["in_flight"], state.stats()["pending"]) == (1, 5), "five wait")
    if how == "limit":
        state.set_max_requests(4)
    else:
        state.use(Pool(replace(spec, members=[replace(member, max_requests=4) for member in spec.members]), len(rig.engines)))
    rig.until(lambda: (state.stats()["in_flight"], state.stats()["pending"]) == (4, 2), "four are served at a time")
    origin.serve()
    for client in clients:
        assert client.response().status == 200


def test_a_retry_that_waits_keeps_nobody_from_a_free_server(clocked: Rig) -> None:
    """It would rather have the other server; when that is full, it takes the one that it has tried."""
    first, second = clocked.origin(), clocked.origin()
    spec = clocked.upstream(first, second, max_pending=100, queue_ms=10_000, passive_failures=0, balance="first")
    spec = replace(spec, members=[replace(member, max_requests=1) for member in spec.members])
    retry = RetrySpec(attempts=1, statuses=[(503, 503)], backoff_ms=10, backoff_max_ms=10, jitter=False)
    clocked.publish([RouteSpec("all", ProxyAction([TargetSpec(0, retry=retry)]))], [spec])
    clients = [clocked.connect() for _ in range(4)]
    for client in clients[:2]:
        client.send(get())
        clocked.settle()
    peer, _ = first.asked()
    peer.send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    clocked.settle()
    for client in clients[2:]:
        client.send(get())
        clocked.settle()
    clocked.advance(10)
    assert clocked.states["app"].stats()["in_flight"] == 2
    for client in clients:
        client.reset()


@pytest.mark.parametrize("balance", ["least_conn", "first", "round_robin"])
def test_nobody_is_refused_while_pools_are_swapped(threaded: Rig, balance: str) -> None:
    """Pools of one server each, in turns: an exchange that holds the old one finds the new one's servers in the heap, and its own."""
    origins = [threaded.origin() for _ in range(2)]
    threaded.serve(*origins, upstream={"balance": balance, "passive_failures": 0})
    assert threaded.spec is not None
    spec = threaded.spec.upstreams[0]
    specs = [replace(spec, members=[member]) for member in spec.members]
    done = threading.Event()

    def swap() -> None:
        turn = 0
        while not done.is_set():
            spec.state.use(Pool(specs[turn & 1], 2))
            turn += 1

    for origin in origins:
        origin.serve(OK)
    swapper = threading.Thread(target=swap, daemon=True)
    swapper.start()
    seen = Counter[int]()
    try:
        clients = [threaded.connect() for _ in range(4)]
        for _ in range(150):
            for client in clients:
                client.send(get())
            for client in clients:
                seen[client.response().status] += 1
    finally:
        done.set()
        swapper.join()
    assert seen == {200: 600}


@pytest.mark.parametrize("balance", ["round_robin", "least_conn", "p2c", "hash", "maglev"])
def test_a_pool_that_is_used_again(rig: Rig, balance: str) -> None:
    """Nobody could pick from it meanwhile, so its tables were let go: they are made anew."""
    rig.serve(rig.origin().serve(), rig.origin().serve(), upstream={"balance": balance, "sticky": StickySpec("key", hash_key="client.ip")})
    assert rig.spec is not None
    spec = rig.spec.upstreams[0]
    pools = [Pool(spec, len(rig.engines)) for _ in range(2)]
    client = rig.connect()
    for turn in range(6):
        spec.state.use(pools[turn & 1])
        client.send(get())
        assert client.response().status == 200
    for turn in range(6):
        spec.state.use(pools[turn & 1])
    client.send(get())
    assert client.response().status == 200
