"""Whose request it is, behind proxies that are believed and others."""
from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from proxyd.admin.attempts import BURST
from proxyd.admin.forwarded import Trust
from proxyd.admin.server import AdminServer
from proxyd.config import Config, load_text
from tests.proxyd.admin.test_access import PASSWORDS, USERS, basic

LISTS = [
    ("192.0.2.7", ["203.0.113.1"], "192.0.2.7"),                                   # nobody has said that it is a proxy
    ("10.0.0.1", [], "10.0.0.1"),
    ("10.0.0.1", ["203.0.113.1"], "203.0.113.1"),
    ("::ffff:10.0.0.1", ["203.0.113.1"], "203.0.113.1"),
    ("10.0.0.1", ["198.51.100.9, 203.0.113.1"], "203.0.113.1"),                    # what stands left of it was told by the client
    ("10.0.0.1", ["198.51.100.9", "203.0.113.1, 10.0.0.2"], "203.0.113.1"),
    ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    ("10.0.0.1", ["203.0.113.1, unknown, 10.0.0.2"], "10.0.0.2"),
    ("10.0.0.1", ["203.0.113.1,"], "10.0.0.1"),
    ("10.0.0.1", ["203.0.113.1:4711"], "203.0.113.1"),
    ("10.0.0.1", ["[2001:DB8::1]:4711"], "2001:db8::1"),
    ("2001:db8::a", ["2001:db8:0::1"], "2001:db8::1"),
    ("None", ["203.0.113.1"], "None"),
]
FORWARDED = [
    (["for=203.0.113.1"], "203.0.113.1"),
    (["for=198.51.100.9, for=203.0.113.1;proto=https;by=10.0.0.1"], "203.0.113.1"),
    (['proto=http; For="[2001:db8::1]:4711"'], "2001:db8::1"),
    (["proto=http"], "10.0.0.1"),
    (["for=203.0.113.1, for=_hidden"], "10.0.0.1"),
    (["203.0.113.1"], "10.0.0.1"),
]


def trust(header: str) -> Trust:
    found = Trust()
    found.use(config_with(f"{{trust: [10.0.0.0/8, '2001:db8::a'], header: {header}}}").admin.client_ip)
    return found


def config_with(client_ip: str) -> Config:
    admin = f"{{bind: '127.0.0.1:0', client_ip: {client_ip}, users: {{{USERS}}}}}"
    result = load_text(f"listen: ':1'\nto: 'a:1'\nadmin: {admin}\n", env=PASSWORDS)
    assert result.config is not None, result.errors
    return result.config


@pytest.mark.parametrize(("peer", "fields", "client"), LISTS)
def test_lists_of_addresses(peer: str, fields: list[str], client: str) -> None:
    assert trust("X-Forwarded-For").client(peer, fields) == client


@pytest.mark.parametrize(("fields", "client"), FORWARDED)
def test_forwarded(fields: list[str], client: str) -> None:
    assert trust("Forwarded").client("10.0.0.1", fields) == client


@pytest.fixture
async def behind(daemon: Any) -> AsyncIterator[AdminServer]:
    """A server that believes this machine."""
    found = AdminServer(daemon)
    await found.apply(config_with("{trust: 127.0.0.1}"))
    await found.begin()
    yield found
    await found.close()


async def status(server: AdminServer, client: str, password: str) -> int:
    fields = basic("ops", password) | {"X-Forwarded-For": client}
    async with aiohttp.ClientSession() as session, session.get(f"http://{server.addresses[0]}/api/v1/status", headers=fields) as answer:
        return answer.status


async def test_each_client_behind_a_proxy_has_attempts_of_its_own(behind: AdminServer) -> None:
    assert [await status(behind, "198.51.100.9, 2001:db8:1::1", "wrong") for _ in range(BURST)] == [401] * BURST
    assert await status(behind, "2001:db8:1::2", PASSWORDS["OPS"]) == 429, "another address of the same line"
    assert await status(behind, "198.51.100.9", PASSWORDS["OPS"]) == 200, "what the client said itself counted for nobody"
    await behind.apply(config_with("{trust: 192.0.2.1}"))
    assert await status(behind, "2001:db8:1::2", PASSWORDS["OPS"]) == 200, "nobody is believed any more"


async def test_the_audit_trail_names_the_client(behind: AdminServer, daemon: Any) -> None:
    async with aiohttp.ClientSession(headers=basic("ops", PASSWORDS["OPS"]) | {"X-Forwarded-For": "203.0.113.1"}) as session:
        body = json.dumps({"all": True})
        address = f"http://{behind.addresses[0]}/api/v1/cache/purge"
        async with session.post(address, data=body, headers={"Content-Type": "application/json"}) as answer:
            assert answer.status == 200
    record, = await daemon.audit.last(10)
    assert (record["who"], record["origin"], record["action"]) == ("ops", "203.0.113.1", "cache.purge")
