"""Places at an address of the admin API: who gets one, who gives way, and who is cut off."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from proxyd.admin import door as module
from proxyd.admin.address import parse_address
from proxyd.admin.client import Client, Refused
from proxyd.admin.door import SPARE, Door, Visitor, Visitors
from proxyd.admin.server import AdminServer
from proxyd.config import Config
from proxyd.metrics.admin import AdminCounts
from tests.proxyd.admin.fake_daemon import FakeDaemon, loaded
from tests.support.wait import until

PLACES = 8


@pytest.fixture
def config_of() -> Callable[..., Config]:
    def build(*binds: str, places: int = PLACES) -> Config:
        return loaded(f"listen: :8080\nto: [127.0.0.1:9001]\nadmin: {{bind: {list(binds)}, max_connections: {places}}}\n")

    return build


class Peer:
    """The other end of a connection to TCP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, text: str) -> None:
        self.writer.write(text.replace("\n", "\r\n").encode())

    def ask(self, path: str, method: str = "GET") -> None:
        self.send(f"{method} {path} HTTP/1.1\nHost: localhost\nX-Proxyd-Request: 1\n\n")

    async def head(self) -> str:
        return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def answer(self, path: str) -> tuple[str, str]:
        """Head and body."""
        self.ask(path)
        head = await self.head()
        length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
        return head, (await self.reader.readexactly(length)).decode()

    async def ended(self) -> bool:
        """Whether it is closed by the other side, without anything more."""
        try:
            return not await self.reader.read()
        except ConnectionResetError:
            return True


@asynccontextmanager
async def connected(server: AdminServer) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.addresses[1].rpartition(":")[2]))
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def all_busy(server: AdminServer, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Event]:
    """Every place of TCP has a request that is not answered before the event."""
    go, under_way, reload = asyncio.Event(), 0, daemon.reload

    async def wait(*arguments: Any, **words: Any) -> Any:
        nonlocal under_way
        under_way += 1
        await go.wait()
        return await reload(*arguments, **words)

    monkeypatch.setattr(daemon, "reload", wait)
    async with AsyncExitStack() as stack:
        for _ in range(PLACES):
            (await stack.enter_async_context(connected(server))).ask("/api/v1/config", "POST")
        await until(lambda: under_way == PLACES, "all are busy")
        yield go


