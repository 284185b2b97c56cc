from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from proxyd.watch import fingerprint, folders_of, watch


@contextlib.asynccontextmanager
async def watching(*files: Path) -> AsyncIterator[asyncio.Queue[None]]:
    """Changes since now arrive in the queue."""
    changes: asyncio.Queue[None] = asyncio.Queue()
    before = fingerprint(files)

    async def run() -> None:
        async for _ in watch(lambda: files, before):
            changes.put_nowait(None)

    task = asyncio.create_task(run())
    try:
        yield changes
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def replace(path: Path, text: str) -> None:
    """As an editor saves: a new file is renamed over the old."""
    path.with_suffix(".tmp").write_text(text)
    path.with_suffix(".tmp").rename(path)


async def test_a_file_written_in_place_and_one_replaced(tmp_path: Path) -> None:
    file = tmp_path / "proxyd.yaml"
    file.write_text("a")
    async with watching(file) as changes:
        file.write_text("longer")
        await asyncio.wait_for(changes.get(), 10)
        replace(file, "b")
        await asyncio.wait_for(changes.get(), 10)


async def test_a_swapped_link_in_a_mounted_config_map(tmp_path: Path) -> None:
    for name in ("v1", "v2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "proxyd.yaml").write_text(name)
    (tmp_path / "..data").symlink_to("v1")
    file = tmp_path / "proxyd.yaml"
    file.symlink_to("..data/proxyd.yaml")
    async with watching(file) as changes:
        (tmp_path / "..data_tmp").symlink_to("v2")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        await asyncio.wait_for(changes.get(), 10)


async def test_a_new_file_beside_an_included_one(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a")
    async with watching(tmp_path / "a.yaml") as changes:
        (tmp_path / "b.yaml").write_text("b")
        await asyncio.wait_for(changes.get(), 10)


async def test_other_files_in_the_folder_are_no_change(tmp_path: Path) -> None:
    file = tmp_path / "proxyd.yaml"
    file.write_text("a")
    async with watching(file) as changes:
        (tmp_path / "access.log").write_text("a line\n")
        replace(file, "b")
        await asyncio.wait_for(changes.get(), 10)
        assert changes.empty()


def test_every_folder_on_the_way_of_a_link_is_watched(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    (tmp_path / "three" / "c.yaml").write_text("x")
    (tmp_path / "two" / "b.yaml").symlink_to("../three/c.yaml")
    (tmp_path / "one" / "a.yaml").symlink_to(tmp_path / "two" / "b.yaml")
    assert folders_of([tmp_path / "one" / "a.yaml"]) == sorted(tmp_path / name for name in ("one", "two", "three"))


def test_a_fingerprint_sees_content_of_the_same_size(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("1")
    before = fingerprint([file])
    file.write_text("2")
    os.utime(file, ns=(1, 1))
    assert fingerprint([file]) != before
    file.unlink()
    assert fingerprint([file]) == {str(file): None}
