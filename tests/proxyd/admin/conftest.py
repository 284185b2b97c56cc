"""The admin server on real sockets over a daemon without engines."""
from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from proxyd.admin.address import parse_address
from proxyd.admin.client import Answer, Client
from proxyd.admin.server import AdminServer
from proxyd.config import Config
from proxyd.diagnostics import Diagnostic
from tests.proxyd.admin.fake_daemon import UNKNOWN_KEY, FakeDaemon, loaded


@pytest.fixture
def unknown_key() -> Diagnostic:
    return UNKNOWN_KEY


@pytest.fixture
def daemon() -> FakeDaemon:
    return FakeDaemon()


@pytest.fixture
def config_of() -> Callable[..., Config]:
    """A config whose admin API listens at these addresses."""

    def build(*binds: str) -> Config:
        return loaded(f"listen: :8080\nto: [127.0.0.1:9001]\nadmin: {{bind: {json.dumps(binds)}}}\n")

    return build


@pytest.fixture
def socket_path(tmp_path: Path) -> str:
    return str(tmp_path / "admin.sock")


@pytest.fixture
async def server(daemon: FakeDaemon, socket_path: str, config_of: Callable[..., Config]) -> AsyncIterator[AdminServer]:
    """Listens on a unix socket and on loopback."""
    found = AdminServer(daemon)
    await found.apply(config_of(f"unix:{socket_path}", "127.0.0.1:0"))
    await found.begin()
    yield found
    daemon.left.set()            # streams end when the daemon leaves, and it closes its server last
    await found.close()


@pytest.fixture
def ask(server: AdminServer) -> Callable[..., Awaitable[Answer]]:
    """One request over the unix socket by the command line's own client, on a thread because the server shares our loop."""
    client = Client(parse_address(server.addresses[0]))

    async def send(method: str, path: str, **words: Any) -> Answer:
        return await asyncio.to_thread(lambda: client.send(method, path, **words))

    return send
