"""The words of a record's numbers that other parts use, too: metrics and the admin API count by them, `Cache-Status` speaks in them.

`core/fault.pyx` has those of faults.
"""
from proxyd_ext.log.record cimport (
    CACHE_BYPASS, CACHE_COALESCED, CACHE_EXPIRED, CACHE_HIT, CACHE_MISS, CACHE_REVALIDATED, CACHE_STALE, CACHE_UNCACHEABLE)


cdef inline const char* cache_word(int result) noexcept nogil:
    """Of CACHE_*; empty for CACHE_NONE, and for what is none of them."""
    if result == CACHE_HIT:
        return b"hit"
    if result == CACHE_MISS:
        return b"miss"
    if result == CACHE_STALE:
        return b"stale"
    if result == CACHE_EXPIRED:
        return b"expired"
    if result == CACHE_REVALIDATED:
        return b"revalidated"
    if result == CACHE_BYPASS:
        return b"bypass"
    if result == CACHE_COALESCED:
        return b"coalesced"
    if result == CACHE_UNCACHEABLE:
        return b"uncacheable"
    return b""
