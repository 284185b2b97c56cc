"""Error pages: which one, what stands in it, and what of a server's answer it takes the place of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from proxyd_ext.snapshot import Snapshot
from proxyd_ext.snapshot.spec import (
    ErrorPage,
    HeadersFilter,
    ProxyAction,
    RespondAction,
    RewriteSpec,
    RouteSpec,
    SnapshotSpec,
    StickySpec,
    TargetSpec,
)
from tests.support.engine import OK, Rig, get, post

PAGE = ErrorPage([(400, 599)], b"<h1>{status} {reason}</h1>{message} {host} {request_id}")


def failing(rig: Rig, pages: Sequence[ErrorPage], **settings: Any) -> None:
    """A route whose server refuses every connection."""
    dead = rig.origin()
    dead.refuse()
    route = RouteSpec("all", ProxyAction([TargetSpec(0)]), path="/dead", error_pages=pages)
    rig.publish([route], [rig.upstream(dead, passive_failures=0)], **settings)


def intercepting(rig: Rig, *origins: Any, page: ErrorPage, **route: Any) -> None:
    rig.publish([RouteSpec("all", ProxyAction([TargetSpec(0)]), error_pages=[page], **route)], [rig.upstream(*origins)])


def test_page_of_a_route(rig: Rig) -> None:
    """Body and type are the page's; what tells the cause stays."""
    failing(rig, [PAGE])
    client = rig.connect()
    for _ in range(2):
        client.send(get("/dead", "Accept: application/json"))
        response = client.response()
        identity = response.field("x-request-id")
        assert (response.status, response.field("content-type")) == (502, "text/html; charset=utf-8")
        assert response.field("proxy-status") == 'proxyd; error=connection_refused; details="connect_refused"'
        assert response.body.decode() == f"<h1>502 Bad Gateway</h1>connection refused test {identity}"
        assert response.field("date") is not None
    assert rig.errors() == {"connect_refused": 2}


def test_page_without_a_route(rig: Rig) -> None:
    """The listener's; a route's own requests do not see it."""
    failing(rig, [], error_pages=[ErrorPage([(404, 404)], b"gone: {status}", "text/plain"), ErrorPage([(502, 502)], b"never")])
    client = rig.connect()
    client.send(get("/elsewhere"))
    response = client.response()
    assert (response.status, response.field("content-type"), response.body) == (404, "text/plain", b"gone: 404")
    client.send(get("/dead"))
    response = client.response()
    assert (response.status, b"connection refused" in response.body) == (502, True)


def test_page_for_what_is_no_request(rig: Rig) -> None:
    failing(rig, [], error_pages=[ErrorPage([(400, 400)], b"[{host}] {message}", "text/plain")])
    client = rig.connect()
    client.send(b"nonsense\r\n\r\n")
    response = client.response()
    assert (response.status, response.field("connection"), response.body[:3]) == (400, "close", b"[] ")
    assert client.ended()


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([[(502, 502)]], 0),
        ([[(500, 501), (503, 599)], [(500, 502)]], 1),
        ([[(500, 599)], [(502, 502)]], 0),
        ([[(400, 501)], [(503, 599)]], None),
        ([[(404, 404), (502, 502)]], 0),
    ],
)
def test_the_first_that_has_the_status(rig: Rig, ranges: list[list[tuple[int, int]]], expected: int | None) -> None:
    failing(rig, [ErrorPage(statuses, b"page %d" % i) for i, statuses in enumerate(ranges)])
    client = rig.connect()
    client.send(get("/dead"))
    body = client.response().body
    assert (body == b"page %d" % expected) if expected is not None else body.startswith(b"502 Bad Gateway: ")


@pytest.mark.parametrize(
    ("content_type", "escaped"),
    [
        ("text/html", True),
        ("TEXT/HTML; charset=utf-8", True),
        ("application/xhtml+xml", True),
        ("text/plain", False),
        ("application/json", False),
    ],
)
def test_values_are_escaped_for_html(rig: Rig, content_type: str, escaped: bool) -> None:
    """What a client says never becomes markup."""
    failing(rig, [ErrorPage([(502, 502)], b"<i>{host}</i>", content_type)])
    client = rig.connect()
    client.send(get("/dead", host="a'&b"))
    assert client.response().body == (b"<i>a&#39;&amp;b</i>" if escaped else b"<i>a'&b</i>")


def test_longest_host(rig: Rig) -> None:
    failing(rig, [ErrorPage([(502, 502)], b"{host}|{host}")])
    client = rig.connect()
    client.send(get("/dead", host="&" * 250))
    assert client.response().body == b"|".join([b"&amp;" * 250] * 2)


def test_braces_that_are_no_placeholder(rig: Rig) -> None:
    """Style sheets and scripts come through byte by byte."""
    body = b"<style>b{color:red}</style>{{status}} {Status} {path} {}\xff\x00"
    failing(rig, [ErrorPage([(502, 502)], body)])
    client = rig.connect()
    client.send(get("/dead"))
    assert client.response().body == body.replace(b"{status}", b"502")


