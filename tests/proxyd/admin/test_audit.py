"""Every request that changes something, or would have, leaves one audit record."""
from __future__ import annotations

import os
import pwd
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from proxyd.admin.audit import STRANGERS_A_MINUTE
from proxyd.admin.client import Answer, Refused
from proxyd.admin.server import AdminServer
from tests.support.clock import FakeClock

Ask = Callable[..., Awaitable[Answer]]

FORM = {"Content-Type": "application/x-www-form-urlencoded"}      # what a page of another site could send


async def records(daemon: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await daemon.audit.last(200)
    return found


async def test_who_did_what_from_where(ask: Ask, daemon: Any) -> None:
    await ask("POST", "/config")
    await ask("POST", "/config/rollback/4")
    await ask("POST", "/stop")
    name = pwd.getpwuid(os.getuid()).pw_name
    facts = [(record["who"], record["origin"], record["action"], record["target"], record["result"]) for record in await records(daemon)]
    assert facts == [
        (name, f"unix pid {os.getpid()}", "config.reload", "def456", "ok"),
        (name, f"unix pid {os.getpid()}", "config.rollback", "4", "ok"),
        (name, f"unix pid {os.getpid()}", "daemon.stop", "", "ok"),
    ]
    assert (await records(daemon))[0]["detail"] == {"changed": True, "entry": 6, "plan": "1 route added, 3 connections will drain"}


async def test_what_only_looks_leaves_none(ask: Ask, daemon: Any) -> None:
    await ask("GET", "/status")
    await ask("GET", "/config/diff")
    await ask("POST", "/config", query={"dry_run": "1"})
    await ask("POST", "/check")
    await ask("POST", "/route/explain", body=b'{"url": "/x"}')
    assert await records(daemon) == []


@pytest.mark.parametrize(("method", "path", "query", "body", "code", "target"), [
    ("POST", "/config", {"guard": "x"}, b"", "PXD-253", ""),
    ("POST", "/config/confirm", {}, b"", "PXD-252", ""),
    ("POST", "/config/rollback/99", {}, b"", "PXD-250", "99"),
    ("PATCH", "/upstreams/app/servers/10.0.0.9:80", {}, b'{"state": "drain"}', "PXD-222", "app/10.0.0.9:80"),
    ("POST", "/cache/purge", {}, b"{}", "PXD-244", ""),
    ("POST", "/limits/none/reset", {}, b"{}", "PXD-225", "none"),
])
async def test_refusals_are_recorded_with_their_code(
    ask: Ask, daemon: Any, method: str, path: str, query: dict[str, str], body: bytes, code: str, target: str
) -> None:
    with pytest.raises(Refused):
        await ask(method, path, query=query, body=body)
    record, = await records(daemon)
    assert (record["result"], record["code"], record["target"]) == ("refused", code, target)


async def test_a_refused_config_is_recorded_with_its_error(ask: Ask, daemon: Any, unknown_key: Any) -> None:
    daemon.refusal = (unknown_key,)
    with pytest.raises(Refused):
        await ask("POST", "/config")
    record, = await records(daemon)
    assert (record["code"], record["detail"]["error"]) == ("PXD-247", "proxyd.yaml:2:1: unknown option `too` [PXD-021]")


async def test_an_error_of_our_own_is_recorded(ask: Ask, daemon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(orders: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(daemon, "purge", broken)
    with pytest.raises(Refused):
        await ask("POST", "/cache/purge", body=b'{"all": true}')
    record, = await records(daemon)
    assert (record["result"], record["code"], record["target"]) == ("refused", "PXD-248", "everything")


@pytest.fixture
async def clocked(daemon: Any, config_of: Any) -> AsyncIterator[tuple[str, FakeClock]]:
    """The address of a server whose clock stands still."""
    clock = FakeClock()
    server = AdminServer(daemon, clock=clock)
    await server.apply(config_of("127.0.0.1:0"))
    await server.begin()
    yield server.addresses[0], clock
    await server.close()


async def test_strangers_are_recorded_but_cannot_fill_the_disk(daemon: Any, clocked: tuple[str, FakeClock]) -> None:
    address, clock = clocked
    async with aiohttp.ClientSession(f"http://{address}") as session:
        for _ in range(STRANGERS_A_MINUTE + 10):
            async with session.post("/api/v1/stop", data="a=b", headers=FORM) as answer:
                assert answer.status == 403
        found = await records(daemon)
        assert len(found) == STRANGERS_A_MINUTE
        assert (found[0]["who"], found[0]["origin"], found[0]["code"]) == ("127.0.0.1", "127.0.0.1", "PXD-241")
        clock.pass_time(1.5)
        async with session.post("/api/v1/stop", data="a=b", headers=FORM):
            pass
    assert (await records(daemon))[-1]["detail"] == {"unrecorded_before": 10}


async def test_what_can_be_read_of_it(ask: Ask, daemon: Any) -> None:
    for _ in range(3):
        await ask("POST", "/config")
    found = (await ask("GET", "/audit", query={"limit": "2"})).json()
    assert ([record["seq"] for record in found["last"]], found["records"], found["file"]) == ([2, 3], 3, "")
    assert found["head"] == found["last"][-1]["hash"]
    for limit in ("0", "x", "1001"):
        with pytest.raises(Refused, match="1 to 1000"):
            await ask("GET", "/audit", query={"limit": limit})
