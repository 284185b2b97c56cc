"""Counters of one (listener, route) pair; they outlive snapshots."""
from libc.stdint cimport uint64_t
from proxyd_ext.core.stats cimport CountTable, ENGINES_MAX, Histogram
from proxyd_ext.log.record cimport CACHE_COUNT


ctypedef struct RouteLocal:
    # One engine's part: written by that engine only.
    CountTable requests       # key: method << 16 | status
    CountTable errors         # by FAULT_*
    Histogram duration
    Histogram ttfb
    uint64_t bytes_in
    uint64_t bytes_out
    uint64_t[CACHE_COUNT] cache    # requests by CACHE_* (log/record.pxd)
    uint64_t cache_bytes           # of the bytes out: bodies that came from memory


ctypedef struct RouteStatsData:
    RouteLocal* local[ENGINES_MAX]


cdef RouteLocal* route_stats_join(RouteStatsData* stats, int engine) noexcept nogil    # NULL: no memory


cdef class RouteStats:
    cdef RouteStatsData data
    cdef readonly str listener
    cdef readonly str route
