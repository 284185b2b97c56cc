"""Bodies on their way into the cache."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxyd_ext.cache.store import Cache, CachedObject
from tests.support.cache_rig import CacheRig
from tests.support.engine import Rig, get
from tests.support.wire import Peer

HEAD = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
LONG = bytes(range(256)) * 4_000  # 1,024,000 bytes: more than an eighth of the smallest cache


@pytest.fixture
def cache(clocked: Rig) -> Iterator[CacheRig]:
    rig = CacheRig(clocked, 4 << 20)
    rig.begin({}, scripted=True)
    yield rig
    rig.finish()


def asked(cache: CacheRig) -> tuple[Peer, Peer]:
    """A client that has asked for the page, and the origin that has heard it."""
    client = cache.rig.connect()
    client.send(get(f"/{cache.rows}"))
    origin = cache.origin.accept()
    origin.request()
    return client, origin


def states(cache: CacheRig) -> list[tuple[str, int]]:
    return [(found.state, found.size) for found in cache.store.find(f"http://test/{cache.rows}")]


def everything(store: Cache) -> list[CachedObject]:
    cursor, found = store.export(0, 256)
    while cursor:
        cursor, more = store.export(cursor, 256)
        found += more
    return found


def test_an_answer_whose_end_comes_with_its_head_is_whole(cache: CacheRig) -> None:
    client, origin = asked(cache)
    origin.send(HEAD + b"\r\nuntil the end")
    origin.close()
    assert client.response().body == b"until the end"
    assert states(cache) == [("complete", 13)]


@pytest.mark.parametrize("end", ["close", "reset"])
def test_an_answer_that_breaks_off_with_its_head_is_not_kept(cache: CacheRig, end: str) -> None:
    client, origin = asked(cache)
    origin.send(HEAD + b"Content-Length: 20\r\n\r\nhalf of it")
    getattr(origin, end)()
    assert b"Content-Length: 20\r\n" in client.head()
    assert client.read(10) == b"half of it"
    client.ended()
    assert states(cache) == []


def test_a_whole_answer_before_a_reset_is_kept(cache: CacheRig) -> None:
    client, origin = asked(cache)
    origin.send(HEAD + b"Content-Length: 5\r\n\r\nwhole")
    origin.reset()
    assert client.response().body == b"whole"
    assert states(cache) == [("complete", 5)]


def test_without_room_an_answer_is_passed_on(cache: CacheRig) -> None:
    """Everything in the cache is held by somebody, so nothing can make way."""
    client, origin = asked(cache)
    origin.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
    cache.rig.settle()
    held: list[list[CachedObject]] = []
    while cache.store.put(f"{len(held)}", bytes(60_000), 60_000):
        held.append(everything(cache.store))
    origin.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(LONG), LONG))
    assert client.response().body == b"first" + LONG
    assert states(cache) == []
