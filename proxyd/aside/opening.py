"""The short way to a cache: its store, and its link if it has one, made and closed together."""
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from proxyd.aside.cache import AsideCache, V
from proxyd.aside.codec import Codec
from proxyd.cachetier import Link, TierSettings
from proxyd.clock import SystemClock


@asynccontextmanager
async def open_cache(
    codec: Codec[V], *, size: int = 64 << 20, redis: str = "", memcached: str = "", tier_prefix: str = "proxyd:", prefix: str = "",
    jitter: float = 0.0, grace: float = 0.0,
) -> AsyncIterator[AsideCache[V]]:
    """A cache of `size` bytes in this process; behind it the tier at `redis` (a URL) or `memcached` (HOST:PORT), if one is given.

    `tier_prefix` is that of all keys in the tier, `prefix` that of this cache's keys. `jitter`, `grace`: see `AsideCache`.
    Raises ValueError for sizes and addresses that make no sense, `MissingExtra` if the client for the tier is not installed.
    """
    # Here, since who brings a store of their own need not load this one.
    from proxyd_ext.cache.store import Cache

    store = Cache(size)
    async with AsyncExitStack() as stack:
        link = None
        if redis or memcached:
            link = Link(TierSettings(redis=redis, memcached=memcached, prefix=tier_prefix), store, SystemClock())
            stack.push_async_callback(link.close)
            await link.start()
        yield await stack.enter_async_context(AsideCache(store, codec=codec, link=link, prefix=prefix, jitter=jitter, grace=grace))
