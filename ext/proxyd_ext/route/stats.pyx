# cython: cdivision=True
"""Counters of one (listener, route) pair (see stats.pxd)."""
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from proxyd_ext.core.classes cimport CLASSES, count_classes, count_sum
from proxyd_ext.core.fault cimport fault_info
from proxyd_ext.core.shim cimport counter_add, load_acquire_ptr, load_u64, store_release_ptr
from proxyd_ext.core.stats cimport BUCKETS, Histogram, count_collect, histogram_dict, histogram_sum
from proxyd_ext.http1.head cimport method_name
from proxyd_ext.log.record cimport CACHE_BYPASS, CACHE_COALESCED, CACHE_COUNT, CACHE_HIT, CACHE_NONE, CACHE_STALE
from proxyd_ext.log.words cimport cache_word


cdef RouteLocal* route_stats_join(RouteStatsData* stats, int engine) noexcept nogil:
    cdef RouteLocal* local = stats.local[engine]
    if local == NULL:
        local = <RouteLocal*>calloc(1, sizeof(RouteLocal))
        if local != NULL:
            store_release_ptr(<void**>&stats.local[engine], local)
    return local


cdef class RouteStats:
    """Counters of one route on one listener."""

    def __cinit__(self, str listener, str route):
        self.listener = listener
        self.route = route
        memset(&self.data, 0, sizeof(self.data))

    def __dealloc__(self):
        cdef int i
        for i in range(ENGINES_MAX):
            free(self.data.local[i])

    def stats(self) -> dict:
        cdef RouteLocal* local
        cdef Histogram duration, ttfb
        cdef uint64_t bytes_in = 0, bytes_out = 0, cache_bytes = 0
        cdef uint64_t[CACHE_COUNT] cache
        cdef int i, result
        requests = {}
        errors = {}
        memset(&duration, 0, sizeof(duration))
        memset(&ttfb, 0, sizeof(ttfb))
        memset(cache, 0, sizeof(cache))
        for i in range(ENGINES_MAX):
            local = <RouteLocal*>load_acquire_ptr(<void**>&self.data.local[i])
            if local == NULL:
                continue
            count_collect(&local.requests, requests)
            count_collect(&local.errors, errors)
            histogram_sum(&local.duration, &duration)
            histogram_sum(&local.ttfb, &ttfb)
            bytes_in += load_u64(&local.bytes_in)
            bytes_out += load_u64(&local.bytes_out)
            cache_bytes += load_u64(&local.cache_bytes)
            for result in range(CACHE_NONE + 1, CACHE_COUNT):
                cache[result] += load_u64(&local.cache[result])
        return {
            "requests": {_method_and_code(key): count for key, count in requests.items()},
            "errors": {(<bytes>fault_info(code).word).decode() if code else "other": count for code, count in errors.items()},
            "duration_seconds": histogram_dict(&duration), "ttfb_seconds": histogram_dict(&ttfb),
            "bytes_in": bytes_in, "bytes_out": bytes_out, "cache": _by_word(cache), "cache_bytes": cache_bytes,
        }

    def figures(self) -> tuple:
        cdef RouteLocal* local
        cdef uint64_t[CLASSES] classes
        cdef uint64_t[CACHE_COUNT] cache
        cdef uint64_t failures = 0, bytes_in = 0, bytes_out = 0, asked = 0
        cdef Histogram duration
        cdef int i, result
        memset(classes, 0, sizeof(classes))
        memset(cache, 0, sizeof(cache))
        memset(&duration, 0, sizeof(duration))
        for i in range(ENGINES_MAX):
            local = <RouteLocal*>load_acquire_ptr(<void**>&self.data.local[i])
            if local == NULL:
                continue
            count_classes(&local.requests, classes)
            failures += count_sum(&local.errors)
            bytes_in += load_u64(&local.bytes_in)
            bytes_out += load_u64(&local.bytes_out)
            for result in range(CACHE_NONE + 1, CACHE_COUNT):
                cache[result] += load_u64(&local.cache[result])
            histogram_sum(&local.duration, &duration)
        for result in range(CACHE_NONE + 1, CACHE_COUNT):
            asked += cache[result]
        return (
            classes[0], classes[1], classes[2], classes[3], classes[4], classes[5], failures, bytes_in, bytes_out,
            asked - cache[CACHE_BYPASS], cache[CACHE_HIT] + cache[CACHE_STALE] + cache[CACHE_COALESCED],
            duration.sum_us, *[duration.count[i] for i in range(BUCKETS + 1)],
        )


cdef dict _by_word(const uint64_t* counts):
    """All words once any of them has been counted, so that a rate sees each begin at zero; none before."""
    cdef int result
    found = {}
    any_counted = False
    for result in range(CACHE_NONE + 1, CACHE_COUNT):
        found[(<bytes>cache_word(result)).decode()] = counts[result]
        any_counted = any_counted or counts[result] != 0
    return found if any_counted else {}


def count_cache(RouteStats stats not None, int engine, int result, uint64_t body_bytes=0):
    """Count a request as an engine does, for tests; ValueError where CACHE_* has no such number."""
    cdef RouteLocal* local
    if not CACHE_NONE < result < CACHE_COUNT or not 0 <= engine < ENGINES_MAX:
        raise ValueError(f"engine {engine}, result {result}")
    local = route_stats_join(&stats.data, engine)
    if local == NULL:
        raise MemoryError
    counter_add(&local.cache[result], 1)
    counter_add(&local.cache_bytes, body_bytes)


def _method_and_code(key: int) -> tuple[str, int]:
    return (<bytes>method_name(key >> 16)).decode() if key else "OTHER", key & 0xFFFF
