from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.cachetier.envelope import Envelope, unwrap, wrap

ONE = Envelope(b"app\0\xff", "token", 1 << 60, "http://a/ü", ["t"], b"payload")


@given(st.binary(), st.binary(), st.lists(st.text()))
def test_round_trip(key: bytes, payload: bytes, tags: list[str]) -> None:
    envelope = Envelope(key, "t", 1, "http://a/", tags, payload)
    assert unwrap(wrap(envelope)) == envelope


def test_of_another_version() -> None:
    assert unwrap(b"PXT2" + wrap(ONE)[4:]) is None


def test_every_damaged_byte_is_noticed() -> None:
    raw = wrap(ONE)
    for at in range(len(raw)):
        damaged = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1:]
        if at == 3:        # the version
            assert unwrap(damaged) is None
            continue
        with pytest.raises(ValueError, match="envelope"):
            unwrap(damaged)
        with pytest.raises(ValueError, match="envelope"):
            unwrap(raw[:at])


@pytest.mark.parametrize("header", [
    b"[]", b"{}", b"7", b"{", b'"' + b"[" * 10, b"[" * 100_000,
    b'{"key": "k", "token": "t", "serial": "1", "url": "", "tags": [], "sum": 0}',
    b'{"key": "k", "token": "t", "serial": 1, "url": 7, "tags": [], "sum": 0}',
    b'{"key": "k", "token": "t", "serial": 1, "url": "", "tags": [[]], "sum": 0}',
    b'{"key": "k", "token": "t", "serial": 1, "url": "", "tags": "t", "sum": 0}',
    b'{"key": ["k"], "token": "t", "serial": 1, "url": "", "tags": [], "sum": 0}',
    '{"key": "\u0394", "token": "t", "serial": 1, "url": "", "tags": [], "sum": 0}'.encode(),
])
def test_headers_that_are_whole_but_make_no_sense(header: bytes) -> None:
    with pytest.raises(ValueError, match="makes no sense"):
        unwrap(struct.pack(">4sII", b"PXT1", len(header), zlib.crc32(header)) + header)
