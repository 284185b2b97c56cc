from __future__ import annotations

from pathlib import Path

import pytest

from proxyd.caching import journal
from proxyd.caching.journal import Journal

PAGE = "http://h/page?q=1"


def test_orders_outlive_the_process(tmp_path: Path) -> None:
    Journal(tmp_path / "s").add([("url", PAGE), ("tag", "ü")])
    found = Journal(tmp_path / "s").read()
    assert found.latest(PAGE, [])
    assert found.latest("http://h/other", ["ü"])
    assert not found.latest("http://h/other", ["u"])


def test_a_snapshot_knows_what_came_before_it_was_begun(tmp_path: Path) -> None:
    path = tmp_path / "s"
    kept = Journal(path)
    kept.add([("tag", "a"), ("tag", "b")])
    begun = kept.count
    kept.add([("tag", "b"), ("tag", "c")])
    kept.drop(begun)
    found = Journal(path).read()
    assert [bool(found.latest("", [tag])) for tag in "abc"] == [False, True, True]
    kept.drop(kept.count)
    assert list(tmp_path.iterdir()) == []


def test_what_another_life_left_is_kept_until_a_snapshot_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "s"
    Journal(path).add([("tag", "a")])
    kept = Journal(path)
    begun = kept.count
    kept.add([("tag", "b")])
    assert len(Journal(path).read()) == 2
    kept.drop(begun)
    assert len(Journal(path).read()) == 1


def test_an_order_takes_one_line_however_often_it_is_given(tmp_path: Path) -> None:
    kept = Journal(tmp_path / "s")
    for _ in range(3):
        kept.add([("host", "h")])
    assert (tmp_path / "s.purges").read_text() == '["host", "h"]\n'


def test_too_many_become_one_of_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MOST", 3)
    kept = Journal(tmp_path / "s")
    for number in range(6):
        kept.add([("tag", str(number))])
    assert (tmp_path / "s.purges").read_text() == '["all", ""]\n'
    assert kept.read().latest("", [])


@pytest.mark.parametrize(("content", "held"), [
    (b'["tag", "a"]\n["tag", "b', False), (b'["tag"]\n', True), (b'garbage\n', True), (b'["what", "a"]\n', True), (b'["tag", 1]\n', True),
    (b"\xff\n", True), (b"", False),
])
def test_what_cannot_be_read_may_have_meant_everything(tmp_path: Path, content: bytes, held: bool) -> None:
    """But for a line that was being written when the process ended: nobody was told that it holds."""
    (tmp_path / "s.purges").write_bytes(content)
    assert bool(Journal(tmp_path / "s").read().latest(PAGE, ["b"])) == held
