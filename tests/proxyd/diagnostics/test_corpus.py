"""Broken configs, each with all that `proxyd check` says of it, to the letter (how to change it: tests/support/corpus.py)."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxyd.codes import TEST_FAILED
from proxyd.config.codes import CODES
from tests.support.corpus import FOLDER, cases, expected, found, shown


@pytest.mark.parametrize("name", cases())
def test_what_is_said(name: str) -> None:
    assert shown(name) == expected(name)


def test_every_code_of_configs_occurs() -> None:
    said = "".join(expected(name) for name in cases())
    assert {*CODES, TEST_FAILED.code} - set(re.findall(r"PXD-[0-9]{3}", said)) == set()


def test_nothing_is_expected_of_a_file_that_is_not_there() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.txt")) == cases()


@pytest.mark.parametrize("name", cases())
def test_findings_come_in_the_order_of_the_file_and_have_a_place(name: str) -> None:
    items = [item for item in found(name) if item.span is not None]
    places = [(item.span.line, item.span.column) for item in items if item.span is not None and Path(item.span.source.name).stem == name]
    assert places == sorted(places)
