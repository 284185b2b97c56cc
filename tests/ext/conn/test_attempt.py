"""Retries: under which conditions, how long after, how many, and within which budget and deadline."""

from __future__ import annotations

from typing import Any

import pytest

from proxyd_ext.snapshot.spec import FailoverSpec, ProxyAction, RetrySpec, RouteSpec, TargetSpec
from tests.support.engine import OK, Rig, get, post
from tests.support.wire import Origin

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
KEEP: dict[str, Any] = {"passive_failures": 0}


def retry(**settings: Any) -> dict[str, Any]:
    return {"retry": RetrySpec(**settings)}


def busy(after: str = "") -> bytes:
    return UNAVAILABLE.replace(b"\r\n\r\n", f"\r\nRetry-After: {after}\r\n\r\n".encode()) if after else UNAVAILABLE


def retries(rig: Rig) -> dict[str, int]:
    return rig.states["app"].stats()["retries"]


@pytest.mark.parametrize("answer", [UNAVAILABLE, b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n0\r\n\r\n",
                                    b"HTTP/1.1 503 No\r\nContent-Length: 100000\r\n\r\nbeginning"])
def test_a_status_among_the_conditions(rig: Rig, answer: bytes) -> None:
    """Another server is asked, and the client never hears of the first. A connection whose answer was there as a whole is kept."""
    first, second = rig.origin().serve(answer), rig.origin().serve()
    rig.serve(first, second, target=retry(statuses=[(503, 503)]), upstream=KEEP)
    client = rig.connect()
    client.send(get())
    assert client.response().body == second.label.encode()
    assert retries(rig) == {"503": 1}
    assert rig.of(first)["requests"] == {503: 1}
    rig.until(lambda: rig.of(first)["connections_idle"] == (1 if answer == UNAVAILABLE else 0), "kept when clean")
    assert rig.states["app"].stats()["in_flight"] == 0
    assert rig.states["app"].stats()["retries_in_flight"] == 0


@pytest.mark.parametrize(("sent", "settings"), [
    (get(), {}),                                                       # no condition
    (get(), {"statuses": [(500, 502), (504, 599)]}),                   # another one
    (get(), {"statuses": [(503, 503)], "attempts": 0}),
    (post("/", b"body"), {"statuses": [(503, 503)]}),                  # may have been executed
    (post("/", b"body", "Idempotency-Key: 7"), {"statuses": [(503, 503)]}),
])
def test_a_status_that_stands(rig: Rig, sent: bytes, settings: dict[str, Any]) -> None:
    first, second = rig.origin().serve(UNAVAILABLE), rig.origin().serve()
    rig.serve(first, second, target=retry(**settings), upstream=KEEP)
    client = rig.connect()
    client.send(sent)
    response = client.response()
    assert (response.status, response.body) == (503, b"busy")
    assert second.requests == []
    assert retries(rig) == {}


def test_an_idempotency_key_that_is_trusted(rig: Rig) -> None:
    """The key goes along with every try, unchanged."""
    first, second = rig.origin().serve(UNAVAILABLE), rig.origin().serve()
    rig.serve(first, second, target=retry(statuses=[(503, 503)], idempotency_key=True), upstream=KEEP)
    client = rig.connect()
    client.send(post("/", b"body", 'Idempotency-Key: "7f3a"'))
    assert client.response().body == second.label.encode()
    assert [origin.requests[0].field("idempotency-key") for origin in (first, second)] == ['"7f3a"'] * 2
    assert [origin.requests[0].body for origin in (first, second)] == [b"body"] * 2
    client.send(post("/", b"body"))
    assert client.response().status == 503


def test_the_last_answer_stands_when_all_have_failed(rig: Rig) -> None:
    origins = [rig.origin().serve(UNAVAILABLE) for _ in range(3)]
    rig.serve(*origins, target=retry(attempts=2, statuses=[(500, 599)]), upstream=KEEP)
    client = rig.connect()
    client.send(get())
    assert (client.response().status, [len(origin.requests) for origin in origins]) == (503, [1, 1, 1])


