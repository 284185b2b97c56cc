"""HEAD and the cache: RFC 9110 section 9.3.2, RFC 9111 sections 4, 4.3.5."""

from __future__ import annotations

import pytest

from tests.support.cache_rig import Answer, Ask, CacheRig, Row

FRESH = Answer("Cache-Control: max-age=600", 'ETag: "a"', "X-One: 1")
HEAD = {"method": "HEAD", "text": b""}

ROWS = {
    "9110 9.3.2 from a stored GET: its fields, no body": Row(
        FRESH, Ask(1), Ask(method="HEAD", text=b"", gets=["Content-Length: 2", 'ETag: "a"', "X-One: 1", "Age: 0"], asked=1), Ask(1)
    ),
    "9110 9.3.2 and the connection goes on behind it": Row(
        FRESH, Ask(1), Ask(method="HEAD", text=b"", asked=1), Ask(method="HEAD", text=b"", asked=1)
    ),
    "9110 13.1.2 conditions count for HEAD, too": Row(
        FRESH, Ask(1), Ask(method="HEAD", text=b"", status=304, fields=['If-None-Match: "a"'], asked=1)
    ),
    "9111 4.2 MUST NOT a stale one": Row(Answer("Cache-Control: max-age=60"), Ask(1), Ask(method="HEAD", text=b"", after=61, asked=2)),
    "9110 9.3.2 an error that is stored": Row(
        Answer("Cache-Control: max-age=600", status=404), Ask(1, status=404), Ask(method="HEAD", text=b"", status=404, asked=1)
    ),
    "9111 5.2.1.7 only-if-cached, not stored": Row(
        FRESH, Ask(method="HEAD", text=b"", fields=["Cache-Control: only-if-cached"], status=504, asked=0)
    ),
}


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in ROWS.items()])
def test_head(cache: CacheRig, row: Row) -> None:
    cache.play(row)


def test_head_is_no_body_for_get(cache: CacheRig) -> None:
    """RFC 9111 section 4: an answer to HEAD has no content, and is none to GET."""
    cache.begin({})
    cache.answer = FRESH
    response = cache.ask(Ask(method="HEAD"))
    assert (response.status, response.body) == (200, b"")
    whole = cache.ask(Ask())
    assert whole.body == b"#%d" % len(cache.origin.requests)
    assert whole.body == cache.ask(Ask()).body


def test_head_of_the_origin_takes_nothing_away(cache: CacheRig) -> None:
    """RFC 9110 section 9.3.2: HEAD is safe: what is stored is not invalidated by it, unless it says that the content is another."""
    cache.play(
        Row(
            FRESH,
            Ask(1),
            Ask(method="HEAD", text=b"", fields=["Cache-Control: no-cache"], asked=2),
            Ask(1, asked=2),
        )
    )
