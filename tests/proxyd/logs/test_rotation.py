from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxyd.config.log import Rotate
from proxyd.config.units import Duration, Size
from proxyd.logs.rotation import Rotation

DAY = 86_400.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.log"
    path.touch()
    return path


def hourly(path: Path, wall: float) -> Rotation:
    return Rotation(path, Rotate(size=Size(0), every=Duration("1h")), wall)


def test_by_size(path: Path) -> None:
    rotation = Rotation(path, Rotate(size=Size("64KiB")), 0.0)
    path.write_bytes(b"x" * 65_535)
    assert not rotation.is_due(DAY)
    path.write_bytes(b"x" * 65_536)
    assert rotation.is_due(DAY)


def test_by_time(path: Path) -> None:
    rotation = hourly(path, 10 * 3600 + 1.0)
    assert not rotation.is_due(11 * 3600 + 1.0)      # nothing in it: nothing to put aside
    path.write_text("x\n")
    assert not rotation.is_due(11 * 3600 - 1.0)
    assert rotation.is_due(11 * 3600)
    rotation.begin(11 * 3600)
    assert not rotation.is_due(12 * 3600 - 1.0)


def test_a_file_that_is_continued_belongs_to_the_period_of_its_last_line(path: Path) -> None:
    path.write_text("x\n")
    os.utime(path, (DAY, DAY))
    assert hourly(path, DAY + 3600).is_due(DAY + 3600)
    assert not hourly(path, DAY + 3600).is_due(DAY + 3599)


def test_names_move_on_and_the_oldest_goes(path: Path) -> None:
    rotation = Rotation(path, Rotate(size=Size("64KiB"), keep=3), 0.0)
    for text in "abcde":
        path.write_text(text)
        rotation.put_aside()
    path.write_text("f")
    assert {file.name: file.read_text() for file in path.parent.iterdir()} == {"a.log": "f", "a.log.1": "e", "a.log.2": "d", "a.log.3": "c"}


def test_a_gap_in_the_names_does_no_harm(path: Path) -> None:
    rotation = Rotation(path, Rotate(size=Size("64KiB"), keep=3), 0.0)
    path.with_name("a.log.2").write_text("old")
    path.write_text("new")
    rotation.put_aside()
    assert {file.name: file.read_text() for file in path.parent.iterdir()} == {"a.log.1": "new", "a.log.2": "old"}


def test_no_file_makes_way_for_one_that_is_not_there(path: Path) -> None:
    """As long as no new one can be begun, it is tried each second: those that are kept would all be gone in as many."""
    rotation = Rotation(path, Rotate(size=Size("64KiB"), keep=3), 0.0)
    for text in "abc":
        path.write_text(text)
        rotation.put_aside()
    for _ in range(3):
        assert rotation.is_due(0.0)
        rotation.put_aside()
    assert {file.name: file.read_text() for file in path.parent.iterdir()} == {"a.log.1": "c", "a.log.2": "b", "a.log.3": "a"}


def test_a_file_that_has_gone_is_begun_anew_and_no_other_kind_is_touched(path: Path) -> None:
    rotation = hourly(path, 0.0)
    path.unlink()
    assert rotation.is_due(0.0)
    rotation.put_aside()
    os.mkfifo(path)
    assert not rotation.is_due(DAY)
