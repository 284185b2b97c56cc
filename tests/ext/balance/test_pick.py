"""The balancers: which server, in which order, what happens to those that cannot be used, and passive ejection."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from typing import Literal

import pytest

from proxyd_ext.snapshot.spec import ProxyAction, RetrySpec, RouteSpec, TargetSpec
from tests.reference.ketama import Ring
from tests.support.engine import OK, Rig, get
from tests.support.wire import Origin, Peer

Reason = Literal["health", "maint", "drain", "pending"]
BALANCES = ["round_robin", "least_conn", "p2c", "random", "hash"]


def origins(rig: Rig, count: int) -> list[Origin]:
    return [rig.origin().serve() for _ in range(count)]


def picks(rig: Rig, client: Peer, count: int, *, path: str = "/") -> str:
    """Send so many requests; which origins answered, as letters in the order in which the origins were made."""
    letters = {origin.label.encode(): chr(ord("a") + i) for i, origin in enumerate(rig.origins)}
    out = ""
    for i in range(count):
        client.send(get(path.replace("#", str(i))))
        response = client.response()
        out += letters[response.body] if response.status == 200 else "!"
    return out


@pytest.mark.parametrize(
    ("weights", "sequence"),
    [
        ([5, 1, 1], "aabacaa"),
        ([1, 1, 1], "abc"),
        ([2, 1], "aba"),
        ([3, 2], "ababa"),
        ([4, 2], "aba"),
        ([1, 2, 3], "cbacbc"),
        ([1, 7], "bbbabbbb"),
        ([1], "a"),
    ],
)
def test_smooth_round_robin(clocked: Rig, weights: list[int], sequence: str) -> None:
    """nginx's sequence exactly, over and over."""
    clocked.serve(*origins(clocked, len(weights)), upstream={"weights": weights})
    assert picks(clocked, clocked.connect(), 3 * len(sequence)) == 3 * sequence


def smooth(weights: list[int], count: int) -> str:
    """The algorithm of nginx's commit 52327e0, step by step."""
    current = [0] * len(weights)
    out = ""
    for _ in range(count):
        current = [have + weight for have, weight in zip(current, weights, strict=True)]
        best = current.index(max(current))
        current[best] -= sum(weights)
        out += chr(ord("a") + best)
    return out


@pytest.mark.parametrize("seed", range(8))
def test_smooth_round_robin_of_any_weights(clocked: Rig, seed: int) -> None:
    draw = random.Random(seed)
    weights = [draw.choice([1, 1, 2, 3, 5, 10, 40]) for _ in range(draw.randrange(1, 7))]
    clocked.serve(*origins(clocked, len(weights)), upstream={"weights": weights})
    assert picks(clocked, clocked.connect(), 2 * sum(weights)) == smooth(weights, 2 * sum(weights))


def test_one_sequence_over_all_engines(threaded: Rig) -> None:
    """However the connections fall on the engines: each period serves every server by its weight."""
    servers = origins(threaded, 3)
    threaded.serve(*servers, upstream={"weights": [5, 1, 1]})
    clients = [threaded.connect() for _ in range(7)]
    for client in clients * 10:
        client.send(get())
        assert client.response().status == 200
    assert [len(origin.requests) for origin in servers] == [50, 10, 10]


def test_sequence_goes_on_over_a_reload(clocked: Rig) -> None:
    servers = origins(clocked, 3)
    client = clocked.connect() if "web" in clocked.listeners else None
    clocked.serve(*servers)
    client = clocked.connect()
    assert picks(clocked, client, 4) == "abca"
    clocked.serve(*servers)
    assert picks(clocked, client, 3) == "bca"


@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize("reason", ["health", "maint", "drain", "pending"])
def test_down_servers_are_passed_over(rig: Rig, balance: str, reason: Reason) -> None:
    """At once, and back at once; two reasons are two reasons."""
    servers = origins(rig, 3)
    rig.serve(*servers, upstream={"balance": balance, "hash_key": "path"})
    client = rig.connect()
    handle = rig.server("app", servers[1])
    handle.set_down(reason, True)
    other: Reason = "maint" if reason != "maint" else "health"
    handle.set_down(other, True)
    assert "b" not in picks(rig, client, 30, path="/#")
    handle.set_down(reason, False)
    assert "b" not in picks(rig, client, 30, path="/#")
    handle.set_down(other, False)
    assert "b" in picks(rig, client, 60, path="/#")
    for origin in servers:
        rig.server("app", origin).set_down("maint", True)
    assert picks(rig, client, 3) == "!!!"
    for origin in servers:
        rig.server("app", origin).set_down("maint", False)
    assert "!" not in picks(rig, client, 3)


