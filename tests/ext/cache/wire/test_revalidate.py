"""Asking whether what is stored still holds, and what becomes of it: RFC 9111 sections 3.2, 4.3."""

from __future__ import annotations

import pytest

from tests.support.cache_rig import Answer, Ask, CacheRig, Row

MINUTE = "Cache-Control: max-age=60"
TAG = 'ETag: "a"'
THEN = "Last-Modified: @-3000"

ASKED = {
    "4.3.1 MUST the ETag, in If-None-Match": Row(
        Answer(MINUTE, TAG), Ask(1), Ask(1, after=61, asked=2, heard=['If-None-Match: "a"'], unheard=["if-modified-since"]), Ask(1, asked=2)
    ),
    "4.3.1 a weak ETag, too": Row(Answer(MINUTE, 'ETag: W/"a"'), Ask(1), Ask(1, after=61, asked=2, heard=['If-None-Match: W/"a"'])),
    "4.3.1 Last-Modified, in If-Modified-Since": Row(
        Answer(MINUTE, THEN), Ask(1), Ask(1, after=61, asked=2, heard=["If-Modified-Since: @-3000"], unheard=["if-none-match"])
    ),
    "4.3.1 both": Row(
        Answer(MINUTE, TAG, THEN), Ask(1), Ask(1, after=61, asked=2, heard=['If-None-Match: "a"', "If-Modified-Since: @-3000"])
    ),
    "4.3.1 no validator, no condition": Row(Answer(MINUTE), Ask(1), Ask(2, after=61, unheard=["if-none-match", "if-modified-since"])),
    "5.2.2.4 MUST no-cache before every use": Row(
        Answer("Cache-Control: max-age=600, no-cache", TAG), Ask(1), Ask(1, asked=2, heard=['If-None-Match: "a"']), Ask(1, asked=3)
    ),
    "5.2.2.4 No-CaChE": Row(Answer("Cache-Control: max-age=600, No-CaChE", TAG), Ask(1), Ask(1, asked=2), Ask(1, asked=3)),
    "5.2.2.4 no-cache with names of fields, as if without": Row(
        Answer('Cache-Control: max-age=600, no-cache="x-user"', TAG), Ask(1), Ask(1, asked=2), Ask(1, asked=3)
    ),
    "5.2.2.4 MUST NOT without validation, even if there is no validator": Row(
        Answer("Cache-Control: max-age=600, no-cache"), Ask(1), Ask(2), Ask(3)
    ),
    "5.2.2.2 MUST must-revalidate once stale": Row(
        Answer("Cache-Control: max-age=60, must-revalidate", TAG), Ask(1), Ask(1, after=59), Ask(1, after=2, asked=2)
    ),
    "4.2.1 max-age=0 with a validator": Row(Answer("Cache-Control: max-age=0", TAG), Ask(1), Ask(1, asked=2, heard=['If-None-Match: "a"'])),
    "4.3.1 the client's own condition gives way to ours": Row(
        Answer(MINUTE, TAG),
        Ask(1),
        Ask(after=61, fields=['If-None-Match: "a"'], status=304, text=b"", asked=2),
        Ask(1, asked=2),
    ),
    "4.3.1 a client with another ETag gets the whole": Row(
        Answer(MINUTE, TAG), Ask(1), Ask(1, after=61, fields=['If-None-Match: "b"'], asked=2), Ask(1, asked=2)
    ),
    "4.3.3 a client's Last-Modified, when 304 came": Row(
        Answer(MINUTE, THEN), Ask(1), Ask(after=61, fields=["If-Modified-Since: @-3000"], status=304, text=b"", asked=2), Ask(1, asked=2)
    ),
}

CHANGED = Answer(MINUTE, 'ETag: "b"', "X-New: 1")
ANSWERED = {
    "4.3.3 a full answer takes the place of the stored one": Row(
        Answer(MINUTE, TAG, "X-Old: 1"),
        Ask(1),
        Ask(2, after=61, answer=CHANGED, gets=["X-New: 1"], lacks=["x-old"]),
        Ask(2, gets=['ETag: "b"'], lacks=["x-old"]),
    ),
    "4.3.3 a full answer that is not to be stored takes it away": Row(
        Answer(MINUTE, TAG), Ask(1), Ask(2, after=61, answer=Answer("Cache-Control: no-store", 'ETag: "b"')), Ask(3)
    ),
    "4.3.3 an error of the server is passed on": Row(
        Answer(MINUTE, TAG), Ask(1), Ask(2, after=61, answer=Answer("Cache-Control: no-store", status=503), status=503)
    ),
    "4.3.3 404 takes the place, too": Row(
        Answer(MINUTE, TAG), Ask(1), Ask(2, after=61, answer=Answer(MINUTE, status=404), status=404), Ask(2, status=404)
    ),
}


