from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from proxyd.cachetier.counters import TierCounters
from proxyd.cachetier.settings import TierSettings
from proxyd.caching.keeper import SnapshotRule
from proxyd.caching.purge import Purge
from proxyd.caching.service import Caching, Wanted
from proxyd.caching.warmth import load, save
from proxyd.compress.compressor import Counters
from proxyd.state import RouteEntry
from proxyd.tasks import Tasks
from proxyd_ext.route.stats import RouteStats, count_cache
from proxyd_ext.snapshot.spec import CompressSpec
from tests.support.clock import FakeClock
from tests.support.store import MIB, FakeObject, FakeStore, as_cache, as_object
from tests.support.wait import until

TIER = TierSettings(redis="redis://127.0.0.1:1")
COMPRESS = CompressSpec(("br",), 1_000, ("text/*",))


class Sharing:
    """A `proxyd.cachetier.Sharing` that notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.settings: TierSettings | None = None
        self.circuit_open, self.last_error, self.mark = False, "", ("node", 7)
        self.counters = TierCounters(lookup_hit=3)
        self.fails = self.silent = False

    async def reconfigure(self, settings: TierSettings | None) -> None:
        if self.fails:
            raise ValueError("no such place")
        self.settings = settings

    async def stop(self) -> None:
        self.heard.append(("stop",))

    async def replay(self, token: str = "", serial: int = 0) -> bool:
        self.heard.append(("replay", token, serial))
        return not self.silent

    def handle_lookup(self, engine: Any, slot: int, generation: int, key: bytes, variant: bytes | None) -> None:
        self.heard.append(("lookup", slot, generation, key, variant))

    def handle_stored(self, stored: Any) -> None:
        self.heard.append(("share", stored.url))

    async def purge(self, kind: str, text: str, soft: bool) -> tuple[int, bool | None]:
        return 1, True


class Compressor:
    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.counters = Counters()

    def apply(self, routes: Any) -> None:
        self.heard.append(("apply", dict(routes)))

    def on_stored(self, stored: Any) -> None:
        self.heard.append(("compress", stored.url))

    async def close(self) -> None:
        self.heard.append(("close",))


class Engine:
    def __init__(self) -> None:
        self.proceeded: list[tuple[int, int]] = []

    def proceed(self, slot: int, generation: int) -> None:
        self.proceeded.append((slot, generation))


class World:
    def __init__(self) -> None:
        self.clock, self.store, self.engine = FakeClock(), FakeStore([FakeObject("http://h/a")]), Engine()
        self.tasks = Tasks(self.clock)
        self.sharing, self.compressor = Sharing(), Compressor()
        self.asked: list[tuple[str, int | None]] = []
        self.caching = Caching(
            self.tasks, self.clock,
            on_asked=lambda asked: self.asked.append((asked.words, asked.objects)),
            new_sharing=lambda store, clock: cast(Any, self.sharing),
            new_compressor=lambda store, tasks: cast(Any, self.compressor),
        )
        self.answers: list[tuple[int, Any]] = []

    async def follow_all(self) -> None:
        """A config with everything around the store."""
        await self.caching.follow(Wanted(as_cache(self.store), None, TIER, {"media": COMPRESS}))

    def answer(self, status: int, body: bytes, content_type: str) -> None:
        assert content_type == "application/json"
        self.answers.append((status, json.loads(body)))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    found = World()
    await found.caching.follow(Wanted(as_cache(found.store)))
    yield found
    await found.tasks.close()


async def test_a_lookup_goes_to_the_tier_or_at_once_on(world: World) -> None:
    world.caching.on_lookup(world.engine, 3, 7, b"key", None)
    assert world.engine.proceeded == [(3, 7)]
    await world.follow_all()
    world.caching.on_lookup(world.engine, 4, 8, b"key", b"v")
    assert world.sharing.heard == [("lookup", 4, 8, b"key", b"v")]
    assert world.engine.proceeded == [(3, 7)]


async def test_what_was_stored_goes_where_its_route_asks_for(world: World) -> None:
    plain, both = FakeObject("http://h/1"), FakeObject("http://h/2", share=True, compress=True)
    world.caching.on_stored(as_object(both))
    await world.follow_all()
    world.caching.on_stored(as_object(plain))
    world.caching.on_stored(as_object(both))
    assert world.sharing.heard == [("share", "http://h/2")]
    assert world.compressor.heard == [("apply", {"media": COMPRESS}), ("compress", "http://h/2")]


async def test_the_parts_follow_the_config(world: World) -> None:
    await world.follow_all()
    assert world.sharing.settings == TIER
    await world.caching.follow(Wanted(as_cache(world.store)))
    assert world.sharing.settings is None
    assert world.compressor.heard == [("apply", {"media": COMPRESS}), ("apply", {})]
    entry = world.caching.entry()
    assert entry is not None
    assert entry.tier is None
    await world.caching.follow(Wanted())
    assert (world.sharing.heard, world.compressor.heard[-1]) == ([("stop",)], ("close",))


async def test_a_tier_that_cannot_be_had_is_told_and_the_cache_goes_on(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.sharing.fails = True
    await world.follow_all()
    assert "no such place" in caplog.text
    assert world.caching.view([]).tiers == ()


@pytest.mark.parametrize(("note", "mark"), [(b'["node", 7]', ("node", 7)), (b"null", ("", 0)), (b"", ("", 0)), (b"{", ("", 0))])
async def test_purges_of_others_since_the_snapshot_go_again(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, note: bytes, mark: tuple[str, int]
) -> None:
    path = tmp_path / "s"
    save(as_cache(world.store), path, lambda: True, note)
    world.sharing.silent = True
    rule = SnapshotRule(path, 0)
    await world.caching.follow(Wanted(as_cache(world.store), rule, TIER))
    await until(lambda: world.sharing.heard and not world.tasks.names())
    assert world.sharing.heard == [("replay", *mark)]
    assert "does not answer" in caplog.text
    await world.caching.close(lambda: False)
    assert load(as_cache(FakeStore()), path, lambda: True).note == b'["node", 7]'
    assert world.sharing.heard[1:] == [("stop",)]


async def test_a_purge_request_is_answered_when_it_is_in_effect(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "proxyd.caching")
    world.caching.on_purge(b"PURGE\n10.0.0.9 10.0.0.1\nhttp://h/a", world.answer)
    await until(lambda: world.answers)
    assert world.answers == [(200, {"purged": 3})]
    assert world.store.purges == [("url", "http://h/a", False)]
    assert "purged url http://h/a by PURGE: 3 objects" in caplog.text
    await world.follow_all()
    world.caching.on_purge(b"PURGE\n10.0.0.9 10.0.0.1\nhttp://h/a", world.answer)
    await until(lambda: len(world.answers) == 2)
    assert world.answers[1] == (200, {"purged": 1, "spread": True})
    assert world.asked == [("url http://h/a", 3), ("url http://h/a", 1)]


async def test_a_purge_request_that_says_nothing_is_refused(world: World) -> None:
    world.caching.on_purge(b"PURGE\n10.0.0.9 10.0.0.1\nnot a url", world.answer)
    (status, body), = world.answers
    assert (status, body["purged"]) == (400, 0)
    assert "blanks" in body["error"]
    assert world.asked == [("not a url", None)]


async def test_a_purge_that_fails_is_answered_too(world: World, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakeStore):
        def purge(self, kind: str, text: str = "", *, soft: bool = False) -> int:
            raise RuntimeError("broken")

    await world.caching.follow(Wanted(as_cache(Broken())))
    world.caching.on_purge(b"PURGE\n10.0.0.9 10.0.0.1\nhttp://h/a", world.answer)
    await until(lambda: "task purge failed" in caplog.text)
    assert world.answers[0][0] == 500
    assert world.asked == [("url http://h/a", None)]


async def test_the_view_puts_together_routes_store_and_parts(world: World) -> None:
    media = RouteStats("web", "media")
    for result in (1, 1, 1, 2):
        count_cache(media, 0, result)
    await world.follow_all()
    world.store.points = [(128 * MIB, 1_000, 700), (256 * MIB, 1_000, 750), (512 * MIB, 1_000, 800)]
    view = world.caching.view([RouteEntry("web", "media", media)])
    assert (view.enabled, view.hit_ratio, view.store["objects"]) == (True, 0.75, 1)
    assert (view.tiers[0].name, view.tiers[0].circuit_open, view.tiers[0].counters["lookup_hit"]) == ("redis", False, 3)
    assert view.compress is not None
    assert view.outlook == "with 512 MiB instead of 256 MiB the hit ratio would be 80.0% instead of 75.0%"


async def test_without_a_cache_everything_answers(world: World) -> None:
    await world.caching.follow(Wanted())
    assert not world.caching.view([]).enabled
    assert world.caching.entry() is None
    assert world.caching.find(["http://h/a"]) == ()
    assert (await world.caching.purge([Purge("all")])).objects == 0


async def test_find_looks_under_every_url(world: World) -> None:
    assert [entry.url for entry in world.caching.find(["https://h/a", "http://h/a"])] == ["http://h/a"]
