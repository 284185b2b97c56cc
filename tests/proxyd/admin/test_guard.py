from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from proxyd.admin.guard import address_of, check_host, check_not_cross_site, check_origin, check_uid, peer_of
from proxyd.admin.problem import Problem
from proxyd.admin.server import AdminServer


@pytest.fixture
async def tcp(server: AdminServer) -> Callable[..., Any]:
    """One request over TCP: status, fields and JSON of the answer."""

    async def send(method: str, path: str, **words: Any) -> tuple[int, Any, Any]:
        async with aiohttp.ClientSession(f"http://{server.addresses[1]}") as session, session.request(method, path, **words) as answer:
            text = answer.content_type != "text/plain"
            return answer.status, answer.headers, await answer.json(content_type=None) if text else await answer.text()

    return send


@pytest.mark.parametrize("host", ["localhost", "LocalHost:2080", "127.0.0.1", "127.0.0.1:2080", "[::1]:2080", "[::1]"])
def test_hosts_of_this_machine(host: str) -> None:
    check_host(host)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:2080", "10.0.0.1", "localhost.evil.example", "[::2]:80", "127.0.0.1.nip.example"]
)
async def test_another_host_is_refused(host: str, tcp: Callable[..., Any]) -> None:
    with pytest.raises(Problem):
        check_host(host)
    status, fields, body = await tcp("GET", "/metrics", headers={"Host": host})
    assert (status, body["code"]) == (403, "PXD-240")
    assert fields["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("host", ["proxy.internal", "Proxy.Internal:2080", "10.0.0.1:2080", "[fd00::1]:2080"])
def test_hosts_that_the_config_names(host: str) -> None:
    check_host(host, {"proxy.internal", "10.0.0.1", "[fd00::1]"})
    with pytest.raises(Problem):
        check_host(host, {"other.internal", "10.0.0.2", "fd00::2"})


def test_the_address_that_was_connected_to() -> None:
    with (
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener,
        socket.create_connection(("127.0.0.1", listener.getsockname()[1])),
        listener.accept()[0] as connection,
    ):
        assert address_of(connection) == "127.0.0.1"


@pytest.mark.parametrize(("origin", "site", "ours"), [
    ("", "", True), ("http://proxy:2080", "same-origin", True), ("", "none", True), ("https://tls.example", "", True),
    ("http://proxy:2081", "", False), ("null", "", False), ("http://evil.example", "", False), ("", "same-site", False),
    ("http://proxy:2080", "cross-site", False),
])
def test_the_page_that_asks(origin: str, site: str, ours: bool) -> None:
    if ours:
        check_origin(origin, site, "Proxy:2080", {"tls.example"})
    else:
        with pytest.raises(Problem):
            check_origin(origin, site, "Proxy:2080", {"tls.example"})


async def test_every_answer_is_for_our_own_pages(tcp: Callable[..., Any]) -> None:
    for path in ("/api/v1/status", "/nothing", "/metrics"):
        _, fields, _ = await tcp("GET", path)
        assert (fields["X-Content-Type-Options"], fields["Cross-Origin-Resource-Policy"]) == ("nosniff", "same-origin")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "TEXT/PLAIN;charset=x"]
)
async def test_what_a_form_can_post_changes_nothing(content_type: str, tcp: Callable[..., Any], daemon: Any) -> None:
    status, _, body = await tcp("POST", "/api/v1/stop", data=b"{}", headers={"Content-Type": content_type})
    assert (status, body["code"]) == (403, "PXD-241")
    assert daemon.asked == []


@pytest.mark.parametrize("fields", [{"Content-Type": "application/json"}, {"Content-Type": "text/plain", "X-Proxyd-Request": "1"}])
async def test_what_needs_a_preflight_is_taken(fields: dict[str, str], tcp: Callable[..., Any], daemon: Any) -> None:
    status, _, _ = await tcp("POST", "/api/v1/stop", data=b"{}", headers=fields)
    assert status == 202
    assert daemon.asked == [("stop", False)]


async def test_no_preflight_is_granted(tcp: Callable[..., Any]) -> None:
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-proxyd-request"}
    status, fields, _ = await tcp("OPTIONS", "/api/v1/stop", headers=asked)
    assert status == 405
    assert not [name for name in fields if name.lower().startswith("access-control")]


def test_no_content_type_is_simple() -> None:
    with pytest.raises(Problem):
        check_not_cross_site("", None)


async def test_a_problem_is_an_object_of_rfc_9457(tcp: Callable[..., Any]) -> None:
    status, fields, body = await tcp("GET", "/nothing")
    assert status == 404
    assert fields["Content-Type"] == "application/problem+json"
    assert fields["Cache-Control"] == "no-store"
    assert body.items() >= {"type": "urn:proxyd:problem:PXD-242", "status": 404, "code": "PXD-242", "instance": "/nothing"}.items()
    assert body["title"]
    assert "/nothing" in body["detail"]


async def test_the_wrong_method_names_the_right_ones(tcp: Callable[..., Any]) -> None:
    status, fields, body = await tcp("POST", "/metrics", headers={"Content-Type": "application/json"})
    assert (status, body["code"]) == (405, "PXD-243")
    assert "GET" in fields["Allow"]


async def test_an_error_of_ours_is_a_problem_without_a_trace(
    tcp: Callable[..., Any], daemon: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("secret inner words")

    monkeypatch.setattr(daemon, "status", fail)
    status, _, body = await tcp("GET", "/api/v1/status")
    assert (status, body["code"]) == (500, "PXD-248")
    assert "secret" not in str(body)
    assert "secret inner words" in caplog.text


def test_users_of_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert peer_of(ours) == (os.getpid(), os.geteuid())
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    check_uid(1000)
    check_uid(0)
    with pytest.raises(Problem) as refusal:
        check_uid(1001)
    assert refusal.value.kind.code == "PXD-246"


async def test_another_user_is_refused_at_the_socket(server: AdminServer, socket_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server believes to run as somebody else, and we are not root to it either."""
    monkeypatch.setattr("proxyd.admin.guard.check_uid", refuse_everybody)
    reader, writer = await asyncio.open_unix_connection(socket_path)
    writer.write(b"GET /api/v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"PXD-246" in answer


def refuse_everybody(uid: int) -> None:
    check_uid(uid + 1 if uid + 1 != os.geteuid() else uid + 2)
