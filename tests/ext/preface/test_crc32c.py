"""CRC32c: the vectors of RFC 3720 §B.4, and pieces."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.preface.crc32c import checksum
from tests.reference.proxy_header import crc32c as oracle

READ_COMMAND = bytes.fromhex("01c00000000000000000000000000000 14000000000004000000001400000018 28000000000000000200000000000000")


@pytest.mark.parametrize(
    ("data", "crc"),
    [   # The RFC prints the bytes in the order of the wire, which is the lowest first.
        (bytes(32), "aa36918a"), (b"\xff" * 32, "43aba862"), (bytes(range(32)), "4e79dd46"), (bytes(range(31, -1, -1)), "5cdb3f11"),
        (READ_COMMAND, "563a96d9"), (b"", "00000000"), (b"123456789", "839206e3"),
    ],
)
def test_vectors(data: bytes, crc: str) -> None:
    assert checksum(data).to_bytes(4, "little").hex() == crc


@given(st.binary(max_size=300), st.integers(0, 300), st.integers(0, 300))
def test_pieces(data: bytes, one: int, other: int) -> None:
    one, other = sorted((one, other))
    assert checksum(data[:one], data[one:other], data[other:]) == checksum(data) == oracle(data)
