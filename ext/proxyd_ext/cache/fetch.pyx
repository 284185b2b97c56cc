"""Fetches under way (see fetch.pxd)."""
from proxyd_ext.cache.alarm cimport Alarm, alarm_promise, alarms_ring
from proxyd_ext.cache.memory cimport store_shard
from proxyd_ext.cache.object cimport FETCH_LEAD, FETCH_PASS, FETCH_STORED
from proxyd_ext.cache.pin cimport store_release
from proxyd_ext.cache.purge cimport purge_count
from proxyd_ext.cache.shard cimport Shard
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport fetch_add_i64, fetch_add_int


cdef void _register(StoreData* store, Base* base, uint64_t variant, Fetch* fetch) noexcept nogil:
    fetch.base = base
    fetch.variant = variant
    fetch.first = fetch.last = NULL
    fetch.waiting = 0
    fetch.handed = 0
    fetch.previous = NULL
    fetch.next = base.fetches
    if fetch.next != NULL:
        fetch.next.previous = fetch
    base.fetches = fetch


cdef void _unregister(Fetch* fetch) noexcept nogil:
    if fetch.previous != NULL:
        fetch.previous.next = fetch.next
    else:
        fetch.base.fetches = fetch.next
    if fetch.next != NULL:
        fetch.next.previous = fetch.previous
    fetch.base = NULL


cdef void _enqueue(Fetch* fetch, FetchWaiter* waiter) noexcept nogil:
    waiter.fetch = fetch
    waiter.next = NULL
    waiter.previous = fetch.last
    if fetch.last != NULL:
        fetch.last.next = waiter
    else:
        fetch.first = waiter
    fetch.last = waiter
    fetch.waiting += 1


cdef FetchWaiter* _dequeue(Fetch* fetch, FetchWaiter* waiter) noexcept nogil:
    if waiter.previous != NULL:
        waiter.previous.next = waiter.next
    else:
        fetch.first = waiter.next
    if waiter.next != NULL:
        waiter.next.previous = waiter.previous
    else:
        fetch.last = waiter.previous
    fetch.waiting -= 1
    waiter.fetch = NULL
    return waiter


cdef int store_lead(StoreData* store, Base* base, uint64_t variant, uint32_t version, Fetch* fetch, FetchWaiter* waiter,
                    bint may_wait) noexcept nogil:
    cdef Shard* shard = store_shard(store, base.hash)
    cdef Fetch* other
    cdef int result = LEAD_YOURS
    fetch.base = NULL
    lock_take(&shard.lock)
    fetch.epoch = purge_count(store.purges)
    if base.version != version:
        result = LEAD_AGAIN
    else:
        other = base.fetches
        while other != NULL and other.variant != variant:
            other = other.next
        if other == NULL:
            _register(store, base, variant, fetch)
        elif not may_wait:
            result = LEAD_ALONE
        else:
            waiter.outcome = 0
            waiter.object = NULL
            waiter.fault = 0
            _enqueue(other, waiter)
            result = LEAD_WAIT
    lock_give(&shard.lock)
    if result == LEAD_WAIT:
        fetch_add_i64(&store.counts.collapsed, 1)
    return result


cdef void store_resolve(StoreData* store, Fetch* fetch, int outcome, Object* object, int fault) noexcept nogil:
    cdef Shard* shard
    cdef Alarm* todo = NULL
    cdef FetchWaiter* waiter
    if fetch.base == NULL:
        return
    shard = store_shard(store, fetch.base.hash)
    lock_take(&shard.lock)
    if outcome == FETCH_STORED and object.base == NULL:
        outcome = FETCH_PASS      # purged meanwhile: who began to wait after that must not get it
    while fetch.first != NULL:
        waiter = _dequeue(fetch, fetch.first)
        waiter.outcome = outcome
        waiter.fault = fault
        if outcome == FETCH_STORED:
            fetch_add_int(&object.refs, 1)
            waiter.object = object
        alarm_promise(waiter.alarm, &todo)
    _unregister(fetch)
    lock_give(&shard.lock)
    alarms_ring(todo)


cdef void store_hand_over(StoreData* store, Fetch* fetch) noexcept nogil:
    cdef Shard* shard
    cdef Alarm* todo = NULL
    cdef FetchWaiter* waiter
    cdef Fetch* heir
    cdef Base* base = fetch.base
    if base == NULL:
        return
    shard = store_shard(store, base.hash)
    lock_take(&shard.lock)
    _unregister(fetch)
    if fetch.first != NULL:
        waiter = _dequeue(fetch, fetch.first)
        heir = waiter.own
        heir.epoch = purge_count(store.purges)
        _register(store, base, fetch.variant, heir)
        heir.handed = fetch.handed + 1 if fetch.handed < 255 else 255
        while fetch.first != NULL:
            _enqueue(heir, _dequeue(fetch, fetch.first))
        waiter.outcome = FETCH_LEAD
        alarm_promise(waiter.alarm, &todo)
    lock_give(&shard.lock)
    if todo != NULL:
        fetch_add_i64(&store.counts.handed_over, 1)
    alarms_ring(todo)


cdef void store_quit(StoreData* store, Base* base, FetchWaiter* waiter) noexcept nogil:
    cdef Shard* shard = store_shard(store, base.hash)
    cdef bint leads = False
    lock_take(&shard.lock)
    if waiter.fetch != NULL:
        _dequeue(waiter.fetch, waiter)
    leads = waiter.outcome == FETCH_LEAD
    lock_give(&shard.lock)
    if waiter.object != NULL:
        store_release(store, waiter.object)
        waiter.object = NULL
    waiter.outcome = 0
    if leads:
        store_hand_over(store, waiter.own)


cdef int store_outcome(StoreData* store, Base* base, FetchWaiter* waiter) noexcept nogil:
    cdef Shard* shard = store_shard(store, base.hash)
    cdef int outcome
    lock_take(&shard.lock)
    outcome = waiter.outcome
    lock_give(&shard.lock)
    return outcome
