# cython: cdivision=True
"""Exchanges and the cache (see cached.pxd)."""
from proxyd_ext.cache.alarm cimport alarm_is_promised
from proxyd_ext.cache.chain cimport chain_finish, chain_join, chain_leave
from proxyd_ext.cache.fetch cimport store_hand_over, store_quit
from proxyd_ext.cache.insert cimport store_filled
from proxyd_ext.cache.memory cimport StoreData
from proxyd_ext.cache.object cimport CHAIN_FAILED, VARIANT_MAX
from proxyd_ext.cache.pin cimport store_leave, store_release
from proxyd_ext.cache.vary cimport vary_text
from proxyd_ext.conn.model cimport USE_ALONE, USE_LEAD, USE_PASS, USE_TIER, USE_WAIT
from proxyd_ext.core.shim cimport load_acquire_int, load_i64
from proxyd_ext.core.slab cimport slab_free
from proxyd_ext.http1.head cimport HeadLimits, MAX_FIELDS, parse_request_head
from proxyd_ext.log.record cimport CACHE_MISS, T_NONE

cdef HeadLimits _own_limits
_own_limits.head_size = 1 << 20
_own_limits.uri_length = 1 << 20
_own_limits.field_count = MAX_FIELDS


# ---- the end of a use ----

cdef void _leave_all(CacheUse* use) noexcept nogil:
    cdef StoreData* store
    if use.rules == NULL:
        return
    store = use.rules.store
    if use.joined:
        chain_leave(store.arena, use.object.chain, &use.reader)
        use.joined = False
    if use.state == USE_WAIT:
        store_quit(store, use.base, &use.waiter)
    elif use.state == USE_LEAD or use.state == USE_TIER:
        store_hand_over(store, &use.fetch)
    use.state = USE_PASS
    if use.object != NULL:
        store_release(store, use.object)
        use.object = NULL
    if use.stale != NULL:
        store_release(store, use.stale)
        use.stale = NULL
    if use.base != NULL:
        store_leave(store, use.base)
        use.base = NULL


cdef void cached_end(Exchange* exchange) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    if use == NULL:
        return
    exchange.cached = NULL
    _leave_all(use)
    use.exchange = NULL
    if alarm_is_promised(&use.alarm):
        use.context.uses_waiting += 1        # conn/exchange hears of it and comes to cached_heard
        return
    slab_free(&use.context.uses, use)


cdef void cached_heard(CacheUse* use) noexcept nogil:
    use.context.uses_waiting -= 1
    slab_free(&use.context.uses, use)


# ---- the object that answers ----

cdef void cached_forget_stale(CacheUse* use) noexcept nogil:
    """Something newer answers: a client that takes it slowly does not keep what it replaced."""
    if use.stale != NULL:
        store_release(use.rules.store, use.stale)
        use.stale = NULL


cdef bint cached_claim(Exchange* exchange) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    if use.object.chain == NULL or use.joined:
        return True
    if chain_join(use.object.chain, &use.reader, 0):
        if load_acquire_int(&use.object.chain.state) != CHAIN_FAILED:
            use.joined = True
            return True
        chain_leave(use.rules.store.arena, use.object.chain, &use.reader)
    # It was taken out of the store, and what others have read of it is gone, or nobody read it then and it was given up; or it broke off.
    store_release(use.rules.store, use.object)
    use.object = NULL
    use.state = USE_ALONE if use.base != NULL else USE_PASS
    use.fetch.base = NULL
    use.fetch.epoch = load_i64(&use.rules.store.purges.count)
    exchange.cache = CACHE_MISS
    exchange.cache_age = T_NONE
    return False


cdef void cached_unfilled(Exchange* exchange) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    store_filled(use.rules.store, use.object, False)
    chain_finish(use.object.chain, CHAIN_FAILED)
    store_release(use.rules.store, use.object)
    use.object = NULL
    use.state = USE_PASS


# ---- what the client asked ----

cdef bint cached_read_asked(CacheUse* use) noexcept nogil:
    """The client's head once more, into Context.asked."""
    cdef size_t scanned = 0
    return parse_request_head(use.asked.data, use.asked.size, &scanned, &_own_limits, &use.context.asked) > 0


cdef const Head* cached_asked(Exchange* exchange) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    if use.asked.size == 0 or not cached_read_asked(use):
        return NULL
    return &use.context.asked


cdef bint cached_as_get(const Exchange* exchange) noexcept nogil:
    return exchange.cached != NULL and exchange.cached.as_get


cdef int cached_variant_text(Exchange* exchange, Slice names) noexcept nogil:
    if not cached_read_asked(exchange.cached):
        return -1
    return vary_text(names, &exchange.context.asked, exchange.context.variant, VARIANT_MAX)
