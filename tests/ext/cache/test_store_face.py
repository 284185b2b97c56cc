"""The Python face of the store: what it takes, gives, refuses, and leaves behind."""

from __future__ import annotations

import gc
import struct
import threading
import zlib
from typing import Any, Literal, cast

import pytest

from proxyd_ext.cache.store import Cache, CachedObject, blob_names
from tests.support.blobs import PurgeKind, page_blob, store_of_pages

URL = "http://test/page?q=1"


def only(store: Cache, url: str = URL) -> CachedObject:
    (found,) = store.find(url)
    return found


def with_page(body: bytes = b"page", **settings: Any) -> Cache:
    store = store_of_pages()
    assert store.load(page_blob(URL, body, **settings))
    return store


def test_a_blob_brings_back_all_of_it() -> None:
    source = with_page(bytes(300_000), tags=["a", "b"], vary="x", variant=b"v", fields=['ETag: "e"'], stale_s=9)
    found = only(source)
    store = store_of_pages()
    assert store.load(found.blob())
    again = only(store)
    names = ["key", "url", "status", "head", "body", "size", "vary", "variant", "tags", "etag", "state", "stale_while_revalidate_s"]
    assert [getattr(again, name) for name in names] == [getattr(found, name) for name in names]
    assert (again.etag, again.tags, again.vary, again.size) == ('"e"', ["a", "b"], "x", 300_000)
    assert abs(again.fresh_s - found.fresh_s) < 2


def test_all_of_many_long_tags_are_known_and_kept() -> None:
    tags = [f"{n:>1000}".replace(" ", "t") for n in range(64)]
    source = with_page(tags=tags)
    assert only(source).tags == tags
    store = store_of_pages()
    assert store.load(only(source).blob())
    assert store.purge("tag", tags[63]) == 1


def test_names_are_spelled_as_purges_spell_them() -> None:
    """The shared tier holds them against the texts of purges (cachetier/purges.py)."""
    url = "http://test/page?q=é"
    store = store_of_pages()
    assert store.load(page_blob(url, b"page", tags=["ü"]))
    found = only(store, url)
    assert (found.url, found.tags, blob_names(found.blob())) == (url, ["ü"], (url, ["ü"]))
    assert store.purge("tag", found.tags[0]) == 1
    assert store.load(found_again := page_blob(found.url, b"page"))
    assert blob_names(found_again) == (url, [])
    with pytest.raises(ValueError, match="not an object"):
        blob_names(b"PXC1")


def test_what_has_gone_keeps_its_names_but_is_no_blob() -> None:
    """Its tags went with its place in the store: a blob without them could be purged by none of them."""
    store = with_page(tags=["a", "b"], vary="x", variant=b"v")
    found = only(store)
    assert store.purge("tag", "b") == 1
    assert (found.key, found.tags, found.vary, found.body) == (b"app\0" + URL.encode(), ["a", "b"], "x", b"page")
    with pytest.raises(ValueError, match="it has gone from the store"):
        found.blob()


@pytest.mark.parametrize("at", [0, 4, 6, 40, 63, 76, 90, 120, 150, -5, -1])
def test_a_damaged_blob_is_none(at: int) -> None:
    blob = bytearray(page_blob(URL, b"page"))
    blob[at] ^= 1
    with pytest.raises(ValueError, match="damaged"):
        store_of_pages().load(bytes(blob))


@pytest.mark.parametrize("size", [0, 3, 50, 88, 120])
def test_a_blob_that_was_cut_is_none(size: int) -> None:
    with pytest.raises(ValueError, match="damaged"):
        store_of_pages().load(page_blob(URL, b"page")[:size])


def test_sizes_that_do_not_fit_together_are_no_blob() -> None:
    data = bytearray(page_blob(URL, b"page")[:-4])
    data[56:60] = struct.pack("<I", 10_000)  # of the key
    with pytest.raises(ValueError, match="damaged"):
        store_of_pages().load(bytes(data) + struct.pack("<I", zlib.crc32(data)))


@pytest.mark.parametrize(
    ("settings", "loads"),
    [
        ({"lifetime_s": 60, "received_ago_s": 58}, True),
        ({"lifetime_s": 60, "received_ago_s": 70}, False),
        ({"lifetime_s": 60, "age_s": 70}, False),
        ({"lifetime_s": 60, "received_ago_s": 70, "stale_s": 60}, True),
        ({"received_ago_s": -120}, False),  # of the future
    ],
)
def test_what_is_too_old_is_not_loaded(settings: dict[str, Any], loads: bool) -> None:
    store = store_of_pages()
    assert store.load(page_blob(URL, b"page", **settings)) == loads
    assert len(store.find(URL)) == loads