@pytest.mark.parametrize("condition", ["connect_failure", "reset"])
def test_conditions_can_be_left_out(rig: Rig, condition: str) -> None:
    first, second = rig.origin(), rig.origin().serve()
    rig.serve(first, second, target=retry(**{condition: False}), upstream=KEEP)
    client = rig.connect()
    if condition == "connect_failure":
        first.refuse()
    client.send(get())
    if condition == "reset":
        first.asked()[0].reset()
    assert client.response().status == 502
    assert second.requests == []


def test_a_timeout_among_the_conditions(clocked: Rig) -> None:
    """per_try bounds a try from the pick to the head of its answer; the next server gets as long."""
    first, second, third = clocked.origin(), clocked.origin(), clocked.origin().serve()
    clocked.serve(first, second, third, target=retry(timeout=True), action={"per_try_ms": 2_000}, upstream=KEEP)
    client = clocked.connect()
    client.send(get())
    first.asked()
    clocked.advance(1_999)
    assert not second.waiting()
    clocked.advance(1)
    second.asked()
    clocked.advance(2_000)
    assert client.response().body == third.label.encode()
    assert retries(clocked) == {"try_timeout": 2}
    assert clocked.of(first)["errors"] == {"try_timeout": 1}


def test_a_timeout_is_no_condition_by_itself(clocked: Rig) -> None:
    first, second = clocked.origin(), clocked.origin().serve()
    clocked.serve(first, second, action={"per_try_ms": 2_000}, upstream=KEEP)
    client = clocked.connect()
    client.send(get())
    first.asked()
    clocked.advance(2_000)
    response = client.response()
    assert (response.status, response.field("proxy-status")) == (504, 'proxyd; error=http_response_timeout; details="try_timeout"')
    assert second.requests == []


def test_the_ladder(clocked: Rig) -> None:
    """2 s, 4 s, 8 s, then fail: on one server, which is asked again because there is no other."""
    origin = clocked.origin().serve(UNAVAILABLE)
    ladder = retry(attempts=3, statuses=[(503, 503)], backoff_ms=2_000, factor_percent=200, backoff_max_ms=8_000, jitter=False)
    clocked.serve(origin, target=ladder, upstream=KEEP)
    client = clocked.connect()
    client.send(get())
    for tries, wait in enumerate((2_000, 4_000, 8_000), 1):
        clocked.settle()
        clocked.advance(wait - 1)
        assert len(origin.requests) == tries
        clocked.advance(1)
        assert len(origin.requests) == tries + 1
    assert client.response().status == 503
    assert len(origin.requests) == 4
    assert retries(clocked) == {"503": 3}


def test_full_jitter(clocked: Rig) -> None:
    """Uniform between nothing and the wait: a thousand waits of up to 100 ms have their mean near 50."""
    origin = clocked.origin()
    origin.refuse()
    clocked.serve(origin, target=retry(attempts=1, backoff_ms=100, backoff_max_ms=100), upstream=KEEP)
    client = clocked.connect()
    waits = []
    for _ in range(300):
        client.send(get())
        clocked.settle()
        waited = 0
        client.take()
        while not client.received:
            clocked.advance(1)
            client.take()
            waited += 1
            assert waited <= 101
        waits.append(waited)
        assert client.response().status == 502
    assert 40 < sum(waits) / len(waits) < 60
    assert min(waits) < 10
    assert max(waits) > 90


