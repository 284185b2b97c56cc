"""A user's filter that is shown servers' answers, on the wire: its changes, replies and failures, and what happens meanwhile."""
from __future__ import annotations

from typing import Any

import pytest

from proxyd_ext.snapshot.spec import ErrorPage, HeadersFilter, HedgeSpec, ProxyAction, RetrySpec, RouteSpec, TargetSpec
from tests.support.engine import OK, Rig, get, post
from tests.support.questions import hook_counts, hooked, maybe_question, nothing_asked, script
from tests.support.wire import Origin, Peer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Trailer: 1\r\n\r\n"
CLOSED = b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\nuntil the end"
HTTP10 = b"HTTP/1.0 200 OK\r\nX-A: 1\r\n\r\nold"
KEPT10 = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nkept"
EMPTY = b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n"
NOT_MODIFIED = b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 77\r\n\r\n'


def shown(rig: Rig, *, hook: Any = None, **settings: Any) -> tuple[Any, Origin]:
    step = hook or script("response")
    origin = rig.origin()
    rig.serve(origin, filters=[step], **settings)
    return step, origin


def served(rig: Rig, origin: Origin, answer: bytes, request: bytes = b"") -> tuple[Peer, Peer]:
    """A client that asked, and the server's connection, on which that is the answer."""
    client = rig.connect()
    client.send(request or get())
    peer, _ = origin.asked()
    peer.send(answer)
    return client, peer


def test_what_is_shown(rig: Rig) -> None:
    step, origin = shown(rig)
    answer = b"HTTP/1.1 201 Made\r\nX-A:  1 \r\nx-a: 2\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\n\r\nok"
    client, _ = served(rig, origin, answer, get("/a?b", method="PUT", host="Shop.example"))
    asked = hooked(rig, "response")
    assert (asked.subject, asked.target[:4]) == (step.hooks.id, ["PUT", "/a?b", "http", "127.0.0.1"])
    assert asked.lines[1:] == [b"shop.example", b""]
    assert (asked.status, asked.fields) == (201, [("X-A", "1"), ("x-a", "2"), ("Content-Length", "2"), ("Set-Cookie", "a=b")])
    assert client.silent()
    asked.change()
    response = client.response()
    assert (response.status, response.all("x-a"), response.body) == (201, ["1", "2"], b"ok")
    assert hook_counts(step) == {"asked_response": 1}


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize(
    ("answer", "method", "body"),
    [
        (OK, "GET", b"ok"), (CHUNKED, "GET", b"abcdefg"), (CLOSED, "GET", b"until the end"), (HTTP10, "GET", b"old"),
        (KEPT10, "GET", b"kept"),
        (EMPTY, "DELETE", b""), (NOT_MODIFIED, "GET", b""), (OK[:-2], "HEAD", b""), (CHUNKED[:47], "HEAD", b""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK, "GET", b"ok"),
        (OK.replace(b"2\r\n\r\nok", b"200000\r\n\r\n" + b"x" * 200_000), "GET", b"x" * 200_000),
        (b"HTTP/1.1 200 OK\r\nX-A : spaced\r\nX-B: a\r\n  folded\r\nContent-Length: 0\r\n\r\n", "GET", b""),
    ],
    ids=["length", "chunked", "closed", "http10", "kept10", "204", "304", "head", "head-chunked", "interim", "large", "repaired"],
)
def test_framings(rig: Rig, answer: bytes, method: str, body: bytes, changed: bool) -> None:
    """The body comes as it would without a filter, and the connection to the server is kept where it would be."""
    _, origin = shown(rig)
    client, peer = served(rig, origin, answer, get(method=method))
    ends = answer in (CLOSED, HTTP10)
    if ends:
        peer.half_close()
    asked = hooked(rig, "response")
    if changed:
        asked.change(lines=b"X-New: 1\r\n" * 50, drop=b"x-a\nlink\n", status=0)
    else:
        asked.change()
    response = client.response(to=method)
    if response.status == 103:
        assert response.field("link") == "</x>"
        response = client.response()
    assert (response.body, len(response.all("x-new"))) == (body, 50 * changed)
    if changed:
        assert response.all("x-a") == []
    if answer == CHUNKED:
        assert response.trailers == [("X-Trailer", "1")]
    if answer == NOT_MODIFIED:
        assert (response.status, response.field("etag")) == (304, '"a"')
    if response.body and not ends and answer != CHUNKED:
        assert response.framing == "length"
    if method == "HEAD" and answer.startswith(OK[:30]):
        assert response.field("content-length") == "2"
    client.send(get("/next"))
    again = origin.accept() if ends else peer
    assert again.request().target == "/next"
    again.send(OK)
    hooked(rig, "response").change()
    assert client.response().status == 200