@pytest.mark.parametrize("balance", BALANCES)
def test_shares_follow_the_weights(rig: Rig, balance: str) -> None:
    rig.serve(*origins(rig, 3), upstream={"balance": balance, "weights": [6, 3, 1], "hash_key": "path"})
    shares = Counter(picks(rig, rig.connect(), 600, path="/#"))
    assert sum(shares.values()) == 600
    for letter, share in (("a", 360), ("b", 180), ("c", 60)):
        # Six standard deviations of a binomial draw; ketama's shares vary more, by its points.
        assert abs(shares[letter] - share) < (75 if balance != "hash" else 150), shares


@pytest.mark.parametrize("balance", BALANCES)
def test_backups(rig: Rig, balance: str) -> None:
    """Asked only when no primary can be used."""
    servers = origins(rig, 4)
    app = {"balance": balance, "hash_key": "path", "backups": servers[2:]}
    rig.serve(*servers[:2], upstream=app)
    client = rig.connect()
    assert set(picks(rig, client, 40, path="/#")) == {"a", "b"}
    rig.server("app", servers[0]).set_down("health", True)
    assert set(picks(rig, client, 20, path="/#")) == {"b"}
    rig.server("app", servers[1]).set_down("health", True)
    assert set(picks(rig, client, 60, path="/#")) == {"c", "d"}
    rig.server("app", servers[0]).set_down("health", False)
    assert set(picks(rig, client, 20, path="/#")) == {"a"}


def test_backup_after_a_refusal(rig: Rig) -> None:
    """Within one exchange: the primary refuses, the backup serves."""
    dead, backup = rig.origin(), rig.origin().serve()
    dead.refuse()
    rig.serve(dead, upstream={"backups": [backup]})
    assert picks(rig, rig.connect(), 2) == "bb"


@pytest.mark.parametrize("weights", [[1, 1, 1], [1, 2, 4]])
def test_least_conn(clocked: Rig, weights: list[int]) -> None:
    """The fewest exchanges in flight for its weight gets the next."""
    servers = [clocked.origin() for _ in weights]
    clocked.serve(*servers, upstream={"balance": "least_conn", "weights": weights})
    total = 4 * sum(weights)
    peers: dict[int, list[Peer]] = {0: [], 1: [], 2: []}
    clients = []
    for _ in range(total):
        clients.append(clocked.connect())
        clients[-1].send(get())
        clocked.settle()
        for i, origin in enumerate(servers):
            if (peer := origin.maybe_accept()) is not None:
                peers[i].append(peer)
    assert [clocked.of(origin)["in_flight"] for origin in servers] == [4 * weight for weight in weights]
    for peer in peers[1][:3]:
        peer.request()
        peer.send(OK)
    clocked.until(lambda: clocked.of(servers[1])["in_flight"] == 4 * weights[1] - 3, "three are done")
    for _ in range(3):
        clocked.connect().send(get())
        clocked.settle()
    assert [clocked.of(origin)["in_flight"] for origin in servers] == [4 * weight for weight in weights]


def test_p2c_prefers_the_idle(clocked: Rig) -> None:
    """Of two different servers always the one with fewer in flight."""
    slow, fast = clocked.origin(), clocked.origin().serve()
    clocked.serve(slow, fast, upstream={"balance": "p2c"})
    while clocked.of(slow)["in_flight"] < 1:
        clocked.connect().send(get())
        clocked.settle()
    before = clocked.of(slow)["in_flight"]
    client = clocked.connect()
    for _ in range(50):
        client.send(get())
        assert client.response().body == fast.label.encode()
    assert clocked.of(slow)["in_flight"] == before


def test_random_is_not_a_sequence(rig: Rig) -> None:
    rig.serve(*origins(rig, 3), upstream={"balance": "random"})
    seen = picks(rig, rig.connect(), 200)
    assert set(seen) == {"a", "b", "c"}
    assert sum(a == b for a, b in pairwise(seen)) > 20


@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [3, 1, 2, 1]])
def test_hash_is_ketama(rig: Rig, weights: list[int]) -> None:
    """Every key to the server that an independent ring names, with and without one of them."""
    servers = origins(rig, len(weights))
    rig.serve(*servers, upstream={"balance": "hash", "hash_key": "path", "weights": weights})
    ring = Ring([(origin.label, weight) for origin, weight in zip(servers, weights, strict=True)])
    client = rig.connect()
    out = frozenset([servers[1].label])
    for without in (frozenset[str](), out):
        rig.server("app", servers[1]).set_down("health", bool(without))
        for i in range(200):
            client.send(get(f"/key/{i}"))
            assert client.response().body.decode() == ring.pick(b"/key/%d" % i, without)


def test_hash_of_unix_servers(rig: Rig, tmp_path: object) -> None:
    servers = [rig.origin(path=f"{tmp_path}/{i}").serve() for i in range(3)]
    rig.serve(*servers, upstream={"balance": "hash", "hash_key": "path"})
    ring = Ring([(origin.label, 1) for origin in servers])
    client = rig.connect()
    for i in range(100):
        client.send(get(f"/{i}"))
        assert client.response().body.decode() == ring.pick(b"/%d" % i)


