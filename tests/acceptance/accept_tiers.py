"""The shared tier and the cache-aside over a real redis-server and a real memcached: what the fakes of the suite say is what these say."""
from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from proxyd.aside import AsideCache, TextCodec
from proxyd.cachetier import Link, TierSettings
from proxyd.cachetier.tier import PurgeKind
from proxyd.clock import SystemClock
from tests.acceptance.stage import free_port
from tests.support.aside_store import ClockedValues
from tests.support.clock import FakeClock
from tests.support.tier_store import FakeObject, FakeStore
from tests.support.wait import until

HASTY_S = 0.05


class Server:
    """A program that can be killed and started again on its port."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def settings(self, timeout_s: float = HASTY_S) -> TierSettings:
        redis = f"redis://127.0.0.1:{self.port}/0" if self.kind == "redis" else ""
        memcached = "" if redis else f"127.0.0.1:{self.port}"
        return TierSettings(redis, memcached, timeout_s=timeout_s, circuit_failures=3, circuit_open_s=0.2, poll_s=0.1)

    def start(self) -> None:
        command = (
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
            if self.kind == "redis" else ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(self.port), "-m", "64"]
        )
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert time.monotonic() < end, f"{self.kind} does not start"
            time.sleep(0.02)       # a program of others, which has no other sign

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(params=["redis", "memcached"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    made = Server(request.param, tmp_path)
    made.start()
    yield made
    made.kill()


class Node:
    def __init__(self, link: Link, store: FakeStore) -> None:
        self.link = link
        self.store = store

    async def share(self, stored: FakeObject) -> bool:
        return await self.link.store(
            stored.key, stored.blob(), 60, self.link.mark, vary=stored.vary, variant=stored.variant, url=stored.url, tags=stored.tags)

    async def look(self, stored: FakeObject, variant: bytes | None = b"") -> int:
        return await self.link.lookup(stored.key, variant, self.store.load)



@pytest.fixture
async def nodes(server: Server) -> AsyncIterator[tuple[Node, Node]]:
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(2):
            store = FakeStore()
            link = Link(server.settings(), store, SystemClock())
            await link.start()
            stack.push_async_callback(link.close)
            made.append(Node(link, store))
        await until(lambda: all(each.link.mark.token for each in made))
        yield made[0], made[1]


async def test_stored_found_and_expired(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    plain = FakeObject(text="plain")
    assert await one.share(plain)
    assert await two.look(plain, None) == 1
    for word in ("de", "en"):
        assert await one.share(FakeObject(key=b"app\0v", vary="accept-language", variant=word.encode(), text=word))
    assert await two.look(FakeObject(key=b"app\0v"), b"en") == 1
    assert await two.look(FakeObject(key=b"app\0v"), None) == 2
    assert two.store.texts() == ["de", "en", "plain"]
    assert await one.link.store(b"app\0s", b"{}", 1, one.link.mark)
    deadline = time.monotonic() + 5
    while await two.link.lookup(b"app\0s", b"", lambda _: True):
        assert time.monotonic() < deadline, "it expires"
        await asyncio.sleep(0.1)       # the server's own clock
    assert await one.link.forget(plain.key)
    assert await two.look(plain) == 0


@pytest.mark.parametrize(("kind", "text"), [("url", "http://a/x"), ("prefix", "http://a/"), ("host", "a"), ("tag", "t"), ("all", "")])
async def test_purged_everywhere(nodes: tuple[Node, Node], kind: PurgeKind, text: str) -> None:
    one, two = nodes
    stored = FakeObject(tags=["t"])
    two.store.hold(stored)
    assert await one.share(stored)
    assert (await one.link.purge(kind, text))[1]
    assert await one.look(stored) == await two.look(stored) == 0
    await until(lambda: two.store.purges == [(kind, text, False)])
    await until(lambda: one.link.mark == two.link.mark)
    assert await one.share(stored)
    assert await two.look(stored) == 1


async def test_killed_and_back(server: Server, nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    stored = FakeObject(tags=["t"])
    assert await one.share(stored)
    server.kill()
    slowest = 0.0
    for _ in range(20):
        began = time.monotonic()
        assert await one.look(stored) == 0
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < HASTY_S + 0.1, "one lookup costs the timeout at most"
    assert one.link.circuit_open
    assert one.link.counters.lookup_skipped >= 10
    assert await one.link.purge("tag", "t") == (0, False)
    server.start()
    await until(lambda: not any(node.link.circuit_open or node.link.unsent for node in nodes))
    await until(lambda: one.link.mark.token == two.link.mark.token and one.link.mark == two.link.mark)
    await until(lambda: ("tag", "t", False) in two.store.purges)
    assert await two.share(stored)
    assert await one.look(stored) == 1


async def test_one_lock(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    assert await one.link.lock(b"k", b"one", 30.0) is True
    assert await two.link.lock(b"k", b"two", 30.0) is False
    await two.link.unlock(b"k", b"two")
    assert await two.link.lock(b"k", b"two", 30.0) is False
    await one.link.unlock(b"k", b"one")
    assert await two.link.lock(b"k", b"two", 30.0) is True


async def test_a_thousand_callers_on_two_nodes_one_load(nodes: tuple[Node, Node]) -> None:
    loads = 0
    go = asyncio.Event()

    async def load() -> str:
        nonlocal loads
        loads += 1
        await go.wait()
        return "value"

    async with AsyncExitStack() as stack:
        caches = [
            await stack.enter_async_context(AsideCache(ClockedValues(FakeClock()), codec=TextCodec(), link=node.link)) for node in nodes
        ]
        callers = [asyncio.ensure_future(cache.get_or_load("k", load, 60)) for cache in caches for _ in range(500)]
        await until(lambda: loads and any(cache._shared is not None and cache._shared.waited for cache in caches))
        go.set()
        assert await asyncio.gather(*callers) == ["value"] * 1_000
    assert loads == 1
