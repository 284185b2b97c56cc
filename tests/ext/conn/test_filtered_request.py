"""A user's filter that is asked about requests, on the wire: its changes, its replies, its failures."""
from __future__ import annotations

import pytest

from proxyd_ext.snapshot.spec import HeadersFilter, ProxyAction, RespondAction, RewriteSpec, RouteSpec, TargetSpec
from tests.support.engine import Rig, get, post
from tests.support.questions import bearer, decision, guarded, hook_counts, hooked, maybe_question, nothing_asked, script

ROOM = 960                # slots of an engine that exchanges may wait in


def test_what_is_shown(rig: Rig) -> None:
    step = script("request")
    guarded(rig, bearer(), step)
    client = rig.connect()
    fields = ("Authorization: Bearer t", "X-A:  1 ", "x-a: 2", "Content-Length: 4")
    client.send(get("/a?b", *fields, method="POST", host="Shop.example:80") + b"body")
    decision(rig).allow("ann", lines=b"X-User: ann\r\n")
    asked = hooked(rig)
    assert (asked.subject, asked.target[:4], asked.lines[1], asked.user) == (
        step.hooks.id, ["POST", "/a?b", "http", "127.0.0.1"], b"shop.example", "ann",
    )
    assert asked.fields == [
        ("Host", "Shop.example:80"), ("Authorization", "Bearer t"), ("X-A", "1"), ("x-a", "2"), ("Content-Length", "4"),
    ]
    asked.change()
    assert client.response().status == 200
    assert hook_counts(step) == {"asked_request": 1}


def test_changes(rig: Rig) -> None:
    step = script("request")
    _, origin = guarded(rig, HeadersFilter(request_add=b"X-Route: 1\r\n", request_remove=["x-gone"]), step)
    client = rig.connect()
    client.send(get("/a?b=c", "X-Gone: 1", "X-Drop: 1", "x_drop: 2", "X-Set: theirs", "X-Keep: 1"))
    hooked(rig).change(lines=b"X-Set: ours\r\nX-New: 1\r\n", drop=b"x-drop\nx-set\n", path="/b/%2F", query="d=e")
    assert client.response().status == 200
    request = origin.requests[0]
    assert request.target == "/b/%2F?d=e"
    named = [(name, value) for name, value in request.fields if name.lower().startswith("x") and name not in ("X-Request-ID",)]
    assert [pair for pair in named if not pair[0].startswith("X-Forwarded")] == [
        ("X-Keep", "1"), ("X-Route", "1"), ("X-Set", "ours"), ("X-New", "1"),
    ]
    assert hook_counts(step) == {"asked_request": 1, "changed": 1}


@pytest.mark.parametrize(
    ("target", "path", "query", "sent"),
    [
        ("/a?b", "", None, "/a?b"), ("/a?b", "/c", None, "/c?b"), ("/a?b", "", "", "/a"), ("/a?b", "", "x", "/a?x"),
        ("/a", "", "x=y&z", "/a?x=y&z"), ("/a", "/" + "p" * 6_000, "q" * 6_000, "/" + "p" * 6_000 + "?" + "q" * 6_000),
        ("/%7ea/../b?q", "", None, "/b?q"), ("/a", "/", "", "/"),
    ],
)
def test_paths_and_queries(clocked: Rig, target: str, path: str, query: str | None, sent: str) -> None:
    """Left out, they are as they were; the route's own rewrite gives way."""
    origin = clocked.origin().serve()
    for rewrite in (None, RewriteSpec(strip="/a")):
        step = script("request")
        clocked.publish([RouteSpec("all", ProxyAction([TargetSpec(0)], rewrite=rewrite), filters=[step])], [clocked.upstream(origin)])
        client = clocked.connect()
        client.send(get(target))
        hooked(clocked).change(path=path, query=query)
        assert client.response().status == 200
        got = origin.requests.pop().target
        assert got == sent if rewrite is None or path else got.partition("?")[2] == sent.partition("?")[2]


def test_no_query_of_an_earlier_request(clocked: Rig) -> None:
    """Exchanges come from memory that others used."""
    _, origin = guarded(clocked, script("request"))
    client = clocked.connect()
    for i in range(20):
        client.send(get(f"/?n={i}"))
        hooked(clocked).change(**({"query": "z" * 200_000} if i % 2 else {}))
        assert client.response().status == (431 if i % 2 else 200)
    assert [request.target for request in origin.requests] == [f"/?n={i}" for i in range(0, 20, 2)]


