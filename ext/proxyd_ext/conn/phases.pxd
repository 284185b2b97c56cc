"""The phases of an exchange, and which may follow which: the one table (design.md §3)."""
from libc.stdint cimport uint32_t


cdef enum:
    PHASE_READ_HEAD = 0
    PHASE_ROUTE = 1
    PHASE_FILTER_REQUEST = 2
    PHASE_CACHE_LOOKUP = 3
    PHASE_PICK = 4
    PHASE_CONNECT = 5
    PHASE_SEND_REQUEST = 6
    PHASE_READ_RESPONSE = 7
    PHASE_FILTER_ORIGIN_RESPONSE = 8
    PHASE_CACHE_STORE = 9
    PHASE_FILTER_RESPONSE = 10
    PHASE_DELIVER = 11
    PHASE_LOG = 12
    PHASE_DONE = 13
    PHASE_COUNT = 14


# Bit n of phase_next[p]: phase n may follow phase p.
cdef uint32_t phase_next(int phase) noexcept nogil
