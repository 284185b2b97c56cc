"""The queue of waiting exchanges (see queue.pxd)."""
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport fetch_add_i64, load_i64, load_int, store_int


cdef void _unlink(UpstreamData* state, Waiter* waiter) noexcept nogil:
    if waiter.previous != NULL:
        waiter.previous.next = waiter.next
    else:
        state.first_waiter = waiter.next
    if waiter.next != NULL:
        waiter.next.previous = waiter.previous
    else:
        state.last_waiter = waiter.previous
    waiter.next = waiter.previous = NULL
    waiter.queued = 0
    fetch_add_i64(&state.waiting, -1)


cdef bint queue_join(UpstreamData* state, Waiter* waiter, int64_t most, bint front) noexcept nogil:
    cdef bint joined = True
    lock_take(&state.lock)
    waiter.granted = 0
    if front:
        waiter.next = state.first_waiter
        waiter.previous = NULL
        if waiter.next != NULL:
            waiter.next.previous = waiter
        else:
            state.last_waiter = waiter
        state.first_waiter = waiter
    elif state.waiting < most:
        waiter.previous = state.last_waiter
        waiter.next = NULL
        if waiter.previous != NULL:
            waiter.previous.next = waiter
        else:
            state.first_waiter = waiter
        state.last_waiter = waiter
    else:
        joined = False
    if joined:
        waiter.queued = 1
        fetch_add_i64(&state.waiting, 1)       # a full barrier: what the joiner looks at next is newer than what a leaver saw
    lock_give(&state.lock)
    return joined


cdef void queue_leave(UpstreamData* state, Waiter* waiter, bint served) noexcept nogil:
    cdef bint pass_on
    lock_take(&state.lock)
    if waiter.queued:
        _unlink(state, waiter)
    pass_on = waiter.granted and not served
    waiter.granted = 0
    lock_give(&state.lock)
    if pass_on:
        queue_next(state)


cdef void queue_next(UpstreamData* state) noexcept nogil:
    cdef Waiter* waiter
    lock_take(&state.lock)
    waiter = state.first_waiter
    if waiter != NULL:
        _unlink(state, waiter)
        waiter.granted = 1
    lock_give(&state.lock)
    if waiter != NULL:
        waiter.wake(waiter)


cdef void queue_more(UpstreamData* state) noexcept nogil:
    if load_i64(&state.waiting) > 0:
        store_int(&state.more, 1)
        queue_next(state)


cdef void queue_found(UpstreamData* state, bint room) noexcept nogil:
    if not load_int(&state.more):
        return
    if not room:
        store_int(&state.more, 0)
    elif load_i64(&state.waiting) > 0:
        queue_next(state)
