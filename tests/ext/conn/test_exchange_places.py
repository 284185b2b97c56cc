"""Places of a route (`concurrency`), classes of requests, and the overload guard, on the wire."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest

from proxyd_ext.cache.store import Cache
from proxyd_ext.limit.gate import Gate, Lane, audit
from proxyd_ext.limit.overload import Overload
from proxyd_ext.snapshot.spec import (
    AccessFilter,
    CacheSpec,
    FailoverSpec,
    ProxyAction,
    RespondAction,
    RetrySpec,
    RouteSpec,
    SnapshotSpec,
    TargetSpec,
    UpstreamSpec,
)
from tests.support.engine import OK, Rig, get
from tests.support.questions import bearer, decision, hooked, script
from tests.support.wire import Peer

Class = Literal["low", "normal", "high", "critical"]
CLASSES: list[Class] = ["low", "normal", "high", "critical"]
STORABLE = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok"


class Places:
    """A gate with one lane a route; `serve` publishes the routes, each for the path of its name."""

    def __init__(self, rig: Rig, total: int = 0) -> None:
        self.rig, self.gate, self.total = rig, Gate(), total
        self.lanes: dict[str, Lane] = {}
        self.origin = rig.origin()
        self.bounds: dict[str, tuple[int, int, int, int]] = {}

    def configure(self, name: str, *, reserved: int = 0, most: int = 0, pending: int = 0, queue_ms: int = 0, **gate: int) -> None:
        self.bounds[name] = (reserved, most, pending, queue_ms)
        self.lanes.setdefault(name, Lane(self.gate, name))
        self.gate.configure(self.total, [(self.lanes[each], *bounds) for each, bounds in self.bounds.items()], **gate)

    def routes(self, priority: Class = "normal", **settings: Any) -> list[RouteSpec]:
        return [
            RouteSpec(name, ProxyAction([TargetSpec(0)]), path=f"/{name}", lane=lane, priority=priority, **settings)
            for name, lane in self.lanes.items()
        ]

    def serve(self, **settings: Any) -> None:
        self.rig.publish(self.routes(**settings), [self.upstream()])

    def upstream(self) -> UpstreamSpec:
        """Each request comes on a connection of its own."""
        return self.rig.upstream(self.origin, pool_max=0)

    def ask(self, name: str = "a") -> Peer:
        client = self.rig.connect()
        client.send(get(f"/{name}"))
        return client

    def asked(self, name: str = "a") -> tuple[Peer, Peer]:
        """A client, and its request at the origin."""
        client = self.ask(name)
        return client, self.origin.asked()[0]

    def stats(self, name: str = "a") -> dict[str, int]:
        words = ("in_use", "waiting", "admitted", "queued", "full", "timeout", "shed")
        stats = self.lanes[name].stats()
        return {word: stats[word] for word in words if stats[word]}

    def empty(self) -> None:
        self.rig.until(lambda: self.gate.stats()["in_use"] == self.gate.stats()["waiting"] == 0, f"places are left: {self.gate.stats()}")
        assert audit(self.gate) == ""


def details(client: Peer) -> tuple[int, str]:
    answer = client.response()
    return answer.status, str(answer.field("proxy-status")).partition('details="')[2].rstrip('"')


def test_so_many_places(rig: Rig) -> None:
    places = Places(rig)
    places.configure("a", most=2)
    places.serve()
    held = [places.asked(), places.asked()]
    refused = places.ask()
    answer = refused.response()
    assert (answer.status, answer.all("retry-after")) == (503, ["1"])
    assert answer.field("proxy-status") == 'proxyd; error=connection_limit_reached; details="route_full"'
    for client, peer in held:
        peer.send(OK)
        assert client.response().status == 200
    rig.until(lambda: places.stats() == {"admitted": 2, "full": 1}, "places are given back")
    client, peer = places.asked()
    peer.send(OK)
    assert client.response().status == 200
    assert rig.errors("a") == {"route_full": 1}
    places.empty()


def test_reserved_places_are_nobody_elses(rig: Rig) -> None:
    places = Places(rig, total=3)
    places.configure("a", reserved=2)
    places.configure("b")
    places.serve()
    held = [places.asked("b")]
    assert details(places.ask("b")) == (503, "route_full")
    held += [places.asked("a"), places.asked("a")]
    assert details(places.ask("a")) == (503, "route_full")
    for client, peer in held:
        peer.send(OK)
        assert client.response().status == 200
    places.empty()


def _peer_answers(rig: Rig, client: Peer, peer: Peer) -> None:
    peer.send(OK)
    assert client.response().status == 200


def _peer_dies(rig: Rig, client: Peer, peer: Peer) -> None:
    peer.reset()
    assert client.response().status == 502


def _client_leaves(rig: Rig, client: Peer, peer: Peer) -> None:
    client.reset()


@pytest.mark.parametrize("end", [_peer_answers, _peer_dies, _client_leaves])
def test_who_waits_gets_the_place_of_who_leaves(rig: Rig, end: Callable[[Rig, Peer, Peer], None]) -> None:
    """In the order in which they came, over all engines."""
    places = Places(rig)
    places.configure("a", most=1, pending=9, queue_ms=60_000, target_us=0)
    places.serve()
    client, peer = places.asked()
    waiting = []
    for _ in range(3):
        waiting.append(places.ask())
        rig.until(lambda: places.stats().get("waiting") == len(waiting), "it waits")
    end(rig, client, peer)
    for each in waiting:
        peer, _ = places.origin.asked()
        assert all(other.silent() for other in waiting[waiting.index(each) + 1 :])
        peer.send(OK)
        assert each.response().status == 200
    places.empty()
    assert places.stats()["queued"] == 3


def test_waited_too_long(clocked: Rig) -> None:
    places = Places(clocked)
    places.configure("a", most=1, pending=2, queue_ms=700, target_us=0)
    places.serve()
    client, peer = places.asked()
    one, two, three = places.ask(), places.ask(), places.ask()
    assert details(three) == (503, "route_full")
    clocked.advance(699)
    assert one.silent()
    assert two.silent()
    clocked.advance(1)
    assert [details(each) for each in (one, two)] == [(503, "route_timeout")] * 2
    peer.send(OK)
    assert client.response().status == 200
    assert places.stats() == {"admitted": 1, "full": 1, "timeout": 2}
    places.empty()


def test_granted_and_timed_out_in_one_turn(clocked: Rig) -> None:
    """Whichever is seen first, the place is not lost."""
    places = Places(clocked)
    places.configure("a", most=1, pending=2, queue_ms=700, target_us=0)
    places.serve()
    client, peer = places.asked()
    one = places.ask()
    clocked.settle()
    peer.send(OK)
    clocked.engines[0].advance(700)
    clocked.until(lambda: one.got() or places.origin.waiting(), "it is refused, or asks")
    if not one.received:
        places.origin.asked()[0].send(OK)
    assert one.response().status in (200, 503)
    assert client.response().status == 200
    places.empty()


@pytest.mark.parametrize("how", ["reset", "half_close"])
def test_client_leaves_the_queue(rig: Rig, how: str) -> None:
    places = Places(rig)
    places.configure("a", most=1, pending=9, queue_ms=60_000)
    places.serve()
    client, peer = places.asked()
    one, two = places.ask(), places.ask()
    rig.until(lambda: places.stats().get("waiting") == 2, "both wait")
    getattr(one, how)()
    if how == "reset":
        rig.until(lambda: places.stats().get("waiting") == 1, "one has left")
    peer.send(OK)
    assert client.response().status == 200
    for each in ([two] if how == "reset" else [one, two]):
        places.origin.asked()[0].send(OK)
        assert each.response().status == 200
    places.empty()


def test_a_full_queue_gives_up_its_lowest(clocked: Rig) -> None:
    places = Places(clocked, total=1)
    for name in ("a", "b"):
        places.configure(name, pending=1, queue_ms=60_000)
    lane = places.lanes["a"]
    routes = [
        RouteSpec(word, ProxyAction([TargetSpec(0)]), path=f"/{word}", lane=lane, priority=word)
        for word in CLASSES
    ]
    clocked.publish(routes, [places.upstream()])
    client, peer = places.asked("low")
    low = places.ask("low")
    clocked.settle()
    high = places.ask("high")
    assert details(low) == (503, "shed")
    assert details(places.ask("normal")) == (503, "route_full")
    peer.send(OK)
    assert client.response().status == 200
    places.origin.asked()[0].send(OK)
    assert high.response().status == 200
    assert places.stats() == {"admitted": 1, "queued": 1, "full": 1, "shed": 1}
    places.empty()


def test_a_queue_that_stands_is_shed_from(clocked: Rig) -> None:
    places = Places(clocked)
    places.configure("a", most=1, pending=50, queue_ms=60_000, target_us=20_000, interval_us=100_000)
    places.serve()
    client, peer = places.asked()
    clients = [places.ask() for _ in range(12)]
    clocked.settle()
    peer.send(OK)
    assert client.response().status == 200
    for _ in range(12):
        clocked.advance(50)
        if not places.origin.waiting():
            break
        places.origin.asked()[0].send(OK)
    answers = [each.response() for each in clients]
    shed = [answer for answer in answers if answer.status == 503]
    assert 0 < len(shed) < 12
    assert all(str(answer.field("proxy-status")).endswith('details="shed"') for answer in shed)
    assert places.stats() == {"admitted": 1, "queued": 12 - len(shed), "shed": len(shed)}
    places.empty()


def test_a_place_through_retries_and_failover(rig: Rig) -> None:
    """One for all of it, given back at the end."""
    places = Places(rig)
    places.configure("a", most=1)
    dead, other = rig.origin(), rig.origin().serve()
    dead.refuse()
    app, spare = rig.upstream(dead), rig.upstream(other, name="spare")
    action = ProxyAction([TargetSpec(0, retry=RetrySpec(attempts=2, backoff_ms=0))], failover=FailoverSpec(TargetSpec(1)))
    rig.publish([RouteSpec("a", action, lane=places.lanes["a"])], [app, spare])
    for _ in range(3):
        assert places.ask().response().status == 200
    rig.until(lambda: places.stats() == {"admitted": 3}, "each took one")
    places.empty()


def test_no_place_while_filters_wait(rig: Rig) -> None:
    """Those who wait for a verdict or a user's filter have none yet; who is shown an answer still has."""
    places = Places(rig)
    places.configure("a", most=1)
    places.serve(filters=[bearer(), script("response")])
    client = rig.connect()
    client.send(get("/a", "Authorization: Bearer t"))
    asked = decision(rig)
    assert places.stats() == {}
    asked.allow()
    peer, _ = places.origin.asked()
    peer.send(OK)
    shown = hooked(rig, "response")
    assert places.stats() == {"in_use": 1, "admitted": 1}
    shown.change()
    assert client.response().status == 200
    places.empty()


