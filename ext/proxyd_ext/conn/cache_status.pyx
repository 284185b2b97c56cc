"""Cache-Status (see cache_status.pxd)."""
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, strlen
from proxyd_ext.cache.control cimport CC_NO_CACHE
from proxyd_ext.cache.reasons cimport reason_word
from proxyd_ext.conn.cached cimport method_is_safe, object_age_s, object_freshness
from proxyd_ext.conn.model cimport CacheUse
from proxyd_ext.http1.rewrite cimport write_decimal
from proxyd_ext.log.record cimport CACHE_BYPASS, CACHE_COALESCED, CACHE_EXPIRED, CACHE_HIT, CACHE_MISS, CACHE_REVALIDATED, CACHE_STALE


cdef int _word(uint8_t* out, const char* text) noexcept nogil:
    cdef size_t size = strlen(text)
    memcpy(out, text, size)
    return <int>size


cdef int cached_status_line(const Exchange* exchange, uint8_t* out) noexcept nogil:
    cdef const CacheUse* use = exchange.cached
    cdef int cache = exchange.cache
    cdef int64_t ttl, age_s
    cdef int at = _word(out, b"Cache-Status: proxyd")
    if cache == CACHE_HIT or cache == CACHE_STALE:
        at += _word(out + at, b"; hit")
    elif cache == CACHE_BYPASS:
        at += _word(out + at, b"; fwd=bypass" if method_is_safe(exchange.method) else b"; fwd=method")
    elif cache == CACHE_EXPIRED or cache == CACHE_REVALIDATED:
        at += _word(out + at, b"; fwd=request" if use != NULL and use.facts.control.flags & CC_NO_CACHE else b"; fwd=stale")
        at += _word(out + at, b"; fwd-status=304" if cache == CACHE_REVALIDATED else b"")
    else:
        at += _word(out + at, b"; fwd=vary-miss" if use != NULL and use.variant else b"; fwd=uri-miss")
    if cache == CACHE_COALESCED:
        at += _word(out + at, b"; collapsed")
    if use != NULL and use.object != NULL:
        if use.object.base != NULL and (cache == CACHE_MISS or cache == CACHE_EXPIRED):
            at += _word(out + at, b"; stored")
        age_s = object_age_s(use.object, exchange.context)
        ttl = object_freshness(use.object, age_s).lifetime_s - age_s
        at += _word(out + at, b"; ttl=" if ttl >= 0 else b"; ttl=-")
        at += write_decimal(<uint64_t>(ttl if ttl >= 0 else -ttl), out + at)
    elif use != NULL and use.reason:
        at += _word(out + at, b"; detail=")
        at += _word(out + at, reason_word(use.reason))
    at += _word(out + at, b"\r\n")
    return at