def test_two_filters_in_a_row(rig: Rig) -> None:
    """The second one's word counts where both have one; fields of both stand there, those of the first before."""
    one, two = script("request", policy="one"), script("request", policy="two")
    _, origin = guarded(rig, one, two)
    client = rig.connect()
    client.send(get("/a?q", "X-Drop: 1", "X-Other: 1"))
    first = hooked(rig)
    assert first.subject == one.hooks.id
    first.change(lines=b"X-N: 1\r\n", drop=b"x-drop\n", path="/one", query="one")
    second = hooked(rig)
    assert (second.subject, second.target[1]) == (two.hooks.id, "/a?q")
    second.change(lines=b"X-N: 2\r\n", drop=b"x-other\n", path="/two")
    assert client.response().status == 200
    request = origin.requests[0]
    assert (request.target, request.all("x-n"), request.all("x-drop"), request.all("x-other")) == ("/two?one", ["1", "2"], [], [])


@pytest.mark.parametrize("status", [200, 204, 304, 404, 599])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_replies(rig: Rig, status: int, method: str) -> None:
    """In the server's place, whole, with a framing of proxyd's own; a body that nobody read ends the connection."""
    step = script("request")
    _, origin = guarded(rig, step)
    client = rig.connect()
    client.send(get(method=method) if method != "POST" else post("/", b"body"))
    hooked(rig).reply(status, b"Content-Type: x/y\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n", b"made here")
    answer = client.response(to=method)
    assert (answer.status, answer.field("content-type"), answer.all("set-cookie")) == (status, "x/y", ["a=1", "b=2"])
    assert answer.body == (b"" if method == "HEAD" or status in (204, 304) else b"made here")
    assert answer.all("content-length") == ([] if status in (204, 304) else ["9"])
    assert answer.field("connection") == ("close" if method == "POST" else None)
    if method != "POST":
        client.send(get())
        hooked(rig).change()
        assert client.response().status == 200
    assert len(origin.requests) == (method != "POST")
    assert rig.requests()[(method, status)] >= 1
    assert hook_counts(step)["replied"] == 1


@pytest.mark.parametrize("size", [0, 1, 5_000, 70_000, 1_000_000])
def test_replies_of_all_sizes(rig: Rig, size: int) -> None:
    rig.publish([RouteSpec("all", RespondAction(200), filters=[script("request")])])
    client = rig.connect()
    for _ in range(2):
        client.send(get())
        hooked(rig).reply(200, b"X: 1\r\n", b"r" * size)
        assert client.response().body == b"r" * size


@pytest.mark.parametrize("fail_open", [False, True])
@pytest.mark.parametrize("how", ["fail", "timeout", "failing", "wrong kind", "door full"])
def test_failures(clocked: Rig, how: str, fail_open: bool) -> None:
    """Closed unless told otherwise; what the filters before changed stays changed."""
    step = script("request", fail_open=fail_open, timeout_ms=300)
    other = script("request", policy="other", timeout_ms=60_000)
    _, origin = guarded(clocked, other, step)
    client = clocked.connect()
    held = []
    if how == "door full":
        clocked.publish([RouteSpec("all", RespondAction(200), filters=[step])])
        for _ in range(ROOM):
            held.append(clocked.connect())
            held[-1].send(get())
            clocked.turn()
        client.send(get())
    else:
        step.hooks.failing = how == "failing"
        client.send(get())
        hooked(clocked).change(lines=b"X-Other: 1\r\n")
        if how != "failing":
            asked = hooked(clocked)
        if how == "fail":
            asked.fail()
        elif how == "wrong kind":
            asked.allow(lines=b"X: 1\r\n")
        elif how == "timeout":
            clocked.advance(299)
            assert client.silent()
            clocked.advance(1)
    answer = client.response()
    assert answer.status == (200 if fail_open else 503)
    if not fail_open:
        assert answer.field("proxy-status") == 'proxyd; error=proxy_internal_error; details="filter_failed"'
    elif how != "door full":
        assert origin.requests[0].field("x-other") == "1"
    counts = hook_counts(step)
    asked_ = {"door full": ROOM, "failing": 0}.get(how, 1)
    assert counts.pop("asked_request", 0) == asked_
    word = {"timeout": {"timeout": 1}, "failing": {}}.get(how, {"failed": 1})
    assert counts == {**word, ("passed_open" if fail_open else "refused_closed"): 1}


def test_late_word(clocked: Rig) -> None:
    step = script("request", timeout_ms=300)
    _, origin = guarded(clocked, step)
    client = clocked.connect()
    client.send(get())
    asked = hooked(clocked)
    clocked.advance(300)
    assert client.response().status == 503
    client.send(get("/second"))
    again = hooked(clocked)
    asked.change(path="/wrong", lines=b"X: 1\r\n")
    again.change()
    assert client.response().status == 200
    assert origin.requests[0].target == "/second"


def test_hooks_are_switched_while_requests_come(rig: Rig) -> None:
    step = script()
    guarded(rig, step)
    client = rig.connect()
    client.send(get())
    assert client.response().status == 200
    step.hooks.request = True
    client.send(get())
    asked = hooked(rig)
    step.hooks.request = False
    other = rig.connect()
    other.send(get())
    assert other.response().status == 200
    asked.change()
    assert client.response().status == 200
    assert nothing_asked(rig)


