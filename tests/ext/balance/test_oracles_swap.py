"""Pools swapped while engines pick from them: no request fails, and a pool goes when its last user has gone."""

from __future__ import annotations

import gc
import random
from dataclasses import replace

import pytest

from proxyd_ext.balance.pool import Pool
from proxyd_ext.snapshot.spec import Balance, MemberSpec
from tests.support.engine import OK, Rig, get

BALANCES: tuple[Balance, ...] = ("round_robin", "least_conn", "p2c", "ewma", "random", "first", "hash", "maglev")


def pools_alive() -> int:
    gc.collect()
    return sum(isinstance(each, Pool) for each in gc.get_objects())


def test_pools_come_and_go_under_load(threaded: Rig) -> None:
    """Every turn another balancer, other weights, some members gone or in maintenance; sixteen clients ask all the while."""
    before = pools_alive()
    origins = [threaded.origin().serve() for _ in range(6)]
    threaded.serve(*origins)
    spec = threaded.upstream(*origins)
    draw = random.Random(11)
    clients = [threaded.connect() for _ in range(16)]
    for client in clients:
        client.send(get())
    answered = swaps = 0
    while answered < 3_000:
        for _ in range(3):
            members = [replace(member, weight=draw.randrange(1, 9), max_requests=draw.choice([0, 0, 100])) for member in spec.members]
            out = draw.randrange(6)
            members[out].server.set_down("maint", True)
            kept = draw.sample(members, draw.randrange(3, 7))
            pool = Pool(replace(spec, members=kept, balance=draw.choice(BALANCES), bounded_load=draw.choice([0, 125])), 2)
            spec.state.use(pool)
            members[out].server.set_down("maint", False)
            swaps += 1
        threaded.turn()
        for client in clients:
            client.take()
            if b"\r\n\r\n" in client.received:
                assert client.response().status == 200
                answered += 1
                client.send(get(f"/{answered}"))
    for client in clients:
        assert client.response().status == 200
    assert swaps > 100
    assert threaded.requests() == {("GET", 200): answered + 16}
    assert spec.state.pool is pool
    spec.state.stats()                     # lets go of what nobody uses any more
    assert [threaded.of(origin)["in_flight"] for origin in origins] == [0] * 6
    del pool
    # The current one, one that the snapshot was published with, and for each engine the one that it looked at last.
    assert pools_alive() - before <= 4


def test_a_request_under_way_keeps_its_pool(threaded: Rig) -> None:
    """And with it the server, which has left the upstream meanwhile."""
    slow, other = threaded.origin(), threaded.origin().serve()
    threaded.serve(slow)
    client = threaded.connect()
    client.send(get())
    asked = slow.accept()
    asked.request()
    spec = threaded.upstream(slow, other)
    before = pools_alive()
    for _ in range(50):
        spec.state.use(Pool(replace(spec, members=spec.members[1:]), 2))
    assert pools_alive() - before <= 3
    second = threaded.connect()
    for _ in range(20):
        second.send(get())
        assert second.response().body == other.label.encode()
    assert threaded.of(slow)["in_flight"] == 1
    asked.send(OK)
    assert client.response().body == b"ok"
    threaded.until(lambda: threaded.of(slow)["in_flight"] == 0, "the request is over")


@pytest.mark.parametrize("balance", BALANCES)
def test_counts_survive_a_swap(clocked: Rig, balance: Balance) -> None:
    """What was in flight before counts in the new pool: a server at its max_requests gets nothing more."""
    origins = [clocked.origin() for _ in range(2)]
    clocked.serve(*origins, upstream={"balance": balance})
    clients = [clocked.connect() for _ in range(6)]
    for client in clients:
        client.send(get())
        clocked.settle()
    loads = [clocked.of(origin)["in_flight"] for origin in origins]
    assert sum(loads) == 6
    spec = clocked.upstream(*origins, balance="least_conn")
    limited = [MemberSpec(member.server, max_requests=max(loads[i], 1)) for i, member in enumerate(spec.members)]
    spec.state.use(Pool(replace(spec, members=limited), 1))
    for _ in range(2):
        clocked.connect().send(get())
        clocked.settle()
    assert [clocked.of(origin)["in_flight"] for origin in origins] == [max(load, 1) for load in loads]
