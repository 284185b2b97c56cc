"""A slice: bytes that somebody else owns. Every parser works on slices; bounds are checked here."""
from libc.stdint cimport uint8_t
from libc.string cimport memcmp


ctypedef struct Slice:
    const uint8_t* data   # first byte; may be NULL when size is 0
    size_t size           # bytes


cdef inline Slice slice_of(const uint8_t* data, size_t size) noexcept nogil:
    cdef Slice s
    s.data = data
    s.size = size
    return s


cdef inline Slice slice_empty() noexcept nogil:
    cdef Slice s
    s.data = NULL
    s.size = 0
    return s


cdef inline bint slice_equals(Slice a, Slice b) noexcept nogil:
    return a.size == b.size and (a.size == 0 or memcmp(a.data, b.data, a.size) == 0)


cdef inline uint8_t ascii_lower(uint8_t c) noexcept nogil:
    return c | 0x20 if c'A' <= c <= c'Z' else c


cdef inline bint slice_equals_nocase(Slice a, Slice b) noexcept nogil:
    """ASCII case-insensitive equality (field names, host names: RFC 9110 §5.1, RFC 3986 §3.2.2)."""
    cdef size_t i
    if a.size != b.size:
        return False
    for i in range(a.size):
        if ascii_lower(a.data[i]) != ascii_lower(b.data[i]):
            return False
    return True
