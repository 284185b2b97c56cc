"""Purges and questions by URL, held against a plain model of what each of them means."""

from __future__ import annotations

import random

import pytest

from proxyd_ext.cache.store import Cache
from tests.support.blobs import PurgeKind, page_blob

HOSTS = ("a.test", "a.test:8080", "b.test")
PATHS = ("/", "/x", "/x/", "/x/1", "/x/2?q=1", "/x/2?q=2", "/xy", "/xy/1")
URLS = [f"http://{host}{path}" for host in HOSTS for path in PATHS]


def filled() -> Cache:
    store = Cache(4 << 20)
    for number, url in enumerate(URLS):
        assert store.load(page_blob(url, b"%d" % number, tags=[f"n{number}", f"odd{number % 2}"]))
    return store


def left(store: Cache) -> set[str]:
    return {each.url for each in store.export(0, 256)[1]}


PURGES: list[tuple[PurgeKind, str, set[str]]] = [
    ("prefix", "http://a.test/x", {url for url in URLS if url.startswith("http://a.test/x")}),
    ("prefix", "a.test/x", {url for url in URLS if url.startswith("http://a.test/x")}),
    ("prefix", "a.test", {url for url in URLS if "//a.test" in url}),
    ("host", "a.test", {url for url in URLS if "//a.test/" in url}),
    ("host", "A.Test:8080", {url for url in URLS if "//a.test:8080/" in url}),
    ("host", "a.tes", set()),
    ("tag", "n3", {URLS[3]}),
    ("tag", "odd1", set(URLS[1::2])),
    ("tag", "odd", set()),
    ("all", "", set(URLS)),
]


@pytest.mark.parametrize(("kind", "text", "meant"), PURGES)
def test_a_purge_takes_out_what_it_means_and_nothing_else(kind: PurgeKind, text: str, meant: set[str]) -> None:
    store = filled()
    assert store.purge(kind, text) == len(meant)
    assert left(store) == set(URLS) - meant
    assert store.stats()["evictions_purged"] == store.stats()["purged_objects"] == len(meant)
    assert store.purge("all") == len(URLS) - len(meant)
    assert (store.stats()["bytes"], store.stats()["tags"], store.stats()["bases"]) == (0, 0, 0)


@pytest.mark.parametrize(("kind", "text", "meant"), PURGES)
def test_a_soft_purge_makes_it_stale(kind: PurgeKind, text: str, meant: set[str]) -> None:
    store = filled()
    assert store.purge(kind, text, soft=True) == len(meant)
    found = store.export(0, 256)[1]
    assert {each.url for each in found if each.soft_purged} == {each.url for each in found if each.fresh_s <= 0} == meant
    assert len(found) == len(URLS)


def test_many_of_one_tag_go_in_several_rounds() -> None:
    store = Cache(32 << 20, shards=2)
    for number in range(9_000):
        assert store.put(f"{number}", b"x", 60_000, ["all", f"{number % 10}"])
    assert store.purge("tag", "3") == 900
    assert store.purge("tag", "all") == 8_100
    assert store.stats()["bytes"] == 0


def test_what_carries_a_tag_twice_goes_once() -> None:
    store = Cache(4 << 20)
    assert store.put("a", b"x", 60_000, ["t", "t", "u"])
    assert store.put("b", b"x", 60_000, ["t", "t"])
    assert [each.tags for each in store.export(0, 9)[1] if "u" in each.tags] == [["t", "u"]]
    assert store.purge("tag", "t") == 2
    assert (store.stats()["tags"], store.stats()["bytes"]) == (0, 0)


def test_the_model_and_the_store_agree_on_any_order_of_purges() -> None:
    draw = random.Random(7)
    store, model = filled(), dict(enumerate(URLS))
    for _ in range(300):
        kind, text, meant = draw.choice(PURGES[:-1])
        if draw.random() < 0.5:
            number = draw.randrange(len(URLS))
            assert store.load(page_blob(URLS[number], b"x", tags=[f"n{number}", f"odd{number % 2}"])) == (number not in model)
            model[number] = URLS[number]
        else:
            gone = [number for number, url in model.items() if url in meant]
            assert store.purge(kind, text) == len(gone)
            for number in gone:
                del model[number]
        assert left(store) == set(model.values())
