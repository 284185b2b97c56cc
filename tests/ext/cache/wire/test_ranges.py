"""Parts of what is stored whole, and parts that come from the origin: RFC 9110 section 14, RFC 9111 section 3.3."""

from __future__ import annotations

import re

import pytest

from tests.support.cache_rig import Answer, Ask, CacheRig, Row
from tests.support.wire import Message

FRESH = "Cache-Control: max-age=600"
LETTERS = b"abcdefghijklmnopqrstuvwxyz"
WHOLE = Answer(FRESH, 'ETag: "a"', "Last-Modified: @-3000", "Content-Type: text/x", body=LETTERS)
WEAK = Answer(FRESH, 'ETag: W/"a"', "Last-Modified: @-3000", body=LETTERS)
ALL = Ask(text=LETTERS, asked=1)


def part(ranges: str, first: int, last: int) -> Row:
    """One part of the stored 26 bytes."""
    size = last - first + 1
    gets = [f"Content-Range: bytes {first}-{last}/26", f"Content-Length: {size}", "Content-Type: text/x", 'ETag: "a"']
    return Row(WHOLE, ALL, Ask(status=206, text=LETTERS[first : last + 1], fields=[f"Range: {ranges}"], gets=gets, asked=1))


def ignored(*fields: str, answer: Answer = WHOLE) -> Row:
    """All of it, as if nothing had been said of parts."""
    return Row(answer, ALL, Ask(text=LETTERS, fields=fields, lacks=["content-range"], asked=1))


def unsatisfied(ranges: str) -> Row:
    return Row(WHOLE, ALL, Ask(status=416, fields=[f"Range: {ranges}"], gets=["Content-Range: bytes */26"], asked=1))


SINGLE = {
    "14.1.2 first and last": part("bytes=0-1", 0, 1),
    "14.1.2 one byte": part("bytes=3-3", 3, 3),
    "14.1.2 to the end": part("bytes=20-", 20, 25),
    "14.1.2 the last ones": part("bytes=-5", 21, 25),
    "14.1.2 last behind the end": part("bytes=20-99", 20, 25),
    "14.1.2 a suffix longer than all": part("bytes=-99", 0, 25),
    "14.1.2 numbers of more than 64 bits": part("bytes=20-99999999999999999999999", 20, 25),
    "14.1 the unit in any case": part("BYTES=0-1", 0, 1),
    "14.2 of several, one that can be had: no multipart": part("bytes=3-4, 90-99", 3, 4),
}

IGNORED = {
    "14.2 MUST another unit": ignored("Range: lines=0-1"),
    "14.2 no unit": ignored("Range: 0-1"),
    "14.1.1 last before first": ignored("Range: bytes=5-3"),
    "14.1.1 no number": ignored("Range: bytes=a-b"),
    "14.1.1 nothing at all": ignored("Range: bytes="),
    "14.1.1 a dash alone": ignored("Range: bytes=-"),
    "14.1.1 one of several is none": ignored("Range: bytes=0-1, x"),
    "13.1.5 MUST If-Range with another tag": ignored('If-Range: "b"', "Range: bytes=0-1"),
    "13.1.5 MUST If-Range: strong comparison": ignored('If-Range: W/"a"', "Range: bytes=0-1", answer=WEAK),
    "13.1.5 MUST If-Range: weak stored": ignored('If-Range: "a"', "Range: bytes=0-1", answer=WEAK),
    "13.1.5 If-Range with another date": ignored("If-Range: @-2999", "Range: bytes=0-1"),
}

CONDITIONAL = {
    "13.1.5 If-Range with the same tag": Row(
        WHOLE, ALL, Ask(status=206, text=b"ab", fields=['If-Range: "a"', "Range: bytes=0-1"], asked=1)
    ),
    "13.1.5 If-Range with the same date": Row(
        WHOLE, ALL, Ask(status=206, text=b"ab", fields=["If-Range: @-3000", "Range: bytes=0-1"], asked=1)
    ),
    "13.2.2 If-None-Match before Range": Row(
        WHOLE, ALL, Ask(status=304, text=b"", fields=['If-None-Match: "a"', "Range: bytes=0-1"], asked=1)
    ),
    "13.2.2 If-None-Match of another, then Range": Row(
        WHOLE, ALL, Ask(status=206, text=b"ab", fields=['If-None-Match: "b"', "Range: bytes=0-1"], asked=1)
    ),
}

UNSATISFIED = {
    "15.5.17 behind the end": unsatisfied("bytes=26-30"),
    "15.5.17 open, behind the end": unsatisfied("bytes=26-"),
    "15.5.17 a suffix of nothing": unsatisfied("bytes=-0"),
    "15.5.17 none of several": unsatisfied("bytes=30-40, 50-60"),
}

