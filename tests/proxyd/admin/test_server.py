from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxyd.admin.address import parse_address
from proxyd.admin.client import Client
from proxyd.admin.server import AdminServer, refuse_unsafe
from proxyd.config import Config
from proxyd.config.address import BindAddress
from proxyd.state import DaemonError

Configs = Callable[..., Config]


async def live(address: str) -> bool:
    """Whether the admin API answers there."""
    answer = await asyncio.to_thread(lambda: Client(parse_address(address)).get("/live"))
    return bool(answer["live"])


def exists(path: str) -> bool:
    return Path(path).exists()


async def test_both_kinds_of_address_answer(server: AdminServer, socket_path: str) -> None:
    unix, tcp = server.addresses
    assert unix == f"unix:{socket_path}"
    assert not tcp.endswith(":0"), "the real port is told"
    assert await live(unix)
    assert await live(tcp)


async def test_only_the_owner_may_open_the_socket(server: AdminServer, socket_path: str) -> None:
    assert stat.S_IMODE(os.stat(socket_path).st_mode) == 0o600


async def test_a_reload_keeps_what_stays_and_closes_what_goes(server: AdminServer, socket_path: str, config_of: Configs) -> None:
    unix, tcp = server.addresses
    inode = os.stat(socket_path).st_ino
    await server.apply(config_of(f"unix:{socket_path}"))
    assert server.addresses == [unix]
    assert os.stat(socket_path).st_ino == inode, "the same socket all the time"
    assert await live(unix)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(tcp.rpartition(":")[2])))
    await server.apply(config_of("127.0.0.1:0"))
    assert not exists(socket_path)


async def test_a_request_under_way_is_answered_although_its_address_goes(
    server: AdminServer, daemon: Any, config_of: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reload that takes the address away may itself have come in by it."""
    reload = daemon.reload

    async def leave_and_reload(*arguments: Any, **words: Any) -> Any:
        await server.apply(config_of("127.0.0.1:0"))
        return await reload(*arguments, **words)

    monkeypatch.setattr(daemon, "reload", leave_and_reload)
    client = Client(parse_address(server.addresses[0]))
    answer = await asyncio.to_thread(lambda: client.post("/config"))
    assert answer["ok"]


async def test_a_taken_port_refuses_the_config_and_changes_nothing(server: AdminServer, socket_path: str, config_of: Configs) -> None:
    before = server.addresses
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(DaemonError) as failure:
            await server.apply(config_of(f"unix:{socket_path}2", f"127.0.0.1:{port}", "unix:/nowhere/at/all"))
    found = [(entry.code, entry.path) for entry in failure.value.diagnostics]
    assert found == [("PXD-070", "admin.bind[1]"), ("PXD-070", "admin.bind[2]")]
    assert str(port) in str(failure.value)
    assert server.addresses == before
    assert not exists(f"{socket_path}2"), "what was bound before the failure is let go"
    assert await live(before[0])


async def test_a_stale_socket_is_replaced_and_a_living_one_is_not(daemon: Any, socket_path: str, config_of: Configs) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(socket_path)
        other.listen()
        with pytest.raises(DaemonError):
            await AdminServer(daemon).apply(config_of(f"unix:{socket_path}"))
    server = AdminServer(daemon)                     # the file is there, but nobody behind it
    await server.apply(config_of(f"unix:{socket_path}"))
    await server.begin()
    assert await live(f"unix:{socket_path}")
    await server.close()


@pytest.mark.parametrize("host", ["", "0.0.0.0", "10.0.0.1", "::"])
def test_it_never_listens_for_others(host: str) -> None:
    with pytest.raises(DaemonError) as failure:
        refuse_unsafe(BindAddress(host=host, port=2080))
    assert failure.value.diagnostics[0].code == "PXD-071"
    refuse_unsafe(BindAddress(host=host, port=2080), asks=True)


async def test_addresses_given_to_it_stand_for_those_of_the_config(daemon: Any, socket_path: str, config_of: Configs) -> None:
    server = AdminServer(daemon, [BindAddress(path=socket_path)])
    await server.apply(config_of("127.0.0.1:0"))
    await server.begin()
    assert server.addresses == [f"unix:{socket_path}"]
    await server.close()
    assert server.addresses == []
    assert not exists(socket_path)


async def test_a_second_daemon_takes_the_socket_beside(
    daemon: Any, tmp_path: Path, config_of: Configs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("proxyd.admin.address.socket_folders", lambda environ=None, uid=None: [tmp_path / "run"])
    first, second = AdminServer(daemon), AdminServer(daemon)
    await first.apply(config_of("auto"))
    await second.apply(config_of("auto"))
    await second.begin()
    assert first.addresses == [f"unix:{tmp_path}/run/admin.sock"]
    assert second.addresses == [f"unix:{tmp_path}/run/admin-{os.getpid()}.sock"]
    assert "another proxyd has the admin socket" in caplog.text
    assert await live(second.addresses[0])
    await first.close()
    await second.close()
