"""Cache-aside for applications: the seed is "read the cache; if it is not there, read the database; if found, put it in the cache".

    from proxyd.aside import JsonCodec, open_cache

    async with open_cache(JsonCodec(), size=64 << 20, redis="redis://127.0.0.1:6379/0") as cache:
        user = await cache.get_or_load(f"user:{id}", lambda: database.user(id), ttl=60, negative_ttl=5, tags=["users"])
        ...
        await cache.purge_tag("users")

`open_cache` makes the native store of this process and, if asked, the link to the tier that all nodes share. `AsideCache` is for those who
have both already. With the server and the prefix of a daemon, purges by tag reach the daemon's answers as well, and the other way round.
"""
from proxyd.aside.cache import AsideCache, AsideCounters
from proxyd.aside.codec import BytesCodec, Codec, JsonCodec, TextCodec
from proxyd.aside.opening import open_cache

__all__ = ["AsideCache", "AsideCounters", "BytesCodec", "Codec", "JsonCodec", "TextCodec", "open_cache"]