@pytest.mark.parametrize(
    ("answer", "method", "status", "seen"),
    [
        (OK, "GET", 404, 404), (OK, "HEAD", 404, 404), (OK.replace(b"200 OK", b"500 No"), "GET", 200, 200), (CHUNKED, "GET", 503, 503),
        (CLOSED, "GET", 299, 299), (HTTP10, "GET", 410, 410), (EMPTY, "GET", 200, 204), (NOT_MODIFIED, "GET", 200, 304),
        (OK, "GET", 204, 200), (OK, "GET", 304, 200),
    ],
)
def test_statuses(rig: Rig, answer: bytes, method: str, status: int, seen: int) -> None:
    """One that would frame the body otherwise is not taken."""
    _, origin = shown(rig)
    client, peer = served(rig, origin, answer[:-2] if method == "HEAD" else answer, get(method=method))
    if answer in (CLOSED, HTTP10):
        peer.half_close()
    hooked(rig, "response").change(status=status)
    response = client.response(to=method)
    assert response.status == seen
    assert response.body == (b"" if seen in (204, 304) or method == "HEAD" else response.body)
    if answer == CHUNKED:
        assert response.body == b"abcdefg"
    assert rig.requests() == {(method, seen): 1}
    sent = int(answer[9:12])
    assert rig.of(origin)["requests"] == {sent: 1}        # the server is judged by its own word


def test_the_filters_time_is_not_the_servers(clocked: Rig) -> None:
    _step, origin = shown(clocked, upstream={"balance": "ewma"})
    client = clocked.connect()
    client.send(get())
    peer, _ = origin.asked()
    clocked.settle()
    clocked.advance(30)
    peer.send(OK)
    asked = hooked(clocked, "response")
    clocked.advance(700)
    asked.change(status=503)
    assert client.response().status == 503
    stats = clocked.of(origin)
    assert (stats["requests"], stats["latency_sum_seconds"]) == ({200: 1}, 0.03)
    assert 0 < stats["ewma_seconds"] <= 0.03
    assert clocked.states["app"].stats()["response_seconds"]["sum"] == 0.03


@pytest.mark.parametrize("answer", [OK, CHUNKED, CLOSED, NOT_MODIFIED], ids=["length", "chunked", "closed", "304"])
def test_answers_split_at_every_byte(clocked: Rig, answer: bytes) -> None:
    _, origin = shown(clocked)
    client = clocked.connect()
    peer: Peer | None = None
    whole: Any = None
    for cut in range(1, len(answer), 1 if answer is OK else 3):
        client.send(get())
        peer = peer if peer is not None and answer is not CLOSED else origin.accept()
        peer.request()
        peer.send(answer[:cut])
        clocked.settle()
        asked = maybe_question(clocked)
        peer.send(answer[cut:])
        if answer is CLOSED:
            peer.half_close()
        asked = asked or hooked(clocked, "response")
        clocked.settle()
        asked.change(**({"lines": b"X-New: 1\r\n"} if cut % 2 else {}))
        response = client.response()
        said = (response.status, response.body, response.trailers, len(response.fields) - cut % 2)
        whole = whole or said
        assert said == whole
    assert origin.maybe_accept() is None


@pytest.mark.parametrize("how", ["half_close", "reset"])
@pytest.mark.parametrize("answer", [OK, CHUNKED, CLOSED, OK.replace(b": 2", b": 9"), CHUNKED[:-30]],
                         ids=["length", "chunked", "closed", "short", "cut"])
