"""What may happen to a request while it waits for a word about its credential, and what the server gets of it afterwards."""
from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from proxyd_ext.auth.verdict import Verdict, Verdicts
from proxyd_ext.snapshot.spec import (
    AuthFilter,
    ConsultAction,
    CorsFilter,
    Filter,
    HeadersFilter,
    ProxyAction,
    RedirectAction,
    RespondAction,
    RewriteSpec,
    RouteSpec,
    TargetSpec,
)
from tests.support.engine import OK, Rig, get, post
from tests.support.questions import auth_counts, bearer, decision, guarded, maybe_question, nothing_asked, question

TOKEN = "Authorization: Bearer t0ken"
ROOM = 960                # slots of an engine that exchanges may wait in
HOUR_MS = 3_600_000


# ---- while it waits ----

def test_pipelined_requests_wait_their_turn(rig: Rig) -> None:
    _, origin = guarded(rig)
    client = rig.connect()
    client.send(get("/1", TOKEN) + get("/2", TOKEN) + post("/3", b"three", TOKEN) + get("/4"))
    for path in ("/1", "/2", "/3"):
        asked = decision(rig)
        assert asked.target[1] == path
        assert nothing_asked(rig)
        asked.allow()
        assert client.response().status == 200
    assert client.response().status == 401
    assert [(request.target, request.body) for request in origin.requests] == [("/1", b""), ("/2", b""), ("/3", b"three")]


