"""Mirroring: what a copy holds, what it does not do to the original, and how it ends."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from proxyd_ext.balance.pool import Pool
from proxyd_ext.cache.store import Cache
from proxyd_ext.snapshot import Snapshot
from proxyd_ext.snapshot.spec import AccessFilter, CacheSpec, MirrorSpec, ProxyAction, RouteSpec, SnapshotSpec, TargetSpec
from tests.support.engine import OK, Rig, get, post
from tests.support.wire import Origin, Peer

if TYPE_CHECKING:
    from proxyd_ext.balance.pool import Circuit

MIB = 1 << 20
CHUNKED = get("/c", "Transfer-Encoding: chunked", method="POST")
NOTHING = {"in_flight": 0, "sent": 0, "answered": 0, "failed": 0, "skipped": {"in_flight": 0, "body": 0}}


def mirrored(
    rig: Rig,
    app: Origin | None,
    *shadows: Origin,
    upstream: Mapping[str, Any] | None = None,
    filters: tuple[AccessFilter, ...] = (),
    **mirror: Any,
) -> None:
    """Everything goes to "app", and a copy of it to "shadow"."""
    upstreams = [rig.upstream(*([app] if app else [])), rig.upstream(*shadows, name="shadow", **(upstream or {}))]
    action = ProxyAction([TargetSpec(0)], mirror=MirrorSpec(1, **mirror))
    rig.publish([RouteSpec("all", action, filters=filters)], upstreams)


def counts(rig: Rig) -> dict[str, Any]:
    stats = rig.states["shadow"].stats()
    return {"in_flight": stats["copies_in_flight"], **stats["mirror"]}


def become(rig: Rig, **expected: Any) -> None:
    """Wait until the counters are these, and all others 0."""
    rig.until(lambda: counts(rig) == NOTHING | expected, f"{expected}, not {counts(rig)}")


def ask(client: Peer, request: bytes = b"") -> None:
    client.send(request or get())
    assert client.response(to="HEAD" if request.startswith(b"HEAD") else "GET").status == 200


# ---- what is sent ----

REQUESTS = {
    "get": get("/a/../b?c=d", "X-One: 1", "Connection: x-two", "X-Two: 2"),
    "head": get("/h", method="HEAD"),
    "post": post("/p", b"some body"),
    "post of nothing": post("/p"),
    "largest kept": post("/p", bytes(range(256)) * 128),
    "chunked": CHUNKED + b"4\r\nsome\r\n05;q=1\r\n body\r\n0\r\n\r\n",
    "expects": post("/p", b"some body", "Expect: 100-continue"),
    "1.0": get("/a", "Connection: keep-alive", version="1.0"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_same_bytes(rig: Rig, name: str) -> None:
    """Head and body, our own fields and the request's identifier with them."""
    app, shadow = rig.origin(), rig.origin()
    mirrored(rig, app, shadow)
    client = rig.connect()
    client.send(REQUESTS[name])
    peer = app.accept()
    whole = bytes(peer.head())
    assert b"X-Request-ID: " in whole
    assert not shadow.waiting()
    whole += peer.read(len(b"9\r\nsome body\r\n0\r\n\r\n") if name == "chunked" else len(REQUESTS[name].partition(b"\r\n\r\n")[2]))
    assert peer.silent()
    peer.send(OK if name != "head" else OK[:-2])
    assert client.response(to=REQUESTS[name].split(b" ")[0].decode()).status == 200
    copy = shadow.accept()
    assert copy.read(len(whole)) == whole
    become(rig, in_flight=1, sent=1)
    copy.send(OK if name != "head" else OK[:-2])
    become(rig, sent=1, answered=1)
    assert copy.silent()
    assert rig.of(shadow, "shadow")["requests"] == {200: 1}
    assert rig.of(shadow, "shadow")["bytes_out"] == len(whole)
    assert rig.requests() == {(REQUESTS[name].split(b" ")[0].decode(), 200): 1}


def test_dribbled_body(rig: Rig) -> None:
    app, shadow = rig.origin().serve(), rig.origin().serve()
    mirrored(rig, app, shadow)
    client = rig.connect()
    for byte in post("/p", b"some body"):
        client.send(bytes([byte]))
        rig.turn()
    assert client.response().status == 200
    become(rig, sent=1, answered=1)
    assert [request.body for request in shadow.requests] == [b"some body"]