def test_refused_by_filters_before(rig: Rig) -> None:
    places = Places(rig)
    places.configure("a", most=1)
    places.serve(filters=[AccessFilter()])
    assert places.ask().response().status == 403
    assert places.stats() == {}


def cached(places: Places, grace: bool = False) -> None:
    rig = places.rig
    cache = CacheSpec("app", while_revalidate_s=60 if grace else -1, if_error_s=600 if grace else -1)
    routes = [RouteSpec("a", ProxyAction([TargetSpec(0)], cache=cache), lane=places.lanes["a"])]
    listener = rig.listener_spec(routes)
    rig.publish_spec(SnapshotSpec(0, "test", [listener], [routes], [places.upstream()], cache=Cache(4 << 20)))


def test_hits_take_no_place(clocked: Rig) -> None:
    places = Places(clocked)
    places.configure("a", most=1)
    cached(places)
    client, peer = places.asked()
    peer.send(STORABLE)
    assert client.response().status == 200
    held, peer = places.asked("other")
    for _ in range(3):
        assert places.ask().response().body == b"ok"
    assert details(places.ask("third")) == (503, "route_full")
    peer.send(OK)
    assert held.response().status == 200
    assert places.stats() == {"admitted": 2, "full": 1}
    places.empty()


def test_stale_when_there_is_no_place(clocked: Rig) -> None:
    """A fetch behind that finds none ends; who would wait gets what is stored."""
    places = Places(clocked)
    places.configure("a", most=1, pending=5, queue_ms=60_000)
    cached(places, grace=True)
    client, peer = places.asked()
    peer.send(STORABLE)
    assert client.response().status == 200
    clocked.advance(61_000)
    held, _ = places.asked("other")
    assert places.ask().response().body == b"ok"
    clocked.settle()
    assert clocked.total("exchanges") == 1
    clocked.advance(70_000)
    stale = places.ask()
    clocked.advance(60_000)
    assert stale.response().body == b"ok"
    held.reset()
    places.empty()


