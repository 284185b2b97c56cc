from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxyd.caching.warmth import BATCH, MAGIC, load, save
from tests.support.store import FakeObject, FakeStore, as_cache

Content = list[FakeObject]


def go_on() -> bool:
    return True


def objects(number: int) -> Content:
    return [FakeObject(f"http://h/{index}", body=b"x" * index) for index in range(number)]


def saved(path: Path, content: Content) -> bytes:
    save(as_cache(FakeStore(content)), path, go_on)
    return path.read_bytes()


@pytest.mark.parametrize("number", [0, 1, BATCH - 1, BATCH, 2 * BATCH + 1])
def test_what_is_saved_is_loaded(tmp_path: Path, number: int) -> None:
    path, content, store = tmp_path / "cache.snapshot", objects(number), FakeStore()
    report = save(as_cache(FakeStore(content)), path, go_on)
    assert (report.objects, report.size, report.whole) == (number, path.stat().st_size, True)
    found = load(as_cache(store), path, go_on)
    assert store.loaded == [entry.blob() for entry in content]
    assert (found.objects, found.skipped, found.damaged, found.fault) == (number, 0, 0, "")
    assert found.size == sum(map(len, store.loaded))
    assert os.listdir(tmp_path) == ["cache.snapshot"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_note_goes_with_it(tmp_path: Path) -> None:
    save(as_cache(FakeStore(objects(1))), tmp_path / "s", go_on, b"of the caller")
    assert load(as_cache(FakeStore()), tmp_path / "s", go_on).note == b"of the caller"


def test_only_whole_answers_are_saved(tmp_path: Path) -> None:
    path, store = tmp_path / "s", FakeStore()
    saved(path, [FakeObject("http://h/1", state="filling"), FakeObject("http://h/2", state="marker"), FakeObject("http://h/3")])
    load(as_cache(store), path, go_on)
    assert store.loaded == [b"blob http://h/3 body"]


def test_what_the_store_does_not_take_is_counted(tmp_path: Path) -> None:
    path, store = tmp_path / "s", FakeStore()
    data = saved(path, [FakeObject("http://h/old"), FakeObject("http://h/new")])
    path.write_bytes(data.replace(b"blob http://h/new", b"flip http://h/new"))
    found = load(as_cache(store), path, go_on)
    assert (found.objects, found.skipped, found.damaged, found.fault) == (0, 1, 1, "")


def test_a_file_cut_anywhere_gives_what_is_before_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "s"
    data = saved(path, objects(3))
    for size in range(len(data)):
        path.write_bytes(data[:size])
        store = FakeStore()
        found = load(as_cache(store), path, go_on)
        assert found.fault
        assert store.loaded == [entry.blob() for entry in objects(3)][: len(store.loaded)]


@pytest.mark.parametrize(("data", "fault"), [
    (b"", "no snapshot"), (b"something else altogether", "no snapshot"), (MAGIC + b"\xff\xff\xff\xff", "note of 4294967295"),
    (MAGIC + bytes(4) + b"\xff\xff\xff\xff", "length of 4294967295"),
    (MAGIC + bytes(8) + (7).to_bytes(8, "big"), "count"), (MAGIC + bytes(4) + b"\0\0\0\7blob", "too early"),
])
def test_damage_is_told(tmp_path: Path, data: bytes, fault: str) -> None:
    path = tmp_path / "s"
    path.write_bytes(data)
    assert fault in load(as_cache(FakeStore()), path, go_on).fault


def test_loading_can_be_ended(tmp_path: Path) -> None:
    path, store = tmp_path / "s", FakeStore()
    saved(path, objects(9))
    found = load(as_cache(store), path, lambda: len(store.loaded) < 4)
    assert (found.objects, found.fault) == (4, "proxyd is leaving")


def test_a_save_that_was_cut_short_replaces_only_what_holds_less(tmp_path: Path) -> None:
    path = tmp_path / "s"
    whole = saved(path, objects(5))
    budget = iter(range(3))
    report = save(as_cache(FakeStore(objects(9))), path, lambda: next(budget, None) is not None)
    assert (report.objects, report.whole) == (3, False)
    assert path.read_bytes() == whole
    saved(path, objects(2))
    budget = iter(range(3))
    save(as_cache(FakeStore(objects(9))), path, lambda: next(budget, None) is not None)
    store = FakeStore()
    assert load(as_cache(store), path, go_on).objects == 3
    assert os.listdir(tmp_path) == ["s"]


def test_a_save_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    class Failing(FakeStore):
        def export(self, cursor: int, most: int) -> tuple[int, list[FakeObject]]:
            raise OSError(28, "No space left on device")

    path = tmp_path / "s"
    whole = saved(path, objects(2))
    with pytest.raises(OSError, match="No space"):
        save(as_cache(Failing()), path, go_on)
    assert path.read_bytes() == whole
    assert os.listdir(tmp_path) == ["s"]
    with pytest.raises(FileNotFoundError):
        save(as_cache(FakeStore()), tmp_path / "no" / "such", go_on)
    with pytest.raises(FileNotFoundError):
        load(as_cache(FakeStore()), tmp_path / "none", go_on)


def test_a_link_in_the_place_of_the_file_beside_is_not_followed(tmp_path: Path) -> None:
    path, victim = tmp_path / "s", tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / f".s.{os.getpid()}").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        save(as_cache(FakeStore(objects(1))), path, go_on)
    assert victim.read_bytes() == b"precious"
