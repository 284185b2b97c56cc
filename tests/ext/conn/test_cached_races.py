"""Exchanges and the cache: what goes wrong when things happen at the same time. What the RFCs say is in tests/ext/cache/wire."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.blobs import PurgeKind
from tests.support.cache_rig import CacheRig
from tests.support.engine import Rig, get
from tests.support.wire import Message, Peer

LONG = bytes(range(256)) * 3_200  # 819,200 bytes: many pieces, and more than a slow client's socket takes


@pytest.fixture
def cache(clocked: Rig) -> Iterator[CacheRig]:
    clocked.listen(send_bytes=32_768)
    rig = CacheRig(clocked, 32 << 20)
    rig.begin({}, scripted=True)
    yield rig
    rig.finish()


def answer(*fields: str, body: bytes = b"", status: int = 200) -> bytes:
    lines = [f"HTTP/1.1 {status} Word", *fields, *([] if status == 304 else [f"Content-Length: {len(body)}"])]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def ask(cache: CacheRig, *fields: str, method: str = "GET") -> Peer:
    client = cache.rig.connect()
    client.send(get(f"/{cache.rows}", *fields, method=method))
    cache.rig.settle()
    return client


def told(cache: CacheRig, origin: Peer | None, data: bytes) -> tuple[Peer, Message]:
    """The origin hears the next request, on this connection or a new one, and answers."""
    origin = origin or cache.origin.accept()
    request = origin.request()
    origin.send(data)
    cache.rig.settle()
    return origin, request


def test_a_head_that_was_passed_on_is_not_stored_as_an_empty_page(cache: CacheRig) -> None:
    client = ask(cache)
    origin, _ = told(cache, None, answer("Cache-Control: no-store", body=b"secret"))
    assert client.response().body == b"secret"
    client = ask(cache, method="HEAD")
    _, request = told(cache, origin, b"HTTP/1.1 200 Word\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\n")
    assert (request.method, client.response("HEAD").status) == ("HEAD", 200)
    client = ask(cache)
    told(cache, origin, answer("Cache-Control: max-age=60", body=b"page"))
    assert client.response().body == b"page"


def test_a_long_body_stays_whole_behind_a_304(cache: CacheRig) -> None:
    """Both heads, the old and the new one, stand before the same bytes: readers of the old one do not use them up."""
    client = ask(cache)
    origin, _ = told(cache, None, answer("Cache-Control: max-age=1", "ETag: \"a\"", body=LONG))
    assert client.response().body == LONG
    cache.wait(2)
    client = ask(cache)
    _, request = told(cache, origin, answer("Cache-Control: max-age=60", "ETag: \"a\"", status=304))
    assert (request.field("if-none-match"), client.response().body) == ('"a"', LONG)
    slow = cache.rig.connect(receive_bytes=8_192)
    slow.send(get(f"/{cache.rows}"))
    slow.head()
    begin = slow.read(300_000)
    assert ask(cache).response().body == LONG
    assert begin + slow.read(len(LONG) - len(begin)) == LONG


def test_a_body_that_is_still_coming_is_not_asked_for_by_its_tag(cache: CacheRig) -> None:
    """A 304 could only be answered by what may yet break off."""
    first = ask(cache)
    whole = answer("Cache-Control: no-cache", "ETag: \"a\"", body=LONG)
    origin, _ = told(cache, None, whole[:100_000])
    second = ask(cache)
    _, request = told(cache, None, answer("Cache-Control: no-cache", "ETag: \"b\"", body=b"other"))
    assert request.field("if-none-match") is None
    assert second.response().body == b"other"
    origin.send(whole[100_000:])
    assert first.response().body == LONG


def test_a_purged_answer_does_not_stand_in_for_an_error(cache: CacheRig) -> None:
    client = ask(cache)
    origin, _ = told(cache, None, answer("Cache-Control: max-age=1, stale-if-error=60", body=b"old"))
    assert client.response().body == b"old"
    cache.wait(2)
    before = ask(cache)
    assert cache.store.purge("all") == 1
    after = ask(cache)
    told(cache, origin, answer(status=503))
    assert before.response().status == 503
    told(cache, origin, answer("Cache-Control: max-age=60", body=b"new"))
    assert after.response().body == b"new"


def test_tags_outlive_a_304(cache: CacheRig) -> None:
    """All of them, though the stored answer itself has made way meanwhile."""
    tags = " ".join(f"{number:060}" for number in range(60))
    client = ask(cache)
    origin, _ = told(cache, None, answer("Cache-Control: max-age=1", "ETag: \"a\"", f"Surrogate-Key: {tags}", body=b"page"))
    assert client.response().body == b"page"
    cache.wait(2)
    client = ask(cache)
    cache.store.resize(4 << 20)
    while cache.store.stats()["evictions_capacity"] == 0:
        assert cache.store.put(f"{cache.store.stats()['inserted']}", bytes(400_000), 60_000)
    told(cache, origin, answer("Cache-Control: max-age=60", "ETag: \"a\"", status=304))
    assert client.response().body == b"page"
    assert cache.store.find(f"http://test/{cache.rows}")[0].tags == tags.split(" ")
    assert cache.store.purge("tag", f"{59:060}") == 1


def test_a_long_body_that_made_way_is_not_stored_again_in_part(cache: CacheRig) -> None:
    """What nobody finds any more is given back as it is read; a new head before it would promise all of it."""
    client = ask(cache)
    origin, _ = told(cache, None, answer("Cache-Control: max-age=1", "ETag: \"a\"", body=LONG))
    assert client.response().body == LONG
    cache.wait(2)
    client = ask(cache)
    cache.store.resize(8 << 20)
    while cache.store.find(f"http://test/{cache.rows}"):
        assert cache.store.put(f"{cache.store.stats()['inserted']}", bytes(400_000), 60_000)
    told(cache, origin, answer("Cache-Control: max-age=60", "ETag: \"a\"", status=304))
    assert client.response().body == LONG
    assert [stored.body == LONG for stored in cache.store.find(f"http://test/{cache.rows}")] in ([], [True])


def test_a_304_does_not_bring_back_what_has_been_replaced(cache: CacheRig) -> None:
    cache.begin({"collapse_ms": 0}, scripted=True)
    client = ask(cache)
    origin, _ = told(cache, None, answer("Cache-Control: max-age=1", "ETag: \"a\"", body=b"old"))
    assert client.response().body == b"old"
    cache.wait(2)
    first, second = ask(cache), ask(cache)
    told(cache, None, answer("Cache-Control: max-age=60", "ETag: \"b\"", body=b"new"))
    assert second.response().body == b"new"
    told(cache, origin, answer("Cache-Control: max-age=60", "ETag: \"a\"", status=304))
    assert first.response().body == b"old"
    assert ask(cache).response().body == b"new"


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("kind", ["url", "prefix", "host", "tag", "all"])
def test_what_was_fetched_before_a_purge_is_not_used_after_it(cache: CacheRig, kind: PurgeKind, soft: bool) -> None:
    text = {"url": f"http://test/{cache.rows}", "prefix": "test/", "host": "test", "tag": "t", "all": ""}[kind]
    first = ask(cache)
    cache.store.purge(kind, text, soft=soft)
    origin, _ = told(cache, None, answer("Cache-Control: max-age=60", "Surrogate-Key: s t", body=b"old"))
    assert first.response().body == b"old"
    second = ask(cache)
    told(cache, origin, answer("Cache-Control: max-age=60", body=b"new"))
    assert second.response().body == b"new"
    assert cache.store.stats()["late_fills"] == (0 if soft else 1)


def test_of_a_purged_body_every_range_is_sent(cache: CacheRig) -> None:
    """Ranges may be asked for in any order: what one reader has passed, it may need again."""
    client = ask(cache)
    told(cache, None, answer("Cache-Control: max-age=60", body=LONG))
    assert client.response().body == LONG
    client = cache.rig.connect(receive_bytes=8_192)
    client.send(get(f"/{cache.rows}", "Range: bytes=500000-799999,0-99999"))
    cache.rig.settle()
    cache.store.purge("all")
    body = client.response().body
    assert LONG[500_000:800_000] in body
    assert LONG[:100_000] in body