def test_a_newer_answer_is_not_replaced_by_what_is_loaded() -> None:
    store = with_page(b"new")
    assert not store.load(page_blob(URL, b"old", received_ago_s=5))
    assert only(store).body == b"new"


@pytest.mark.parametrize("before", [{}, {"vary": "x", "variant": b"v"}])
def test_nor_is_one_by_an_older_variant(before: dict[str, Any]) -> None:
    """That it varied then, where it does not now, would make way for it with all that is there."""
    store = with_page(b"new", **before)
    assert not store.load(page_blob(URL, b"old", vary="x", variant=b"v", received_ago_s=5))
    assert only(store).body == b"new"
    assert store.load(page_blob(URL, b"of another", vary="x", variant=b"w", received_ago_s=5)) == bool(before)
    assert store.load(page_blob(URL, b"newer", vary="x", variant=b"v", received_ago_s=-5))


@pytest.mark.parametrize(("purges", "loads"), [
    ([("tag", "a")], False), ([("url", URL)], False), ([("tag", "b"), ("url", "http://test/other")], True), ([("tag", "b")] * 257, False),
])
def test_what_was_purged_before_it_was_restored_stays_purged(purges: list[tuple[PurgeKind, str]], loads: bool) -> None:
    """Notes of purges are bounded: beyond, nobody can tell, and nothing of before is restored."""
    store = store_of_pages()
    for kind, text in purges:
        store.purge(kind, text)
    assert store.load(page_blob(URL, b"page", tags=["a"]), restored=True) == loads
    assert store.load(page_blob(URL, b"page", tags=["a"], received_ago_s=-5))


def test_what_was_made_stale_before_it_was_restored_is_stale() -> None:
    store = store_of_pages()
    store.purge("tag", "a", soft=True)
    assert store.load(page_blob(URL, b"page", tags=["a"]), restored=True)
    assert only(store).soft_purged


def test_a_body_larger_than_an_eighth_is_not_kept() -> None:
    store = store_of_pages()
    assert not store.load(page_blob(URL, bytes((512 << 10) + 1)))
    assert not store.put("a", bytes((512 << 10) + 1), 1_000)
    assert store.put("a", bytes(512 << 10), 1_000)
    assert (store.get("a"), store.stats()["refused_too_large"]) == (bytes(512 << 10), 1)


def test_find_takes_any_spelling_of_the_url() -> None:
    store = with_page()
    for url in ("http://TEST/page?q=1", "http://test:80/page?q=1", "http://test/./x/../page?q=1", "http://test/%70age?q=1#part"):
        assert only(store, url).body == b"page"
    for url in ("http://test/page", "http://test/page?q=2", "https://test/page?q=1", "http://test:81/page?q=1"):
        assert store.find(url) == []
    for url in ("test/page", "ftp://test/", "http:///page", "http://test/../.."):
        with pytest.raises(ValueError, match="not a"):
            store.find(url)


def test_a_url_of_any_size_that_is_kept_is_found_and_purged() -> None:
    url = "http://test/" + "p" * 16_000
    store = store_of_pages()
    assert store.load(page_blob(url, b"page"))
    assert only(store, url).body == b"page"
    assert store.purge("url", url) == 1
    with pytest.raises(ValueError, match="too long"):
        store.purge("url", url + "p" * 400)


# ---- forms ----


def test_a_form_stands_beside_its_source() -> None:
    store = with_page(fields=['ETag: "e"', "Accept-Ranges: bytes"], tags=["t"])
    assert store.put_encoded(only(store), "gzip", b"gz")
    assert not store.put_encoded(store.find(URL)[-1], "gzip", b"twice")
    form, source = store.find(URL)
    assert (form.encoding, form.body, form.tags, source.encoding, source.body) == ("gzip", b"gz", ["t"], "", b"page")
    assert form.head == b'Content-Type: text/plain\r\nETag: W/"e"\r\nContent-Encoding: gzip\r\nVary: Accept-Encoding\r\n'
    with pytest.raises(ValueError, match="gzip"):
        store.put_encoded(form, "br", b"of a form")
    with pytest.raises(ValueError, match="nothing to keep"):
        form.blob()
    assert store.purge("tag", "t") == 2


