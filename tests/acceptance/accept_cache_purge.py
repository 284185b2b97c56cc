"""Issue 4, acceptance 4: no stale answer is begun after a purge has returned, on any engine, whatever it is told by; and what soft ones do.

The origin takes the version of what it answers with when it is asked, and answers later: a fetch that began before a purge must not answer
requests that come after it. Readers note, with each request that they send, which version they have to get at least.
"""
from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from tests.acceptance.stage import Proxyd, Wrk, allow_descriptors, ending, free_port
from tests.support.client import Client, connect
from tests.support.origin import Origin
from tests.support.wait import until

THREADS = 4
READERS = 24
PAGES = 8
LARGE = 200_000             # bytes of every fourth page: more than one piece
PURGES = 80                 # of each kind, over the admin API, and by PURGE
BY_CLI = 3                  # of each kind: each is a process of its own
READS_BETWEEN = 60
KINDS = ("url", "prefix", "tag", "host", "all")


class Scene:
    """Pages with versions, behind four engines."""

    def __init__(self, folder: Path, origin: Origin, grace: str = "none") -> None:
        self.port = free_port()
        self.origin = origin
        self.version = [1] * PAGES
        self.least = [1] * PAGES            # that a request which is sent now has to get
        self.delay_s: Callable[[], float] = lambda: random.choice((0.0, 0.0, 0.002, 0.01))
        self.fetched: Counter[int] = Counter()
        self.reads = self.old = 0
        self.faults: list[str] = []
        origin.answer = self._answer
        self.proxyd = Proxyd(folder, (
            f"runtime: {{threads: {THREADS}}}\nlog: {{access: none}}\n"
            f"listeners: {{web: {{bind: ['127.0.0.1:{self.port}'], limits: {{per_client: 20000}}}}}}\n"
            "cache: {memory: 64MiB, purge: {allow: [127.0.0.1]}}\n"
            f"upstreams: {{app: {{servers: ['{origin.address}'], health: {{active: none, passive: none}}}}}}\n"
            f"routes: [{{to: app, cache: {{grace: {{stale_while_revalidate: {grace}}}}}}}]\n"
        ))

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def _answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bool:
        page = int(head.split()[1].rpartition(b"/")[2])
        self.fetched[page] += 1
        body = b"%08d" % self.version[page] * (LARGE // 8 if page % 4 == 3 else 8)
        if delay := self.delay_s():
            await asyncio.sleep(delay)
        fields = f"Cache-Control: max-age=3600\r\nSurrogate-Key: all page-{page}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\n" + fields.encode())
        writer.write(body[: len(body) // 2])
        if len(body) == LARGE and delay:
            await asyncio.sleep(delay)
        writer.write(body[len(body) // 2 :])
        await writer.drain()
        return True

    async def read(self, client: Client, page: int) -> int:
        """The version that one request gets."""
        least = self.least[page]
        got = await asyncio.wait_for(client.get(f"/pages/{page}", f"Host: {self.host}"), 10)
        version = int(got.body[:8])
        self.reads += 1
        self.old += version < self.version[page]
        if got.status != 200 or got.body != b"%08d" % version * (len(got.body) // 8) or version < least:
            self.faults.append(f"page {page}: {got.status}, version {version}, {least} or later was to come; {got.fields}")
        return version

    def url(self, page: int) -> str:
        return f"http://{self.host}/pages/{page}"

    def change(self, kind: str, page: int) -> tuple[list[int], str]:
        """What a purge of that kind is for, changed; and the purge's text."""
        pages = [page] if kind in ("url", "tag") else list(range(PAGES))
        for each in pages:
            self.version[each] += 1
        texts = {"url": self.url(page), "prefix": f"http://{self.host}/pages/", "tag": f"page-{page}", "host": self.host}
        return pages, texts.get(kind, "")

    def purged(self, pages: list[int]) -> None:
        for each in pages:
            self.least[each] = self.version[each]


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    allow_descriptors()
    async with Origin() as made:
        yield made


@contextlib.asynccontextmanager
async def reading(scene: Scene) -> AsyncIterator[None]:
    """Keep-alive readers, each on its own connection, until the block ends."""
    async def go_on(client: Client, seed: int) -> None:
        pages = random.Random(seed)
        while not over:
            await scene.read(client, pages.randrange(PAGES))

    over = False
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(scene.port)) for _ in range(READERS)]
        tasks = [asyncio.create_task(go_on(client, i)) for i, client in enumerate(clients)]
        try:
            yield
        finally:
            over = True
            await asyncio.gather(*tasks)


Purge = Callable[[str, str], Awaitable[None]]


async def purge_again_and_again(scene: Scene, kinds: tuple[str, ...], times: int, purge: Purge) -> None:
    for turn in range(times):
        for kind in kinds:
            pages, text = scene.change(kind, turn % PAGES)
            await purge(kind, text)
            scene.purged(pages)
            # Long enough that there is something to purge, or so short that it meets fetches that have just begun.
            await more_reads(scene, READS_BETWEEN if turn % 2 else 4)


async def more_reads(scene: Scene, count: int) -> None:
    enough = scene.reads + count
    await until(lambda: scene.reads >= enough, "they go on reading")


@contextlib.asynccontextmanager
async def api(scene: Scene) -> AsyncIterator[Purge]:
    async def purge(kind: str, text: str) -> None:
        order = {"all": True} if kind == "all" else {kind: text}
        async with session.post("http://admin/api/v1/cache/purge", json=order) as response:
            assert response.status == 200, await response.text()
            assert (await response.json())["purged"] >= 0

    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(scene.proxyd.admin.removeprefix("unix:"))) as session:
        yield purge


@contextlib.asynccontextmanager
async def by_method(scene: Scene) -> AsyncIterator[Purge]:
    """PURGE of a URL, of a prefix (`*`), of a tag (its field)."""
    async def purge(kind: str, text: str) -> None:
        path = text.partition(scene.host)[2] if kind in ("url", "prefix") else "/"
        field = f"Surrogate-Key: {text}\r\n" if kind == "tag" else ""
        await client.send(f"PURGE {path}{'*' * (kind == 'prefix')} HTTP/1.1\r\nHost: {scene.host}\r\n{field}\r\n".encode())
        got = await client.response()
        assert got.status == 200, got
        assert json.loads(got.body)["purged"] >= 0

    async with connect(scene.port) as client:
        yield purge


@contextlib.asynccontextmanager
async def by_command(scene: Scene) -> AsyncIterator[Purge]:
    async def purge(kind: str, text: str) -> None:
        done = await asyncio.to_thread(scene.proxyd.run, "cache", "purge", f"--{kind}", *([text] if text else []))
        assert done.returncode == 0, done.stdout + done.stderr

    yield purge


Way = Callable[[Scene], contextlib.AbstractAsyncContextManager[Purge]]


@pytest.mark.parametrize(("way", "kinds", "times"), [
    (api, KINDS, PURGES), (by_method, ("url", "prefix", "tag"), PURGES), (by_command, KINDS, BY_CLI),
], ids=["admin API", "PURGE", "command line"])
async def test_nothing_stale_after_a_purge(tmp_path: Path, origin: Origin, way: Way, kinds: tuple[str, ...], times: int) -> None:
    scene = Scene(tmp_path, origin)
    with ending(scene.proxyd):
        folders = [tmp_path / f"wrk{page}" for page in (0, 3)]
        for folder in folders:
            folder.mkdir()
        wrks = [Wrk(folder, scene.url(page), connections=8) for folder, page in zip(folders, (0, 3), strict=True)]
        with ending(*wrks):
            async with reading(scene), way(scene) as purge:
                await more_reads(scene, READS_BETWEEN)
                await purge_again_and_again(scene, kinds, times, purge)
            loads = [wrk.stop() for wrk in wrks]
        purges = sum(scene.proxyd.total("proxyd_cache_purges_total", f'kind="{kind}"') for kind in KINDS)
        late = scene.proxyd.total("proxyd_cache_late_fills_total")
        hits = scene.proxyd.total("proxyd_cache_requests_total", 'result="hit"')
        purged = scene.proxyd.total("proxyd_cache_purged_objects_total")
        assert await asyncio.to_thread(scene.proxyd.end) == 0, scene.proxyd.output()
    print(f"\n{purges:.0f} purges of {purged:.0f} objects; {scene.reads} reads, {hits:.0f} hits with wrk's, {scene.old} answers overtaken "
          f"by a change before its purge; fetches {sum(scene.fetched.values())}, {late:.0f} too late to be stored")
    assert scene.faults == []
    assert purges >= times * len(kinds)
    assert purged >= times * len(kinds) / 2, "there was something to purge"
    assert hits > sum(scene.fetched.values()), "and it is a cache"
    assert [load.failed for load in loads] == [0, 0], loads


@pytest.mark.parametrize("kind", KINDS)
async def test_a_soft_purge_serves_stale_while_it_fetches(tmp_path: Path, origin: Origin, kind: str) -> None:
    scene = Scene(tmp_path, origin, grace="1h")
    scene.delay_s = lambda: 0.0
    with ending(scene.proxyd):
        async with connect(scene.port) as client, connect(scene.port) as other:
            assert [await scene.read(client, 5), await scene.read(client, 5)] == [1, 1]
            assert scene.fetched[5] == 1
            _, text = scene.change(kind, 5)
            go = asyncio.Event()
            ordinary = origin.answer

            async def waiting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bool:
                await go.wait()
                return await ordinary(reader, writer, head)

            origin.answer = waiting
            arguments = [f"--{kind}", *([text] if text else []), "--soft"]
            done = await asyncio.to_thread(scene.proxyd.run, "cache", "purge", *arguments)
            assert done.returncode == 0, done.stdout + done.stderr
            # Nobody waits for the origin, which has not answered yet; and it is asked once.
            assert [await scene.read(each, 5) for each in (client, other) * 10] == [1] * 20
            go.set()
            await until(lambda: scene.fetched[5] == 2, "it is fetched")
            newest = 1
            for _ in range(1_000):
                if (newest := await scene.read(client, 5)) == 2:
                    break
            assert newest == 2
            assert [await scene.read(each, 5) for each in (client, other)] == [2, 2]
            assert scene.fetched[5] == 2
        assert scene.faults == []
        await origin.refuse()
        assert await asyncio.to_thread(scene.proxyd.end) == 0
