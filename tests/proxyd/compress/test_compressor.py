from __future__ import annotations

import asyncio
import gc
import gzip
import logging
import os
import random
import threading
import weakref
from collections.abc import AsyncIterator, Callable

import pytest

from proxyd.compress import compressor as module
from proxyd.compress.codec import PIECE, SAMPLE_FROM, encode
from proxyd.compress.compressor import Compressor, Limits, routes_of
from proxyd.compress.eligible import REFUSALS, Encoding
from proxyd.tasks import Tasks
from proxyd_ext.snapshot.spec import CacheSpec, CompressSpec, ProxyAction, RespondAction, RouteSpec, SnapshotSpec
from tests.support.stored import TEXT, FormStore, StoredAnswer
from tests.support.wait import until

ALL = {"pages": CompressSpec(("zstd", "br", "gzip"), 1024, ("text/*",))}
GZIP = {"pages": CompressSpec(("gzip",), 1024, ("text/*",))}


class Weak(StoredAnswer):
    """One of which a test can see that it was let go (slots of a dataclass leave no room for that)."""

    __slots__ = ("__weakref__",)


class World:
    def __init__(self) -> None:
        self.tasks = Tasks()
        self.store = FormStore()
        self.made: list[Compressor[StoredAnswer]] = []

    def compressor(
        self, routes: dict[str, CompressSpec] = ALL, limits: Limits | None = None, cpu: Callable[[], float] | None = None
    ) -> Compressor[StoredAnswer]:
        """With `cpu` missing, work takes no time."""
        def put(source: StoredAnswer, encoding: Encoding, form: bytes) -> bool:
            return self.store.put_encoded(source, encoding, form)

        made = Compressor(self.tasks, put, limits, cpu or (lambda: 0.0))
        made.apply(routes)
        self.made.append(made)
        return made

    def forms(self) -> list[tuple[str, Encoding]]:
        return [(url, encoding) for url, encoding, _ in self.store.forms]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    for compressor in world.made:
        await compressor.close()
    await world.tasks.close()