OTHERS = {
    "15.3.7 MUST Date, Cache-Control, ETag, Expires, Content-Location, Vary of the 200": Row(
        Answer(FRESH, 'ETag: "a"', "Date: @-5", "Expires: @+900", "Content-Location: /c", "Vary: Foo", body=LETTERS),
        ALL,
        Ask(
            status=206,
            text=b"ab",
            asked=1,
            after=3,
            fields=["Range: bytes=0-1"],
            gets=[FRESH, 'ETag: "a"', "Date: @-5", "Expires: @+900", "Content-Location: /c", "Vary: Foo", "Age: 8"],
        ),
    ),
    "14.2 MUST ignore with another method": Row(
        WHOLE, ALL, Ask(method="HEAD", fields=["Range: bytes=0-1"], gets=["Content-Length: 26"], lacks=["content-range"], asked=1)
    ),
    "13.2.1 an answer that is no 200 has no parts": Row(
        Answer(FRESH, status=404, body=LETTERS),
        Ask(status=404, text=LETTERS, asked=1),
        Ask(status=404, text=LETTERS, fields=["Range: bytes=0-1"], asked=1),
    ),
    "4.3.1 of what was stale: validated first": Row(
        Answer("Cache-Control: max-age=60", 'ETag: "a"', body=LETTERS),
        ALL,
        Ask(status=206, text=b"ab", after=61, fields=["Range: bytes=0-1"], asked=2),
    ),
    "14.2 of an empty body: all of it, or none": Row(
        Answer(FRESH, body=b""),
        Ask(text=b"", asked=1),
        Ask(status=416, fields=["Range: bytes=0-1"], gets=["Content-Range: bytes */0"], asked=1),
    ),
}


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in SINGLE.items()])
def test_one_part(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in IGNORED.items()])
def test_ignored(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in CONDITIONAL.items()])
def test_with_conditions(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in UNSATISFIED.items()])
def test_unsatisfiable(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in OTHERS.items()])
def test_other_rules(cache: CacheRig, row: Row) -> None:
    cache.play(row)


def parts_of(response: Message) -> list[tuple[dict[str, str], bytes]]:
    """The parts of multipart/byteranges, read by its own rules (RFC 9110 section 14.6, RFC 2046 section 5.1)."""
    found = re.fullmatch(r'multipart/byteranges; ?boundary="?([^"]+)"?', response.field("content-type") or "")
    assert found, response.head
    mark = b"--" + found[1].encode()
    before, *parts, behind = (b"\r\n" + response.body).split(b"\r\n" + mark)
    assert (before, behind.strip()) == (b"", b"--"), response.body
    read = []
    for text in parts:
        head, _, body = text.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        lines = [line.partition(": ") for line in head.decode().split("\r\n")]
        read.append(({name.lower(): value for name, _, value in lines}, body))
    return read


@pytest.mark.parametrize(
    ("ranges", "spans"),
    [
        ("0-1,2598-", [(0, 1), (2598, 2599)]),
        ("-2 , 3-4", [(2598, 2599), (3, 4)]),
        ("0-0,,1000-1012,2000-2001", [(0, 0), (1000, 1012), (2000, 2001)]),
        ("0-1, 2000-2001, 9000-9999", [(0, 1), (2000, 2001)]),
    ],
)
def test_several_parts(cache: CacheRig, ranges: str, spans: list[tuple[int, int]]) -> None:
    """RFC 9110 section 15.3.7.2: MUST be multipart, with Content-Range in each part, and none above them."""
    cache.begin({})
    cache.answer = Answer(FRESH, "Content-Type: text/x", body=LETTERS * 100)
    cache.ask(Ask())
    response = cache.ask(Ask(fields=[f"Range: bytes={ranges}"]))
    assert response.status == 206
    assert response.all("content-range") == []
    parts = parts_of(response)
    assert sorted((head["content-range"], body) for head, body in parts) == sorted(
        (f"bytes {first}-{last}/2600", (LETTERS * 100)[first : last + 1]) for first, last in spans
    )
    assert {head["content-type"] for head, _ in parts} == {"text/x"}
    assert len(cache.origin.requests) == 1


def test_too_many_parts(cache: CacheRig) -> None:
    """RFC 9110 section 14.2: many small or overlapping ranges are the mark of a bad client: what is sent is not longer than the whole."""
    cache.begin({})
    cache.answer = WHOLE
    cache.ask(Ask())
    for ranges in ("0-,0-,0-,0-,0-", ",".join(f"{at}-{at}" for at in range(26)), ",".join(["0-24"] * 500)):
        response = cache.ask(Ask(fields=[f"Range: bytes={ranges}"]))
        assert response.status in (200, 206)
        assert len(response.body) <= 26 + 200, ranges
    assert len(cache.origin.requests) == 1


def test_part_is_not_the_whole(cache: CacheRig) -> None:
    """RFC 9111 section 3.3: a 206 from the origin is passed on, and never given as the whole, nor for another part."""
    cache.begin({}, scripted=True)
    client = cache.connect(Ask(fields=["Range: bytes=0-1"]))
    asked, request = cache.origin.asked()
    if request.field("range") is None:
        asked.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 26\r\n\r\n" + LETTERS)
    else:
        head = b"HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=600\r\nContent-Range: bytes 0-1/26\r\nContent-Length: 2\r\n\r\n"
        asked.send(head + b"ab")
    response = client.response()
    assert (response.status, response.body, response.field("content-range")) == (206, b"ab", "bytes 0-1/26")
    if request.field("range") is not None:
        second = cache.connect(Ask())
        again = asked.request()
        assert again.field("range") is None
        asked.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 26\r\n\r\n" + LETTERS)
        assert second.response().body == LETTERS
    assert cache.ask(Ask()).body == LETTERS
