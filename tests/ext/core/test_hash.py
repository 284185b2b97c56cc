"""SipHash-1-3 against the reference construction and CPython's own; CRC-32 against zlib's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib

from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.core.hash import crc32, sip13

MASK = (1 << 64) - 1


def siphash(c: int, d: int, k0: int, k1: int, data: bytes) -> int:
    """SipHash-c-d as its paper has it (Aumasson, Bernstein 2012)."""
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rotate(x: int, by: int) -> int:
        return (x << by | x >> (64 - by)) & MASK

    def rounds(count: int) -> None:
        for _ in range(count):
            for a, b, c, d in ((0, 1, 13, 32), (2, 3, 16, 0), (0, 3, 21, 0), (2, 1, 17, 32)):
                v[a] = (v[a] + v[b]) & MASK
                v[b] = rotate(v[b], c) ^ v[a]
                v[a] = rotate(v[a], d) if d else v[a]

    padded = data + bytes(-(len(data) + 1) % 8) + bytes([len(data) & 255])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        rounds(c)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(d)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


K0, K1 = 0x0706050403020100, 0x0F0E0D0C0B0A0908
OFFICIAL_2_4 = [  # the paper's appendix A and the first vectors of its reference code: key 00..0f, message 00..(n-1)
    0x726FDB47DD0E0E31,
    0x74F839C593DC67FD,
    0x0D6C8009D9A94F5A,
    0x85676696D7FB7E2D,
    0xCF2794E0277187B7,
    0x18765564CD99A68D,
    0xCBC9466E58FEE3CE,
    0xAB0200F58B01D137,
    0x93F5F5799A932462,
    0x9E0082DF0BA9E4B0,
]


def test_construction_against_the_official_vectors() -> None:
    """Our yardstick is itself right: with 2 and 4 rounds it gives the published numbers."""
    assert [siphash(2, 4, K0, K1, bytes(range(n))) for n in range(10)] == OFFICIAL_2_4
    assert siphash(2, 4, K0, K1, bytes(range(15))) == 0xA129CA6149BE45E5


def test_one_three_rounds() -> None:
    for n in range(300):
        assert sip13(bytes(i & 255 for i in range(n)), K0, K1) == siphash(1, 3, K0, K1, bytes(i & 255 for i in range(n)))


@given(st.binary(max_size=100), st.integers(0, MASK), st.integers(0, MASK))
def test_any_key_and_message(data: bytes, k0: int, k1: int) -> None:
    assert sip13(data, k0, k1) == siphash(1, 3, k0, k1, data)


def test_against_cpython() -> None:
    """CPython hashes bytes with SipHash-1-3; PYTHONHASHSEED=0 makes its key zero."""
    program = "import json, sys; print(json.dumps([sys.hash_info.algorithm, [hash(bytes(range(n))) for n in range(1, 64)]]))"
    out = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONHASHSEED": "0"}, capture_output=True, check=True, timeout=30
    )
    algorithm, hashes = json.loads(out.stdout)
    assert algorithm == "siphash13"
    assert hashes == [as_py_hash(sip13(bytes(range(n)), 0, 0)) for n in range(1, 64)]


def as_py_hash(value: int) -> int:
    signed = value - (1 << 64) if value >> 63 else value
    return -2 if signed == -1 else signed


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_crc32(first: bytes, second: bytes) -> None:
    """At once, and continued."""
    assert crc32(first) == zlib.crc32(first)
    assert crc32(second, crc32(first)) == zlib.crc32(first + second)
