# cython: cdivision=True
"""Histograms and count tables (see stats.pxd)."""
from proxyd_ext.core.shim cimport counter_add, load_acquire_u32, load_u64, store_release_u32, store_u64

BUCKETS_SECONDS = (.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

cdef int64_t[BUCKETS] _bounds_us
for _i in range(BUCKETS):
    _bounds_us[_i] = round(BUCKETS_SECONDS[_i] * 1_000_000)


cdef void histogram_add(Histogram* histogram, int64_t us) noexcept nogil:
    cdef int i = 0
    while i < BUCKETS and us > _bounds_us[i]:
        i += 1
    counter_add(&histogram.count[i], 1)
    counter_add(&histogram.sum_us, us if us > 0 else 0)


cdef void count_add(CountTable* table, uint32_t key, uint64_t n) noexcept nogil:
    """Most tables see one or two keys, so a linear search finds them first; a full table counts the rest as `other`."""
    cdef int i
    for i in range(COUNT_SLOTS):
        if table.key[i] == key:
            counter_add(&table.count[i], n)
            return
        if table.key[i] == 0:
            store_u64(&table.count[i], n)
            store_release_u32(&table.key[i], key)   # behind the count: who sees the key sees it too
            return
    counter_add(&table.other, n)


cdef void histogram_sum(const Histogram* histogram, Histogram* into) noexcept nogil:
    cdef int i
    for i in range(BUCKETS + 1):
        into.count[i] += load_u64(&histogram.count[i])
    into.sum_us += load_u64(&histogram.sum_us)


cdef dict histogram_dict(const Histogram* histogram):
    counts = [histogram.count[i] for i in range(BUCKETS + 1)]
    return {"buckets": counts, "sum": histogram.sum_us / 1e6, "count": sum(counts)}


cdef void count_collect(const CountTable* table, dict into):
    """Add the table's counts to {key: count}; what had no slot stands under key 0."""
    cdef int i
    cdef uint32_t key
    for i in range(COUNT_SLOTS):
        key = load_acquire_u32(&table.key[i])
        if key == 0:
            break
        into[key] = into.get(key, 0) + load_u64(&table.count[i])
    if load_u64(&table.other):
        into[0] = into.get(0, 0) + load_u64(&table.other)