@pytest.mark.parametrize("size", [0, 1, 60_000, 65_536, 65_537, 300_000])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_sizes(rig: Rig, size: int, method: str) -> None:
    """Of any size, and none to HEAD; the connection goes on."""
    failing(rig, [ErrorPage([(502, 502)], b"x" * size + b"{status}" + b"y" * size)])
    client = rig.connect()
    for _ in range(2):
        client.send(get("/dead", method=method))
        response = client.response(to=method)
        assert response.field("content-length") == str(2 * size + 3)
        assert response.body == (b"x" * size + b"502" + b"y" * size if method == "GET" else b"")
    assert client.silent()


def test_fields_that_belong_to_the_fault(rig: Rig) -> None:
    """Retry-After with 503, Allow with 405."""
    rig.publish(
        [RouteSpec("all", ProxyAction([TargetSpec(0)]), error_pages=[PAGE])], [rig.upstream(name="none")], error_pages=[PAGE]
    )
    client = rig.connect()
    client.send(get("/"))
    response = client.response()
    assert (response.status, response.field("retry-after"), response.body[:12]) == (503, "1", b"<h1>503 Serv")
    client.send(get("/", method="TRACE"))
    response = client.response()
    assert (response.status, response.field("allow") is not None, response.body[:10]) == (405, True, b"<h1>405 Me")


def test_respond_is_no_error(rig: Rig) -> None:
    """An answer that the config gives is not replaced."""
    rig.publish([RouteSpec("all", RespondAction(404, b"mine"), error_pages=[PAGE])])
    client = rig.connect()
    client.send(get())
    assert client.response().body == b"mine"


def test_page_for_a_rewrite_that_fails(rig: Rig) -> None:
    action = ProxyAction([TargetSpec(0)], rewrite=RewriteSpec(path="/{query:f}"))
    rig.publish([RouteSpec("all", action, error_pages=[ErrorPage([(400, 400)], b"no: {message}")])], [rig.upstream(rig.origin())])
    client = rig.connect()
    client.send(get("/?f=.."))
    assert client.response().body == b"no: the path has a bad escape or points above the root"


# ---- answers of servers ----

THEIRS = (
    b"HTTP/1.1 503 Theirs\r\nContent-Type: text/x-secret\r\nContent-Length: 6\r\nETag: x\r\nServer: x/1\r\nRetry-After: 7\r\n"
    b"Set-Cookie: a=1\r\nset-cookie: b=2\r\nCache-Control: no-store\r\nwww-authenticate:Basic\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n"
    b"secret"
)
INTERCEPT = ErrorPage([(500, 599)], b"sorry: {status} {reason} ({message}) {request_id}", "text/plain", intercept=True)


def test_intercept(rig: Rig) -> None:
    """The page instead of the server's body; the status stays, and of the fields those that are not about the body."""
    origin = rig.origin()
    intercepting(rig, origin, page=INTERCEPT)
    client = rig.connect()
    for count in (1, 2):
        client.send(get())
        peer, request = origin.asked()
        peer.send(THEIRS)
        response = client.response()
        identity = request.field("x-request-id")
        assert response.start == "HTTP/1.1 503 Service Unavailable"
        assert response.body.decode() == f"sorry: 503 Service Unavailable (the server gave this answer) {identity}"
        names = sorted(name.lower() for name, _ in response.fields)
        assert names == [
            "cache-control", "content-length", "content-type", "date", "retry-after", "set-cookie", "set-cookie", "www-authenticate",
            "x-request-id",
        ]
        assert (response.all("set-cookie"), response.field("www-authenticate")) == (["a=1", "b=2"], "Basic")
        assert (response.field("content-type"), response.field("x-request-id")) == ("text/plain", identity)
        assert peer.ended()  # nobody read the body
        assert rig.requests() == {("GET", 503): count}
    assert rig.errors() == {}  # the server's status, not ours
    assert rig.of(origin)["requests"] == {503: 2}


@pytest.mark.parametrize(("status", "pages"), [(499, INTERCEPT), (200, INTERCEPT), (503, ErrorPage([(500, 599)], b"ours"))])
def test_answers_that_pass(rig: Rig, status: int, pages: ErrorPage) -> None:
    """Another status, or a page that is for proxyd's own answers."""
    origin = rig.origin().serve(b"HTTP/1.1 %d X\r\nContent-Length: 6\r\n\r\ntheirs" % status)
    intercepting(rig, origin, page=pages)
    client = rig.connect()
    client.send(get())
    response = client.response()
    assert (response.status, response.body) == (status, b"theirs")


def test_intercept_looks_past_other_pages(rig: Rig) -> None:
    """A page for proxyd's own answers, standing first, does not keep a server's from one that is for those."""
    origin = rig.origin().serve(THEIRS)
    route = RouteSpec("all", ProxyAction([TargetSpec(0)]), error_pages=[ErrorPage([(503, 503)], b"own"), INTERCEPT])
    rig.publish([route], [rig.upstream(origin)])
    client = rig.connect()
    client.send(get())
    assert client.response().body.startswith(b"sorry: 503")


