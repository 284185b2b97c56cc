from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxyd.caching.keeper import Keeper, SnapshotRule
from proxyd.caching.purge import Purge
from proxyd.caching.warmth import load, save
from proxyd.tasks import Tasks
from proxyd_ext.cache.store import Cache
from tests.support.clock import FakeClock
from tests.support.store import FakeObject, FakeStore, as_cache
from tests.support.wait import until


class World:
    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.tasks = Tasks(self.clock)
        self.noted: list[bytes] = []
        self.keeper = Keeper(self.tasks, self.clock, lambda: b"mark", self.note)
        self.rule = SnapshotRule(path, 900.0)

    async def note(self, note: bytes) -> None:
        self.noted.append(note)

    def saved(self) -> list[bytes]:
        store = FakeStore()
        load(as_cache(store), self.rule.file, lambda: True)
        return store.loaded


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    found = World(tmp_path / "s")
    yield found
    await found.tasks.close()


async def test_the_first_store_is_warmed_and_then_saved_every_so_often(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "proxyd.caching")
    store = FakeStore()
    save(as_cache(FakeStore([FakeObject("http://h/1"), FakeObject("http://h/old")])), world.rule.file, lambda: True, b"before")
    await world.keeper.follow(world.rule, as_cache(store))
    await until(lambda: store.loaded and "warm" in caplog.text)
    assert "1 objects" in caplog.text
    assert "1 too old" in caplog.text
    assert world.noted == [b"before"]
    store.objects = [FakeObject("http://h/2")]
    await world.clock.sleeping(1)
    await world.clock.advance(900)
    await until(lambda: (view := world.keeper.view()) is not None and view.saved_at)
    assert world.saved() == [b"blob http://h/2 body"]
    assert load(as_cache(FakeStore()), world.rule.file, lambda: True).note == b"mark"
    view = world.keeper.view()
    assert view is not None
    assert (view.loaded, view.saved, view.saved_at, view.error) == (1, 1, 1_900.0, "")


async def test_it_is_saved_at_the_end(world: World) -> None:
    store = FakeStore([FakeObject("http://h/1")])
    await world.keeper.follow(world.rule, as_cache(store))
    await world.clock.sleeping(1)
    await world.keeper.close(lambda: False)
    assert world.saved() == [b"blob http://h/1 body"]


async def test_not_where_proxyd_leaves_at_once(world: World) -> None:
    await world.keeper.follow(world.rule, as_cache(FakeStore([FakeObject("http://h/1")])))
    await world.clock.sleeping(1)
    await world.keeper.close(lambda: True)
    assert not world.rule.file.exists()


async def test_a_store_that_is_not_warm_yet_does_not_replace_the_file(world: World) -> None:
    save(as_cache(FakeStore([FakeObject("http://h/1"), FakeObject("http://h/2")])), world.rule.file, lambda: True)
    before = world.rule.file.read_bytes()
    await world.keeper.follow(world.rule, as_cache(FakeStore()))
    await world.keeper.close(lambda: False)       # before the task has begun to run
    assert world.rule.file.read_bytes() == before


async def test_who_hands_over_writes_no_more(world: World) -> None:
    """As at an upgrade: what this process still stores or drops is not what the next one has."""
    store = FakeStore([FakeObject("http://h/1")])
    await world.keeper.follow(world.rule, as_cache(store))
    await world.clock.sleeping(1)
    await world.keeper.save()
    await world.keeper.hand_over()
    store.objects = [FakeObject("http://h/1"), FakeObject("http://h/2")]
    await world.keeper.follow(world.rule, as_cache(store))      # names have got other addresses, say
    assert world.tasks.names() == []
    await world.keeper.close(lambda: False)
    assert world.saved() == [b"blob http://h/1 body"]


async def test_only_at_the_end(world: World) -> None:
    world.rule = SnapshotRule(world.rule.file, 0)
    await world.keeper.follow(world.rule, as_cache(FakeStore([FakeObject("http://h/1")])))
    await until(lambda: not world.tasks.names())
    assert not world.rule.file.exists()
    await world.keeper.close(lambda: False)
    assert len(world.saved()) == 1


async def test_what_was_purged_since_it_was_saved_is_not_loaded(world: World) -> None:
    """As after a crash: the keeper is not closed."""
    store = Cache(4 << 20)
    for name in ("a", "b", "c"):
        assert store.put(name, name.encode(), 60_000, [name])
    await world.keeper.follow(world.rule, store)
    await world.clock.sleeping(1)
    await world.keeper.purged([Purge("tag", "a")])     # of before it is saved, and so not needed any more
    await world.keeper.save()
    store.put("a", b"new", 60_000, ["a"])
    await world.keeper.save()
    await world.keeper.purged([Purge("tag", "b"), Purge("url", "aside:c", soft=True)])
    again, other = Cache(4 << 20), World(world.rule.file)
    await other.keeper.follow(other.rule, again)
    await other.clock.sleeping(1)
    assert [again.get(name) for name in ("a", "b", "c")] == [b"new", None, None]
    await other.keeper.save()
    assert [path.name for path in world.rule.file.parent.iterdir()] == ["s"]
    await other.tasks.close()


async def test_a_purge_that_cannot_be_noted_is_told_and_holds(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.rule = SnapshotRule(world.rule.file / "no" / "such", 900.0)
    await world.keeper.follow(world.rule, as_cache(FakeStore()))
    await world.clock.sleeping(1)
    await world.keeper.purged([Purge("all")])
    view = world.keeper.view()
    assert view is not None
    assert view.error == "cannot note purges: No such file or directory"
    assert view.error in caplog.text


async def test_a_reload_with_the_same_settings_changes_nothing_and_a_second_store_is_not_warmed(world: World) -> None:
    save(as_cache(FakeStore([FakeObject("http://h/1")])), world.rule.file, lambda: True)
    store, second = FakeStore(), FakeStore()
    await world.keeper.follow(world.rule, as_cache(store))
    await world.clock.sleeping(1)
    await world.keeper.follow(world.rule, as_cache(store))
    assert world.tasks.names() == ["cache snapshot"]
    await world.keeper.follow(None, None)
    assert world.tasks.names() == []
    assert world.keeper.view() is None
    await world.keeper.follow(world.rule, as_cache(second))
    await world.clock.sleeping(1)
    assert (len(store.loaded), second.loaded) == (1, [])


@pytest.mark.parametrize(("data", "said"), [(b"garbage", "no snapshot"), (None, "starts empty")])
async def test_damage_is_a_warning_and_serving_goes_on(
    world: World, caplog: pytest.LogCaptureFixture, data: bytes | None, said: str
) -> None:
    caplog.set_level("INFO", "proxyd.caching")
    if data is not None:
        world.rule.file.write_bytes(data)
    await world.keeper.follow(world.rule, as_cache(FakeStore()))
    await world.clock.sleeping(1)
    assert said in caplog.text


async def test_a_folder_that_is_not_there_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.rule = SnapshotRule(world.rule.file / "no" / "such", 900.0)
    await world.keeper.follow(world.rule, as_cache(FakeStore()))
    await world.clock.sleeping(1)
    await world.keeper.close(lambda: False)
    view = world.keeper.view()
    assert view is not None
    assert view.error == "cannot save: No such file or directory"
    assert "cannot save" in caplog.text
