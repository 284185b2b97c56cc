"""The bench is a set of scripts, not a package that is installed: its folder goes on the path."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.build import build
from harness.contestants import Origin, origin_start

EVERY_CPU = frozenset(range(1024))  # the kernel takes those that exist


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build(tmp_path_factory.mktemp("bin"))


@pytest.fixture
def origin(programs: dict[str, Path]) -> Iterator[Origin]:
    started = origin_start(programs["origin"], 2, EVERY_CPU)
    yield started
    started.stop()


@pytest.fixture
def l4_origin(programs: dict[str, Path]) -> Iterator[Origin]:
    started = origin_start(programs["l4origin"], 2, EVERY_CPU)
    yield started
    started.stop()


@pytest.fixture
def launch(programs: dict[str, Path]) -> Iterator[Callable[..., int]]:
    """Starts a program that prints its port, with options; gives that port."""
    started: list[subprocess.Popen[bytes]] = []

    def start(program: str, *options: str) -> int:
        process = subprocess.Popen([programs[program], *options], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        return int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


@pytest.fixture
def floor(launch: Callable[..., int]) -> Callable[..., int]:
    """Starts floor with options; gives its port."""
    return partial(launch, "floor")