class Gate:
    """Holds worker threads back until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.reached = threading.Event(), threading.Event()

        def held(encoding: Encoding, body: bytes, go_on: Callable[[], bool]) -> bytes | None:
            self.reached.set()
            assert self.open.wait(10)
            return encode(encoding, body, go_on)

        monkeypatch.setattr(module, "encode", held)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


async def done(compressor: Compressor[StoredAnswer]) -> None:
    await until(lambda: not compressor.waiting and not compressor.busy, "all work done")


async def test_a_stored_answer_gets_its_forms(world: World) -> None:
    compressor = world.compressor()
    compressor.on_stored(StoredAnswer())
    await done(compressor)
    assert world.forms() == [("http://shop.example.com/page", encoding) for encoding in ("gzip", "br", "zstd")]
    assert gzip.decompress(world.store.forms[0][2]) == TEXT
    counters = compressor.counters
    assert (counters.offered, counters.finished, counters.made) == (1, 1, {"gzip": 1, "br": 1, "zstd": 1})
    assert counters.bytes_in == {"gzip": len(TEXT), "br": len(TEXT), "zstd": len(TEXT)}
    assert counters.bytes_out == {encoding: len(form) for _, encoding, form in world.store.forms}


async def test_only_routes_that_ask_are_served_and_a_reload_changes_which(world: World) -> None:
    compressor = world.compressor(GZIP)
    compressor.on_stored(StoredAnswer(compress=False))
    compressor.on_stored(StoredAnswer(route="other"))
    assert compressor.counters.offered == 0
    compressor.apply({"other": GZIP["pages"]})
    compressor.on_stored(StoredAnswer())
    assert compressor.counters.offered == 0
    compressor.on_stored(StoredAnswer(route="other"))
    await done(compressor)
    assert world.forms() == [("http://shop.example.com/page", "gzip")]


async def test_nothing_runs_where_no_route_compresses(world: World) -> None:
    compressor = world.compressor({})
    assert world.tasks.names() == []
    compressor.apply(ALL)
    assert world.tasks.names() == ["compress 0"]


async def test_refusals_are_counted_by_their_reason(world: World) -> None:
    compressor = world.compressor()
    for stored in (StoredAnswer(status=404), StoredAnswer(status=500), StoredAnswer(size=10)):
        compressor.on_stored(stored)
    assert compressor.counters.refused == dict.fromkeys(REFUSALS, 0) | {"status": 2, "too_small": 1}
    assert (compressor.counters.offered, compressor.waiting) == (3, 0)


@pytest.mark.parametrize(("size", "tried"), [(SAMPLE_FROM - 1, True), (SAMPLE_FROM, False)])
async def test_noise_is_given_up_a_large_one_after_a_sample(world: World, size: int, tried: bool) -> None:
    ticks = iter(range(1000))
    compressor = world.compressor(limits=Limits(budget_s=1e9), cpu=lambda: next(ticks))
    compressor.on_stored(StoredAnswer(body=random.Random(3).randbytes(size)))
    await done(compressor)
    assert world.forms() == []
    assert compressor.counters.incompressible == 1
    assert (compressor.counters.cpu_seconds["gzip"] > 0) == tried
    assert compressor.counters.cpu_seconds["br"] == 0.0


async def test_forms_of_one_answer_share_a_budget(world: World) -> None:
    ticks = iter(range(1000))                        # every look at the clock finds that a second has gone by
    body = TEXT * (2 * PIECE // len(TEXT))           # two pieces: begin, two looks, end: 3 s a form
    compressor = world.compressor(limits=Limits(budget_s=5.5), cpu=lambda: next(ticks))
    compressor.on_stored(StoredAnswer(body=body))
    await done(compressor)
    assert [encoding for _, encoding in world.forms()] == ["gzip", "br"]
    assert (compressor.counters.over_budget, compressor.counters.finished) == (1, 0)


async def test_an_answer_that_has_gone_meanwhile_costs_no_second_form(world: World) -> None:
    world.store.takes = lambda _, encoding: encoding == "gzip"
    compressor = world.compressor()
    compressor.on_stored(StoredAnswer())
    await done(compressor)
    assert [encoding for _, encoding in world.forms()] == ["gzip"]
    assert (compressor.counters.gone, compressor.counters.cpu_seconds["zstd"]) == (1, 0.0)


async def test_the_queue_is_bounded_in_number_and_in_bytes(world: World, gate: Gate) -> None:
    compressor = world.compressor(GZIP, Limits(queue_objects=2, queue_bytes=100_000))
    compressor.on_stored(StoredAnswer(url="http://a/first"))
    await until(gate.reached.is_set)
    assert (compressor.waiting, compressor.busy) == (0, 1)
    compressor.on_stored(StoredAnswer(url="http://a/too-much", size=100_001))
    for name in ("one", "two", "three"):
        compressor.on_stored(StoredAnswer(url=f"http://a/{name}"))
    assert (compressor.waiting, compressor.waiting_bytes, compressor.counters.dropped) == (2, 2 * len(TEXT), 2)
    gate.open.set()
    await done(compressor)
    assert [url for url, _ in world.forms()] == ["http://a/first", "http://a/one", "http://a/two"]
    assert compressor.waiting_bytes == 0


async def test_a_newer_answer_takes_the_place_of_one_that_waits(world: World, gate: Gate) -> None:
    compressor = world.compressor(GZIP)
    compressor.on_stored(StoredAnswer(url="http://a/first"))
    await until(gate.reached.is_set)
    compressor.on_stored(StoredAnswer(url="http://a/page", body=TEXT * 2))
    compressor.on_stored(StoredAnswer(url="http://a/page", body=TEXT))
    compressor.on_stored(StoredAnswer(url="http://a/page", body=TEXT, vary="cookie", variant=b"x"))
    assert (compressor.waiting, compressor.waiting_bytes, compressor.counters.superseded) == (2, 2 * len(TEXT), 1)
    gate.open.set()
    await done(compressor)
    assert [gzip.decompress(form) for url, _, form in world.store.forms if url == "http://a/page"] == [TEXT, TEXT]


async def test_a_failing_library_is_counted_and_the_next_answer_is_served(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(encoding: Encoding, body: bytes, go_on: Callable[[], bool]) -> bytes | None:
        if body.startswith(b"bad"):
            raise MemoryError("no room")
        return encode(encoding, body, go_on)

    monkeypatch.setattr(module, "encode", failing)
    compressor = world.compressor(GZIP)
    with caplog.at_level(logging.WARNING):
        compressor.on_stored(StoredAnswer(url="http://a/bad", body=b"bad" + TEXT))
        compressor.on_stored(StoredAnswer(url="http://a/good"))
        await done(compressor)
    assert [url for url, _ in world.forms()] == ["http://a/good"]
    assert compressor.counters.failed == 1
    assert "http://a/bad was not compressed: MemoryError('no room')" in caplog.text


async def test_closing_ends_work_under_way_and_lets_go_of_what_waits(world: World, gate: Gate) -> None:
    compressor = world.compressor(ALL)
    compressor.on_stored(StoredAnswer(url="http://a/first"))
    await until(gate.reached.is_set)
    waiting = Weak(url="http://a/waiting")
    held = weakref.ref(waiting)
    compressor.on_stored(waiting)
    del waiting
    closing = asyncio.create_task(compressor.close())
    await until(lambda: not compressor.waiting and not compressor.busy)
    gate.open.set()
    await closing
    gc.collect()
    assert held() is None
    assert world.forms() == []
    assert (compressor.waiting, compressor.busy, compressor.counters.over_budget) == (0, 0, 0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("compress")]
    compressor.on_stored(StoredAnswer(url="http://a/late"))
    assert compressor.waiting == 0


async def test_an_answer_is_let_go_when_its_forms_are_made(world: World) -> None:
    compressor = world.compressor(GZIP)
    stored = Weak()
    held = weakref.ref(stored)
    compressor.on_stored(stored)
    del stored
    await until(lambda: held() is None, "no reference is left")
    assert world.forms() == [("http://shop.example.com/page", "gzip")]


async def test_workers_are_nice_and_what_touches_the_store_is_not(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    seen: dict[str, int] = {}
    def looking(encoding: Encoding, body: bytes, go_on: Callable[[], bool]) -> bytes | None:
        seen["encode"] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        return encode(encoding, body, go_on)

    def takes(_source: StoredAnswer, _encoding: Encoding) -> bool:
        seen["put"] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        return True

    monkeypatch.setattr(module, "encode", looking)
    world.store.takes = takes
    compressor = world.compressor(GZIP, Limits(nice=3))
    compressor.on_stored(StoredAnswer())
    await done(compressor)
    assert seen == {"encode": min(19, own + 3), "put": own}


def test_the_routes_that_compress_are_found_in_a_snapshot() -> None:
    spec = ALL["pages"]
    tables = (
        (
            RouteSpec("pages", ProxyAction((), cache=CacheSpec("app", compress=spec))),
            RouteSpec("plain", ProxyAction((), cache=CacheSpec("app"))),
            RouteSpec("passing", ProxyAction(())),
        ),
        (RouteSpec("fixed", RespondAction(200)), RouteSpec("more", ProxyAction((), cache=CacheSpec("app", compress=GZIP["pages"])))),
    )
    assert routes_of(SnapshotSpec(1, "hash", (), tables)) == {"pages": spec, "more": GZIP["pages"]}
