"""Answers that proxyd makes itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from proxyd_ext.snapshot.spec import RedirectAction, RespondAction, RouteSpec
from tests.support.engine import Rig, get, post
from tests.support.wire import Message

ID = re.compile(r"[0-9a-f]{16}")


def check_common(response: Message) -> str:
    """What every error answer has; returns the request id."""
    assert response.framing == "length"
    assert re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", response.field("date") or "")
    identity = response.field("x-request-id") or ""
    assert ID.fullmatch(identity)
    return identity


def as_text(response: Message, identity: str) -> None:
    assert response.field("content-type") == "text/plain; charset=utf-8"
    assert response.body.decode() == f"404 Not Found: no route matches this request (request {identity})\n"


def as_json(response: Message, identity: str) -> None:
    assert response.field("content-type") == "application/json"
    assert json.loads(response.body) == {
        "status": 404,
        "error": "no_route",
        "message": "no route matches this request",
        "request_id": identity,
    }


def as_html(response: Message, identity: str) -> None:
    assert response.field("content-type") == "text/html; charset=utf-8"
    assert b"<title>404 Not Found</title>" in response.body
    assert b"<p>no route matches this request.<p>" in response.body
    assert identity.encode() in response.body


@pytest.mark.parametrize(
    ("accept", "check"),
    [
        (None, as_text),
        ("*/*", as_text),
        ("text/plain", as_text),
        ("image/png", as_text),
        ("", as_text),
        ("x", as_text),
        ("application/json", as_json),
        ("application/problem+json, */*", as_json),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", as_html),
        ("text/html", as_html),
    ],
)
def test_forms_of_an_error(rig: Rig, accept: str | None, check: Callable[[Message, str], None]) -> None:
    rig.publish([])
    client = rig.connect()
    for _ in range(2):
        client.send(get("/", *([f"Accept: {accept}"] if accept is not None else [])))
        response = client.response()
        assert response.status == 404
        assert response.field("proxy-status") == 'proxyd; error=destination_not_found; details="no_route"'
        check(response, check_common(response))
    assert rig.requests("-") == {("GET", 404): 2}
    assert rig.errors("-") == {"no_route": 2}


def test_error_to_head(rig: Rig) -> None:
    """The head of the answer to GET, and no body."""
    rig.publish([])
    client = rig.connect()
    client.send(get("/", method="HEAD"))
    response = client.response(to="HEAD")
    assert response.status == 404
    assert int(response.field("content-length") or 0) > 20
    client.send(get())
    assert client.response().status == 404


def test_identifiers_differ(rig: Rig) -> None:
    rig.publish([])
    client = rig.connect()
    seen = set()
    for _ in range(100):
        client.send(get())
        seen.add(client.response().field("x-request-id"))
    assert len(seen) == 100


@pytest.mark.parametrize(
    ("sent", "kept"), [("abc-123_X.y", True), ("a" * 128, True), ("a" * 129, False), ('evil"</script>', False), ("a b", False), ("", False)]
)
@pytest.mark.parametrize("trusted", [False, True])
def test_identifier_of_a_peer(rig: Rig, sent: str, kept: bool, trusted: bool) -> None:
    """Kept in our answer when the peer is trusted and it is harmless in any body."""
    rig.publish([], trust=["127.0.0.0/8"] if trusted else [])
    client = rig.connect()
    client.send(get("/", f"X-Request-ID: {sent}", "Accept: application/json"))
    response = client.response()
    identity = response.field("x-request-id") or ""
    assert json.loads(response.body)["request_id"] == identity
    assert (identity == sent) == (kept and trusted)
    assert identity == sent or ID.fullmatch(identity)


@pytest.mark.parametrize("size", [0, 1, 5000, 70_000, 3 << 20])
def test_respond(rig: Rig, size: int) -> None:
    body = bytes(i % 251 for i in range(size))
    rig.publish([RouteSpec("all", RespondAction(201, body, "image/png", b"X-One: 1\r\nX-Two: 2\r\n"))])
    client = rig.connect()
    client.send(get("/a") + get("/b", method="HEAD") + get("/c", "Connection: close"))
    for method in ("GET", "HEAD", "GET"):
        response = client.response(to=method)
        assert response.start == "HTTP/1.1 201 Created"
        assert response.body == (body if method == "GET" else b"")
        assert response.field("content-length") == str(size)
        assert response.field("content-type") == "image/png"
        assert (response.field("x-one"), response.field("x-two")) == ("1", "2")
        assert response.field("proxy-status") is None
    assert response.field("connection") == "close"
    assert client.ended()
    assert rig.requests() == {("GET", 201): 2, ("HEAD", 201): 1}
    assert rig.errors() == {}


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("size", [0, 100_000])
def test_respond_without_body(rig: Rig, status: int, size: int) -> None:
    """These have no body, whatever the config says."""
    rig.publish([RouteSpec("all", RespondAction(status, b"x" * size))])
    client = rig.connect()
    client.send(get() + get())
    for _ in range(2):
        response = client.response()
        assert response.status == status
        if status == 204:
            assert response.field("content-length") is None
    assert client.silent()


def test_respond_to_http_1_0(rig: Rig) -> None:
    rig.publish([RouteSpec("all", RespondAction(200, b"hi"))])
    client = rig.connect()
    client.send(get("/", "Connection: keep-alive", version="1.0"))
    response = client.response()
    assert (response.body, response.field("connection")) == (b"hi", "keep-alive")
    client.send(get("/", version="1.0"))
    response = client.response()
    assert (response.body, response.field("connection")) == (b"hi", "close")
    assert client.ended()


@pytest.mark.parametrize(
    "sent",
    [
        post("/", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
        get("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n0\r\n\r\n",
        post("/", b"x" * 100_000),
    ],
)
def test_body_that_nobody_reads(rig: Rig, sent: bytes) -> None:
    """The answer comes, the body is never taken for a request, and the connection ends."""
    rig.publish([RouteSpec("all", RespondAction(200, b"hi"))])
    client = rig.connect()
    client.send(sent + get("/behind"))
    response = client.response()
    assert (response.body, response.field("connection")) == (b"hi", "close")
    assert client.ended()
    assert rig.requests() == {("POST", 200): 1}


@pytest.mark.parametrize(
    ("location", "target", "expected"),
    [
        ("https://{host}{path}{query}", "/a/b?c=d", "https://test/a/b?c=d"),
        ("https://{host}{path}{query}", "/a/../b", "https://test/b"),
        ("{scheme}://{host}/x", "/", "http://test/x"),
        ("/fixed", "/whatever?x", "/fixed"),
        ("{path}?moved", "/p", "/p?moved"),
        ("{path}{query}{query}", "/p?q", "/p?q?q"),
        ("{path}{query}", "/p?", "/p?"),
        ("{unknown}{path}", "/p", "{unknown}/p"),
    ],
)
def test_redirect(rig: Rig, location: str, target: str, expected: str) -> None:
    rig.publish([RouteSpec("all", RedirectAction(308, location))])
    client = rig.connect()
    client.send(get(target))
    response = client.response()
    assert (response.start, response.field("location"), response.body) == ("HTTP/1.1 308 Permanent Redirect", expected, b"")
    assert response.field("content-length") == "0"
    assert rig.requests() == {("GET", 308): 1}


def test_redirect_never_splits_its_head(rig: Rig) -> None:
    """No byte that a client sends ends the Location field."""
    rig.publish([RouteSpec("all", RedirectAction(302, "https://{host}{path}{query}"))])
    client = rig.connect()
    client.send(get("/%0d%0aX-Evil:%201?%0d%0a"))
    response = client.response()
    assert response.field("location") == "https://test/%0D%0AX-Evil:%201?%0d%0a"
    assert response.field("x-evil") is None


def test_redirect_that_repeats_a_long_path(rig: Rig) -> None:
    """Refused rather than cut when it grows out of bounds."""
    rig.publish([RouteSpec("all", RedirectAction(302, "{path}" * 16))], uri_length=30_000, header_size=60_000)
    client = rig.connect()
    client.send(get("/" + "a" * 1000) + get("/" + "a" * 10_000))
    assert len(client.response().field("location") or "") == 16 * 1001
    assert client.response().status == 414


def test_too_many_redirect_parts(rig: Rig) -> None:
    rig.publish([])
    with pytest.raises(ValueError, match="at most 16 parts"):
        rig.publish([RouteSpec("all", RedirectAction(302, "{path}" * 17))])