def test_hash_moves_on_to_the_next_of_the_ring(rig: Rig) -> None:
    """When the server of a key refuses, the exchange goes where the key would go without it."""
    servers = origins(rig, 4)
    rig.serve(*servers, upstream={"balance": "hash", "hash_key": "path", "passive_failures": 0})
    servers[2].refuse()
    ring = Ring([(origin.label, 1) for origin in servers])
    client = rig.connect()
    for i in range(60):
        client.send(get(f"/{i}"))
        assert client.response().body.decode() == ring.pick(b"/%d" % i, frozenset([servers[2].label]))


@pytest.mark.parametrize("kind", ["refused", "5xx", "reset"])
def test_ejection(clocked: Rig, kind: str) -> None:
    """So many failures in a row put a server out; it comes back when its time is over, and a first failure then puts it out again."""
    bad, good = clocked.origin(), clocked.origin().serve()
    clocked.serve(bad, good, upstream={"passive_failures": 3, "eject_ms": 30_000}, target={"retry": RetrySpec(attempts=0)})
    if kind == "refused":
        bad.refuse()
    elif kind == "5xx":
        bad.serve(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
    client = clocked.connect()
    handle = clocked.server("app", bad)

    def one() -> int:
        """A request to whichever comes; the status."""
        client.send(get())
        if kind == "reset":
            clocked.settle()
            peer = bad.maybe_accept()
            if peer is not None:
                peer.request()
                peer.reset()
        return client.response().status

    statuses = [one() for _ in range(20)]
    assert sum(status != 200 for status in statuses) == 3
    assert statuses[5:] == [200] * 15
    assert clocked.event("ejected") == ("ejected", bad.label, "app")
    assert handle.state()["ejections"] == handle.stats()["ejections"] == 1
    assert handle.state()["consecutive_failures"] == 3
    clocked.advance(29_999)
    assert [one() for _ in range(4)] == [200] * 4
    clocked.advance(1)
    assert sum(one() != 200 for _ in range(8)) == 1
    assert handle.state()["ejections"] == 2
    clocked.event("ejected")


def test_success_between_failures_forgives_them(clocked: Rig) -> None:
    answers = iter([b"500 Oops", b"502 Oops", b"200 OK", b"503 Oops", b"500 Oops", b"404 Gone", b"500 Oops", b"500 Oops", b"200 OK"] * 3)
    shaky = clocked.origin().serve(lambda request: b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % next(answers))
    clocked.serve(shaky, clocked.origin().serve(), upstream={"passive_failures": 3})
    client = clocked.connect()
    for _ in range(54):
        client.send(get())
        client.response()
    assert len(shaky.requests) == 27
    assert clocked.server("app", shaky).state()["ejections"] == 0


@pytest.mark.parametrize(("count", "percent", "leaves"), [(1, 100, 1), (2, 100, 1), (3, 100, 1), (4, 50, 2), (3, 10, 2), (10, 50, 5)])
def test_ejection_is_bounded(clocked: Rig, count: int, percent: int, leaves: int) -> None:
    """max_ejected, at least one may go, and one always stays."""
    servers = [clocked.origin().serve(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n") for _ in range(count)]
    clocked.serve(*servers, upstream={"passive_failures": 1, "max_ejected_percent": percent})
    client = clocked.connect()
    for _ in range(5 * count):
        client.send(get())
        assert client.response().status == 500
    assert sum(clocked.server("app", origin).state()["ejections"] for origin in servers) == count - leaves


def test_no_ejection_when_off(clocked: Rig) -> None:
    bad = clocked.origin().serve(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
    clocked.serve(bad, clocked.origin().serve(), upstream={"passive_failures": 0})
    client = clocked.connect()
    for _ in range(40):
        client.send(get())
        client.response()
    assert len(bad.requests) == 20


def test_readmit(clocked: Rig) -> None:
    """The control plane may end an ejection early; failures are then counted anew."""
    bad, good = clocked.origin().serve(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"), clocked.origin().serve()
    clocked.serve(bad, good, upstream={"passive_failures": 2, "eject_ms": 1_000_000})
    client = clocked.connect()
    for _ in range(10):
        client.send(get())
        client.response()
    assert len(bad.requests) == 2
    clocked.server("app", bad).readmit()
    assert clocked.server("app", bad).state()["consecutive_failures"] == 0
    for _ in range(10):
        client.send(get())
        client.response()
    assert len(bad.requests) == 4


def test_weighted_split(rig: Rig) -> None:
    """Targets share by weight; one of weight 0 gets nothing."""
    servers = origins(rig, 3)
    upstreams = [rig.upstream(origin, name=f"u{i}") for i, origin in enumerate(servers)]
    rig.publish([RouteSpec("all", ProxyAction([TargetSpec(0, 90), TargetSpec(1, 10), TargetSpec(2, 0)]))], upstreams)
    shares = Counter(picks(rig, rig.connect(), 1000))
    assert shares["c"] == 0
    assert 40 < shares["b"] < 170
    assert shares["a"] + shares["b"] == 1000