async def test_a_slow_head_is_cut_off(server: AdminServer, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(server) as second:
        assert "200 OK" in (await second.answer("/live"))[0]
        monkeypatch.setattr(module, "HEAD_S", 0.02)
        async with connected(server) as silent, connected(server) as slow:
            slow.send("GET /live HTTP/1.1\nHost: local")
            second.send("GET /live HTTP/1.1\nHo")
            assert [await peer.ended() for peer in (silent, slow, second)] == [True] * 3
    assert daemon.admin_counts.rejected["tcp", "head"] == 3
    await until(lambda: not daemon.admin_counts.open["tcp"], "their places are free")


async def test_an_answer_that_takes_long_is_not_cut_off(
    server: AdminServer, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with all_busy(server, daemon, monkeypatch) as go:
        monkeypatch.setattr(module, "HEAD_S", 0.02)
        async with connected(server) as idle:
            assert await idle.ended(), "the time for a head is over"
        assert daemon.admin_counts.open["tcp"] == PLACES
        go.set()


async def test_who_rests_longest_gives_way(server: AdminServer, daemon: FakeDaemon) -> None:
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(connected(server)) for _ in range(PLACES)]
        for peer in peers:
            await peer.answer("/live")
        await peers[0].answer("/live")
        newcomer = await stack.enter_async_context(connected(server))
        assert "200 OK" in (await newcomer.answer("/api/v1/routes"))[0]
        assert await peers[1].ended()
        assert "200 OK" in (await peers[0].answer("/api/v1/routes"))[0]
    assert (daemon.admin_counts.rejected["tcp", "room"], daemon.admin_counts.accepted["tcp"]) == (1, PLACES + 1)


async def test_where_all_are_busy_what_is_vital_is_answered(
    server: AdminServer, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with all_busy(server, daemon, monkeypatch) as go:
        for path in ("/live", "/ready", "/api/v1/status"):
            async with connected(server) as vital:
                head, _ = await vital.answer(path)
                assert ("200 OK" in head, "Connection: close" in head) == (True, True)
                assert await vital.ended()
        async with connected(server) as other:
            head, body = await other.answer("/api/v1/routes")
            assert "503 " in head
            assert "Retry-After: 1\r\n" in head
            assert "application/problem+json" in head
            assert '"PXD-275"' in body
            assert await other.ended()
        assert daemon.admin_counts.rejected["tcp", "limit"] == 1
        unix = Client(parse_address(server.addresses[0]))
        assert await asyncio.to_thread(lambda: unix.get("/routes")), "it has places of its own"
        go.set()


async def test_the_bound_follows_the_config(server: AdminServer, daemon: FakeDaemon, config_of: Any, socket_path: str) -> None:
    await server.apply(config_of(f"unix:{socket_path}", "127.0.0.1:0", places=9))
    async with AsyncExitStack() as stack:
        for _ in range(9):
            await (await stack.enter_async_context(connected(server))).answer("/live")
        assert (daemon.admin_counts.open["tcp"], daemon.admin_counts.rejected["tcp", "room"]) == (9, 0)


async def test_streams_have_half_of_the_places(server: AdminServer, daemon: FakeDaemon) -> None:
    tcp = Client(parse_address(server.addresses[1]))
    async with AsyncExitStack() as stack:
        for _ in range(PLACES // 2):
            peer = await stack.enter_async_context(connected(server))
            peer.ask("/api/v1/stats/stream")
            assert "200 OK" in await peer.head()
        with pytest.raises(Refused, match="4 clients listen here already"):
            await asyncio.to_thread(lambda: tcp.get("/stats/stream"))
    await until(lambda: not daemon.admin_counts.open["tcp"], "all have gone")


# ---------------------------------------------------------------------- without sockets
class Handler(asyncio.Protocol):
    """In the place of aiohttp's."""


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.ends: list[str] = []
        self.sending = 0

    def abort(self) -> None:
        self.ends.append("abort")

    def close(self) -> None:
        self.ends.append("close")

    def get_write_buffer_size(self) -> int:
        return self.sending


def door_of(limit: int) -> tuple[Door, AdminCounts, Visitors]:
    known: Visitors = {}
    counts = AdminCounts()
    door = Door(Handler, known, counts, "tcp")
    door.limit = limit
    return door, counts, known


def enter(door: Door) -> tuple[Visitor, Transport]:
    visitor, transport = door(), Transport()
    visitor.connection_made(transport)
    return visitor, transport


async def test_beyond_the_spare_places_nobody_is_let_in() -> None:
    door, counts, known = door_of(2)
    found = [enter(door) for _ in range(2)]
    for visitor, _ in found:
        visitor.begin()
    for _ in range(SPARE):
        found.append(enter(door))
        found[-1][0].begin()
    assert [visitor.spare for visitor, _ in found] == [False] * 2 + [True] * SPARE
    last, transport = enter(door)
    assert (transport.ends, counts.rejected["tcp", "limit"], counts.open["tcp"], len(known)) == (["abort"], 1, 2 + SPARE, 2 + SPARE)
    for visitor in (last, *(visitor for visitor, _ in found)):
        visitor.connection_lost(None)
    assert (counts.open["tcp"], len(known), counts.accepted["tcp"]) == (0, 0, 3 + SPARE)


async def test_a_spare_place_becomes_an_ordinary_one_when_there_is_room() -> None:
    door, _, _ = door_of(1)
    first, _ = enter(door)
    first.begin()
    second, _ = enter(door)
    second.begin()
    assert second.spare
    second.end()
    first.connection_lost(None)
    second.begin()
    assert not second.spare


async def test_who_begins_to_ask_is_not_the_one_that_rests_longest() -> None:
    door, _, _ = door_of(2)
    (first, ends), (second, others) = enter(door), enter(door)
    for visitor in (first, second):
        visitor.begin()
        visitor.end()
    first.data_received(b"GET /")
    enter(door)
    assert (ends.ends, others.ends) == ([], ["close"])


async def test_who_is_being_sent_an_answer_does_not_give_way() -> None:
    door, _, _ = door_of(2)
    (_, first), (_, second) = enter(door), enter(door)
    first.sending = 10
    enter(door)
    assert (first.ends, second.ends) == ([], ["close"])


async def test_who_takes_nothing_of_an_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_S", 0.01)
    door, counts, _ = door_of(2)
    (visitor, transport), (other, others) = enter(door), enter(door)
    for each in (visitor, other):
        each.begin()
        each.pause_writing()
    other.resume_writing()
    await until(lambda: transport.ends == ["abort"], "it is cut off")
    assert (counts.rejected["tcp", "stalled"], others.ends) == (1, [])
