from __future__ import annotations

import re
from pathlib import Path

from proxyd import codes
from proxyd.config.codes import CODES

ROOT = Path(__file__).parents[3]


def emitted() -> set[str]:
    files = [*(ROOT / "proxyd" / "config").glob("*.py"), *(ROOT / "proxyd" / "diagnostics").glob("*.py")]
    return {code for path in files if path.name != "codes.py" for code in re.findall(r'"(PXD-[0-9]{3})"', path.read_text())}


def test_every_code_that_is_emitted_is_explained_and_none_is_left_over() -> None:
    assert emitted() == set(CODES)


def test_every_code_is_provoked_by_some_test() -> None:
    folders = (Path(__file__).parent, Path(__file__).parent.parent / "diagnostics")
    tests = " ".join(path.read_text() for folder in folders for path in folder.glob("test_*.py") if path.name != "test_codes.py")
    assert {code for code in CODES if code not in tests} == set()


def test_no_number_is_given_out_twice() -> None:
    assert not set(CODES) & set(codes.CODES)


def test_explanations_are_sentences() -> None:
    for code, entry in CODES.items():
        assert entry.title == entry.title.strip()
        assert entry.text.endswith("."), code
        assert bool(entry.wrong) == bool(entry.right)
