from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxyd.caching.warmth import BATCH, MAGIC, load, save
from proxyd_ext.cache.store import Cache
from tests.support.store import FakeObject, FakeStore, as_cache

SIZE = 4 << 20


def go_on() -> bool:
    return True


def filled(number: int) -> Cache:
    store = Cache(SIZE)
    for index in range(number):
        assert store.put(f"k{index}", b"x" * index, 60_000)
    return store


def held(store: Cache) -> int:
    """How many of the values of `filled` are there, each as it was."""
    found = store.export(0, 1_000)[1]
    for stored in found:
        assert stored.body == b"x" * int(stored.url.removeprefix("aside:k"))
    return len(found)


def saved(path: Path, store: Cache) -> bytes:
    save(store, path, go_on)
    return path.read_bytes()


@pytest.mark.parametrize("number", [0, 1, BATCH - 1, BATCH, 2 * BATCH + 1])
def test_what_is_saved_is_loaded(tmp_path: Path, number: int) -> None:
    path, source, store = tmp_path / "cache.snapshot", filled(number), Cache(SIZE)
    report = save(source, path, go_on)
    assert (report.objects, report.size, report.whole) == (number, path.stat().st_size, True)
    found = load(store, path, go_on)
    assert held(store) == number
    assert (found.objects, found.skipped, found.damaged, found.fault) == (number, 0, 0, "")
    assert found.size == sum(len(stored.blob()) for stored in source.export(0, 1_000)[1])
    assert os.listdir(tmp_path) == ["cache.snapshot"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_note_goes_with_it(tmp_path: Path) -> None:
    save(filled(1), tmp_path / "s", go_on, b"of the caller")
    assert load(Cache(SIZE), tmp_path / "s", go_on).note == b"of the caller"


def test_only_whole_answers_are_saved_and_no_forms_of_them(tmp_path: Path) -> None:
    path, store = tmp_path / "s", FakeStore()
    content = [
        FakeObject("http://h/1", state="filling"), FakeObject("http://h/2", state="marker"), FakeObject("http://h/3"),
        FakeObject("http://h/3", encoding="br"),
    ]
    save(as_cache(FakeStore(content)), path, go_on)
    load(as_cache(store), path, go_on)
    assert store.loaded == [b"blob http://h/3 body"]


def test_what_the_store_does_not_take_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "s"
    data = saved(path, filled(3))
    store = Cache(SIZE)
    path.write_bytes(data.replace(b"k1", b"k7", 1))
    found = load(store, path, go_on)
    assert (found.objects, found.skipped, found.damaged, found.fault) == (2, 0, 1, "")
    path.write_bytes(data)
    found = load(store, path, go_on)
    assert (found.objects, found.skipped, found.damaged, found.fault) == (1, 2, 0, "")
    assert held(store) == 3


def test_a_file_cut_anywhere_gives_what_is_before_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "s"
    data, most = saved(path, filled(2)), 0
    for size in range(len(data)):
        path.write_bytes(data[:size])
        store = Cache(SIZE)
        found = load(store, path, go_on)
        assert found.fault
        assert held(store) == found.objects >= most
        most = found.objects
    assert most == 2


@pytest.mark.parametrize(("data", "fault"), [
    (b"", "no snapshot"), (b"something else altogether", "no snapshot"), (MAGIC + b"\xff\xff\xff\xff", "note of 4294967295"),
    (MAGIC + bytes(4) + b"\xff\xff\xff\xff", "length of 4294967295"),
    (MAGIC + bytes(8) + (7).to_bytes(8, "big"), "count"), (MAGIC + bytes(4) + b"\0\0\0\7blob", "too early"),
])
def test_damage_is_told(tmp_path: Path, data: bytes, fault: str) -> None:
    path = tmp_path / "s"
    path.write_bytes(data)
    assert fault in load(Cache(SIZE), path, go_on).fault


def test_what_is_purged_while_a_file_is_loaded_does_not_come_back_with_it(tmp_path: Path) -> None:
    path, store = tmp_path / "s", Cache(SIZE)
    saved(path, filled(9))

    def purge_first() -> bool:
        store.delete("k8")
        return True

    found = load(store, path, purge_first)
    assert (found.objects, found.skipped, store.get("k8")) == (8, 1, None)


def test_loading_can_be_ended(tmp_path: Path) -> None:
    path, store = tmp_path / "s", Cache(SIZE)
    saved(path, filled(9))
    found = load(store, path, lambda: held(store) < 4)
    assert (found.objects, found.fault) == (4, "proxyd is leaving")


def test_a_save_that_was_cut_short_replaces_only_what_holds_less(tmp_path: Path) -> None:
    path, store = tmp_path / "s", Cache(SIZE)
    whole = saved(path, filled(5))
    budget = iter(range(3))
    report = save(filled(9), path, lambda: next(budget, None) is not None)
    assert (report.objects, report.whole) == (3, False)
    assert path.read_bytes() == whole
    saved(path, filled(2))
    budget = iter(range(3))
    save(filled(9), path, lambda: next(budget, None) is not None)
    assert load(store, path, go_on).objects == 3
    assert os.listdir(tmp_path) == ["s"]


def test_a_save_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    class Failing(FakeStore):
        def export(self, cursor: int, most: int) -> tuple[int, list[FakeObject]]:
            raise OSError(28, "No space left on device")

    path = tmp_path / "s"
    whole = saved(path, filled(2))
    with pytest.raises(OSError, match="No space"):
        save(as_cache(Failing()), path, go_on)
    assert path.read_bytes() == whole
    assert os.listdir(tmp_path) == ["s"]
    with pytest.raises(FileNotFoundError):
        save(Cache(SIZE), tmp_path / "no" / "such", go_on)
    with pytest.raises(FileNotFoundError):
        load(Cache(SIZE), tmp_path / "none", go_on)


def test_a_link_in_the_place_of_the_file_beside_is_not_followed(tmp_path: Path) -> None:
    path, victim = tmp_path / "s", tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / f".s.{os.getpid()}").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        save(filled(1), path, go_on)
    assert victim.read_bytes() == b"precious"