@pytest.mark.parametrize(("after", "waited"), [("1", 1_000), ("0", 100), ("Wed, 21 Oct 2026 07:28:00 GMT", 100), ("soon", 100)])
def test_retry_after_is_waited_for(clocked: Rig, after: str, waited: int) -> None:
    """When the only server asks for time, it gets it; what is no number of seconds changes nothing."""
    origin = clocked.origin().serve(busy(after))
    waiting = retry(attempts=1, statuses=[(503, 503)], backoff_ms=100, backoff_max_ms=100, jitter=False, retry_after_max_ms=2_000)
    clocked.serve(origin, target=waiting, upstream=KEEP)
    client = clocked.connect()
    client.send(get())
    clocked.settle()
    clocked.advance(waited - 1)
    assert len(origin.requests) == 1
    clocked.advance(1)
    assert len(origin.requests) == 2
    assert client.response().status == 503


def test_a_long_retry_after_is_the_clients_to_wait_for(clocked: Rig) -> None:
    origin = clocked.origin().serve(busy("3"))
    clocked.serve(origin, target=retry(statuses=[(503, 503)], backoff_ms=100, retry_after_max_ms=2_000), upstream=KEEP)
    client = clocked.connect()
    client.send(get())
    response = client.response()
    assert (response.status, response.field("retry-after"), len(origin.requests)) == (503, "3", 1)


def test_retry_after_of_one_server_does_not_hold_up_another(rig: Rig) -> None:
    first, second = rig.origin().serve(busy("3600")), rig.origin().serve()
    rig.serve(first, second, target=retry(statuses=[(503, 503)], retry_after_max_ms=2_000), upstream=KEEP)
    client = rig.connect()
    client.send(get())
    assert client.response().body == second.label.encode()


def test_no_wait_beyond_the_total_deadline(clocked: Rig) -> None:
    """A retry that could not begin in time is not waited for: the client hears at once what went wrong."""
    origin = clocked.origin()
    origin.refuse()
    clocked.serve(origin, target=retry(attempts=3, backoff_ms=1_000, backoff_max_ms=8_000, jitter=False), action={"total_ms": 2_500},
                  upstream=KEEP)
    client = clocked.connect()
    client.send(get())
    clocked.settle()
    clocked.advance(1_000)
    assert clocked.of(origin)["errors"] == {"connect_refused": 2}
    response = client.response()
    assert (response.status, response.field("proxy-status")) == (502, 'proxyd; error=connection_refused; details="connect_refused"')


def test_the_client_goes_away_during_a_wait(clocked: Rig) -> None:
    origin = clocked.origin()
    origin.refuse()
    clocked.serve(origin, target=retry(backoff_ms=5_000, backoff_max_ms=5_000, jitter=False), upstream=KEEP)
    client = clocked.connect()
    client.send(get())
    clocked.settle()
    client.reset()
    clocked.until(lambda: clocked.total("exchanges") == 0, "the exchange is over")
    clocked.advance(10_000)
    assert clocked.of(origin)["errors"] == {"connect_refused": 1}
    assert clocked.errors() == {"client_closed": 1}
    assert clocked.states["app"].stats()["retries_in_flight"] == 0


def test_the_budget(clocked: Rig) -> None:
    """Forty requests fail at the same time: 20 % of what is in flight may be retried at once, and never fewer than three."""
    origin = clocked.origin().serve(UNAVAILABLE)
    clocked.serve(
        origin, target=retry(attempts=1, statuses=[(503, 503)], backoff_ms=60_000, backoff_max_ms=60_000, jitter=False), upstream=KEEP
    )
    clients = [clocked.connect() for _ in range(40)]
    for client in clients:
        client.send(get())
    clocked.settle()
    stats = clocked.states["app"].stats()
    waiting = stats["retries_in_flight"]
    assert 3 <= waiting <= 8
    assert stats["refused"] == {"retry_budget": 40 - waiting}
    assert clocked.requests() == {("GET", 503): 40 - waiting}
    clocked.advance(60_000)
    assert clocked.requests() == {("GET", 503): 40}
    assert len(origin.requests) == 40 + waiting
    assert clocked.states["app"].stats()["retries_in_flight"] == 0


