"""Hashes: SipHash-1-3 with a key per process (tables that clients can feed must not be floodable), CRC-32, and a fast random source."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t


ctypedef struct Random:
    uint64_t state        # splitmix64: one add and three multiplies a draw; not for secrets


# SipHash-1-3 (Aumasson, Bernstein 2012), keyed at import
cdef uint64_t hash_bytes(const uint8_t* data, size_t size) noexcept nogil
# The same with 128 bits of result, for where two texts must not meet by chance (SipHash-1-3-128, after SipHash's own 128-bit variant)
cdef void hash_wide(const uint8_t* data, size_t size, uint64_t* high, uint64_t* low) noexcept nogil
# The same under a key that never changes: for tables that must look alike in every process.  Not against floods.
cdef uint64_t hash_fixed(const uint8_t* data, size_t size, uint64_t key) noexcept nogil
cdef uint32_t crc32_update(uint32_t crc, const uint8_t* data, size_t size) noexcept nogil   # IEEE 802.3, reflected; start with 0

cdef inline uint64_t mix64(uint64_t x) noexcept nogil:
    """Spread every bit of x over the result (the finaliser of splitmix64, Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> 30)) * <uint64_t>0xbf58476d1ce4e5b9
    x = (x ^ (x >> 27)) * <uint64_t>0x94d049bb133111eb
    return x ^ (x >> 31)


cdef inline uint64_t random_next(Random* random) noexcept nogil:
    random.state += <uint64_t>0x9e3779b97f4a7c15
    return mix64(random.state)


cdef inline uint32_t random_below(Random* random, uint32_t n) noexcept nogil:
    """A number in [0, n), n > 0 (Lemire's multiply-shift; the bias is below 2^-32)."""
    return <uint32_t>(((random_next(random) >> 32) * n) >> 32)
