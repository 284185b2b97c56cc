"""Conditions of clients, answered from what is stored: RFC 9111 section 4.3.2, RFC 9110 sections 8.8.3.2, 13, 15.4.5."""

from __future__ import annotations

import pytest

from tests.support.cache_rig import Answer, Ask, CacheRig, Row

FRESH = "Cache-Control: max-age=600"
TAGGED = Answer(FRESH, 'ETag: "a"')
DATED = Answer(FRESH, "Date: @+0", "Last-Modified: @-3000")


def known(answer: Answer, *fields: str) -> Row:
    """On a hit: 304, and nothing is asked."""
    return Row(answer, Ask(1), Ask(status=304, text=b"", fields=fields, lacks=["content-length"]))


def whole(answer: Answer, *fields: str) -> Row:
    """On a hit: all of it."""
    return Row(answer, Ask(1), Ask(1, fields=fields))


TAGS = {
    "9110 13.1.2 the same": known(TAGGED, 'If-None-Match: "a"'),
    "9110 13.1.2 another": whole(TAGGED, 'If-None-Match: "b"'),
    "9110 13.1.2 first of a list": known(TAGGED, 'If-None-Match: "a", "b", "c"'),
    "9110 13.1.2 within a list": known(TAGGED, 'If-None-Match: "b","a" , "c"'),
    "9110 13.1.2 last of a list": known(TAGGED, 'If-None-Match: "b", "c", "a"'),
    "9110 13.1.2 on several lines": known(TAGGED, 'If-None-Match: "b"', 'If-None-Match: "a"'),
    "9110 13.1.2 none of a list": whole(TAGGED, 'If-None-Match: "b", "c"'),
    "9110 13.1.2 any": known(TAGGED, "If-None-Match: *"),
    "9110 13.1.2 any, of an answer without ETag": known(Answer(FRESH), "If-None-Match: *"),
    "9110 8.8.3.2 MUST weak comparison: both weak": known(Answer(FRESH, 'ETag: W/"a"'), 'If-None-Match: W/"a"'),
    "9110 8.8.3.2 MUST weak comparison: weak asked": known(TAGGED, 'If-None-Match: W/"a"'),
    "9110 8.8.3.2 MUST weak comparison: weak stored": known(Answer(FRESH, 'ETag: W/"a"'), 'If-None-Match: "a"'),
    "9110 8.8.3 a tag is case-sensitive": whole(TAGGED, 'If-None-Match: "A"'),
    "9110 8.8.3 a comma within a tag": known(Answer(FRESH, 'ETag: "a,b"'), 'If-None-Match: "c", "a,b"'),
    "9110 8.8.3 part of a tag is none": whole(Answer(FRESH, 'ETag: "ab"'), 'If-None-Match: "a"'),
    "9110 8.8.3 bytes above ASCII": known(Answer(FRESH, 'ETag: "\xfc"'), 'If-None-Match: "\xfc"'),
    "9110 13.1.2 an answer without ETag": whole(Answer(FRESH), 'If-None-Match: "a"'),
    "9110 13.1.3 MUST If-None-Match before If-Modified-Since: known": known(
        Answer(FRESH, 'ETag: "a"', "Last-Modified: @-10"), 'If-None-Match: "a"', "If-Modified-Since: @-3000"
    ),
    "9110 13.1.3 MUST If-None-Match before If-Modified-Since: another": whole(
        Answer(FRESH, 'ETag: "a"', "Last-Modified: @-3000"), 'If-None-Match: "b"', "If-Modified-Since: @-10"
    ),
}