def test_reload_changes_the_bounds(rig: Rig) -> None:
    """More room lets those in who wait; less room only refuses new ones."""
    places = Places(rig)
    places.configure("a", most=1, pending=9, queue_ms=60_000)
    places.serve()
    client, peer = places.asked()
    waiting = [places.ask(), places.ask()]
    rig.until(lambda: places.stats().get("waiting") == 2, "both wait")
    places.configure("a", most=3, pending=0, queue_ms=0)
    places.serve()
    peers = [peer, *(places.origin.asked()[0] for _ in waiting)]
    places.configure("a", most=1)
    places.serve()
    assert details(places.ask()) == (503, "route_full")
    for each in peers:
        each.send(OK)
    assert [each.response().status for each in [client, *waiting]] == [200] * 3
    places.empty()


def test_engine_closes_while_some_wait(rig: Rig) -> None:
    places = Places(rig)
    places.configure("a", most=1, pending=99, queue_ms=60_000)
    places.serve()
    places.asked()
    clients = [places.ask() for _ in range(8)]
    rig.until(lambda: places.stats().get("waiting") == 8, "all wait")
    for engine in rig.engines:
        engine.close()
    rig.turn()
    for client in clients:
        assert client.was_reset() or client.eof
    places.empty()


def test_many_on_two_engines(threaded: Rig) -> None:
    """Never more than there are places, and everybody gets an answer."""
    places = Places(threaded, total=4)
    places.configure("a", reserved=1, most=3, pending=400, queue_ms=60_000, target_us=0)
    places.configure("b", most=3, pending=400, queue_ms=60_000, target_us=0)
    most = 0

    def answer(_: Any) -> bytes:
        nonlocal most
        most = max(most, places.gate.stats()["in_use"])
        return OK

    places.origin.serve(answer)
    places.serve()
    clients = [places.ask("ab"[i % 2]) for i in range(120)]
    for i, client in enumerate(clients):
        if i % 7 == 3:
            client.reset()
    statuses = {client.response().status for i, client in enumerate(clients) if i % 7 != 3}
    assert statuses == {200}
    assert 1 < most <= 4
    places.empty()