def test_a_form_stands_in_the_cache_of_its_source() -> None:
    """A cache that was turned off and on is another one, and its memory another's."""
    with pytest.raises(ValueError, match="of another cache"):
        store_of_pages().put_encoded(only(with_page()), "gzip", b"gz")


def test_a_form_of_what_has_gone_is_not_kept() -> None:
    store = with_page()
    source, unknown = only(store), cast("Literal['gzip']", "deflate")
    assert store.purge("url", URL) == 1
    assert not store.put_encoded(source, "gzip", b"gz")
    assert store.find(URL) == []
    with pytest.raises(ValueError, match="encoding"):
        store.put_encoded(source, unknown, b"")


def test_a_form_is_as_stale_as_its_source() -> None:
    store = with_page()
    source = only(store)
    store.purge("url", URL, soft=True)
    assert store.put_encoded(source, "br", b"br")
    assert all(found.soft_purged and found.fresh_s <= 0 for found in store.find(URL))


# ---- for applications ----


def test_values_come_back_until_they_are_too_old() -> None:
    store = store_of_pages()
    assert store.get("a") is None
    assert store.put("a", b"", 60_000)
    assert store.get("a") == b""
    assert store.put("a", b"2", 60_000)
    assert store.get("a") == b"2"
    assert (store.delete("a"), store.delete("a"), store.get("a")) == (True, False, None)
    assert store.stats()["bytes"] == 0, "asking leaves nothing behind"


@pytest.mark.parametrize(
    ("key", "ttl_ms", "tags"),
    [("k", 0, []), ("k", -5, []), ("k" * 20_000, 1, []), ("k", 1, [f"{number}" for number in range(65)]), ("k", 1, ["t" * 1_025])],
)
def test_what_is_no_value_is_told(key: str, ttl_ms: int, tags: list[str]) -> None:
    store = store_of_pages()
    with pytest.raises(ValueError, match=r"has at most|above 0"):
        store.put(key, b"x", ttl_ms, tags)
    assert store.stats()["bytes"] == 0


@pytest.mark.parametrize("size", [1, (4 << 20) - 1])
def test_there_is_a_smallest_cache(size: int) -> None:
    with pytest.raises(ValueError, match="4 MiB"):
        Cache(size)
    with pytest.raises(ValueError, match="4 MiB"):
        store_of_pages().resize(size)


# ---- life ----


def test_what_was_found_outlives_its_place_and_its_store() -> None:
    store = with_page(bytes(200_000))
    found = only(store)
    store.purge("all")
    del store
    gc.collect()
    assert found.body == bytes(200_000)
    assert (found.body, found.state, found.url) == (bytes(200_000), "complete", URL)


def test_the_collector_may_take_it_in_any_order() -> None:
    store = with_page()
    circle: list[object] = [only(store), store]
    circle.append(circle)
    del circle, store
    gc.collect()  # takes `_cache` from the object first, if it is let to


def test_a_smaller_size_is_kept_at_once() -> None:
    store = store_of_pages(16 << 20)
    for number in range(200):
        assert store.put(f"{number}", bytes(60_000), 60_000)
    assert store.stats()["objects"] == 200
    store.resize(4 << 20)
    assert store.stats()["held_bytes"] <= store.stats()["limit_bytes"] == 4 << 20
    assert store.stats()["objects"] > 30


def test_threads_may_do_it_all_at_once() -> None:
    """Each with keys of its own, all with one page and one tag."""
    store, wrong = store_of_pages(), []

    def work(me: int) -> None:
        for turn in range(150):
            key = f"{me}/{turn % 7}"
            value = b"%d-%d-" % (me, turn) * (1 << turn % 13)
            if store.put(key, value, 60_000, ["all"] if turn % 5 else []) and store.get(key) not in (None, value):
                wrong.append(key)
            store.load(page_blob(URL, value))
            if turn % 10 == me:
                store.purge("tag", "all")
            for found in store.find(URL):
                if found.state == "complete" and found.size != len(found.body):
                    wrong.append("page")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong
    store.purge("all")
    assert [store.stats()[name] for name in ("objects", "bases", "tags", "bytes")] == [0, 0, 0, 0]
