"""Stored answers as `CachedObject.blob` writes them, for tests that want them in a store without an engine."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Sequence
from typing import Literal

from proxyd_ext.balance.pool import UpstreamState
from proxyd_ext.balance.server import Server
from proxyd_ext.cache.store import Cache
from proxyd_ext.snapshot import Snapshot
from proxyd_ext.snapshot.spec import CacheSpec, MemberSpec, ProxyAction, RouteSpec, SnapshotSpec, TargetSpec, UpstreamSpec

PurgeKind = Literal["url", "prefix", "host", "tag", "all"]
_FIXED = struct.Struct("<4sHBBqqqqqqIIIHHHHQ")


def page_blob(
    url: str,
    body: bytes,
    *,
    zone: str = "app",
    fields: Sequence[str] = (),
    tags: Sequence[str] = (),
    vary: str = "",
    variant: bytes = b"",
    lifetime_s: int = 60,
    age_s: int = 0,
    stale_s: int = 0,
    status: int = 200,
    received_ago_s: int = 0,
) -> bytes:
    """An answer to `url` with the default key."""
    key = f"{zone}\0{url}".encode()
    head = "".join(f"{line}\r\n" for line in ("Content-Type: text/plain", *fields)).encode()
    texts = (key, variant, head, url.encode(), b"all", vary.encode(), "\n".join(tags).encode(), body)
    received = int(time.time()) - received_ago_s
    fixed = _FIXED.pack(b"PXC1", status, 0, 0, received, lifetime_s, age_s, stale_s, 0, -1, *(len(text) for text in texts))
    data = fixed + b"".join(texts)
    return data + struct.pack("<I", zlib.crc32(data))


def store_of_pages(size: int = 4 << 20, **settings: int) -> Cache:
    """A store that knows the keys of the zone "app", as an engine's snapshot brings them, so that pages are found by their URLs."""
    store = Cache(size, **settings)
    upstream = UpstreamSpec("app", state=UpstreamState("app"), members=[MemberSpec(Server("app", "127.0.0.1:9", ("127.0.0.1", 9)))])
    routes = [RouteSpec("all", ProxyAction([TargetSpec(0)], cache=CacheSpec("app")))]
    Snapshot(SnapshotSpec(1, "", [], [routes], [upstream], cache=store))
    return store