@pytest.mark.parametrize("how", ["reset", "close"])
def test_client_goes_meanwhile(rig: Rig, how: str) -> None:
    """The change that comes late is dropped, and its memory given back."""
    guarded(rig, script("request"))
    client = rig.connect()
    client.send(post("/", b"body"))
    asked = hooked(rig)
    getattr(client, how)()
    if how == "reset":
        rig.until(lambda: rig.total("exchanges") == 0, "the exchange is over")
    asked.change(lines=b"X: 1\r\n" * 100, path="/x")
    rig.until(lambda: rig.total("exchanges") == 0, "the exchange is over")


def test_engine_closes_with_words_on_their_way(rig: Rig) -> None:
    guarded(rig, script("request"))
    clients = [rig.connect() for _ in range(6)]
    for client in clients:
        client.send(get())
    asked = [hooked(rig) for _ in clients]
    for i, each in enumerate(asked):
        if i % 3 == 0:
            each.reply(body=b"late" * 1_000)
        elif i % 3 == 1:
            each.change(lines=b"X: 1\r\n")
    for engine in rig.engines:
        engine.close()
    for each in asked:
        each.change(lines=b"X: 1\r\n")
    rig.turn()
    assert maybe_question(rig) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"lines": b"X: 1"}, "CRLF"), ({"lines": b"X: 1\r\n\r\nY: 1\r\n"}, "not a field line"),
        ({"lines": b"X : 1\r\n"}, "not a field line"),
        ({"lines": b"X: a\nb\r\n"}, "not a field line"), ({"lines": b"Content-Length: 1\r\n"}, "proxyd itself"),
        ({"lines": b"transfer-encoding: chunked\r\n"}, "proxyd itself"), ({"lines": b"Host: x\r\n"}, "proxyd itself"),
        ({"lines": b"X: 1\r\n" * 2_000}, "at most"), ({"drop": b"x"}, "line feed"), ({"drop": b"host\n"}, "cannot be removed"),
        ({"drop": b"X-Up\n"}, "cannot be removed"), ({"drop": b"\n"}, "cannot be removed"), ({"path": "a"}, "no path"),
        ({"path": "/a b"}, "no path"), ({"path": "/a?b"}, "no path"), ({"path": "/a#b"}, "no path"), ({"path": "/ä"}, "no path"),
        ({"query": "a b"}, "no query"), ({"query": "a#b"}, "no query"), ({"query": "\r\n"}, "no query"), ({"status": 101}, "final status"),
        ({"status": 600}, "final status"),
    ],
)
def test_what_may_not_be_changed(clocked: Rig, changes: dict[str, bytes | str | int], why: str) -> None:
    """Told to whoever answers; the request waits on, for a better word."""
    guarded(clocked, script("request"))
    client = clocked.connect()
    client.send(get())
    asked = hooked(clocked)
    with pytest.raises(ValueError, match=why):
        asked.change(**changes)
    clocked.settle()
    assert client.silent()
    asked.change()
    assert client.response().status == 200


def test_replies_that_would_break_a_head(clocked: Rig) -> None:
    guarded(clocked, script("request"))
    client = clocked.connect()
    client.send(get())
    asked = hooked(clocked)
    for status, head in ((200, b"X: 1"), (200, b"Content-Length: 5\r\n"), (100, b""), (199, b""), (600, b"")):
        with pytest.raises(ValueError, match=r"final status|CRLF|proxyd itself"):
            asked.reply(status, head)
    asked.reply(200, b"", b"good")
    assert client.response().body == b"good"


def test_a_websocket_waits(rig: Rig) -> None:
    origin = rig.origin()
    rig.serve(origin, filters=[script("request", "response")])
    client = rig.connect()
    client.send(get("/ws", "Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13") + b"early")
    hooked(rig).change(lines=b"X-User: ann\r\n")
    peer, request = origin.asked()
    assert (request.field("upgrade"), request.field("x-user")) == ("websocket", "ann")
    peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello")
    assert client.response().status == 101        # no hook sees it
    assert client.read(5) == b"hello"
    assert peer.read(5) == b"early"
    assert nothing_asked(rig)


def test_a_retry_asks_nobody_again(rig: Rig) -> None:
    """What the filter changed is sent to the next server, too."""
    dead, good = rig.origin(), rig.origin().serve()
    dead.refuse()
    step = script("request")
    rig.serve(dead, good, filters=[step])
    client = rig.connect()
    client.send(get("/a"))
    hooked(rig).change(lines=b"X: 1\r\n", path="/b", query="q")
    assert client.response().status == 200
    assert (good.requests[0].target, good.requests[0].field("x")) == ("/b?q", "1")
    assert hook_counts(step) == {"asked_request": 1, "changed": 1}
