"""What a server is sent by a route that rewrites: path and Host, on every try, whatever the client does to get elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from proxyd_ext.snapshot import Snapshot
from proxyd_ext.snapshot.spec import ProxyAction, RewriteSpec, RouteSpec, SnapshotSpec, TargetSpec
from tests.support.engine import OK, Rig, get, post


def rewriting(rig: Rig, *origins: Any, rewrite: RewriteSpec, **settings: Any) -> None:
    """Serve with a rewrite; everything else as `Rig.serve` takes it."""
    rig.serve(*origins, action={"rewrite": rewrite}, **settings)


@pytest.mark.parametrize(
    ("rewrite", "target", "sent"),
    [
        (RewriteSpec(strip="/api"), "/api", "/"),
        (RewriteSpec(strip="/api"), "/api?x=1", "/?x=1"),
        (RewriteSpec(strip="/api"), "/api/x?", "/x?"),
        (RewriteSpec(strip="/api"), "/apix", "/apix"),
        (RewriteSpec(strip="/api"), "/api/../x", "/x"),
        (RewriteSpec(strip="/api"), "/x/../api/y", "/y"),
        (RewriteSpec(strip="/api"), "/%61pi/y", "/y"),
        (RewriteSpec(strip="/api"), "/api%2Fy", "/api%2Fy"),
        (RewriteSpec(strip="/api"), "/api//y", "//y"),
        (RewriteSpec(strip="/%61pi"), "/api/y", "/y"),
        (RewriteSpec(strip="/api/"), "/api", "/api"),
        (RewriteSpec(strip="/api/"), "/api/y", "/y"),
        (RewriteSpec(strip="/api", path="/v2{rest}"), "/api/y?q", "/v2/y?q"),
        (RewriteSpec(strip="/api", path="/v2{rest}"), "/other", "/other"),
        (RewriteSpec(path="/v2{path}"), "/a/./b", "/v2/a/b"),
        (RewriteSpec(path="/{host}/{query:id}"), "/a?id=7", "/test/7?id=7"),
        (RewriteSpec(path="/fixed"), "http://test/x", "/fixed"),
        (RewriteSpec(host="other"), "/x", "/x"),
    ],
    ids=str,
)
def test_target(clocked: Rig, rewrite: RewriteSpec, target: str, sent: str) -> None:
    """The query goes along as it came."""
    origin = clocked.origin().serve()
    rewriting(clocked, origin, rewrite=rewrite)
    client = clocked.connect()
    client.send(get(target) + get(target))
    for _ in range(2):
        assert client.response().status == 200
    assert [request.target for request in origin.requests] == [sent, sent]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/files?f=../secret", 400),
        ("/files?f=..%2fsecret", 400),
        ("/files?f=%2e%2e/secret", 400),
        ("/files?f=%2e%2e%2fsecret", 400),
        ("/files?f=a/../b", 400),
        ("/files?f=%00", 400),
        ("/files?f=%zz", 400),
        ("/files/../../x?f=a", 400),
        ("/files/%2e%2e/%2e%2e/x?f=a", 400),
        ("/files?f=a", 200),
    ],
)
def test_traversal(rig: Rig, target: str, status: int) -> None:
    """Nothing that climbs reaches a server; who tries it is not trusted with a second request."""
    origin = rig.origin().serve()
    rewriting(rig, origin, rewrite=RewriteSpec(path="/public/{query:f}"))
    client = rig.connect()
    client.send(get(target))
    response = client.response()
    assert response.status == status
    if status == 400:
        assert response.field("proxy-status") == 'proxyd; error=http_request_error; details="path_invalid"'
        assert client.ended()
        assert not origin.requests
    else:
        assert origin.requests[0].target.startswith("/public/")


def test_asterisk_stays(rig: Rig) -> None:
    origin = rig.origin().serve()
    rewriting(rig, origin, rewrite=RewriteSpec(path="/v2{path}"))
    client = rig.connect()
    client.send(get("*", method="OPTIONS"))
    assert client.response().status == 200
    assert origin.requests[0].target == "*"


def test_host(rig: Rig) -> None:
    """Host is the config's; X-Forwarded-Host keeps what the client asked for."""
    origin = rig.origin().serve()
    rewriting(rig, origin, rewrite=RewriteSpec(host="backend.internal:8080"))
    client = rig.connect()
    client.send(get("/x"))
    assert client.response().status == 200
    [request] = origin.requests
    assert (request.field("host"), request.field("x-forwarded-host"), request.target) == ("backend.internal:8080", "test", "/x")