# ---- classes in the queue of an upstream ----

def test_the_highest_class_is_served_first(clocked: Rig) -> None:
    origin = clocked.origin()
    routes = [RouteSpec(word, ProxyAction([TargetSpec(0)]), path=f"/{word}", priority=word) for word in CLASSES]
    clocked.publish(routes, [clocked.upstream(origin, max_requests=1, max_pending=9, queue_ms=60_000)])
    first = clocked.connect()
    first.send(get("/low"))
    peer, _ = origin.asked()
    clients = {}
    for word in ("low", "high", "normal", "critical"):
        clients[word] = clocked.connect()
        clients[word].send(get(f"/{word}"))
        clocked.settle()
    peer.send(OK)
    assert first.response().status == 200
    for word in reversed(CLASSES):
        assert peer.request().target == f"/{word}"
        peer.send(OK)
        assert clients[word].response().status == 200


# ---- the overload guard ----

@pytest.mark.parametrize("below", [0, 1, 2, 3])
def test_overload_guard(rig: Rig, below: int) -> None:
    """Classes below the word are refused before anything of the route acts; the word counts from the next request on."""
    overload = Overload()
    routes = [RouteSpec(word, RespondAction(200), path=f"/{word}", priority=word, filters=[bearer(optional=True)]) for word in CLASSES]
    listener = rig.listener_spec(routes)
    rig.publish_spec(SnapshotSpec(0, "test", [listener], [routes], overload=overload))
    client = rig.connect()
    for on in (True, False):
        overload.shed_below, overload.retry_s = below if on else 0, 7
        for number, word in enumerate(CLASSES):
            client.send(get(f"/{word}"))
            answer = client.response()
            if on and number < below:
                assert (answer.status, answer.all("retry-after"), answer.field("connection")) == (503, ["7"], None)
                assert answer.field("proxy-status") == 'proxyd; error=proxy_internal_response; details="overloaded"'
            else:
                assert answer.status == 200
    assert [rig.errors(word) for word in CLASSES] == [{"overloaded": 1} if i < below else {} for i in range(4)]
