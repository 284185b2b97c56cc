# cython: cdivision=True
"""SipHash-1-3 and CRC-32 (see hash.pxd)."""
import os

from libc.string cimport memcpy

cdef uint64_t _key0 = int.from_bytes(os.urandom(8), "little")
cdef uint64_t _key1 = int.from_bytes(os.urandom(8), "little")
cdef uint32_t[256] _crc


cdef void _fill_crc() noexcept nogil:
    cdef uint32_t i, _bit, c
    for i in range(256):
        c = i
        for _bit in range(8):
            c = (c >> 1) ^ (<uint32_t>0xEDB88320 if c & 1 else 0)
        _crc[i] = c


_fill_crc()


cdef inline uint64_t _rotate(uint64_t x, int by) noexcept nogil:
    return (x << by) | (x >> (64 - by))


cdef inline void _round(uint64_t* v) noexcept nogil:
    v[0] += v[1]
    v[2] += v[3]
    v[1] = _rotate(v[1], 13) ^ v[0]
    v[3] = _rotate(v[3], 16) ^ v[2]
    v[0] = _rotate(v[0], 32)
    v[2] += v[1]
    v[0] += v[3]
    v[1] = _rotate(v[1], 17) ^ v[2]
    v[3] = _rotate(v[3], 21) ^ v[0]
    v[2] = _rotate(v[2], 32)


cdef inline void _absorb(uint64_t* v, uint64_t k0, uint64_t k1, const uint8_t* data, size_t size) noexcept nogil:
    """Everything but the end, which differs with the width of the result."""
    cdef uint64_t word
    cdef size_t left = size
    v[0] = k0 ^ <uint64_t>0x736f6d6570736575
    v[1] ^= k1 ^ <uint64_t>0x646f72616e646f6d
    v[2] = k0 ^ <uint64_t>0x6c7967656e657261
    v[3] = k1 ^ <uint64_t>0x7465646279746573
    while left >= 8:
        memcpy(&word, data, 8)
        v[3] ^= word
        _round(v)
        v[0] ^= word
        data += 8
        left -= 8
    word = <uint64_t>(size & 0xFF) << 56
    if left:
        memcpy(&word, data, left)   # little-endian: the low bytes; the size byte stays on top
    v[3] ^= word
    _round(v)
    v[0] ^= word


cdef inline uint64_t _finish(uint64_t* v) noexcept nogil:
    _round(v)
    _round(v)
    _round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


cdef uint64_t _sip13(uint64_t k0, uint64_t k1, const uint8_t* data, size_t size) noexcept nogil:
    cdef uint64_t[4] v
    v[1] = 0
    _absorb(v, k0, k1, data, size)
    v[2] ^= 0xFF
    return _finish(v)


cdef void hash_wide(const uint8_t* data, size_t size, uint64_t* high, uint64_t* low) noexcept nogil:
    cdef uint64_t[4] v
    v[1] = 0xEE
    _absorb(v, _key0, _key1, data, size)
    v[2] ^= 0xEE
    low[0] = _finish(v)
    v[1] ^= 0xDD
    high[0] = _finish(v)


cdef uint64_t hash_bytes(const uint8_t* data, size_t size) noexcept nogil:
    return _sip13(_key0, _key1, data, size)


cdef uint64_t hash_fixed(const uint8_t* data, size_t size, uint64_t key) noexcept nogil:
    return _sip13(key, ~key, data, size)


cdef uint32_t crc32_update(uint32_t crc, const uint8_t* data, size_t size) noexcept nogil:
    cdef size_t i
    crc = ~crc
    for i in range(size):
        crc = (crc >> 8) ^ _crc[(crc ^ data[i]) & 0xFF]
    return ~crc


def sip13(bytes data, uint64_t k0, uint64_t k1) -> int:
    """SipHash-1-3 of data under the key (k0, k1), for tests and tools."""
    cdef const uint8_t* p = data
    return _sip13(k0, k1, p, len(data))


def crc32(bytes data, uint32_t crc = 0) -> int:
    """CRC-32 of data, continued from `crc`, for tests and tools."""
    cdef const uint8_t* p = data
    return crc32_update(crc, p, len(data))
