from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from proxyd.admin.client import Answer, Refused
from proxyd.admin.server import AdminServer

Ask = Callable[..., Awaitable[Answer]]

ONE = "/upstreams/app/servers/10.0.0.1%3A80"


async def test_one_upstream(ask: Ask) -> None:
    found = (await ask("GET", "/upstreams/app")).json()
    assert (found["name"], found["usable"], found["leaving"], found["overrides"]) == ("app", 1, [], [])
    assert found == (await ask("GET", "/upstreams")).json()[0]
    with pytest.raises(Refused) as refusal:
        await ask("GET", "/upstreams/nope")
    assert (refusal.value.status, refusal.value.code) == (404, "PXD-220")


async def test_a_change_is_carried_out_and_leaves_one_audit_record(ask: Ask, daemon: Any) -> None:
    answer = await ask("PATCH", ONE, body=b'{"state": "drain", "weight": 2}', query={"force": "1"})
    assert answer.status == 200
    assert (answer.json()["changed"], answer.json()["servers"], answer.json()["upstream"]["name"]) == (True, ["10.0.0.1:80"], "app")
    (_, upstream, server, orders, by, force), = daemon.asked
    assert (upstream, server, orders, force) == ("app", "10.0.0.1:80", {"state": "drain", "weight": 2}, True)
    assert by
    record, = await daemon.audit.last(9)
    assert (record["action"], record["target"], record["who"], record["result"]) == ("server.change", "app/10.0.0.1:80", by, "ok")
    assert record["detail"] == {"text": "app/10.0.0.1:80 changed", "changed": True, "forced": True}
    assert record["origin"] == f"unix pid {os.getpid()}"


async def test_what_was_so_already_is_recorded_as_such(ask: Ask, daemon: Any) -> None:
    daemon.same = True
    assert (await ask("PATCH", ONE, body=b'{"weight": 2}')).json()["changed"] is False
    record, = await daemon.audit.last(9)
    assert record["detail"] == {"text": "app/10.0.0.1:80 changed", "changed": False}


async def test_servers_are_added_and_removed(ask: Ask, daemon: Any) -> None:
    answer = await ask("POST", "/upstreams/app/servers", body=b'{"address": "unix:/run/app.sock", "backup": true}')
    assert (answer.status, answer.json()["text"]) == (201, "app/unix:/run/app.sock added")
    assert (await ask("DELETE", "/upstreams/app/servers/unix%3A%2Frun%2Fapp.sock")).status == 200
    assert (await ask("DELETE", "/upstreams/app/servers/%5B%3A%3A1%5D%3A80")).status == 200
    assert [entry[:3] for entry in daemon.asked] == [
        ("add", "app", {"address": "unix:/run/app.sock", "backup": True}), ("remove", "app", "unix:/run/app.sock"),
        ("remove", "app", "[::1]:80")]


@pytest.mark.parametrize(("method", "path", "body", "status", "code"), [
    ("PATCH", "/upstreams/nope/servers/10.0.0.1:80", b'{"weight": 1}', 404, "PXD-220"),
    ("DELETE", "/upstreams/nope/servers/10.0.0.1:80", b"", 404, "PXD-220"),
    ("PATCH", "/upstreams/app/servers/10.0.0.9:80", b'{"state": "drain"}', 409, "PXD-222"),
    ("PATCH", ONE, b"[]", 400, "PXD-244"),
    ("PATCH", ONE + "?force=perhaps", b'{"weight": 1}', 400, "PXD-244"),
    ("PUT", ONE, b"{}", 405, "PXD-243"),
])
async def test_refusals_are_problems_with_a_code(ask: Ask, method: str, path: str, body: bytes, status: int, code: str) -> None:
    with pytest.raises(Refused) as refusal:
        await ask(method, path, body=body)
    assert (refusal.value.status, refusal.value.code) == (status, code)


@pytest.mark.parametrize("method", ["PATCH", "DELETE", "POST"])
async def test_a_web_page_cannot_change_anything(method: str, server: AdminServer, daemon: Any) -> None:
    path = "/api/v1/upstreams/app/servers" + ("" if method == "POST" else "/10.0.0.1:80")
    async with aiohttp.ClientSession(f"http://{server.addresses[1]}") as session:
        for headers, status in (({"Content-Type": "text/plain"}, 403), ({"Content-Type": "application/json"}, 200)):
            async with session.request(method, path, data=b'{"address": "10.0.0.3:80"}', headers=headers) as answer:
                assert answer.status in (status, status + (1 if method == "POST" else 0))
    assert len(daemon.asked) == 1
    assert daemon.asked[0][-1 if method == "POST" else -2] == "127.0.0.1", "over TCP nobody can tell who it was"
