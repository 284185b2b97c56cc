"""Requests in flight by key: exact over all engines, a bounded table under a short lock a bucket.

A bucket is one cache line: four keys with their counts, and what does not fit stands in a chain of nodes from a common stock. Keys without
a request have no entry, so nothing is ever evicted. There is room for `capacity` keys; as a bucket holds two of so many on average, a
sixteenth of them is expected in chains at most, and some more than `capacity` usually fit.
"""
from libc.stdint cimport int64_t, uint64_t


cdef enum:
    INFLIGHT_TAKEN = 0
    INFLIGHT_OVER = 1         # the key has its most in flight
    INFLIGHT_FULL = 2         # the table has no room for another key (counted): the request is refused, too


cdef struct InflightTable


# One more request of a key (not 0).  Anything but INFLIGHT_TAKEN took nothing.
cdef int inflight_take(InflightTable* table, uint64_t hash, int64_t most) noexcept nogil
# For each that was taken, once.
cdef void inflight_give(InflightTable* table, uint64_t hash) noexcept nogil
cdef void inflight_count(InflightTable* table, int engine, bint refused, bint dry) noexcept nogil


cdef class Inflight:
    cdef InflightTable* table
    cdef readonly str name
