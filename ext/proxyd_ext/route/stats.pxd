"""Counters of one (listener, route) pair; they outlive snapshots."""
from libc.stdint cimport uint64_t
from proxyd_ext.core.stats cimport CountTable, ENGINES_MAX, Histogram


ctypedef struct RouteLocal:
    # One engine's part: written by that engine only.
    CountTable requests       # key: method << 16 | status
    CountTable errors         # by FAULT_*
    Histogram duration
    Histogram ttfb
    uint64_t bytes_in
    uint64_t bytes_out


ctypedef struct RouteStatsData:
    RouteLocal* local[ENGINES_MAX]


cdef RouteLocal* route_stats_join(RouteStatsData* stats, int engine) noexcept nogil    # NULL: no memory


cdef class RouteStats:
    cdef RouteStatsData data
    cdef readonly str listener
    cdef readonly str route
