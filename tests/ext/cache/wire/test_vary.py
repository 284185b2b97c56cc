"""Which of several answers of one URL is the one: RFC 9111 section 4.1, RFC 9110 section 12.5.5."""

from __future__ import annotations

import pytest

from tests.support.cache_rig import Answer, Ask, CacheRig, Row

FRESH = "Cache-Control: max-age=600"
FOO = Answer(FRESH, "Vary: Foo")
TWO = Answer(FRESH, "Vary: Foo, Bar")


def on(name: str, first: str, second: str, same: bool) -> Row:
    """Asked with one value of the field, then with the other."""
    return Row(Answer(FRESH, f"Vary: {name}"), Ask(1, fields=[f"{name}: {first}"]), Ask(1 if same else 2, fields=[f"{name}: {second}"]))


MATCH = {
    "4.1 the same value": on("Foo", "1", "1", True),
    "4.1 MUST NOT another value": on("Foo", "1", "2", False),
    "4.1 MUST NOT absent now": Row(FOO, Ask(1, fields=["Foo: 1"]), Ask(2)),
    "4.1 MUST NOT absent when stored": Row(FOO, Ask(1), Ask(2, fields=["Foo: 1"])),
    "4.1 MUST NOT empty now, absent when stored": Row(FOO, Ask(1), Ask(2, fields=["Foo:"])),
    "4.1 absent both times": Row(FOO, Ask(1), Ask(1)),
    "4.1 fields that are not named do not matter": Row(FOO, Ask(1, fields=["Foo: 1", "Other: 2"]), Ask(1, fields=["Foo: 1", "Other: 3"])),
    "4.1 blanks around the value": on("Foo", "1", "  1 ", True),
    "4.1 blanks behind commas": on("Foo", "1,2", "1,  2", True),
    "4.1 lines of one name are one list": Row(FOO, Ask(1, fields=["Foo: 1, 2"]), Ask(1, fields=["Foo: 1", "Foo: 2"])),
    "4.1 MUST NOT another order, of a field that we do not know": on("Foo", "1, 2", "2, 1", False),
    "4.1 Accept-Language in any case": on("Accept-Language", "en, de", "eN, De", True),
    "4.1 Accept-Encoding: what is wanted, not how it is said": on("Accept-Encoding", "gzip, br", "br;q=0.9,  gzip, deflate", True),
    "4.1 MUST NOT Accept-Encoding without a coding": on("Accept-Encoding", "gzip, br", "gzip", False),
    "9110 12.5.3 MUST NOT Accept-Encoding with q=0": on("Accept-Encoding", "gzip", "gzip;q=0", False),
    "9110 12.5.5 names in any case": Row(
        Answer(FRESH, "Vary: fOO"), Ask(1, fields=["Foo: 1"]), Ask(1, fields=["foo: 1"]), Ask(2, fields=["FOO: 2"])
    ),
    "4.1 several names, all the same": Row(TWO, Ask(1, fields=["Foo: 1", "Bar: a"]), Ask(1, fields=["Bar: a", "Foo: 1"])),
    "4.1 MUST NOT several names, one other": Row(TWO, Ask(1, fields=["Foo: 1", "Bar: a"]), Ask(2, fields=["Foo: 1", "Bar: b"])),
    "4.1 MUST NOT several names, one absent": Row(TWO, Ask(1, fields=["Foo: 1", "Bar: a"]), Ask(2, fields=["Foo: 1"])),
    "4.1 MUST NOT a value of one for that of the other": Row(TWO, Ask(1, fields=["Foo: 1"]), Ask(2, fields=["Bar: 1"])),
    "4.1 several lines of Vary": Row(
        Answer(FRESH, "Vary: Foo", "Vary: Bar"), Ask(1, fields=["Foo: 1", "Bar: a"]), Ask(2, fields=["Foo: 1", "Bar: b"])
    ),
    "4.1 several variants stand beside each other": Row(
        FOO,
        Ask(1, fields=["Foo: 1"]),
        Ask(2, fields=["Foo: 2"]),
        Ask(3),
        Ask(1, fields=["Foo: 1"]),
        Ask(2, fields=["Foo: 2"]),
        Ask(3, fields=[]),
    ),
    "4.1 each variant ages by itself": Row(
        Answer("Cache-Control: max-age=60", "Vary: Foo"),
        Ask(1, fields=["Foo: 1"]),
        Ask(2, fields=["Foo: 2"], after=50),
        Ask(3, fields=["Foo: 1"], after=15),
        Ask(2, fields=["Foo: 2"]),
    ),
}

STAR = {
    "4.1 MUST NOT *": "*",
    "4.1 MUST NOT * twice": "*, *",
    "4.1 MUST NOT * behind an empty element": ", *",
    "4.1 MUST NOT * before a name": "*, Foo",
    "4.1 MUST NOT * behind a name": "Foo, *",
}


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in MATCH.items()])
def test_selecting_fields(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("value", STAR.values(), ids=STAR)
def test_star(cache: CacheRig, value: str) -> None:
    cache.play(Row(Answer(FRESH, f"Vary: {value}"), Ask(1, fields=["Foo: 1"]), Ask(2, fields=["Foo: 1"])))


def test_star_on_a_line_of_its_own(cache: CacheRig) -> None:
    cache.play(Row(Answer(FRESH, "Vary:", "Vary: *"), Ask(1), Ask(2)))
    cache.play(Row(Answer(FRESH, "Vary: Foo", "Vary: *"), Ask(1), Ask(2)))


def test_most_recent_of_those_that_match(cache: CacheRig) -> None:
    """RFC 9111 section 4: MUST use the most recent answer when more than one would do: the later one has no Vary, and matches all."""
    cache.play(
        Row(
            Answer(FRESH, "Vary: Foo"),
            Ask(1, fields=["Foo: 1"]),
            Ask(2, fields=["Foo: 2"], after=5, answer=Answer(FRESH)),
            Ask(2, fields=["Foo: 2"]),
            Ask(2, fields=["Foo: 1"]),
        )
    )


def test_validation_of_one_variant(cache: CacheRig) -> None:
    """RFC 9111 section 4.3.1: the request that validates is that of the client, selecting fields and all."""
    cache.play(
        Row(
            Answer("Cache-Control: max-age=60", "Vary: Foo", 'ETag: "a"'),
            Ask(1, fields=["Foo: 1"]),
            Ask(1, fields=["Foo: 1"], after=61, asked=2, heard=['If-None-Match: "a"', "Foo: 1"]),
            Ask(1, fields=["Foo: 1"], asked=2),
        )
    )


def test_bound_of_variants(cache: CacheRig) -> None:
    """No more variants of a key than the config says: older ones give way."""
    asks = [Ask(n, fields=[f"Foo: {n}"]) for n in range(1, 7)]
    cache.play(Row(FOO, *asks, Ask(6, fields=["Foo: 6"]), variants=4))
    kept = cache.store.find(f"http://test/{cache.rows}")
    assert len(kept) <= 4