def test_retries_keep_it(rig: Rig) -> None:
    """Head and body as on the first try, on another server and on a fresh connection."""
    dead, good = rig.origin(), rig.origin()
    dead.refuse()
    rewriting(rig, dead, good, rewrite=RewriteSpec(strip="/api", path="/v2{rest}", host="b"), upstream={"passive_failures": 0})
    client = rig.connect()
    peer = None
    for _ in range(3):
        client.send(post("/api/x?q", b"body"))
        peer = peer or good.accept()
        request = peer.request()
        assert (request.target, request.field("host"), request.body) == ("/v2/x?q", "b", b"body")
        peer.send(OK)
        assert client.response().body == b"ok"


def test_a_stale_connection_keeps_it(rig: Rig) -> None:
    """The keep-alive race: the request goes again on a fresh connection."""
    origin = rig.origin()
    rewriting(rig, origin, rewrite=RewriteSpec(strip="/api"))
    client = rig.connect()
    client.send(get("/api/1"))
    peer, request = origin.asked()
    peer.send(OK)
    assert (request.target, client.response().status) == ("/1", 200)
    client.send(get("/api/2"))
    assert peer.request().target == "/2"
    peer.reset()
    fresh, again = origin.asked()
    assert again.target == "/2"
    fresh.send(OK)
    assert client.response().status == 200


def test_a_path_that_grows(rig: Rig) -> None:
    """Up to the bound it is sent whole, above it the client hears 414."""
    origin = rig.origin().serve()
    rewriting(rig, origin, rewrite=RewriteSpec(path="/{query:q}{path}{path}{path}"), uri_length=12_000, header_size=30_000)
    client = rig.connect()
    path = "/" + "a" * 10_000
    client.send(get(path + "?q=" + "b" * 1_500) + post(path + "?q=" + "|" * 1_000, b"body") + get())
    assert client.response().status == 200
    assert origin.requests[0].target == "/" + "b" * 1_500 + 3 * path + "?q=" + "b" * 1_500
    response = client.response()
    assert (response.status, response.field("proxy-status")) == (414, 'proxyd; error=http_request_error; details="uri_too_long"')
    assert client.ended()


def test_wherever_the_head_is_cut(clocked: Rig) -> None:
    origin = clocked.origin()
    rewriting(clocked, origin, rewrite=RewriteSpec(strip="/api", path="/{host}{rest}/{query:id}", host="b"))
    client = clocked.connect()
    request = get("/api/./%7ex?id=%3f")
    peer = None
    for cut in range(1, len(request)):
        client.send(request[:cut])
        clocked.settle()
        client.send(request[cut:])
        peer = peer or origin.accept()
        asked = peer.request()
        assert (asked.target, asked.field("host")) == ("/test/~x/%3F?id=%3f", "b")
        peer.send(OK)
        assert client.response().status == 200


@pytest.mark.parametrize(
    ("rewrite", "message"),
    [
        (RewriteSpec(path="/a?b"), "cannot hold"),
        (RewriteSpec(path="/{nothing}"), "cannot hold"),
        (RewriteSpec(path="/a/../b"), "dot segment"),
        (RewriteSpec(path="{path}" * 17), "at most 16 parts"),
        (RewriteSpec(strip="api"), "bad escape"),
        (RewriteSpec(strip="/.."), "above the root"),
        (RewriteSpec(host="a\r\nX: 1"), "cannot stand in a head"),
        (RewriteSpec(host="a b"), "cannot stand in a head"),
    ],
)
def test_what_is_refused(clocked: Rig, rewrite: RewriteSpec, message: str) -> None:
    """When the snapshot is compiled."""
    route = RouteSpec("all", ProxyAction([TargetSpec(0)], rewrite=rewrite))
    with pytest.raises(ValueError, match=message):
        Snapshot(SnapshotSpec(1, "", [], [[route]], [clocked.upstream(clocked.origin())]))
