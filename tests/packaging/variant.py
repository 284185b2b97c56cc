"""A pytest plugin for the suite on a variant build (PROXYD_VARIANT, see build.py): the variant is really what runs, and nothing leaks.

Native objects are counted by builds with PROXYD_DEBUG. After each test file, when everything that Python still held is collected, as many
must live as before it; a whole file, because its fixtures may live that long.
"""
from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxyd_ext.core.live import counting, live_counts


def pytest_configure() -> None:
    import proxyd_ext.core.live as native

    expected = Path("build", os.environ["PROXYD_VARIANT"], "lib").resolve()
    if expected not in Path(native.__file__).parents:
        raise pytest.UsageError(f"the native modules come from {native.__file__}, not from {expected}")
    if not counting():
        raise pytest.UsageError("this build does not count native objects")


@pytest.fixture(scope="module", autouse=True)
def births_equal_deaths() -> Iterator[None]:
    gc.collect()
    before = live_counts()
    yield
    gc.collect()
    assert live_counts() == before