@pytest.mark.parametrize("settings", [{"statuses": [(503, 503)]}, {"reset": True}])
def test_the_budget_counts_each_exchange_once(clocked: Rig, settings: dict[str, Any]) -> None:
    """Half of three is one, whether the exchange that asks is still on its server (a status) or has left it (a fault)."""
    first, second = clocked.origin(), clocked.origin()
    clocked.serve(first, target=retry(budget_percent=50, budget_min=0, **settings), upstream=KEEP)
    clients = [clocked.connect() for _ in range(3)]
    peers = []
    for client in clients:
        client.send(get())
        peers.append(first.asked()[0])
    clocked.serve(first, second, target=retry(budget_percent=50, budget_min=0, **settings), upstream=KEEP)
    for peer in peers[:2]:
        peer.send(UNAVAILABLE if "statuses" in settings else b"")
        peer.half_close()
        clocked.settle()
    stats = clocked.states["app"].stats()
    assert (stats["retries_in_flight"], stats["in_flight"]) == (1, 2)
    assert stats["refused"] == ({"retry_budget": 1} if "statuses" in settings else {})
    assert clients[0].silent()
    peer = second.asked()[0]
    if "statuses" in settings:
        assert clients[1].response().status == 503
        peer.send(OK)
        assert clients[0].response().body == b"ok"
    else:
        assert clients[1].silent()
        peer.send(OK)
        assert clients[0].response().body == b"ok"
        clocked.advance(5)          # its turn, now that there is a place
        peer.request()
        peer.send(OK)
        assert clients[1].response().body == b"ok"
    clients[2].reset()


def test_a_server_that_dies_costs_nobody_an_answer(clocked: Rig) -> None:
    """All its exchanges fail at the same moment, many more than the budget admits at a time: they wait for a place."""
    first, second = clocked.origin(), clocked.origin()
    clocked.serve(first, target=retry(), upstream=KEEP)
    clients = [clocked.connect() for _ in range(40)]
    peers = []
    for client in clients:
        client.send(get())
        peers.append(first.asked()[0])
    clocked.serve(first, second, target=retry(), upstream=KEEP)
    first.refuse()
    for peer in peers:
        peer.reset()
    clocked.settle()
    assert clocked.states["app"].stats()["retries_in_flight"] <= 8
    second.serve()
    clocked.advance(100)
    for client in clients:
        assert client.response().body == second.label.encode()
    assert clocked.states["app"].stats()["refused"] == {}


def test_the_wait_for_a_place_has_an_end(clocked: Rig) -> None:
    first, second = clocked.origin(), clocked.origin()
    clocked.serve(first, target=retry(budget_percent=0, budget_min=1), upstream=KEEP)
    clients = [clocked.connect() for _ in range(3)]
    peers = []
    for client in clients:
        client.send(get())
        peers.append(first.asked()[0])
    clocked.serve(first, second, target=retry(budget_percent=0, budget_min=1), upstream={"balance": "first", **KEEP})
    clocked.server("app", first).set_down("health", True)
    for peer in peers:
        peer.reset()
    clocked.settle()
    clocked.advance(990)
    assert clocked.requests() == {}
    clocked.advance(20)
    assert clocked.requests() == {("GET", 502): 2}
    assert clocked.states["app"].stats()["refused"] == {"retry_budget": 2}
    second.serve()
    assert clients[0].response().status == 200


def failing(rig: Rig) -> Origin:
    origin = rig.origin()
    origin.refuse()
    return origin


@pytest.mark.parametrize("attempts", [0, 2])
@pytest.mark.parametrize(("settings", "taken"), [
    ({}, True), ({"no_server": False}, True), ({"no_server": False, "connect_failure": False}, False),
])
def test_failover_when_nobody_can_be_reached(rig: Rig, settings: dict[str, Any], taken: bool, attempts: int) -> None:
    spare = rig.origin().serve()
    app, other = rig.upstream(failing(rig)), rig.upstream(spare, name="spare")
    action = ProxyAction([TargetSpec(0, retry=RetrySpec(attempts=attempts))], failover=FailoverSpec(TargetSpec(1), **settings))
    rig.publish([RouteSpec("all", action)], [app, other])
    client = rig.connect()
    client.send(post("/", b"body"))
    response = client.response()
    assert (response.status, spare.requests != []) == ((200, True) if taken else (502, False))


