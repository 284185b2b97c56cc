from __future__ import annotations

import os
from pathlib import Path

from proxyd.filters.source import digest
from proxyd.filters.watch import FileWatch


def watch(*paths: Path) -> FileWatch:
    found = FileWatch({str(path): digest(str(path)) for path in paths})
    assert not found.changed()
    return found


def test_a_change_counts_once_it_has_come_to_rest(tmp_path: Path) -> None:
    (path := tmp_path / "f.py").write_text("a = 1")
    files = watch(path)
    path.write_text("a = 12")
    assert [files.changed() for _ in range(3)] == [False, True, False]


def test_the_content_decides(tmp_path: Path) -> None:
    (path := tmp_path / "f.py").write_text("a = 1")
    files = watch(path)
    os.utime(path, ns=(5, 5))
    assert [files.changed() for _ in range(3)] == [False, False, False]


def test_what_changed_before_the_first_look_is_seen(tmp_path: Path) -> None:
    (path := tmp_path / "f.py").write_text("a = 1")
    files = FileWatch({str(path): "another digest"})
    assert [files.changed() for _ in range(2)] == [True, False]


def test_a_file_that_is_replaced_through_its_absence(tmp_path: Path) -> None:
    (path := tmp_path / "f.py").write_text("a = 1")
    (other := tmp_path / "g.py").write_text("")
    files = watch(path, other)
    path.unlink()
    assert [files.changed() for _ in range(3)] == [False, False, False]
    (tmp_path / "new").write_text("a = 2")
    (tmp_path / "new").rename(path)
    assert [files.changed() for _ in range(3)] == [False, True, False]