@pytest.mark.parametrize("changed", [False, True])
def test_server_goes_while_its_answer_is_shown(rig: Rig, answer: bytes, how: str, changed: bool) -> None:
    """A whole answer is one; of others the client sees that they are not."""
    _, origin = shown(rig)
    client, peer = served(rig, origin, answer)
    asked = hooked(rig, "response")
    getattr(peer, how)()
    if rig.mode == "inline":
        rig.settle()
    asked.change(**({"lines": b"X-New: 1\r\n"} if changed else {}))
    if answer in (OK, CHUNKED) or (answer == CLOSED and how == "half_close"):
        assert client.response().status == 200
        client.send(get())
        origin.accept().request()
    else:
        with pytest.raises(AssertionError, match=r"ended|reset"):
            client.response()
        assert rig.errors() == {"upstream_truncated": 1} or rig.mode == "threads"


def test_server_fails_as_it_answers(clocked: Rig) -> None:
    """The request cannot be sent to its end any more, the answer is there: it is shown and sent, not lost and not tried again."""
    other = clocked.origin()
    step = script("response")
    origin = clocked.origin()
    clocked.serve(origin, other, filters=[step], target={"retry": RetrySpec(attempts=3)})
    client = clocked.connect()
    client.send(get("/", "Content-Length: 90000000", method="PUT"))
    peer = origin.accept()
    peer.head()
    for _ in range(30):
        client.send(b"x" * 100_000)
        clocked.turn()
    peer.send(OK.replace(b"200 OK", b"413 No"))
    clocked.turn()
    peer.reset()
    asked = hooked(clocked, "response")
    clocked.settle()
    assert not other.waiting()
    asked.change(lines=b"X-New: 1\r\n")
    response = client.response()
    assert (response.status, response.field("x-new"), response.field("connection")) == (413, "1", "close")
    assert not other.waiting()


@pytest.mark.parametrize("fail_open", [False, True])
@pytest.mark.parametrize("how", ["fail", "timeout", "wrong kind", "failing meanwhile"])
def test_failures(clocked: Rig, how: str, fail_open: bool) -> None:
    step, origin = shown(clocked, hook=script("response", fail_open=fail_open, timeout_ms=300))
    client = clocked.connect()
    client.send(get())
    peer, _ = origin.asked()
    step.hooks.failing = how == "failing meanwhile"
    peer.send(OK.replace(b"\r\n\r\n", b"\r\nX-A: 1\r\n\r\n"))
    if how != "failing meanwhile":
        asked = hooked(clocked, "response")
        if how == "fail":
            asked.fail()
        elif how == "wrong kind":
            asked.allow()
        else:
            clocked.advance(299)
            assert client.silent()
            clocked.advance(1)
    response = client.response()
    assert response.status == (200 if fail_open else 503)
    assert response.field("x-a") == ("1" if fail_open else None)
    counts = hook_counts(step)
    assert counts.pop("asked_response", 0) == (how != "failing meanwhile")
    assert counts == {("timeout" if how == "timeout" else "failed"): 1, ("passed_open" if fail_open else "refused_closed"): 1}
    assert clocked.of(origin)["requests"] == {200: 1}
    assert clocked.of(origin)["in_flight"] == 0
    step.hooks.failing = False
    if fail_open:
        client.send(get())
        assert peer.request().target == "/"
    else:
        assert peer.eof or peer.ended()


@pytest.mark.parametrize("answer", [OK, CHUNKED[:60], CLOSED])
def test_replies(rig: Rig, answer: bytes) -> None:
    """In the place of the server's answer, whose rest is not read."""
    step, origin = shown(rig)
    client, peer = served(rig, origin, answer)
    hooked(rig, "response").reply(451, b"X-By: filter\r\n", b"not for you")
    response = client.response()
    assert (response.status, response.field("x-by"), response.body) == (451, "filter", b"not for you")
    assert peer.eof or peer.ended()
    client.send(get())
    again, _ = origin.asked()
    again.send(OK)
    hooked(rig, "response").change()
    assert client.response().status == 200
    assert hook_counts(step) == {"asked_response": 2, "replied": 1}
    assert rig.of(origin)["requests"] == {200: 2}


