"""The chunked coding: tables, every split, then a plain oracle."""
from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd_ext.core.fault import faults
from proxyd_ext.http1.chunk import decode, head
from tests.reference import http1_chunk as oracle

MORE, DONE, TRAILERS = range(3)
MALFORMED = -int(faults()["chunk_malformed"]["code"])
Result = tuple[int, bytes, bytes, bytes, bytes]


def every_way(text: bytes, trailers_cap: int = 4096) -> Result:
    """Decode whole, split at every byte, and byte by byte; with the trailer buffer given late or at once; all must give the same."""
    whole = decode([text], trailers_cap=trailers_cap)
    at_the_end = whole[:4] if whole[0] < 0 else whole   # after a fault what was not consumed depends on where it was noticed
    for cut in range(len(text) + 1):
        got = decode([text[:cut], text[cut:]], trailers_cap=trailers_cap)
        assert got[:len(at_the_end)] == at_the_end, f"cut at {cut}"
    pieces = [text[i:i + 1] for i in range(len(text))]
    for give_early in (False, True):
        assert decode(pieces, trailers_cap=trailers_cap, give_early=give_early)[:len(at_the_end)] == at_the_end
    assert decode([text], trailers_cap=trailers_cap, give_early=True) == whole
    return whole


@pytest.mark.parametrize(
    ("text", "data", "trailers"),
    [
        (b"0\r\n\r\n", b"", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello", b""),
        (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world", b""),
        (b"a\r\n0123456789\r\nA\r\n0123456789\r\n00\r\n\r\n", b"0123456789" * 2, b""),
        (b"0005\r\nhello\r\n000\r\n\r\n", b"hello", b""),
        (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n", b""),
        (b"1;a\r\nx\r\n1;a=b\r\ny\r\n1 ; a=\"q;\xff\"\r\nz\r\n0;end\r\n\r\n", b"xyz", b""),
        (b"1\t;\r\nx\r\n0\r\n\r\n", b"x", b""),
        (b"1\r\nx\r\n0\r\nX: y\r\n\r\n", b"x", b"X: y\r\n"),
        (b"0\r\nX:\r\nY: \t z\xff \r\n\r\n", b"", b"X:\r\nY: \t z\xff \r\n"),
    ],
)
def test_bodies(text: bytes, data: bytes, trailers: bytes) -> None:
    assert every_way(text)[:3] == (DONE, data, trailers)
    for behind in (b"GET / HTTP/1.1\r\n", b"\r\n", b"0\r\n\r\n", b"\0"):
        assert every_way(text + behind) == (DONE, data, trailers, trailers, behind)
    for n in range(len(text)):
        assert decode([text[:n]])[0] == MORE, f"only {n} bytes"


@pytest.mark.parametrize(
    "text",
    [
        # Sizes.
        b"\r\n", b" 5\r\n", b"\t5\r\n", b"+5\r\n", b"-5\r\n", b"-0\r\n", b"0x5\r\n", b"5x\r\n", b"g\r\n", b";a\r\n", b"5 5\r\n",
        b"5_0\r\n", b"5.\r\n", b"5,\r\n", b"\x005\r\n",
        b"5\x00\r\n", b"5 \r\n", b"5\t\r\n", b"5 a\r\n", b"\xb25\r\n",
        # Overflow: more than INT64_MAX; the same modulo 2**64 would be 5.
        b"8000000000000000\r\n", b"ffffffffffffffff\r\n", b"10000000000000005\r\n", b"fffffffffffffffff5\r\n",
        # Line ends.
        b"5\nhello\r\n", b"5\rhello\r\n", b"5\r\rhello", b"5;a\nhello", b"5;a\rb\r\n", b"5;a\x00\r\n", b"5;a\x7f\r\n", b"5;a\n0\r\n\r\n",
        b"5\r\nhello\n", b"5\r\nhello\r0",
        b"5\r\nhellox", b"5\r\nhello0\r\n\r\n", b"5\r\nhello5\r\n", b"5\r\nhell\r\n0\r\n\r\n", b"3\r\nhello\r\n", b"0\n\r\n", b"0\r\n\n",
        b"0\r\n\rx", b"0\n\n",
        # Trailers.
        b"0\r\nX\r\n", b"0\r\nX : y\r\n", b"0\r\n: y\r\n", b"0\r\n X: y\r\n", b"0\r\nX: y\r\n z\r\n", b"0\r\nX: y\n", b"0\r\nX: y\rz",
        b"0\r\nX: \x00", b"0\r\nX\x80: y\r\n",
        b"0\r\nGET / HTTP/1.1\r\n",
    ],
)
def test_malformed(text: bytes) -> None:
    assert every_way(text + b"\r\n0\r\n\r\n")[0] == MALFORMED


def test_a_failed_decoder_stays_failed() -> None:
    assert decode([b"x", b"0\r\n\r\n"])[0] == MALFORMED


def test_the_largest_size_is_waited_for() -> None:
    assert decode([b"7fffffffffffffff\r\nabc"])[:2] == (MORE, b"abc")
    assert decode([b"00007fffffffffffffff\r\nabc"])[:2] == (MORE, b"abc")


def test_idle_bytes_of_a_size_line_are_bounded() -> None:
    for idle in (b"1" + b";" * 256, b"1;" + b"a" * 255, b"0" * 256 + b"1", b"1" + b" " * 255 + b";"):
        assert decode([idle + b"\r\nx\r\n0\r\n\r\n"])[:2] == (DONE, b"x")
    for idle in (b"1" + b";" * 257, b"1;" + b"a" * 256, b"0" * 257 + b"1", b"1" + b" " * 256 + b";", b"0" * 200 + b"1" + b";" * 57):
        assert decode([idle + b"\r\nx\r\n0\r\n\r\n"])[0] == MALFORMED
    assert decode([b"0" * 1000])[0] == MALFORMED
    assert decode([b"1;" + b"a" * 1000])[0] == MALFORMED


def test_idle_bytes_of_a_body_are_bounded() -> None:
    chunk = b"1;" + b"a" * 255 + b"\r\nx\r\n"
    assert decode([chunk * 64 + b"0\r\n\r\n"])[:2] == (DONE, b"x" * 64)
    assert decode([chunk * 64 + b"0;\r\n\r\n"])[0] == MALFORMED
    assert decode([b"1\r\nx\r\n" * 20000 + b"0\r\n\r\n"])[:2] == (DONE, b"x" * 20000)   # tiny chunks without extensions are not idle


def test_trailers_must_fit() -> None:
    text = b"0\r\nX: y\r\nZ: z\r\n\r\n"
    assert every_way(text, trailers_cap=12)[:3] == (DONE, b"", b"X: y\r\nZ: z\r\n")
    for cap in range(12):
        assert every_way(text, trailers_cap=cap)[0] == MALFORMED


@pytest.mark.parametrize("name", [
    b"Transfer-Encoding", b"content-length", b"Content-Type", b"Content-Encoding", b"CONTENT-RANGE", b"Trailer", b"TE", b"Host",
    b"Forwarded", b"X-Forwarded-For", b"X-Forwarded-Proto",
    b"X-Real-IP", b"X-Request-ID", b"Via", b"Connection", b"Keep-Alive", b"Upgrade", b"Proxy-Connection", b"Proxy-Authorization",
    b"Authorization", b"WWW-Authenticate", b"Cookie",
    b"set-cookie", b"Cache-Control", b"Pragma", b"Range", b"If-Match", b"If-None-Match", b"Expect", b"Max-Forwards", b"Age", b"Date",
    b"Expires", b"Location", b"Retry-After", b"Vary",
    b"Warning", b"Sec-WebSocket-Key",
])
def test_fields_that_may_not_trail(name: bytes) -> None:
    text = b"0\r\nX-Checksum: 1\r\n" + name + b": v\r\nContent-Digest: d\r\n\r\n"
    assert every_way(text)[3] == b"X-Checksum: 1\r\nContent-Digest: d\r\n"
    near = b"0\r\n" + name[:-1] + b"_: v\r\n" + b"Y" + name + b": v\r\n\r\n"
    dropped = name[:-1].lower().startswith((b"content-", b"x-forwarded-", b"proxy-", b"if-", b"sec-"))
    assert every_way(near)[3] == (b"" if dropped else name[:-1] + b"_: v\r\n") + b"Y" + name + b": v\r\n"


@given(st.integers(1, 2**64 - 1))
def test_heads_of_chunks(size: int) -> None:
    assert head(size) == b"%x\r\n" % size


def test_the_longest_head_of_a_chunk() -> None:
    assert len(head(2**64 - 1)) == 18


# ---- properties

chunks = st.binary(min_size=1, max_size=30)
extensions = st.sampled_from([b"", b"", b";a=b", b" ;x", b";"])
sizes = st.sampled_from([b"%x", b"%X", b"0%x", b"00%X"])


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """(a well-formed chunked body, its data)."""
    text, data = b"", b""
    for chunk in draw(st.lists(chunks, max_size=5)):
        text += draw(sizes) % len(chunk) + draw(extensions) + b"\r\n" + chunk + b"\r\n"
        data += chunk
    text += b"0" + draw(extensions) + b"\r\n"
    for value in draw(st.lists(st.sampled_from([b"", b"v", b" w\t"]), max_size=2)):
        text += b"X-T:" + value + b"\r\n"
    return text + b"\r\n", data


def cut_up(text: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    return [text[a:b] for a, b in pairwise(places)]


@settings(max_examples=500, deadline=None)
@given(bodies(), st.binary(max_size=5), st.lists(st.integers(0, 200), max_size=8))
def test_bodies_in_pieces(body: tuple[bytes, bytes], behind: bytes, cuts: list[int]) -> None:
    text, data = body
    expected = oracle.decode(text + behind)
    assert expected is not None
    assert (expected.data, expected.rest) == (data, behind)
    got = decode(cut_up(text + behind, cuts))
    assert got == (DONE, data, expected.trailers, expected.trailers, behind)


@settings(max_examples=1000, deadline=None)
@given(bodies(), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 1), st.sampled_from([b"", b"\r", b"\n", b"\r\n", b" ", b"0", b"f",
    b";", b":", b"x", b"\0", b"\xff"])), max_size=2),
       st.lists(st.integers(0, 200), max_size=4))
def test_damaged_bodies_against_the_oracle(body: tuple[bytes, bytes], damage: list[tuple[int, int, bytes]], cuts: list[int]) -> None:
    text = bytearray(body[0])
    for at, removed, added in damage:
        text[at:at + removed] = added
    expected = oracle.decode(bytes(text))
    got = decode(cut_up(bytes(text), cuts))
    if expected is None:
        assert got[0] in (MORE, MALFORMED)
        if oracle.decode(bytes(text) + b"\r\n") is not None:
            assert got[0] == MORE   # it was only cut short
    else:
        assert got == (DONE, expected.data, expected.trailers, expected.trailers, expected.rest)