TIMES = {
    "9110 13.1.3 the same": known(DATED, "If-Modified-Since: @-3000"),
    "9110 13.1.3 later": known(DATED, "If-Modified-Since: @-2000"),
    "9110 13.1.3 earlier": whole(DATED, "If-Modified-Since: @-3001"),
    "9110 13.1.3 MUST ignore what is no date": whole(DATED, "If-Modified-Since: yesterday"),
    "9110 13.1.3 MUST ignore a list": whole(DATED, "If-Modified-Since: @-3000", "If-Modified-Since: @-3000"),
    "9111 4.3.2 no Last-Modified: Date instead": known(Answer(FRESH, "Date: @-5"), "If-Modified-Since: @-5"),
    "9111 4.3.2 no Last-Modified, and Date is later": whole(Answer(FRESH, "Date: @-5"), "If-Modified-Since: @-6"),
}

ELSEWHERE = {
    "9110 13.2.1 MUST ignore conditions when the answer is no 2xx": Row(
        Answer(FRESH, 'ETag: "a"', status=404), Ask(1, status=404), Ask(1, status=404, fields=['If-None-Match: "a"'])
    ),
    "9110 13.1.2 unsafe methods: the origin decides": Row(
        TAGGED, Ask(1), Ask(status=412, method="PUT", body=b"x", fields=['If-None-Match: "a"'], asked=2, heard=['If-None-Match: "a"'])
    ),
    "9110 13.1.1 If-Match of an unsafe method reaches the origin": Row(
        TAGGED, Ask(1), Ask(2, method="PUT", body=b"x", fields=['If-Match: "a"'], heard=['If-Match: "a"'])
    ),
}

NOT_MODIFIED = Answer(
    FRESH, 'ETag: "a"', "Date: @-5", "Expires: @+900", "Vary: Foo", "Content-Location: /c", "Last-Modified: @-9", "Content-Type: text/x"
)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in TAGS.items()])
def test_if_none_match(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in TIMES.items()])
def test_if_modified_since(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in ELSEWHERE.items()])
def test_precedence(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("date", ["Thursday, 18-Aug-22 02:01:18 GMT", "Thu Aug 18 02:01:18 2022", "Thu, 18 Aug 2022 02:01:18 GMT"])
def test_if_modified_since_in_every_form(cache: CacheRig, date: str) -> None:
    """RFC 9110 section 5.6.7: a recipient MUST accept all three forms of a date."""
    cache.play(known(Answer(FRESH, "Last-Modified: Thu, 18 Aug 2022 02:01:18 GMT"), f"If-Modified-Since: {date}"))


def test_fields_of_a_304(cache: CacheRig) -> None:
    """RFC 9110 section 15.4.5: MUST have Content-Location, Date, ETag, Vary, Cache-Control and Expires of the 200. Age, too."""
    gets = ['ETag: "a"', "Date: @-5", "Expires: @+900", "Vary: Foo", "Content-Location: /c", FRESH, "Age: 12"]
    cache.play(Row(NOT_MODIFIED, Ask(1), Ask(status=304, text=b"", after=7, fields=['If-None-Match: "a"'], gets=gets)))


@pytest.mark.parametrize("line", ['If-Match: "b"', "If-Unmodified-Since: @-5000"])
def test_conditions_that_are_the_origins(cache: CacheRig, line: str) -> None:
    """RFC 9111 section 4.3.2: neither is for a cache to decide: what is stored is given, or the origin is asked."""
    cache.begin({})
    cache.answer = Answer(FRESH, 'ETag: "a"', "Last-Modified: @-3000")
    cache.ask(Ask())
    response = cache.ask(Ask(fields=[line]))
    asked = len(cache.origin.requests)
    assert (response.status, asked) in [(200, 1), (412, 2), (200, 2)], response.head


def test_condition_when_nothing_is_stored(cache: CacheRig) -> None:
    """RFC 9110 section 13.1.2: the client knows it: 304, whoever finds out. What is asked without a condition next is whole."""
    cache.begin({})
    cache.answer = TAGGED
    response = cache.ask(Ask(fields=['If-None-Match: "a"']))
    assert (response.status, response.body) == (304, b"")
    response = cache.ask(Ask())
    assert response.status == 200
    assert response.body == b"#%d" % len(cache.origin.requests)