@pytest.mark.parametrize("size", [5, 60_000, 400_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_waits(rig: Rig, size: int, chunked: bool) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    origin = rig.origin()
    rig.serve(origin, filters=[bearer()])
    client = rig.connect()
    if chunked:
        client.send(get("/", TOKEN, "Transfer-Encoding: chunked", method="PUT"))
        client.send(b"%x\r\n%s\r\n0\r\n\r\n" % (size, body))
    else:
        client.send(post("/", body, TOKEN))
    decision(rig).allow()
    peer, request = origin.asked()
    assert request.body == body
    peer.send(OK)
    assert client.response().status == 200
    client.send(post("/", body, TOKEN))
    decision(rig).deny(status=403)
    refused = client.response()
    assert (refused.status, refused.field("connection")) == (403, "close")


def test_expect_continue(rig: Rig) -> None:
    """Nobody says 100 before the verdict; a refusal spares the body."""
    origin = rig.origin()
    rig.serve(origin, filters=[bearer()])
    client = rig.connect()
    head = get("/", TOKEN, "Expect: 100-continue", "Content-Length: 4", method="PUT")
    client.send(head)
    asked = decision(rig)
    assert client.silent()
    asked.allow()
    peer = origin.accept()
    assert b"100-continue" in peer.head()
    peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.response().status == 100
    client.send(b"body")
    assert peer.read(4) == b"body"
    peer.send(OK)
    assert client.response().status == 200
    client.send(head)
    decision(rig).deny(status=403)
    assert client.response().field("connection") == "close"
    assert client.ended()


@pytest.mark.parametrize("how", ["reset", "half_close"])
def test_client_goes_meanwhile(rig: Rig, how: str) -> None:
    verdicts, origin = guarded(rig)
    client = rig.connect()
    client.send(get("/", TOKEN))
    asked = decision(rig)
    getattr(client, how)()
    if how == "reset":
        rig.until(lambda: rig.total("exchanges") == 0, "the exchange is over")
        asked.allow()
        rig.until(lambda: rig.total("consults_late") == 1, "the late word is counted")
        rig.counted("GET", 499)
        assert origin.requests == []
        assert auth_counts(verdicts) == {}
    else:
        asked.allow()
        assert client.response().status == 200
        assert client.ended()


def test_client_goes_in_the_middle_of_its_body(rig: Rig) -> None:
    origin = rig.origin()
    rig.serve(origin, filters=[bearer()])
    client = rig.connect()
    client.send(get("/", TOKEN, "Content-Length: 10", method="PUT") + b"1234")
    asked = decision(rig)
    client.half_close()
    asked.allow()
    rig.counted("PUT", 499)
    rig.until(lambda: rig.of(origin)["connections_active"] == 0, "the server is left")


REQUESTS = [
    get("/x", TOKEN),
    get("/a/../%7euser//b/%2F/c%20?q=%7e", TOKEN, "Cookie: a=b", "X-A: 1", "Connection: keep-alive, X-A"),
    get("http://other/abs?x", TOKEN, "Accept: */*", host="other"),
    get("*", TOKEN, method="OPTIONS"),
    post("/%61", b"body" * 100, TOKEN, "Content-Type: text/plain"),
    get("/old", TOKEN, version="1.0", host=None),
    b"\r\n" + get("/after-an-empty-line", TOKEN),
    get("/" + "p" * 3_000 + "?" + "q" * 3_000, TOKEN, *[f"X-{i}: {'v' * 90}" for i in range(80)]),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=[str(i) for i in range(len(REQUESTS))])
@pytest.mark.parametrize("trusted", [False, True])
def test_what_the_server_gets_is_the_same(clocked: Rig, request_: bytes, trusted: bool) -> None:
    """Byte for byte what it gets without a wait, but for the request's id; waited once, or twice and a delay between."""
    settings: dict[str, Any] = {"trust": ["127.0.0.0/8"], "client_ip_header": "X-Client"} if trusted else {}
    fields = b"X-Client: 192.0.2.9\r\nX-Request-ID: kept\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n"
    request = request_.replace(b"\r\n\r\n", b"\r\n" + fields, 1) if not request_.startswith(b"\r\n") else request_
    origin = clocked.origin().serve()
    rewrite = RewriteSpec(strip="/a") if request_ is REQUESTS[0] else None
    heads = []
    chains: list[list[Filter]] = [[], [bearer()], [bearer(policy="1"), AuthFilter("2", Verdicts("2"), "bearer")]]
    for steps in chains:
        route = RouteSpec("all", ProxyAction([TargetSpec(0)], rewrite=rewrite), filters=steps)
        clocked.publish([route], [clocked.upstream(origin)], **settings)
        client = clocked.connect()
        client.send(request)
        for _ in steps:
            asked = decision(clocked)
            assert asked.target[3] == ("192.0.2.9" if trusted and not request_.startswith(b"\r\n") else "127.0.0.1")
            asked.allow()
        assert client.response().status == 200
        served = origin.requests.pop()
        lines = [line for line in served.head.split(b"\r\n") if not line.startswith(b"X-Request-ID") or b"kept" in line]
        heads.append((lines, served.body))
        client.close()
    assert heads[0] == heads[1] == heads[2]


def test_heads_cut_at_every_byte(clocked: Rig) -> None:
    _, origin = guarded(clocked)
    client = clocked.connect()
    request = post("/%7eann?x", b"body", TOKEN, "X-A: 1")
    for cut in range(1, len(request)):
        client.send(request[:cut])
        clocked.settle()
        client.send(request[cut:])
        decision(clocked).allow()
        assert client.response().status == 200
        served = origin.requests.pop()
        assert (served.target, served.body, served.field("x-a")) == ("/~ann?x", b"body", "1")


@pytest.mark.parametrize("size", [3_000, 5_000, 15_000, 40_000])
def test_heads_of_all_sizes(rig: Rig, size: int) -> None:
    """Larger than a buffer's first class, with the next request behind."""
    _, origin = guarded(rig, header_size=65_536)
    client = rig.connect()
    fields = [f"X-{i}: {'v' * 1_000}" for i in range(size // 1_000)]
    client.send(get("/one", TOKEN, *fields) + get("/two", TOKEN))
    for _ in range(2):
        decision(rig).allow()
        assert client.response().status == 200
    assert len([name for name, _ in origin.requests[0].fields if name.startswith("X-") and name[2:].isdigit()]) == len(fields)


def test_actions_of_all_kinds_wait(rig: Rig) -> None:
    routes = [
        RouteSpec("respond", RespondAction(200, b"r"), path="/respond", filters=[bearer()]),
        RouteSpec("redirect", RedirectAction(302, "/to"), path="/redirect", filters=[bearer()]),
        RouteSpec("live", ConsultAction("live"), path="/live", filters=[bearer()]),
    ]
    rig.publish(routes)
    client = rig.connect()
    for path, status in (("/respond", 200), ("/redirect", 302), ("/live", 200)):
        client.send(get(path, TOKEN))
        asked = decision(rig)
        asked.allow()
        if path == "/live":
            _, slot, generation, *_ = rig.event("consult")
            asked.engine.answer(slot, generation, 200, b"", "text/plain")
        assert client.response().status == status


def test_preflights_need_no_credential(rig: Rig) -> None:
    """And refusals can be read across origins."""
    guarded(rig, CorsFilter("cors", ["https://a.example"], headers=["authorization"]), bearer())
    client = rig.connect()
    origin = "Origin: https://a.example"
    client.send(get("/", origin, "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization", method="OPTIONS"))
    preflight = client.response()
    assert (preflight.status, preflight.field("access-control-allow-headers")) == (204, "authorization")
    client.send(get("/", origin) + get("/", origin, TOKEN))
    refused = client.response()
    assert (refused.status, refused.field("access-control-allow-origin")) == (401, "https://a.example")
    decision(rig).allow()
    answer = client.response()
    assert (answer.status, answer.all("access-control-allow-origin")) == (200, ["https://a.example"])


# ---- many, and the end ----

def test_door_is_bounded(clocked: Rig) -> None:
    """Whoever finds no slot is told at once; the others get their answers."""
    verdicts = Verdicts("sso")
    clocked.publish([RouteSpec("all", RespondAction(200), filters=[bearer(verdicts)])])
    clients = []
    for _ in range(ROOM + 3):
        clients.append(clocked.connect())
        clients[-1].send(get("/", TOKEN))
        clocked.turn()
    clocked.until(lambda: clocked.errors() == {"auth_unavailable": 3}, "three are refused")
    assert auth_counts(verdicts) == {"failed": 3}
    asked = []
    while (next_ := maybe_question(clocked)) is not None:
        asked.append(next_)
    assert len(asked) == ROOM
    for each in reversed(asked):
        each.allow()
    clocked.settle()
    statuses = [client.response().status for client in clients]
    assert (statuses.count(200), statuses.count(503)) == (ROOM, 3)


def test_reload_while_it_waits(rig: Rig) -> None:
    """It goes on by the rules with which it came; the old snapshot stays until then."""
    old, new = Verdicts("old"), Verdicts("new")
    origin = rig.origin().serve()
    rig.serve(origin, filters=[bearer(old, "old"), HeadersFilter(request_set=b"X-Rules: old\r\n")])
    client, other = rig.connect(), rig.connect()
    client.send(get("/", TOKEN))
    asked = decision(rig)
    rig.serve(origin, filters=[bearer(new, "new"), HeadersFilter(request_set=b"X-Rules: new\r\n")])
    other.send(get("/", TOKEN))
    second = decision(rig)
    assert (asked.subject, second.subject) == (old.id, new.id)
    second.allow()
    assert other.response().status == 200
    retired = [event for _, event in rig.events if event == ("retired", 1)]
    assert len(retired) == len(rig.engines) - 1
    asked.allow()
    assert client.response().status == 200
    for _ in range(len(rig.engines) - len(retired)):
        rig.event("retired", 1)
    assert [request.field("x-rules") for request in origin.requests] == ["new", "old"]


@pytest.mark.parametrize("answered", [False, True])
def test_engine_closes_while_it_waits(rig: Rig, answered: bool) -> None:
    """Neither question nor verdict is left behind, nor the request (Rig.finish looks)."""
    guarded(rig)
    clients = [rig.connect() for _ in range(5)]
    for client in clients:
        client.send(post("/", b"body", TOKEN))
    asked = [question(rig) for _ in clients]
    for engine in rig.engines:
        engine.close()
    if answered:
        for each in asked:
            each.allow(lines=b"X: 1\r\n")
    rig.turn()
    for client in clients:
        assert client.was_reset() or client.eof


def test_drain_while_it_waits(rig: Rig) -> None:
    guarded(rig)
    client = rig.connect()
    client.send(get("/", TOKEN))
    asked = decision(rig)
    for engine in rig.engines:
        engine.drain()
    asked.allow()
    answer = client.response()
    assert (answer.status, answer.field("connection")) == (200, "close")
    client.half_close()
    for _ in rig.engines:
        rig.event("drained")


def test_thousands_on_two_engines(threaded: Rig) -> None:
    """Verdicts are put, replaced and forgotten while engines look: each request gets one of those that held."""
    verdicts = Verdicts("sso", capacity=8)
    origin = threaded.origin().serve()
    threaded.serve(origin, filters=[bearer(verdicts)])
    peers = [(threaded.connect(), i % 16) for i in range(32)]
    decided = 0

    def served(count: int) -> bool:
        nonlocal decided
        while (asked := maybe_question(threaded)) is not None:
            verdict = Verdict(allow=True, user=asked.credential.decode(), lines=b"X-User: %s\r\n" % asked.credential)
            verdicts.put(asked.digest, verdict, HOUR_MS)
            asked.decide(verdict)
            decided += 1
            if decided % 3 == 0:
                verdicts.forget_user(asked.credential.decode())
        return len(origin.requests) == count

    for round_ in range(1, 21):
        for peer, token in peers:
            peer.send(get("/", f"Authorization: Bearer {token}"))
        threaded.until(partial(served, round_ * len(peers)), "all are served")
        for peer, _ in peers:
            assert peer.response().status == 200
    assert all(str(request.field("authorization")).endswith(f" {request.field('x-user')}") for request in origin.requests)
    counts = verdicts.stats()
    assert (counts["allowed"], counts["asked"]) == (len(origin.requests), decided)
    assert counts["evictions"] > 0
