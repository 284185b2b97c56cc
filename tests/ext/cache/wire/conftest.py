"""One store and one engine for all rows of a file: each row has a path, an origin and a snapshot of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cache_rig import CacheRig
from tests.support.engine import Rig


@pytest.fixture(scope="module")
def cache() -> Iterator[CacheRig]:
    rig = Rig("inline")
    made = CacheRig(rig)
    yield made
    made.finish()
    rig.finish()