def test_two_filters_in_a_row(rig: Rig) -> None:
    """The second one is shown what the first made of the answer."""
    one, two = script("response", policy="one"), script("response", policy="two")
    origin = rig.origin()
    rig.serve(origin, filters=[HeadersFilter(response_set=b"X-Route: 1\r\n"), one, script("request", policy="0"), two])
    client = rig.connect()
    client.send(get())
    hooked(rig).change()
    peer, _ = origin.asked()
    peer.send(OK.replace(b"\r\n\r\n", b"\r\nX-A: 1\r\n\r\n"))
    first = hooked(rig, "response")
    assert first.subject == one.hooks.id
    first.change(lines=b"X-N: 1\r\n", drop=b"x-a\n", status=201)
    second = hooked(rig, "response")
    assert (second.subject, second.status, second.fields) == (two.hooks.id, 201, [("Content-Length", "2"), ("X-N", "1")])
    second.change(lines=b"X-N: 2\r\nX-Route: 2\r\n")
    response = client.response()
    assert (response.status, response.all("x-n"), response.all("x-route"), response.body) == (201, ["1", "2"], ["1"], b"ok")
    client.send(get())
    hooked(rig).change()
    peer.request()
    peer.send(OK)
    hooked(rig, "response").change()
    hooked(rig, "response").reply(500, b"", b"second")
    assert client.response().body == b"second"


def test_a_body_that_is_still_on_its_way(clocked: Rig) -> None:
    """The answer came first. What the client sends meanwhile starts neither a timer for the server nor a second try."""
    other = clocked.origin()
    origin = clocked.origin()
    action = {"hedge": HedgeSpec(after_ms=10), "first_byte_ms": 20}
    clocked.serve(origin, other, filters=[script("response", timeout_ms=60_000)], action=action)
    client = clocked.connect()
    client.send(get("/", "Content-Length: 8", method="PUT") + b"half")
    peer = origin.accept()
    peer.head()
    peer.send(OK)
    asked = hooked(clocked, "response")
    client.send(b"rest")
    clocked.settle()
    assert peer.received == b"halfrest"[: len(peer.got())]
    clocked.advance(5_000)
    assert client.silent()
    assert not other.waiting()
    asked.change(lines=b"X-New: 1\r\n")
    response = client.response()
    assert (response.status, response.field("x-new")) == (200, "1")
    assert clocked.of(origin)["errors"] == {}


def test_early_answer_to_a_body_that_never_ends(clocked: Rig) -> None:
    _, origin = shown(clocked)
    client = clocked.connect()
    client.send(get("/", "Content-Length: 1000", method="PUT") + b"half")
    peer = origin.accept()
    peer.head()
    peer.send(OK)
    hooked(clocked, "response").change(status=413)
    response = client.response()
    assert (response.status, response.field("connection")) == (413, "close")
    assert peer.rest() == b"half"


@pytest.mark.parametrize("how", ["reset", "half_close"])
def test_client_goes_meanwhile(rig: Rig, how: str) -> None:
    _, origin = shown(rig)
    client, peer = served(rig, origin, OK)
    asked = hooked(rig, "response")
    getattr(client, how)()
    if how == "reset":
        rig.counted("GET", 499)
        asked.change(lines=b"X: 1\r\n")
        rig.until(lambda: rig.total("consults_late") == 1, "the late word is counted")
        assert peer.eof or peer.was_reset() or peer.ended()
    else:
        asked.change(lines=b"X: 1\r\n")
        assert client.response().field("x") == "1"


def test_total_timeout_meanwhile(clocked: Rig) -> None:
    """The filter used the time: the server has no part in it, and there is no other try."""
    other = clocked.origin()
    step = script("response", timeout_ms=60_000)
    origin = clocked.origin()
    clocked.serve(
        origin, other, filters=[step], action={"total_ms": 500}, target={"retry": RetrySpec(attempts=2, backoff_ms=0)},
        upstream={"passive_failures": 1},
    )
    client, _ = served(clocked, origin, OK)
    asked = hooked(clocked, "response")
    clocked.advance(500)
    assert client.response().status == 504
    asked.change()
    clocked.settle()
    assert clocked.total("consults_late") == 1
    assert not other.waiting()
    assert (clocked.of(origin)["requests"], clocked.of(origin)["errors"], clocked.of(origin)["ejections"]) == ({200: 1}, {}, 0)