def renewed(*lines: str, old: tuple[str, ...] = ("X-A: 1",), **expect: list[str]) -> Row:
    """A 304 with these lines; what is seen then, and from the cache later."""
    return Row(
        Answer(MINUTE, TAG, *old),
        Ask(1),
        Ask(
            1,
            after=61,
            answer=Answer(MINUTE, TAG, *old, renewed=[TAG, *lines]),
            asked=2,
            gets=expect.get("gets", []),
            lacks=expect.get("lacks", []),
        ),
        Ask(1, asked=2, gets=expect.get("gets", []), lacks=expect.get("lacks", [])),
    )


UPDATED = {
    "3.2 MUST fields of the 304 replace stored ones": renewed(MINUTE, "X-A: 2", gets=["X-A: 2"]),
    "3.2 MUST fields that were not there are added": renewed(MINUTE, "X-B: 3", gets=["X-A: 1", "X-B: 3"]),
    "3.2 MUST what the 304 does not name stays": renewed(MINUTE, gets=["X-A: 1", MINUTE, TAG]),
    "3.2 Content- fields like others": renewed(MINUTE, "Content-Foo: 2", old=("Content-Foo: 1",), gets=["Content-Foo: 2"]),
    "3.2 MUST NOT Content-Length": renewed(MINUTE, "Content-Length: 99", gets=["Content-Length: 2"]),
    "3.2 what Connection names is not taken": renewed(MINUTE, "Connection: x-a", "X-A: 2", gets=["X-A: 1"]),
    "3.2 Date": renewed(MINUTE, "Date: @+61", old=("Date: @+0",), gets=["Date: @+61"]),
    "4.3.4 a new lifetime": Row(
        Answer(MINUTE, TAG),
        Ask(1),
        Ask(1, after=61, answer=Answer(MINUTE, TAG, renewed=[TAG, "Cache-Control: max-age=600"]), asked=2),
        Ask(1, after=599, asked=2, gets=["Cache-Control: max-age=600"]),
        Ask(1, after=2, asked=3),
    ),
    "4.3.4 the old lifetime anew, when the 304 tells none": Row(
        Answer(MINUTE, TAG),
        Ask(1),
        Ask(1, after=61, answer=Answer(MINUTE, TAG, renewed=[TAG]), asked=2),
        Ask(1, after=59, asked=2),
        Ask(1, after=2, asked=3),
    ),
    "4.2.3 Age begins anew": Row(Answer(MINUTE, TAG), Ask(1), Ask(1, after=61, asked=2), Ask(1, after=7, asked=2, gets=["Age: 7"])),
}


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in ASKED.items()])
def test_validation_request(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in ANSWERED.items()])
def test_validation_answer(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in UPDATED.items()])
def test_fields_of_304(cache: CacheRig, row: Row) -> None:
    cache.play(row)


def test_304_of_another_validator_frees_nothing(cache: CacheRig) -> None:
    """RFC 9111 sections 4.3.4, 4.2.4: it MUST NOT update what is stored; that is still stale, so the origin is asked for all of it."""
    cache.play(
        Row(
            Answer(MINUTE, TAG, "X-A: 1"),
            Ask(1),
            Ask(3, after=61, answer=Answer(MINUTE, TAG, renewed=['ETag: "other"', MINUTE, "X-A: 2"]), lacks=["x-a"]),
            Ask(3),
        )
    )


def test_304_without_validator(cache: CacheRig) -> None:
    """RFC 9111 section 4.3.4: without a validator in the 304, it is about the one answer whose validator was sent."""
    cache.play(
        Row(
            Answer(MINUTE, TAG),
            Ask(1),
            Ask(1, after=61, answer=Answer(MINUTE, TAG, renewed=[MINUTE, "X-A: 2"]), asked=2, gets=["X-A: 2", TAG]),
            Ask(1, asked=2, gets=["X-A: 2", TAG]),
        )
    )
