"""The shared tier and the cache-aside over a real redis-server and a real memcached: what the fakes of the suite say is what these say.

At the end of the file: two whole daemons that share such a server, which is stopped, killed and started again under load (issue 4,
acceptance 5).
"""
from __future__ import annotations

import asyncio
import contextlib
import signal
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
from tests.acceptance.stage import Proxyd, ending, free_port
from tests.support.aside_store import ClockedValues
from tests.support.client import connect
from tests.support.clock import FakeClock
from tests.support.origin import Origin
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

    def stop(self) -> None:
        """It hangs: connections are accepted, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

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


# ---------------------------------------------------------------------- whole daemons
TIMEOUT_S, OPEN_S, FAILURES = 0.05, 1.0, 5
CLIENTS = 16
ORIGIN_S = 0.002
SLACK_S = 0.15      # what a request may take beside the tier's timeout where clients, origin and two daemons share two processors


class Daemons:
    """Two, with the same tier and the same origin, whose answers have versions."""

    def __init__(self, folder: Path, server: Server, origin: Origin) -> None:
        self.origin = origin
        self.version = 1
        self.fetched: list[str] = []
        origin.answer = self._answer
        self.ports: list[int] = []
        self.proxyds: list[Proxyd] = []
        for name in ("one", "two"):
            place = folder / name
            place.mkdir()
            port = free_port()
            tier = f"redis: 'redis://127.0.0.1:{server.port}/0'" if server.kind == "redis" else f"memcached: ['127.0.0.1:{server.port}']"
            self.ports.append(port)
            self.proxyds.append(Proxyd(place, (
                f"runtime: {{threads: 2}}\nlog: {{access: none}}\nlisten: '127.0.0.1:{port}'\n"
                f"cache: {{memory: 16MiB, tiers: [memory, shared], shared: {{{tier}, timeout: {TIMEOUT_S * 1000:.0f}ms, "
                f"circuit: {{failures: {FAILURES}, open_for: {OPEN_S:.0f}s}}}}}}\n"
                f"upstreams: {{app: {{servers: ['{origin.address}'], health: {{active: none, passive: none}}}}}}\n"
                "routes: [{to: app, cache: {}}]\n"
            )))

    async def _answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bool:
        path = head.split()[1].decode()
        self.fetched.append(path)
        body = f"{path} {self.version}".encode()
        await asyncio.sleep(ORIGIN_S)      # the time that the origin takes
        fields = f"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nSurrogate-Key: pages\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(fields.encode() + body)
        return True

    async def get(self, which: int, path: str) -> str:
        async with connect(self.ports[which]) as client:
            got = await client.get(path, "Host: shop.example")
            assert got.status == 200, got
            return got.body.decode()

    def total(self, which: int, metric: str, *labels: str) -> float:
        return self.proxyds[which].total(f"proxyd_cache_tier_{metric}", *labels)

    def circuit_open(self, which: int) -> bool:
        return self.total(which, "circuit_open") == 1


@pytest.fixture
async def daemons(server: Server, tmp_path: Path) -> AsyncIterator[Daemons]:
    async with Origin() as origin:
        made = Daemons(tmp_path, server, origin)
        with ending(*made.proxyds):
            yield made
            for proxyd in made.proxyds:
                assert await asyncio.to_thread(proxyd.end) == 0, proxyd.output()


class Load:
    """Keep-alive clients on the first daemon; every fourth request is for what memory has, the others for what nobody has."""

    def __init__(self, daemons: Daemons) -> None:
        self.daemons = daemons
        self.faults: list[str] = []
        self.took: dict[str, list[float]] = {"new": [], "kept": []}
        self._next = 0
        self._over = False

    async def _go_on(self) -> None:
        async with connect(self.daemons.ports[0]) as client:
            while not self._over:
                self._next += 1
                kind = "new" if self._next % 4 else "kept"
                path = f"/new/{self._next}" if kind == "new" else "/kept"
                began = time.monotonic()
                got = await asyncio.wait_for(client.get(path, "Host: shop.example"), 10)
                self.took[kind].append(time.monotonic() - began)
                if got.status != 200 or not got.body.startswith(f"{path} ".encode()):
                    self.faults.append(f"{path}: {got}")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Load]:
        tasks = [asyncio.create_task(self._go_on()) for _ in range(CLIENTS)]
        try:
            yield self
        finally:
            self._over = True
            await asyncio.gather(*tasks)

    async def phase(self, requests: int) -> dict[str, list[float]]:
        """The times of the next so many, by kind, sorted."""
        self.took = {"new": [], "kept": []}
        await until(lambda: min(len(times) for times in self.took.values()) >= requests // 4, "requests are answered", 30)
        return {kind: sorted(times) for kind, times in self.took.items()}


@pytest.mark.parametrize("how", ["killed", "hangs"])
async def test_the_tier_dies_under_load(daemons: Daemons, server: Server, how: str) -> None:
    async with Load(daemons).running() as load:
        await until(lambda: daemons.total(0, "stores_total", 'result="done"') > 10, "the tier is filled")
        before = await load.phase(400)
        assert not daemons.circuit_open(0)
        load.took = {"new": [], "kept": []}
        if how == "killed":
            server.kill()
        else:
            server.stop()
        await until(lambda: daemons.circuit_open(0), "the circuit opens")
        meanwhile = {kind: sorted(times) for kind, times in load.took.items()}
        skipped = daemons.total(0, "lookups_total", 'result="skipped"')
        # The circuit stays open: the task that follows the log tries now and then, no request does.
        without = await load.phase(400)
        assert daemons.total(0, "lookups_total", 'result="skipped"') > skipped
        timeouts = daemons.total(0, "lookups_total", 'result="timeout"') + daemons.total(0, "lookups_total", 'result="error"')
        if how == "killed":
            server.start()
        else:
            server.go_on()
        await until(lambda: not daemons.circuit_open(0), "the circuit closes")
        found = daemons.total(0, "stores_total", 'result="done"')
        await until(lambda: daemons.total(0, "stores_total", 'result="done"') > found, "it is filled again")
        await load.phase(100)
    print(
        f"\n{server.kind} {how}: new keys, median and worst ms: with the tier {_text(before['new'])}, until the circuit opened "
        f"{_text(meanwhile['new'])}, behind it {_text(without['new'])}; kept {_text(before['kept'])}, {_text(meanwhile['kept'])}, "
        f"{_text(without['kept'])}; {timeouts:.0f} look-ups failed"
    )
    assert load.faults == []
    assert max(meanwhile["new"], default=0.0) < TIMEOUT_S + ORIGIN_S + SLACK_S
    assert max(without["new"]) < SLACK_S
    assert without["new"][len(without["new"]) // 2] < TIMEOUT_S, "nobody waits for it any more"
    assert max(meanwhile["kept"], default=0.0) < SLACK_S
    # What one daemon has stored since, the other finds.
    path = f"/after/{how}"
    await until(lambda: not daemons.circuit_open(1), "the other has noticed, too")
    assert await daemons.get(0, path) == f"{path} 1"
    await _shared(daemons, path)
    assert await daemons.get(1, path) == f"{path} 1"
    assert daemons.fetched.count(path) == 1


def _text(times: list[float]) -> str:
    return f"{times[len(times) // 2] * 1000:.1f} / {times[-1] * 1000:.1f}" if times else "-"


async def _shared(daemons: Daemons, path: str) -> None:
    """Wait until what the first has fetched last is in the tier: another, asked later, finds it."""
    stored = daemons.total(0, "stores_total", 'result="done"')
    fetched = len(daemons.fetched)
    await daemons.get(0, f"{path}/behind")
    await until(lambda: daemons.total(0, "stores_total", 'result="done"') > stored, f"{path} is shared")
    assert len(daemons.fetched) == fetched + 1


async def test_a_purge_reaches_the_other(daemons: Daemons) -> None:
    for kind, text in (
        ("url", "http://shop.example/url"), ("prefix", "http://shop.example/"), ("tag", "pages"), ("host", "shop.example"), ("all", ""),
    ):
        path, old = f"/{kind}", daemons.version
        assert await daemons.get(0, path) == f"{path} {old}"
        await _shared(daemons, path)
        assert await daemons.get(1, path) == f"{path} {old}"
        assert daemons.fetched.count(path) == 1, "the other has found it in the tier"
        daemons.version += 1
        done = await asyncio.to_thread(daemons.proxyds[0].run, "cache", "purge", f"--{kind}", *([text] if text else []))
        assert done.returncode == 0, done.stdout + done.stderr
        assert await daemons.get(0, path) == f"{path} {old + 1}", "here nothing old is begun any more"
        end = time.monotonic() + 5
        while (answer := await daemons.get(1, path)) != f"{path} {old + 1}":
            assert answer == f"{path} {old}"
            assert time.monotonic() < end, "the other never hears of it"
        assert daemons.fetched.count(path) in (2, 3), "the other may find in the tier what the first has fetched since"
        assert [await daemons.get(which, path) for which in (0, 1) * 5] == [f"{path} {old + 1}"] * 10