def test_retries_come_before(rig: Rig) -> None:
    """A status that is tried again is not shown; one that the filter makes is not tried again."""
    bad, good = rig.origin(), rig.origin()
    step = script("response")
    retry = RetrySpec(attempts=1, statuses=((503, 503),), backoff_ms=0)
    rig.serve(bad, good, filters=[step], target={"retry": retry}, upstream={"passive_failures": 0})
    client = rig.connect()
    client.send(get())
    peer, _ = bad.asked()
    peer.send(OK.replace(b"200 OK", b"503 No"))
    second, _ = good.asked()
    assert nothing_asked(rig)
    second.send(OK)
    asked = hooked(rig, "response")
    assert asked.status == 200
    asked.change(status=503)
    assert client.response().status == 503
    assert hook_counts(step) == {"asked_response": 1, "changed": 1}


@pytest.mark.parametrize("winner", ["first", "second"])
def test_hedges(clocked: Rig, winner: str) -> None:
    """The first answer is shown, the other try is dropped for it."""
    first, second = clocked.origin(), clocked.origin()
    clocked.serve(first, second, filters=[script("response")], action={"hedge": HedgeSpec(after_ms=100)}, upstream={"passive_failures": 0})
    client = clocked.connect()
    client.send(get())
    slow, _ = first.asked()
    clocked.settle()
    clocked.advance(100)
    quick, _ = second.asked()
    (slow if winner == "first" else quick).send(OK)
    asked = hooked(clocked, "response")
    assert (quick if winner == "first" else slow).ended()
    clocked.advance(400)
    asked.change(lines=b"X: 1\r\n")
    assert client.response().field("x") == "1"
    assert clocked.states["app"].stats()["in_flight"] == 0


def test_error_pages_see_what_the_filter_made(rig: Rig) -> None:
    origin = rig.origin()
    page = ErrorPage(((404, 404),), b"page", intercept=True)
    route = RouteSpec("all", ProxyAction([TargetSpec(0)]), filters=[script("response")], error_pages=[page])
    rig.publish([route], [rig.upstream(origin)])
    client, _ = served(rig, origin, OK)
    hooked(rig, "response").change(status=404)
    response = client.response()
    assert (response.status, response.body) == (404, b"page")


@pytest.mark.parametrize("size", [100, 4_000, 8_100])
@pytest.mark.parametrize("head", [0, 3_000, 15_000, 60_000, 63_000])
def test_heads_of_all_sizes(clocked: Rig, size: int, head: int) -> None:
    """What a change adds finds room; beyond what a server's head may have, there is no answer."""
    _, origin = shown(clocked)
    filler = b"".join(b"X-%05d: %s\r\n" % (i, b"v" * 900) for i in range(head // 911))
    client, _ = served(clocked, origin, OK.replace(b"\r\n\r\n", b"\r\n" + filler + b"\r\n"))
    hooked(clocked, "response").change(lines=b"X-New: " + b"n" * (size - 9) + b"\r\n")
    response = client.response()
    if len(filler) + size > 65_000:
        assert response.status == 502
    else:
        assert (response.status, len(response.field("x-new") or ""), response.body) == (200, size - 9, b"ok")


def test_pipelined_requests(rig: Rig) -> None:
    _, origin = shown(rig)
    client = rig.connect()
    client.send(get("/1") + get("/2") + post("/3", b"body"))
    peer = origin.accept()
    for path in ("/1", "/2", "/3"):
        assert peer.request().target == path
        peer.send(OK)
        asked = hooked(rig, "response")
        assert asked.target[1] == path
        asked.change(lines=b"X-Path: %s\r\n" % path.encode())
        assert client.response().field("x-path") == path


def test_reload_and_close_while_answers_are_shown(rig: Rig) -> None:
    old, origin = shown(rig)
    client, peer = served(rig, origin, OK)
    asked = hooked(rig, "response")
    new = script("response", policy="new")
    rig.serve(origin, filters=[new])
    asked.change(lines=b"X: 1\r\n")
    assert client.response().field("x") == "1"
    client.send(get())
    peer.request()
    peer.send(OK)
    second = hooked(rig, "response")
    assert second.subject == new.hooks.id != old.hooks.id
    for engine in rig.engines:
        engine.close()
    second.change(lines=b"X: 1\r\n")
    rig.turn()
    assert client.was_reset() or client.eof
