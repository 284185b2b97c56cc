"""Counters with one writer (their engine) and any reader: latency histograms and small tables of counts by key."""
from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef enum:
    ENGINES_MAX = 64      # engines of one process; per-engine blocks are arrays of this many pointers
    BUCKETS = 16          # interface.md §5
    COUNT_SLOTS = 24      # different keys of one CountTable


ctypedef struct Histogram:
    uint64_t[BUCKETS + 1] count   # one per bound and one above the last
    uint64_t sum_us


ctypedef struct CountTable:
    uint32_t[COUNT_SLOTS] key     # 0: free slot
    uint64_t[COUNT_SLOTS] count
    uint64_t other                # what came when no slot was free


cdef void histogram_add(Histogram* histogram, int64_t us) noexcept nogil
cdef void count_add(CountTable* table, uint32_t key, uint64_t n) noexcept nogil      # key > 0
cdef void histogram_sum(const Histogram* histogram, Histogram* into) noexcept nogil
cdef dict histogram_dict(const Histogram* histogram)
cdef void count_collect(const CountTable* table, dict into)
