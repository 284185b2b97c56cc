"""Conditional requests against a stored answer: RFC 9110 §8.8, §13, RFC 9111 §4.3."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.cache.conditional import judge_conditions, may_freshen, range_counts
from proxyd_ext.http1.rewrite import http_date

NOW = 1_800_000_000
INM, IMS, IM, IUS = "If-None-Match: ", "If-Modified-Since: ", "If-Match: ", "If-Unmodified-Since: "


def at(offset_s: int) -> str:
    return http_date(NOW + offset_s).decode()


MODIFIED = f"Last-Modified: {at(-1000)}"


def answer(*lines: str, status: int = 200) -> bytes:
    return "".join([f"HTTP/1.1 {status} X\r\n", *(f"{line}\r\n" for line in lines), "\r\n"]).encode("latin-1")


def request(*lines: str, method: str = "GET") -> bytes:
    return "".join([f"{method} / HTTP/1.1\r\nHost: h\r\n", *(f"{line}\r\n" for line in lines), "\r\n"]).encode("latin-1")


def verdict(lines: list[str], *stored: str, method: str = "GET", origin: bool = False) -> str:
    return judge_conditions(request(*lines, method=method), answer(*stored), NOW, origin=origin)


@pytest.mark.parametrize(
    ("value", "etag", "outcome"),
    [
        ('"a"', '"a"', "304"),
        ('"a"', '"b"', "whole"),
        ('"a"', None, "whole"),
        ('""', '""', "304"),
        # §13.1.2: weak comparison
        ('W/"a"', '"a"', "304"),
        ('"a"', 'W/"a"', "304"),
        ('W/"a"', 'W/"a"', "304"),
        ('"b", "a", "c"', '"a"', "304"),
        ('"b" ,W/"a",', '"a"', "304"),
        ('"b,a"', '"a"', "whole"),
        ('"b,a"', '"b,a"', "304"),
        ('"f\xfc"', '"f\xfc"', "304"),
        ("*", '"a"', "304"),
        ("*", None, "304"),
        # Malformed: ignored as a whole.
        ("a", '"a"', "whole"),
        ("a", "a", "whole"),
        ('"a"', "a", "whole"),
        ('w/"a"', '"a"', "whole"),
        ('W"a"', 'W"a"', "whole"),
        ("W/a", "W/a", "whole"),
        ('"a', '"a', "whole"),
        ('"a" "b"', '"a"', "whole"),
        ('"a", b', '"a"', "whole"),
        ('"a", *', '"a"', "whole"),
        ('"a b"', '"a b"', "whole"),
        ("", '"a"', "whole"),
        ("W", '"a"', "whole"),
    ],
)
def test_if_none_match(value: str, etag: str | None, outcome: str) -> None:
    stored = [] if etag is None else [f"ETag: {etag}"]
    assert verdict([INM + value], *stored) == outcome
    assert verdict([INM + value], *stored, method="HEAD") == outcome
    assert verdict([INM + value], *stored, method="PUT") == ("412" if outcome == "304" else outcome)


def test_if_none_match_over_several_lines() -> None:
    assert verdict([INM + '"a"', INM + '"b"'], 'ETag: "b"') == "304"
    assert verdict([INM + '"b"', INM + "x"], 'ETag: "b"') == "whole"
    assert verdict([INM + "*", INM + '"b"'], 'ETag: "b"') == "whole"


@pytest.mark.parametrize(
    ("value", "stored", "outcome"),
    [
        (at(-1000), [MODIFIED], "304"),
        (at(-999), [MODIFIED], "304"),
        (at(-1001), [MODIFIED], "whole"),
        (at(5000), [MODIFIED], "304"),
        ("Sun Nov  6 08:49:37 1994", [MODIFIED], "whole"),
        ("Sunday, 06-Nov-94 08:49:37 GMT", ["Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT"], "304"),
        ("yesterday", [MODIFIED], "whole"),
        ("", [MODIFIED], "whole"),
        # RFC 9111 §4.3.2: by Date, or when it came
        (at(-50), [f"Date: {at(-50)}"], "304"),
        (at(-51), [f"Date: {at(-50)}"], "whole"),
        (at(0), [], "304"),
        (at(-1), ["Last-Modified: x"], "whole"),
    ],
)
def test_if_modified_since(value: str, stored: list[str], outcome: str) -> None:
    assert verdict([IMS + value], *stored) == outcome
    assert verdict([IMS + value], *stored, method="HEAD") == outcome
    # §13.1.3: of other methods it means nothing
    assert verdict([IMS + value], *stored, method="POST") == "whole"


def test_if_modified_since_twice_is_no_date() -> None:
    assert verdict([IMS + at(0), IMS + at(0)], MODIFIED) == "whole"


def test_s13_1_3_if_none_match_comes_first() -> None:
    assert verdict([INM + '"a"', IMS + at(-5000)], 'ETag: "a"', MODIFIED) == "304"
    assert verdict([IMS + at(0), INM + '"b"'], 'ETag: "a"', MODIFIED) == "whole"
    assert verdict([IMS + at(0), INM + "malformed"], 'ETag: "a"', MODIFIED) == "whole"


def test_no_condition() -> None:
    assert verdict([], 'ETag: "a"', MODIFIED) == "whole"


@pytest.mark.parametrize("line", [IM + '"a"', IM + "*", IUS + at(0)])
def test_rfc9111_s4_3_2_conditions_for_the_server_are_not_ours(line: str) -> None:
    assert verdict([line], 'ETag: "a"', MODIFIED) == "origin"
    assert verdict([line, INM + '"a"'], 'ETag: "a"', MODIFIED) == "origin"


@pytest.mark.parametrize(
    ("lines", "outcome"),
    [
        ([IM + '"a"'], "whole"),
        ([IM + '"b", "a"'], "whole"),
        ([IM + "*"], "whole"),
        ([IM + '"b"'], "412"),
        ([IM + 'W/"a"'], "412"),                              # §13.1.1: strong comparison
        ([IM + "malformed"], "412"),
        ([IUS + at(-1000)], "whole"),
        ([IUS + at(-1001)], "412"),
        ([IUS + "yesterday"], "whole"),
        ([IM + '"a"', IUS + at(-5000)], "whole"),             # §13.1.4: not looked at beside If-Match
        ([IM + '"a"', INM + '"a"'], "304"),
        ([IUS + at(0), IMS + at(0)], "304"),
    ],
)
def test_s13_2_2_where_we_are_the_server(lines: list[str], outcome: str) -> None:
    assert verdict(lines, 'ETag: "a"', MODIFIED, origin=True) == outcome


def test_if_unmodified_since_of_what_has_no_date() -> None:
    assert verdict([IUS + at(-5000)], 'ETag: "a"', origin=True) == "whole"


@pytest.mark.parametrize(
    ("lines", "stored", "counts"),
    [
        ([], [], True),
        (['If-Range: "a"'], ['ETag: "a"'], True),
        (['If-Range: "a"'], ['ETag: "b"'], False),
        (['If-Range: "a"'], [], False),
        # §13.1.5: strong comparison
        (['If-Range: W/"a"'], ['ETag: W/"a"'], False),
        (['If-Range: "a"'], ['ETag: W/"a"'], False),
        (['If-Range: W/"a"'], ['ETag: "a"'], False),
        (['If-Range: "a", "b"'], ['ETag: "a"'], False),
        ([f"If-Range: {at(-1000)}"], [MODIFIED, f"Date: {at(0)}"], True),
        ([f"If-Range: {at(-999)}"], [MODIFIED, f"Date: {at(0)}"], False),
        ([f"If-Range: {at(-1001)}"], [MODIFIED, f"Date: {at(0)}"], False),
        # §8.8.2.2: too young to be strong
        ([f"If-Range: {at(-1000)}"], [MODIFIED, f"Date: {at(-941)}"], False),
        ([f"If-Range: {at(-1000)}"], [MODIFIED, f"Date: {at(-940)}"], True),
        ([f"If-Range: {at(-1000)}"], [], False),
        (["If-Range: x"], [], False),
        (["If-Range:"], ["ETag:"], False),
        (["If-Range: W"], ["ETag: W"], False),
    ],
)
def test_if_range(lines: list[str], stored: list[str], counts: bool) -> None:
    assert range_counts(request(*lines), answer(*stored), NOW) is counts


@pytest.mark.parametrize(
    ("stored", "came", "may"),
    [
        (['ETag: "a"'], ['ETag: "a"'], True),
        (['ETag: "a"'], ['ETag: "b"'], False),
        (['ETag: W/"a"'], ['ETag: "a"'], False),
        (['ETag: W/"a"'], ['ETag: W/"a"'], True),
        (['ETag: "a"'], ['ETag: W/"a"'], True),
        (['ETag: "a"'], [], True),
        ([MODIFIED], [MODIFIED], True),
        ([MODIFIED], [f"Last-Modified: {at(-1)}"], False),
        ([MODIFIED], ["Last-Modified: x"], True),
        ([], ['ETag: "a"'], False),
        (['ETag: "a"', MODIFIED], ['ETag: "a"', f"Last-Modified: {at(-1)}"], True),
    ],
)
def test_rfc9111_s4_3_4_a_304_freshens_what_it_speaks_of(stored: list[str], came: list[str], may: bool) -> None:
    assert may_freshen(answer(*stored), answer(*came, status=304), NOW) is may


TAGS = st.builds(lambda weak, text: f'{weak}"{text}"', st.sampled_from(["", "W/"]), st.text(st.sampled_from("ab,"), max_size=2))


@given(st.lists(TAGS, min_size=1, max_size=4), TAGS)
def test_lists_said_plainly(tags: list[str], etag: str) -> None:
    there = etag.removeprefix("W/") in [tag.removeprefix("W/") for tag in tags]
    assert verdict([INM + ", ".join(tags)], f"ETag: {etag}") == ("304" if there else "whole")
    strongly = not etag.startswith("W/") and etag in tags
    assert verdict([IM + " ,".join(tags)], f"ETag: {etag}", origin=True) == ("whole" if strongly else "412")
