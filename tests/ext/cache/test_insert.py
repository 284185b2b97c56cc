"""New objects: what makes way for them."""

from __future__ import annotations

from tests.support.blobs import page_blob, store_of_pages


def test_variants_of_a_key_are_bounded_and_the_oldest_go() -> None:
    store = store_of_pages()
    for number in range(100):
        assert store.load(page_blob("http://test/", b"%d" % number, vary="x", variant=b"%d" % number))
    assert [found.body for found in store.find("http://test/")] == [b"%d" % number for number in reversed(range(68, 100))]
    assert store.stats()["evictions_variants"] == 68
