"""Byte ranges, RFC 9110 §14."""
from __future__ import annotations

import email
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.cache.ranges import content_range, multipart_body, part_head, read_ranges, unsatisfied_range

WHOLE, UNSATISFIABLE = 0, -1
SIZE = 10_000
NEAR = 128


def request(*values: str, method: str = "GET") -> bytes:
    return "".join([f"{method} / HTTP/1.1\r\nHost: h\r\n", *(f"Range: {value}\r\n" for value in values), "\r\n"]).encode()


@pytest.mark.parametrize(
    ("value", "ranges"),
    [
        ("bytes=0-0", [(0, 0)]),
        ("bytes=0-499", [(0, 499)]),
        ("bytes=9500-", [(9500, 9999)]),
        ("bytes=-500", [(9500, 9999)]),
        ("bytes=0-", [(0, 9999)]),
        ("bytes=0-99999", [(0, 9999)]),
        ("bytes=-99999", [(0, 9999)]),
        ("bytes=9999-9999", [(9999, 9999)]),
        ("BYTES=1-2", [(1, 2)]),
        ("bytes=0001-0002", [(1, 2)]),
        ("bytes=5-99999999999999999999999999", [(5, 9999)]),
        ("bytes=-99999999999999999999999999", [(0, 9999)]),
        ("bytes=0-0,-1", [(0, 0), (9999, 9999)]),
        ("bytes= 5000-5001 ,, 0-1 ,", [(5000, 5001), (0, 1)]),
        # Not satisfiable ones are left out, as long as there is one that is (§14.1.2).
        ("bytes=10000-,1-2", [(1, 2)]),
        ("bytes=-0,1-2", [(1, 2)]),
        ("bytes=10000-", UNSATISFIABLE),
        ("bytes=99999-999999, -0", UNSATISFIABLE),
        ("bytes=99999999999999999999999999-", UNSATISFIABLE),
        # Overlapping, touching, nearly touching
        ("bytes=0-10,5-20", [(0, 20)]),
        ("bytes=0-10,11-20", [(0, 20)]),
        (f"bytes=0-10,{10 + NEAR}-500", [(0, 500)]),
        (f"bytes=0-10,{11 + NEAR}-500", [(0, 10), (11 + NEAR, 500)]),
        ("bytes=5000-5001,0-1,4990-5100", [(4990, 5100), (0, 1)]),
        ("bytes=0-1,1000-1001,2000-2001,500-1500", [(0, 1), (500, 1500), (2000, 2001)]),
        ("bytes=2000-2001,1000-1001,0-1,100-1900", [(0, 2001)]),
        ("bytes=0-0,0-0,0-0", [(0, 0)]),
        (f"bytes={','.join(f'{i * 500}-{i * 500}' for i in range(16))}", [(i * 500, i * 500) for i in range(16)]),
        # Malformed: ignored.
        (f"bytes={','.join(f'{i * 500}-{i * 500}' for i in range(17))}", WHOLE),
        ("bytes=2-1", WHOLE),
        ("bytes=0-1,2-1", WHOLE),
        ("bytes=", WHOLE),
        ("bytes=,", WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=--1", WHOLE),
        ("bytes=1", WHOLE),
        ("bytes=1-2-3", WHOLE),
        ("bytes=1 - 2", WHOLE),
        ("bytes=a-b", WHOLE),
        ("bytes=0x1-2", WHOLE),
        ("bytes=+1-2", WHOLE),
        ("bytes=0-1;2-3", WHOLE),
        ("bytes =0-1", WHOLE),
        ("bytes", WHOLE),
        ("", WHOLE),
        # §14.2: an unknown unit is ignored.
        ("lines=0-1", WHOLE),
        ("byte=0-12", WHOLE),
    ],
)
def test_ranges(value: str, ranges: list[tuple[int, int]] | int) -> None:
    assert read_ranges(request(value), SIZE) == ranges


def test_what_is_no_request_for_ranges() -> None:
    assert read_ranges(request(), SIZE) == WHOLE
    assert read_ranges(request("bytes=0-1", "bytes=2-3"), SIZE) == WHOLE
    for method in ("HEAD", "POST", "PUT"):
        assert read_ranges(request("bytes=0-1", method=method), SIZE) == WHOLE


def test_an_empty_body() -> None:
    assert read_ranges(request("bytes=0-"), 0) == UNSATISFIABLE
    assert read_ranges(request("bytes=-0"), 0) == UNSATISFIABLE
    assert read_ranges(request("bytes=-5"), 0) == WHOLE
    assert read_ranges(request("bytes=0-0,-5"), 0) == WHOLE


def test_a_body_as_large_as_can_be() -> None:
    most = 2**64 - 1
    assert read_ranges(request("bytes=0-"), most) == [(0, most - 1)]
    assert read_ranges(request(f"bytes=0-0,{most - 1}-"), most) == [(0, 0), (most - 1, most - 1)]
    assert content_range(most, most, most) == f"bytes {most}-{most}/{most}".encode()
    assert unsatisfied_range(most) == f"bytes */{most}".encode()


SPECS = st.one_of(
    st.tuples(st.integers(0, 1200), st.integers(0, 600)).map(lambda pair: (pair[0], pair[0] + pair[1])),
    st.tuples(st.integers(0, 1200), st.none()),
    st.tuples(st.none(), st.integers(0, 1200)),
)


@given(st.lists(SPECS, min_size=1, max_size=16), st.integers(1, 1000))
def test_said_plainly(specs: list[tuple[int | None, int | None]], size: int) -> None:
    """Every byte that was asked for is sent, once; no other but in small gaps; parts never touch."""
    text = ",".join(f"{'' if first is None else first}-{'' if last is None else last}" for first, last in specs)
    asked: set[int] = set()
    for first, last in specs:
        if first is None:
            assert last is not None
            asked.update(range(max(0, size - last), size))
        else:
            asked.update(range(first, size if last is None else min(size, last + 1)))
    ranges = read_ranges(request(f"bytes={text}"), size)
    if not asked:
        assert ranges == UNSATISFIABLE
        return
    assert isinstance(ranges, list)
    sent = [byte for first, last in ranges for byte in range(first, last + 1)]
    assert len(set(sent)) == len(sent)
    assert asked <= set(sent) <= set(range(size))
    assert all({first, last} <= asked for first, last in ranges)
    ordered = sorted(ranges)
    assert all(after[0] - before[1] > NEAR for before, after in itertools.pairwise(ordered))
    gap = 0
    for byte in sorted(sent):
        gap = 0 if byte in asked else gap + 1
        assert gap < NEAR


def test_part_heads() -> None:
    assert part_head(b"B", b"text/plain", 0, 4, 100, leads=True) == (
        b"--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-4/100\r\n\r\n"
    )
    assert part_head(b"B", b"", 10, 14, 100, leads=False) == b"\r\n--B\r\nContent-Range: bytes 10-14/100\r\n\r\n"
    whole = part_head(b"B", b"a/b", 10, 14, 100, leads=False)
    assert isinstance(whole, bytes)
    for cap in range(len(whole)):
        assert part_head(b"B", b"a/b", 10, 14, 100, leads=False, cap=cap) == -1
    assert part_head(b"B", b"a/b", 10, 14, 100, leads=False, cap=len(whole)) == whole


@given(
    st.lists(st.tuples(st.integers(0, 999), st.integers(0, 999)).map(sorted).map(tuple), min_size=1, max_size=16),
    st.sampled_from([b"text/plain", b""]),
)
def test_a_multipart_body_is_as_large_as_was_said_and_others_can_read_it(parts: list[tuple[int, int]], content_type: bytes) -> None:
    body = bytes(32 + i % 90 for i in range(1000))
    written, size = multipart_body(b"THE-BOUNDARY", content_type, parts, body)
    assert len(written) == size
    message = email.message_from_bytes(b"Content-Type: multipart/byteranges; boundary=THE-BOUNDARY\r\n\r\n" + written)
    assert message.is_multipart()
    read = [part for part in message.walk() if part is not message]
    assert [part["Content-Range"] for part in read] == [f"bytes {first}-{last}/1000" for first, last in parts]
    assert [part["Content-Type"] for part in read] == [content_type.decode() or None] * len(parts)
    assert [part.get_payload() for part in read] == [body[first:last + 1].decode() for first, last in parts]


def test_limits_of_the_tool() -> None:
    with pytest.raises(ValueError, match="too many"):
        multipart_body(b"B", b"", [(0, 0)] * 17, b"x")