@pytest.mark.parametrize(
    ("answer", "method", "kept"),
    [
        (b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", "GET", True),
        (b"HTTP/1.1 503 X\r\nContent-Length: 9\r\n\r\n", "HEAD", True),
        (b"HTTP/1.1 503 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "GET", False),
        (b"HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "GET", False),
        (b"HTTP/1.1 503 X\r\n\r\n", "GET", False),
        (b"HTTP/1.1 503 X\r\nContent-Length: 9\r\n\r\n", "GET", False),
        (b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\nstray", "GET", False),
    ],
)
def test_connection_after_an_intercepted_answer(rig: Rig, answer: bytes, method: str, kept: bool) -> None:
    """It goes on when nothing of the answer is left to come; the client's goes on in any case."""
    origin = rig.origin()
    intercepting(rig, origin, page=INTERCEPT)
    client = rig.connect()
    client.send(get(method=method))
    peer, _ = origin.asked()
    peer.send(answer)
    response = client.response(to=method)
    assert (response.status, response.field("connection")) == (503, None)
    assert response.body.startswith(b"sorry") == (method == "GET")
    client.send(get())
    if not kept:
        peer = origin.accept()
    assert peer.request().target == "/"
    peer.send(OK)
    assert client.response().body == b"ok"


def test_intercept_before_the_request_is_over(rig: Rig) -> None:
    """Neither connection can go on."""
    origin = rig.origin()
    intercepting(rig, origin, page=INTERCEPT)
    client = rig.connect()
    client.send(post("/", b"x" * 100_000)[:-1])
    peer = origin.accept()
    peer.head()
    peer.send(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")
    response = client.response()
    assert (response.status, response.field("connection")) == (503, "close")
    assert response.body.startswith(b"sorry: 503")
    assert client.ended()


def test_filters_of_an_intercepted_answer(rig: Rig) -> None:
    """The route's changes to answers are made to it, too."""
    step = HeadersFilter(response_set=b"Content-Type: text/x\r\nX-One: 1\r\n", response_remove=["set-cookie", "date", "x-request-id"])
    origin = rig.origin().serve(THEIRS)
    intercepting(rig, origin, page=INTERCEPT, filters=[step])
    client = rig.connect()
    client.send(get())
    response = client.response()
    assert (response.field("content-type"), response.field("x-one")) == ("text/x", "1")
    assert not [name for name, _ in response.fields if name.lower() in ("set-cookie", "date", "x-request-id")]
    assert response.field("retry-after") == "7"


def test_a_sticky_client_is_pinned_by_a_page_too(rig: Rig) -> None:
    """The cookie of the upstream comes with whatever answer the chosen server gave."""
    origin = rig.origin().serve(THEIRS)
    upstream = rig.upstream(origin)
    members = [replace(member, sticky_id=b"id-of-it") for member in upstream.members]
    upstream = replace(upstream, members=members, sticky=StickySpec("cookie", "pin", "; Path=/"))
    rig.publish([RouteSpec("all", ProxyAction([TargetSpec(0)]), error_pages=[INTERCEPT])], [upstream])
    client = rig.connect()
    client.send(get())
    response = client.response()
    assert response.body.startswith(b"sorry: 503")
    assert response.all("set-cookie") == ["a=1", "b=2", "pin=id-of-it; Path=/"]


def test_intercept_counts_as_the_servers_answer(rig: Rig) -> None:
    """For passive health a 5xx is a 5xx, whoever wrote the body."""
    origin, other = rig.origin(), rig.origin()
    origin.serve(THEIRS)
    other.serve(OK)
    route = RouteSpec("all", ProxyAction([TargetSpec(0)]), error_pages=[INTERCEPT])
    rig.publish([route], [rig.upstream(origin, other, passive_failures=1)])
    client = rig.connect()
    statuses = []
    for _ in range(4):
        client.send(get())
        statuses.append(client.response().status)
    assert sorted(statuses) == [200, 200, 200, 503]


def test_wherever_the_answer_is_cut(clocked: Rig) -> None:
    origin = clocked.origin()
    intercepting(clocked, origin, page=INTERCEPT)
    client = clocked.connect()
    for cut in range(1, len(THEIRS)):
        client.send(get())
        peer, _ = origin.asked()
        peer.send(THEIRS[:cut])
        clocked.settle()
        peer.send(THEIRS[cut:])
        response = client.response()
        assert (response.status, response.field("retry-after")) == (503, "7")
        assert response.body.startswith(b"sorry: 503")


@pytest.mark.parametrize("statuses", [(200, 299), (399, 404), (404, 403), (500, 600)])
def test_statuses_that_are_refused(statuses: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"400\.\.599"):
        Snapshot(SnapshotSpec(1, "", [], [[RouteSpec("all", RespondAction(200), error_pages=[ErrorPage([statuses], b"")])]]))