def test_repeated_request(rig: Rig) -> None:
    """The original was tried twice: one copy, as the second server got it."""
    bad, good, shadow = rig.origin(), rig.origin().serve(), rig.origin().serve()
    bad.refuse()
    upstreams = [rig.upstream(bad, good, weights=(100, 1)), rig.upstream(shadow, name="shadow")]
    rig.publish([RouteSpec("all", ProxyAction([TargetSpec(0)], mirror=MirrorSpec(1)))], upstreams)
    ask(rig.connect(), post("/p", b"body"))
    become(rig, sent=1, answered=1)
    assert rig.states["app"].stats()["retries"] == {"connect_refused": 1}
    assert [request.head for request in shadow.requests] == [request.head for request in good.requests]
    assert [request.body for request in shadow.requests] == [b"body"]


def test_original_without_server(rig: Rig) -> None:
    """What becomes of the original is nothing to the copy."""
    shadow = rig.origin().serve()
    mirrored(rig, None, shadow)
    client = rig.connect()
    client.send(get())
    assert client.response().status == 503
    become(rig, sent=1, answered=1)


def test_original_that_the_client_left(rig: Rig) -> None:
    app, shadow = rig.origin(), rig.origin().serve()
    mirrored(rig, app, shadow)
    client = rig.connect()
    client.send(get())
    app.asked()
    assert counts(rig) == NOTHING
    client.reset()
    become(rig, sent=1, answered=1)
    assert rig.errors() == {"client_closed": 1}


# ---- what is not mirrored ----


@pytest.mark.parametrize(
    "request_bytes",
    [
        post("/p", b"x" * 300_000),
        CHUNKED + b"40000\r\n" + b"x" * 0x40000 + b"\r\n0\r\n\r\n",
        CHUNKED + b"4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n",
    ],
    ids=["length", "chunked", "trailers"],
)
def test_body_that_is_not_kept(rig: Rig, request_bytes: bytes) -> None:
    app, shadow = rig.origin(), rig.origin()
    mirrored(rig, app, shadow)
    client = rig.connect()
    client.send(request_bytes)
    peer = app.accept()
    peer.request()
    peer.send(OK)
    assert client.response().status == 200
    become(rig, skipped={"in_flight": 0, "body": 1})
    assert not shadow.waiting()


def test_body_that_never_came(rig: Rig) -> None:
    app, shadow = rig.origin(), rig.origin()
    mirrored(rig, app, shadow)
    client = rig.connect()
    client.send(post("/p", b"body")[:-1])
    app.accept().head()
    client.half_close()
    become(rig, skipped={"in_flight": 0, "body": 1})
    assert not shadow.waiting()


def test_refused_request(rig: Rig) -> None:
    app, shadow = rig.origin(), rig.origin()
    mirrored(rig, app, shadow, filters=(AccessFilter(deny=["127.0.0.0/8"], default_allow=True),))
    client = rig.connect()
    client.send(get())
    assert client.response().status == 403
    assert counts(rig) == NOTHING
    assert not shadow.waiting()


def test_own_answer(rig: Rig) -> None:
    """OPTIONS that has no forwards left is answered here."""
    app, shadow = rig.origin(), rig.origin()
    mirrored(rig, app, shadow)
    client = rig.connect()
    client.send(get("*", "Max-Forwards: 0", method="OPTIONS"))
    assert client.response().status < 300
    assert counts(rig) == NOTHING


def test_upgrade(rig: Rig) -> None:
    app, shadow = rig.origin(), rig.origin()
    mirrored(rig, app, shadow)
    client = rig.connect()
    fields = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
    client.send(get("/ws", *fields))
    peer, _ = app.asked()
    peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert client.response().status == 101
    peer.close()
    assert client.ended()
    client.close()
    rig.until(lambda: rig.total("exchanges") == 0, "the tunnel is over")
    assert counts(rig) == NOTHING
    assert not shadow.waiting()


# ---- the original never notices ----


def test_refused_connection(rig: Rig) -> None:
    app, shadow = rig.origin().serve(), rig.origin()
    shadow.refuse()
    mirrored(rig, app, shadow)
    client = rig.connect()
    ask(client)
    become(rig, failed=1)
    ask(client)
    become(rig, failed=2)
    assert rig.errors() == {}
    assert rig.of(shadow, "shadow")["errors"] == {"connect_refused": 2}
    assert rig.states["app"].stats()["retries"] == rig.states["shadow"].stats()["retries"] == {}


def test_no_server(rig: Rig) -> None:
    app = rig.origin().serve()
    mirrored(rig, app)
    ask(rig.connect())
    become(rig, failed=1)
    assert rig.errors() == {}


