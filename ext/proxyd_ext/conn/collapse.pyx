"""Waiting for another's fetch (see collapse.pxd)."""
from libc.stdint cimport uint32_t, uint8_t
from proxyd_ext.cache.fetch cimport LEAD_WAIT, LEAD_YOURS, store_hand_over, store_lead, store_outcome, store_quit, store_resolve
from proxyd_ext.cache.find cimport store_variant, store_vary
from proxyd_ext.cache.memory cimport StoreData
from proxyd_ext.cache.object cimport FETCH_FAILED, FETCH_LEAD, FETCH_PASS, FETCH_STORED, OBJECT_MARKER, Object, VARY_MAX
from proxyd_ext.cache.pin cimport object_is_found, store_release
from proxyd_ext.conn.cached cimport cached_forget_stale, cached_read_asked, object_age_s
from proxyd_ext.conn.lookup cimport LOOKUP_BEHIND, LOOKUP_PASS, LOOKUP_SERVE, LOOKUP_WAIT, cached_name_variant, cached_weigh
from proxyd_ext.conn.model cimport CacheUse, USE_ALONE, USE_LEAD, USE_PASS, USE_SERVE, USE_TIER, USE_WAIT
from proxyd_ext.core.fault cimport (
    FAULT_TOTAL_TIMEOUT, FAULT_UPSTREAM_CLOSED, FAULT_UPSTREAM_HEAD_MALFORMED, FAULT_UPSTREAM_HEAD_TOO_LARGE, FAULT_UPSTREAM_RESET,
)
from proxyd_ext.core.shim cimport INVARIANT, fetch_add_int, load_i64
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.log.record cimport CACHE_COALESCED, CACHE_UNCACHEABLE

cdef enum:
    HANDED_MOST = 2           # others that lead after a leader failed by what may be its own fault


cdef int cached_woken(Exchange* exchange, int* fault) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    cdef StoreData* store = use.rules.store
    cdef int outcome
    fault[0] = 0
    if use.state != USE_WAIT:
        return LOOKUP_WAIT
    outcome = store_outcome(store, use.base, &use.waiter)
    if outcome == 0:
        return LOOKUP_WAIT
    if outcome == FETCH_STORED and not object_is_found(use.waiter.object):
        outcome = FETCH_PASS  # purged before this answer was begun
    if outcome == FETCH_STORED:
        use.object = use.waiter.object
        use.waiter.object = NULL
        if use.object.variant != use.variant and not _is_ours(use):
            return _look_again(use)
        use.state = USE_SERVE
        exchange.cache = CACHE_COALESCED
        exchange.cache_age = <uint32_t>object_age_s(use.object, use.context)
        return LOOKUP_SERVE
    if outcome == FETCH_LEAD:
        use.state = USE_LEAD
        return LOOKUP_PASS
    if use.waiter.object != NULL:
        store_release(store, use.waiter.object)
        use.waiter.object = NULL
    use.state = USE_ALONE
    use.fetch.epoch = load_i64(&store.purges.count)
    if outcome == FETCH_FAILED:
        fault[0] = use.waiter.fault
    else:
        exchange.cache = CACHE_UNCACHEABLE
    return LOOKUP_PASS


cdef bint _is_ours(CacheUse* use) noexcept nogil:
    """Only the answer has told by what it varies: whether it is the one for this request, too. The request's variant is known
    afterwards."""
    cdef uint8_t[VARY_MAX] names
    cdef uint32_t size = store_vary(use.rules.store, use.base, names)
    if size == 0:
        use.variant = 0
    elif not cached_read_asked(use) or not cached_name_variant(use, slice_of(names, size), &use.context.asked):
        return False
    return use.object.variant == use.variant


cdef int _look_again(CacheUse* use) noexcept nogil:
    """Another's variant was stored: ours may stand there, or is fetched as any other, by one for all who want it."""
    cdef StoreData* store = use.rules.store
    cdef Object* stale = use.stale           # the head that goes to the server names its validators
    cdef int verdict, lead
    store_release(store, use.object)
    use.object = NULL
    use.stale = NULL
    use.state = USE_ALONE
    use.fetch.base = NULL
    use.fetch.epoch = load_i64(&store.purges.count)
    verdict = cached_weigh(use, store_variant(store, use.base, use.variant, use.order, &use.version))
    cached_forget_stale(use)
    use.stale = stale
    if verdict == LOOKUP_SERVE or verdict == LOOKUP_BEHIND:
        use.exchange.cache = CACHE_COALESCED
        return LOOKUP_SERVE
    if verdict != LOOKUP_WAIT:
        return LOOKUP_PASS
    lead = store_lead(store, use.base, use.variant, use.version, &use.fetch, &use.waiter, True)
    if lead == LEAD_WAIT:
        use.state = USE_WAIT
        return LOOKUP_WAIT
    if lead == LEAD_YOURS:
        use.state = USE_LEAD
    return LOOKUP_PASS


cdef void cached_alone(Exchange* exchange) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    store_quit(use.rules.store, use.base, &use.waiter)
    use.state = USE_ALONE
    use.fetch.base = NULL
    use.fetch.epoch = load_i64(&use.rules.store.purges.count)


cdef int cached_again(Exchange* exchange) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    cdef StoreData* store = use.rules.store
    cdef uint8_t[VARY_MAX] names
    cdef uint32_t size = store_vary(store, use.base, names)
    cdef Object* object
    cdef int verdict
    INVARIANT(use.state == USE_TIER)
    use.state = USE_LEAD
    if size and use.variant == 0:
        # The tier knows by what the answers vary; others may wait for this fetch under the wrong name, so they are sent on.
        if not cached_read_asked(use):
            return LOOKUP_PASS
        if not cached_name_variant(use, slice_of(names, size), &use.context.asked):
            return LOOKUP_PASS
        store_resolve(store, &use.fetch, FETCH_PASS, NULL, 0)
        use.state = USE_ALONE
    object = store_variant(store, use.base, use.variant, use.order, &use.version)
    if object == NULL or object.flags & OBJECT_MARKER:
        if object != NULL:
            store_release(store, object)
        return LOOKUP_PASS
    verdict = cached_weigh(use, object)
    if verdict == LOOKUP_SERVE or verdict == LOOKUP_BEHIND:
        fetch_add_int(&use.object.refs, 1)
        store_resolve(store, &use.fetch, FETCH_STORED, use.object, 0)
        store_release(store, use.object)
        use.state = USE_SERVE
        return LOOKUP_SERVE
    return LOOKUP_PASS


cdef void cached_failed(Exchange* exchange, int fault) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    if use == NULL or use.state != USE_LEAD and use.state != USE_TIER:
        return
    if _is_of_request(fault) and use.fetch.handed < HANDED_MOST:
        store_hand_over(use.rules.store, &use.fetch)
    else:
        store_resolve(use.rules.store, &use.fetch, FETCH_FAILED, NULL, fault)
    use.state = USE_PASS


cdef bint _is_of_request(int fault) noexcept nogil:
    """A fault that this request may have provoked, by a cookie that some firewall dislikes, say: others must not be refused for it."""
    return (fault == FAULT_UPSTREAM_CLOSED or fault == FAULT_UPSTREAM_RESET or fault == FAULT_UPSTREAM_HEAD_MALFORMED
            or fault == FAULT_UPSTREAM_HEAD_TOO_LARGE or fault == FAULT_TOTAL_TIMEOUT)