@pytest.mark.parametrize("balance", ["hash", "maglev"])
def test_failover_to_an_upstream_that_hashes(rig: Rig, balance: str) -> None:
    """The key is that of its own config, although the first upstream has none."""
    spares = [rig.origin().serve() for _ in range(4)]
    app = rig.upstream(failing(rig))
    other = rig.upstream(*spares, name="spare", balance=balance, hash_key="header", hash_name="X-User")
    rig.publish([RouteSpec("all", ProxyAction([TargetSpec(0)], failover=FailoverSpec(TargetSpec(1))))], [app, other])
    client = rig.connect()
    homes: dict[str, bytes] = {}
    for user in list(map(str, range(40))) * 2:
        client.send(get("/", f"X-User: {user}"))
        body = client.response().body
        assert homes.setdefault(user, body) == body
    assert len(set(homes.values())) == 4


def test_a_total_timeout_is_the_servers_failure(clocked: Rig) -> None:
    """One that takes requests and never answers within the client's time is ejected, though its own time is not up."""
    silent, good = clocked.origin(), clocked.origin().serve()
    clocked.serve(silent, good, action={"total_ms": 1_000, "first_byte_ms": 30_000}, upstream={"passive_failures": 2})
    client = clocked.connect()
    for _ in range(4):
        client.send(get())
        clocked.settle()
        clocked.advance(1_000)
        client.response()
    assert clocked.of(silent)["errors"] == {"first_byte_timeout": 2}
    assert clocked.event("ejected")[1] == silent.label


def test_failover_by_status(rig: Rig) -> None:
    first, spare = rig.origin().serve(UNAVAILABLE), rig.origin().serve()
    app, other = rig.upstream(first, **KEEP), rig.upstream(spare, name="spare")
    action = ProxyAction([TargetSpec(0)], failover=FailoverSpec(TargetSpec(1), statuses=[(503, 503)]))
    rig.publish([RouteSpec("all", action)], [app, other])
    client = rig.connect()
    client.send(get())
    assert client.response().body == spare.label.encode()
    client.send(post("/", b"body"))
    assert client.response().status == 503, "the server may have done something"
    rig.server("app", first).set_down("health", True)
    client.send(post("/", b"body"))
    assert client.response().body == spare.label.encode(), "nobody was asked before"
    rig.server("spare", spare).set_down("health", True)
    client.send(get())
    assert client.response().status == 503


def test_nothing_is_retried_once_the_answer_has_begun(rig: Rig) -> None:
    first, second = rig.origin(), rig.origin().serve()
    rig.serve(first, second, target=retry(timeout=True, statuses=[(500, 599)]), upstream=KEEP)
    client = rig.connect()
    client.send(get())
    peer, _ = first.asked()
    peer.send(OK.replace(b"Content-Length: 2", b"Content-Length: 20"))
    assert client.head().startswith(b"HTTP/1.1 200")
    peer.reset()
    client.rest()
    assert second.requests == []


def test_what_one_answer_says_of_its_connection_is_not_said_of_the_next(clocked: Rig) -> None:
    """Thrown away, the first would have kept its connection; the second closes, and is not kept."""
    first, second = clocked.origin(), clocked.origin()
    waiting = retry(attempts=1, statuses=[(503, 503)], backoff_ms=5, jitter=False)
    clocked.serve(first, second, target=waiting, upstream={"balance": "first", **KEEP})
    client = clocked.connect()
    client.send(get())
    first.asked()[0].send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    clocked.settle()
    clocked.advance(5)
    second.asked()[0].send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert client.response().body == b"ok"
    clocked.settle()
    assert (clocked.of(first)["connections_idle"], clocked.of(second)["connections_idle"]) == (1, 0)