def reset(peer: Peer) -> None:
    peer.reset()


def close(peer: Peer) -> None:
    peer.half_close()


def send(data: bytes, then: Callable[[Peer], None] | None = None) -> Callable[[Peer], None]:
    def act(peer: Peer) -> None:
        peer.send(data)
        if then:
            then(peer)

    return act


@pytest.mark.parametrize(
    ("act", "word"),
    [
        (reset, "reset"),
        (close, "closed"),
        (send(b"SSH-2.0-OpenSSH\r\n\r\n"), "head_malformed"),
        (send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), "framing"),
        (send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000), "head_too_large"),
        (send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), "upgrade_unexpected"),
        (send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 33), "head_too_large"),
        (send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", close), "truncated"),
        (send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", reset), "truncated"),
        (send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"), "chunk"),
        (send(b"HTTP/1.1 200 OK\r\n\r\nhello", reset), "truncated"),
        (send(b"HTTP/1.1 200 OK\r\nX: ", close), "closed"),
    ],
)
def test_bad_answer(rig: Rig, act: Callable[[Peer], None], word: str) -> None:
    app, shadow = rig.origin().serve(), rig.origin()
    mirrored(rig, app, shadow)
    client = rig.connect()
    ask(client)
    peer, _ = shadow.asked()
    ask(client)     # while the copy waits
    act(peer)
    other, _ = shadow.asked()
    ask(client)
    shadow.asked()
    rig.until(lambda: counts(rig)["failed"] == 1, f"failed, not {counts(rig)}")
    errors = rig.of(shadow, "shadow")["errors"]
    assert len(errors) == 1
    assert word in next(iter(errors))
    assert rig.errors() == {}
    other.send(OK)
    become(rig, in_flight=1, sent=3, answered=1, failed=1)


def test_spoke_before_it_was_asked(rig: Rig) -> None:
    """The reused connection was on its way out: nobody's failure."""
    app, shadow = rig.origin().serve(), rig.origin()
    mirrored(rig, app, shadow)
    client = rig.connect()
    ask(client)
    peer, _ = shadow.asked()
    peer.send(OK)
    become(rig, sent=1, answered=1)
    client.send(get())
    assert client.response().status == 200
    peer.request()
    peer.close()
    become(rig, sent=2, answered=1, failed=1)
    assert rig.of(shadow, "shadow")["errors"] == {}
    assert rig.server("shadow", shadow).state()["consecutive_failures"] == 0


def test_early_answer(rig: Rig) -> None:
    """An answer that stands before the reset of a server that did not want to read the whole request."""
    app, shadow = rig.origin().serve(), rig.origin(receive_bytes=4096)
    mirrored(rig, app, shadow)
    ask(rig.connect(), post("/p", b"x" * 30_000))
    peer = shadow.accept()
    peer.head()
    peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
    peer.close()
    become(rig, sent=1, answered=1)
    assert rig.of(shadow, "shadow")["requests"] == {413: 1}
    rig.until(lambda: rig.of(shadow, "shadow")["connections_idle"] == 0, "nothing is kept of it")


# ---- answers ----


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (get(method="HEAD"), b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (get(method="HEAD"), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (get(method="HEAD"), b"HTTP/1.1 200 OK\r\n\r\n"),
        (get(), b"HTTP/1.1 204 No Content\r\n\r\n"),
        (get(), b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        (get(), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (get(), b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000),
        (get(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"),
        (get(), b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK),
        (get(), b"HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"),
    ],
)
def test_connection_is_kept(rig: Rig, request_bytes: bytes, answer: bytes) -> None:
    app, shadow = rig.origin().serve(), rig.origin()
    mirrored(rig, app, shadow)
    client = rig.connect()
    ask(client, request_bytes)
    peer, _ = shadow.asked()
    peer.send(answer)
    become(rig, sent=1, answered=1)
    for n in range(2, 5):
        ask(client, request_bytes)
        peer.request()
        peer.send(answer)
        become(rig, sent=n, answered=n)
    stats = rig.of(shadow, "shadow")
    assert (stats["opened"], stats["connections_idle"], stats["connections_active"], stats["in_flight"]) == (1, 1, 0, 0)
    assert stats["errors"] == {}
    assert sum(stats["requests"].values()) == 4
    assert rig.states["shadow"].stats()["response_seconds"]["count"] == 4
    assert rig.states["shadow"].stats()["connect_seconds"]["count"] == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 7\r\n\r\n",
        OK + b"more",
    ],
    ids=["close", "1.0", "trailers", "stray bytes"],
)
def test_connection_is_not_kept(rig: Rig, answer: bytes) -> None:
    app, shadow = rig.origin().serve(), rig.origin()
    mirrored(rig, app, shadow)
    client = rig.connect()
    for n in range(1, 4):
        ask(client)
        peer, _ = shadow.asked()
        peer.send(answer)
        become(rig, sent=n, answered=n)
        assert peer.was_reset() or peer.eof
    assert rig.of(shadow, "shadow")["opened"] == 3
    rig.until(lambda: rig.of(shadow, "shadow")["connections_idle"] == 0, "nothing is kept of it")


def test_answer_until_close(rig: Rig) -> None:
    app, shadow = rig.origin().serve(), rig.origin()
    mirrored(rig, app, shadow)
    ask(rig.connect())
    peer, _ = shadow.asked()
    peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
    rig.until(lambda: rig.of(shadow, "shadow")["requests"] == {200: 1}, "the head is read")
    become(rig, in_flight=1, sent=1)
    peer.close()
    become(rig, sent=1, answered=1)
    assert rig.of(shadow, "shadow")["errors"] == {}


@pytest.mark.parametrize(
    "start", [b"Content-Length: 100000000\r\n\r\n", b"\r\n", b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % 100_000_000]
)
def test_endless_answer(rig: Rig, start: bytes) -> None:
    """Some MiB are read to keep a connection, no more."""
    app, shadow = rig.origin().serve(), rig.origin()
    mirrored(rig, app, shadow)
    ask(rig.connect())
    peer, _ = shadow.asked()
    peer.send(b"HTTP/1.1 200 OK\r\n" + start + b"x" * (40 * MIB))
    become(rig, sent=1, answered=1)
    rig.until(lambda: peer.refused, "the connection is closed")
    assert 4 * MIB < rig.of(shadow, "shadow")["bytes_in"] < 5 * MIB


def test_dribbled_answer(rig: Rig) -> None:
    app, shadow = rig.origin().serve(), rig.origin()
    mirrored(rig, app, shadow)
    ask(rig.connect())
    peer, _ = shadow.asked()
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
    for byte in answer:
        peer.send(bytes([byte]))
        rig.turn()
    become(rig, sent=1, answered=1)
    assert rig.of(shadow, "shadow")["bytes_in"] == len(answer) - len(b"3\r\n\r\n2\r\n\r\n0\r\n\r\n")
    assert rig.of(shadow, "shadow")["connections_idle"] == 1


# ---- how much, how often, how long ----


@pytest.mark.parametrize(("ppm", "least", "most"), [(0, 0, 0), (500_000, 440, 560), (1_000_000, 1000, 1000)])
def test_sampling(rig: Rig, ppm: int, least: int, most: int) -> None:
    """Of 1000 requests half are within 60 of 500: four standard deviations (15.8), missed once in 15,000 runs."""
    app, shadow = rig.origin().serve(OK), rig.origin().serve(OK)
    mirrored(rig, app, shadow, sample_ppm=ppm)
    client = rig.connect()
    for _ in range(20):
        client.send(get() * 50)
        for _ in range(50):
            assert client.response().status == 200
        rig.until(lambda: counts(rig)["in_flight"] == 0, "the copies are answered")
    total = counts(rig)["answered"]
    assert least <= total <= most
    become(rig, sent=total, answered=total)
    assert len(shadow.requests) == total


def test_bound(rig: Rig) -> None:
    app, shadow = rig.origin().serve(), rig.origin()
    mirrored(rig, app, shadow, in_flight=2)
    client = rig.connect()      # one connection, one engine
    for _ in range(5):
        ask(client)
    become(rig, in_flight=2, sent=2, skipped={"in_flight": 3, "body": 0})
    peers = [shadow.asked()[0] for _ in range(2)]
    assert not shadow.waiting()
    peers[0].send(OK)
    become(rig, in_flight=1, sent=2, answered=1, skipped={"in_flight": 3, "body": 0})
    ask(client)
    peers[0].request()
    become(rig, in_flight=2, sent=3, answered=1, skipped={"in_flight": 3, "body": 0})
    ask(client)
    become(rig, in_flight=2, sent=3, answered=1, skipped={"in_flight": 4, "body": 0})


def test_many_at_once(threaded: Rig) -> None:
    """Whatever is not sent is counted: nothing is lost between the counters."""
    app, shadow = threaded.origin().serve(OK), threaded.origin().serve(OK)
    mirrored(threaded, app, shadow, in_flight=4)
    clients = [threaded.connect() for _ in range(16)]
    for _ in range(20):
        for client in clients:
            client.send(get() * 4)
        for client in clients:
            for _ in range(4):
                assert client.response().status == 200
    threaded.until(lambda: counts(threaded)["in_flight"] == 0, "the copies are answered")
    figures = counts(threaded)
    assert figures["failed"] == figures["skipped"]["body"] == 0
    assert figures["sent"] == figures["answered"] == len(shadow.requests)
    assert figures["sent"] + figures["skipped"]["in_flight"] == 16 * 20 * 4
    assert threaded.of(shadow, "shadow")["opened"] <= 8


def full(rig: Rig) -> tuple[Origin, list[socket.socket]]:
    """A listening socket whose queue is full: connecting to it hangs."""
    origin = rig.origin(backlog=0)
    fillers = []
    for _ in range(8):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex((origin.host, origin.port))
        fillers.append(sock)
    return origin, fillers


def test_connect_timeout(clocked: Rig) -> None:
    app = clocked.origin().serve()
    shadow, fillers = full(clocked)
    mirrored(clocked, app, shadow, connect_ms=3_000, answer_ms=10_000)
    ask(clocked.connect())
    clocked.advance(2_999)
    assert counts(clocked) == NOTHING | {"in_flight": 1}
    clocked.advance(1)
    assert counts(clocked) == NOTHING | {"failed": 1}
    assert clocked.of(shadow, "shadow")["errors"] == {"connect_timeout": 1}
    for sock in fillers:
        sock.close()


@pytest.mark.parametrize("connect_ms", [0, 20_000])
def test_connect_within_the_whole_time(clocked: Rig, connect_ms: int) -> None:
    app = clocked.origin().serve()
    shadow, fillers = full(clocked)
    mirrored(clocked, app, shadow, connect_ms=connect_ms, answer_ms=10_000)
    ask(clocked.connect())
    clocked.advance(9_999)
    assert counts(clocked)["in_flight"] == 1
    clocked.advance(1)
    assert counts(clocked) == NOTHING | {"failed": 1}
    for sock in fillers:
        sock.close()


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        ([b""], "first_byte_timeout"),
        ([b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 20"], "first_byte_timeout"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"x", b"x", b"x"], "read_timeout"),
    ],
)
def test_answer_time(clocked: Rig, parts: list[bytes], word: str) -> None:
    """One time for all of it: a slow server does not win any by sending something now and then."""
    app, shadow = clocked.origin().serve(), clocked.origin()
    mirrored(clocked, app, shadow, answer_ms=10_000)
    ask(clocked.connect())
    peer, _ = shadow.asked()
    for part in parts:
        peer.send(part)
        clocked.advance(1_000)
    clocked.advance(9_999 - 1_000 * len(parts))
    assert counts(clocked) == NOTHING | {"in_flight": 1, "sent": 1}
    clocked.advance(1)
    assert counts(clocked) == NOTHING | {"sent": 1, "failed": 1}
    assert clocked.of(shadow, "shadow")["errors"] == {word: 1}
    assert peer.was_reset() or peer.eof


def test_idle_time_of_a_connection_in_use(clocked: Rig) -> None:
    """The time after which an idle connection goes does not run while a copy has it."""
    app, shadow = clocked.origin().serve(), clocked.origin()
    mirrored(clocked, app, shadow, answer_ms=10_000, upstream={"pool_idle_ms": 1_000})
    client = clocked.connect()
    ask(client)
    peer, _ = shadow.asked()
    peer.send(OK)
    become(clocked, sent=1, answered=1)
    ask(client)
    peer.request()
    clocked.advance(5_000)
    assert peer.silent()
    peer.send(OK)
    become(clocked, sent=2, answered=2)
    clocked.advance(999)
    assert peer.silent()
    clocked.advance(1)
    assert peer.ended()


def test_no_answer_time(clocked: Rig) -> None:
    """0 is no limit."""
    app, shadow = clocked.origin().serve(), clocked.origin()
    mirrored(clocked, app, shadow, answer_ms=0, connect_ms=1_000)
    client = clocked.connect()
    ask(client)
    peer, _ = shadow.asked()
    clocked.advance(1_000_000)
    peer.send(OK)
    become(clocked, sent=1, answered=1)


def test_waiting_copy_holds_no_request(clocked: Rig) -> None:
    """The kernel has it, and there is no second try."""
    app, shadow = clocked.origin().serve(), clocked.origin()
    mirrored(clocked, app, shadow)
    ask(clocked.connect(), post("/p", b"x" * 30_000))
    peer = shadow.accept()
    clocked.settle()
    assert counts(clocked) == NOTHING | {"in_flight": 1, "sent": 1}
    assert clocked.total("buffers_bytes") == 0
    peer.send(OK)
    become(clocked, sent=1, answered=1)


@pytest.mark.parametrize("ends", ["answer", "answer and reset", "time"])
def test_server_that_reads_nothing(clocked: Rig, ends: str) -> None:
    """It answers unread requests until the kernel takes no more of them. That copy keeps its request until its time is over, or an answer
    comes too early, which ends the connection."""
    app, shadow = clocked.origin().serve(), clocked.origin(receive_bytes=2048)
    mirrored(clocked, app, shadow, answer_ms=10_000)
    client = clocked.connect()
    before = 0
    for _ in range(500):
        ask(client, post("/p", b"x" * 30_000))
        peer = shadow.peers[0] if shadow.peers else shadow.accept()
        clocked.settle()
        if clocked.total("buffers_bytes") > 0:
            break
        peer.send(OK)
        before += 1
        become(clocked, sent=before, answered=before)
    assert 30_000 < clocked.total("buffers_bytes") <= 2 * 65_536
    assert counts(clocked) == NOTHING | {"in_flight": 1, "sent": before + 1, "answered": before}
    if ends != "time":
        peer.send(OK)
        if ends == "answer and reset":
            peer.close()      # with all of it unread: our next write fails before we have read the answer
        become(clocked, sent=before + 1, answered=before + 1)
    else:
        clocked.advance(9_999)
        assert counts(clocked)["in_flight"] == 1
        clocked.advance(1)
        become(clocked, sent=before + 1, answered=before, failed=1)
    assert clocked.total("buffers_bytes") == 0
    stats = clocked.of(shadow, "shadow")
    assert (stats["opened"], stats["connections_idle"], stats["connections_active"]) == (1, 0, 0)


# ---- servers ----


def test_balancer_of_the_mirror(rig: Rig) -> None:
    app = rig.origin().serve()
    shadows = [rig.origin().serve() for _ in range(3)]
    mirrored(rig, app, *shadows)
    client = rig.connect()
    for n in range(1, 10):
        ask(client)
        become(rig, sent=n, answered=n)
    assert [len(shadow.requests) for shadow in shadows] == [3, 3, 3]


@pytest.mark.parametrize(("key", "name"), [("header", "X-Tenant"), ("query", "tenant"), ("cookie", "tenant"), ("uri", "")])
def test_hash_of_the_mirror(rig: Rig, key: str, name: str) -> None:
    """By a key of the request that the original's upstream does not ask for: one tenant, one server."""
    app = rig.origin().serve()
    shadows = [rig.origin().serve() for _ in range(4)]
    mirrored(rig, app, *shadows, upstream={"balance": "hash", "hash_key": key, "hash_name": name})
    client = rig.connect()
    for n in range(40):
        ask(client, get(f"/?tenant={n % 10}", f"X-Tenant: {n % 10}", f"Cookie: a=b; tenant={n % 10}"))
        become(rig, sent=n + 1, answered=n + 1)
    seen = [{request.target for request in shadow.requests} for shadow in shadows]
    assert sum(len(targets) for targets in seen) == 10
    assert sum(len(targets) > 0 for targets in seen) > 1


def test_passive_health(rig: Rig) -> None:
    """Failures of copies eject the mirror's server as those of clients would; the original's are not touched."""
    app = rig.origin().serve()
    good, bad = rig.origin().serve(), rig.origin().serve(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")
    mirrored(rig, app, good, bad, upstream={"passive_failures": 3})
    client = rig.connect()
    for n in range(1, 11):
        ask(client)
        become(rig, sent=n, answered=n)
    assert rig.event("ejected") == ("ejected", bad.label, "shadow")
    assert (len(bad.requests), len(good.requests)) == (3, 7)
    assert not rig.server("shadow", bad).state()["usable"]
    assert rig.server("app", app).state()["usable"]


def test_copies_count_as_in_flight(rig: Rig) -> None:
    app, shadow = rig.origin().serve(), rig.origin()
    mirrored(rig, app, shadow)
    ask(rig.connect())
    peer, _ = shadow.asked()
    assert rig.of(shadow, "shadow")["in_flight"] == 1
    assert rig.of(shadow, "shadow")["connections_active"] == 1
    peer.send(OK)
    become(rig, sent=1, answered=1)
    assert rig.of(shadow, "shadow")["in_flight"] == 0


def test_open_circuit(rig: Rig) -> None:
    """No copy for an upstream that shall have peace, and none of its probes."""
    app, shadow = rig.origin().serve(), rig.origin().serve()
    mirrored(rig, app, shadow)
    state = rig.states["shadow"]
    client = rig.connect()
    circuits: list[Circuit] = ["open", "half_open"]
    for n, circuit in enumerate(circuits, 1):
        state.set_circuit(circuit, 3)
        ask(client)
        become(rig, failed=n)
    assert shadow.requests == []
    state.set_circuit("closed")
    ask(client)
    become(rig, sent=1, answered=1, failed=2)


def test_full_upstream(rig: Rig) -> None:
    """A copy does not wait for room."""
    app, shadow = rig.origin().serve(), rig.origin()
    mirrored(rig, app, shadow, upstream={"max_requests": 1, "max_pending": 10, "queue_ms": 10_000})
    client = rig.connect()
    ask(client)
    peer, _ = shadow.asked()
    ask(client)
    become(rig, in_flight=1, sent=1, failed=1)
    peer.send(OK)
    become(rig, sent=1, answered=1, failed=1)
    ask(client)
    peer.request()
    peer.send(OK)
    become(rig, sent=2, answered=2, failed=1)


def test_gives_way_to_those_who_wait(clocked: Rig) -> None:
    """In one turn room comes free and a copy begins: the room is for the requests that queue for it."""
    app, shadow = clocked.origin(), clocked.origin()
    upstreams = [clocked.upstream(app), clocked.upstream(shadow, name="shadow", max_requests=1, max_pending=10, queue_ms=10_000)]
    routes = [
        RouteSpec("direct", ProxyAction([TargetSpec(1)]), path="/direct"),
        RouteSpec("all", ProxyAction([TargetSpec(0)], mirror=MirrorSpec(1))),
    ]
    clocked.publish(routes, upstreams)
    clients = [clocked.connect() for _ in range(3)]
    for n, client in enumerate(clients):
        client.send(get(f"/direct/{n}"))
        clocked.settle()
    assert clocked.states["shadow"].stats()["pending"] == 2
    peer, _ = shadow.asked()
    other = clocked.connect()
    other.send(get())
    app_peer, _ = app.asked()
    app_peer.send(OK)
    peer.send(OK)
    for n in (1, 2):
        assert peer.request().target == f"/direct/{n}"
        peer.send(OK)
    for client in (*clients, other):
        assert client.response().status == 200
    become(clocked, failed=1)


def test_new_pool_while_a_copy_is_under_way(rig: Rig) -> None:
    """The copy ends on the members that it began with; the next one sees the new ones."""
    app, first, second = rig.origin().serve(), rig.origin(), rig.origin().serve()
    mirrored(rig, app, first)
    client = rig.connect()
    ask(client)
    peer, _ = first.asked()
    spec = rig.upstream(second, name="shadow")
    rig.states["shadow"].use(Pool(spec, len(rig.engines)))
    ask(client)
    become(rig, in_flight=1, sent=2, answered=1)
    assert len(second.requests) == 1
    peer.send(OK)
    become(rig, sent=2, answered=2)


# ---- reload and the end ----


def test_snapshot_stays_while_a_copy_is_under_way(rig: Rig) -> None:
    app, shadow = rig.origin().serve(), rig.origin()
    mirrored(rig, app, shadow)
    client = rig.connect()
    ask(client)
    peer, _ = shadow.asked()
    rig.serve(app)
    retired = len([event for _, event in rig.events if event == ("retired", 1)])
    assert retired == len(rig.engines) - 1     # the engine with the copy still uses it
    ask(client)
    assert counts(rig)["sent"] == 1
    peer.send(OK)
    become(rig, sent=1, answered=1)
    for _ in rig.engines:
        rig.event("retired", 1)
    assert peer.ended()     # its server has left: the connection is not kept


def test_drain_does_not_wait(rig: Rig) -> None:
    """The last client has gone: copies that wait for an answer are given up."""
    app, shadow = rig.origin().serve(), rig.origin()
    mirrored(rig, app, shadow, answer_ms=0)
    clients = [rig.connect() for _ in range(4)]
    for client in clients:
        ask(client)
    peers = [shadow.asked()[0] for _ in clients]
    become(rig, in_flight=4, sent=4)
    for engine in rig.engines:
        engine.drain()
    for client in clients:
        client.close()
    for _ in rig.engines:
        rig.event("drained")
    become(rig, sent=4, failed=4)
    for peer in peers:
        assert peer.was_reset() or peer.eof
    assert rig.total("buffers_bytes") == 0
    assert rig.of(shadow, "shadow")["errors"] == {}
    assert rig.server("shadow", shadow).state()["consecutive_failures"] == 0


def test_last_request_of_a_drain(rig: Rig) -> None:
    """A request that ends while the engine drains is still copied, as long as its client is there."""
    app, shadow = rig.origin(), rig.origin().serve()
    mirrored(rig, app, shadow)
    client = rig.connect()
    client.send(get())
    peer, _ = app.asked()
    for engine in rig.engines:
        engine.drain()
    peer.send(OK)
    response = client.response()
    assert (response.status, response.field("connection")) == (200, "close")
    client.close()
    for _ in rig.engines:
        rig.event("drained")
    rig.until(lambda: counts(rig)["in_flight"] == 0, "no copy is left")
    assert counts(rig)["answered"] + counts(rig)["failed"] == 1


def test_drain_does_not_wait_for_a_connection(clocked: Rig) -> None:
    app = clocked.origin().serve()
    shadow, fillers = full(clocked)
    mirrored(clocked, app, shadow, connect_ms=0, answer_ms=0)
    client = clocked.connect()
    ask(client)
    become(clocked, in_flight=1)
    clocked.engines[0].drain()
    client.close()
    clocked.event("drained")
    assert counts(clocked) == NOTHING | {"failed": 1}
    assert clocked.total("buffers_bytes") == 0
    for sock in fillers:
        sock.close()


@pytest.mark.parametrize("size", [0, 30_000])
def test_close_with_copies_under_way(rig: Rig, size: int) -> None:
    """`finish` holds births against deaths; here nothing is ended before the engine is closed, an exchange beside the copies neither."""
    app, shadow = rig.origin(), rig.origin(receive_bytes=2048)
    mirrored(rig, app, shadow)
    client = rig.connect()
    for n in range(1, 4):
        client.send(post("/p", b"x" * size))
        peer = app.accept() if n == 1 else app.peers[0]
        peer.request()
        peer.send(OK)
        assert client.response().status == 200
        become(rig, in_flight=n, sent=n)
    client.send(get())
    app.peers[0].request()
    for engine in rig.engines:
        engine.close()
    rig.until(lambda: counts(rig)["in_flight"] == 0, "the copies are given up")
    become(rig, sent=3, failed=3)     # and of the exchange that was cut off none was made
    assert rig.of(shadow, "shadow")["in_flight"] == 0


# ---- compiling ----


@pytest.mark.parametrize(
    "mirror",
    [MirrorSpec(1), MirrorSpec(-1), MirrorSpec(0, sample_ppm=1_000_001), MirrorSpec(0, sample_ppm=-1), MirrorSpec(0, in_flight=0)],
)
def test_nonsense(clocked: Rig, mirror: MirrorSpec) -> None:
    upstream = clocked.upstream(clocked.origin())
    route = RouteSpec("all", ProxyAction([TargetSpec(0)], mirror=mirror))
    with pytest.raises(ValueError, match="route all"):
        Snapshot(SnapshotSpec(1, "", [clocked.listener_spec([route])], [[route]], [upstream]))


def test_a_head_that_the_cache_asks_as_get() -> None:
    """Its copy is a GET, too: the body that comes belongs to it, not to the next copy on that connection."""
    rig = Rig("inline")
    store = Cache(8 << 20)
    app, shadow = rig.origin().serve(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: max-age=60\r\n\r\nok"), rig.origin()
    action = ProxyAction([TargetSpec(0)], mirror=MirrorSpec(1), cache=CacheSpec("app"))
    route = RouteSpec("all", action)
    listener = rig.listener_spec([route])
    rig.publish_spec(
        SnapshotSpec(0, "test", [listener], [[route]], [rig.upstream(app), rig.upstream(shadow, name="shadow")], cache=store)
    )
    del listener
    client = rig.connect()
    client.send(get("/head", method="HEAD"))
    assert client.response("HEAD").status == 200
    copy, asked = shadow.asked()
    assert asked.method == "GET"
    copy.send(b"HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n")
    rig.settle()
    assert counts(rig)["in_flight"] == 1
    copy.send(b"." * 44)
    rig.settle()
    assert counts(rig)["in_flight"] == 0
    client.send(get("/get"))
    assert client.response().status == 200
    assert copy.request().target == "/get"
    copy.send(OK)
    rig.settle()
    store.purge("all")
    del store
    rig.finish()
