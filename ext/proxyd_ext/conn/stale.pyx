"""Serving what is stale (see stale.pxd)."""
from libc.stdint cimport uint32_t
from proxyd_ext.cache.fetch cimport store_quit, store_resolve
from proxyd_ext.cache.object cimport FETCH_STORED
from proxyd_ext.cache.pin cimport object_is_found, store_release
from proxyd_ext.conn.cached cimport object_age_s
from proxyd_ext.conn.model cimport USE_ALONE, USE_PASS, USE_SERVE, USE_UNSAFE, USE_WAIT
from proxyd_ext.core.shim cimport fetch_add_int
from proxyd_ext.log.record cimport CACHE_STALE


cdef void cached_serve_stale(CacheUse* use) noexcept nogil:
    use.object = use.stale
    use.stale = NULL
    fetch_add_int(&use.object.refs, 1)
    store_resolve(use.rules.store, &use.fetch, FETCH_STORED, use.object, 0)
    store_release(use.rules.store, use.object)
    use.state = USE_SERVE
    use.exchange.cache_age = <uint32_t>object_age_s(use.object, use.context)


cdef bint cached_instead(Exchange* exchange) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    if use == NULL or use.stale == NULL or not use.if_error or use.state == USE_PASS or use.state == USE_SERVE or use.state == USE_UNSAFE:
        return False
    if not object_is_found(use.stale):
        return False          # purged meanwhile: it must not be begun any more
    if use.state == USE_WAIT:
        store_quit(use.rules.store, use.base, &use.waiter)
        use.state = USE_ALONE
    exchange.cache = CACHE_STALE
    cached_serve_stale(use)
    return True
