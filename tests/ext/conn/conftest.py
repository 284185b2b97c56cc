"""A caching route on one inline engine, which can send a client little at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cache_rig import CacheRig
from tests.support.engine import Rig


@pytest.fixture
def cache() -> Iterator[CacheRig]:
    rig = Rig("inline")
    rig.listen(send_bytes=16384)
    made = CacheRig(rig)
    yield made
    made.finish()
    rig.finish()
