from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from tests.support.engine import Mode, Rig

os.environ["PROXYD_STATE"] = "none"  # daemons of tests leave nothing behind; a test of what is kept names a folder of its own

settings.register_profile("suite", deadline=None)  # how long an example takes is the machine's affair, not a test's
settings.load_profile("suite")


def _keep_for_good() -> None:
    """A full collection, as each `Rig` makes at its end, need not look again through what lives to the end anyway."""
    gc.collect()
    gc.freeze()


def pytest_collection_finish() -> None:
    """Thousands of collected tests do."""
    _keep_for_good()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """So do three reports of each test that is over, and what modules remember. Between files no fixture of theirs is alive."""
    yield
    if nextitem is None or nextitem.path != item.path:
        _keep_for_good()


def _rig(mode: Mode) -> Iterator[Rig]:
    rig = Rig(mode)
    yield rig
    rig.finish()


@pytest.fixture(params=["inline", "threads"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """An engine turned by the test, and two engines on threads: for every test that needs no clock."""
    mode: Any = request.param
    yield from _rig(mode)


@pytest.fixture
def clocked() -> Iterator[Rig]:
    """One engine under a clock that the test moves."""
    yield from _rig("inline")


@pytest.fixture
def threaded() -> Iterator[Rig]:
    """Two engines on threads of their own."""
    yield from _rig("threads")
