"""Keys of limits: what requests are told apart by, as one 64-bit hash. The same parts always give the same hash in one process; for limits
that several proxies share, in all of them."""
from libc.stdint cimport uint64_t, uint8_t

from proxyd_ext.core.slice cimport Slice
from proxyd_ext.filter.state cimport FilterState

cdef enum:
    PART_CLIENT = 0
    PART_HOST = 1
    PART_PATH = 2
    PART_METHOD = 3
    PART_HEADER = 4
    PART_COOKIE = 5
    PART_QUERY = 6
    PART_USER = 7
    PART_CLAIM = 8
    PART_ROUTE = 9
    PART_LISTENER = 10

    PARTS_MAX = 4
    KEY_TEXT = 64             # bytes of a key that people are shown
    HOST_MAX = 255            # bytes of a host by which requests are told apart

ctypedef struct LimitPart:
    uint8_t kind              # PART_*
    uint8_t ipv4_bits
    uint8_t ipv6_bits
    Slice name                # field (lower case), cookie, parameter or claim

ctypedef struct LimitKey:
    LimitPart[PARTS_MAX] parts
    int count
    uint64_t salt             # not 0: the hash is the same in every process

# A host as all its spellings are one: in lower case, without a last dot (RFC 3986 section 3.2.2), written to `out` (HOST_MAX bytes).
cdef Slice plain_host(Slice host, uint8_t* out) noexcept nogil
# 0: every part is empty, and the request is not counted.
cdef uint64_t limit_key(const LimitKey* key, const FilterState* state) noexcept nogil
# The key as people read it, up to KEY_TEXT bytes; returns their number.
cdef int limit_key_text(const LimitKey* key, const FilterState* state, uint8_t* out) noexcept nogil
# From a spec's parts (snapshot/spec.py:LimitKeyPart).  Texts that the key points into are appended to `keep`.
cdef int limit_key_compile(spec, uint64_t salt, keep, LimitKey* out) except -1
