"""The store as Python sees it: what its blobs may hold."""

from __future__ import annotations

import pytest

from proxyd_ext.cache.store import Cache, CachedObject


def only(cache: Cache, encoding: str = "") -> CachedObject:
    cursor, found = cache.export(0, 256)
    assert cursor == 0
    (one,) = [each for each in found if each.encoding == encoding]
    return one


def test_forms_that_were_made_here_have_no_blob() -> None:
    """Loaded again it would pass for what the server sent, and go to clients that do not accept its coding."""
    cache = Cache(4 << 20, shards=2)
    cache.put("k", b"value" * 100, 60_000)
    assert cache.put_encoded(only(cache), "gzip", b"\x1f\x8b")
    with pytest.raises(ValueError, match="gzip"):
        only(cache, "gzip").blob()
    assert only(cache).blob()


def test_a_soft_purge_outlives_a_blob() -> None:
    cache, other = Cache(4 << 20, shards=2), Cache(4 << 20, shards=2)
    cache.put("k", b"value", 60_000)
    cache.purge("all", soft=True)
    other.load(only(cache).blob())
    assert other.get("k") is None


def test_a_form_of_what_was_softly_purged_is_stale_too() -> None:
    cache = Cache(4 << 20, shards=2)
    cache.put("k", b"value", 60_000)
    source = only(cache)
    cache.purge("all", soft=True)
    assert cache.put_encoded(source, "gzip", b"\x1f\x8b")
    assert only(cache, "gzip").soft_purged
