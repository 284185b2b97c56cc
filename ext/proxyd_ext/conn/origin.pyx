# cython: cdivision=True
"""Origin connections (see origin.pxd).

`pool.max` counts idle connections over all engines. A connection in the pool stays in the poller, so an origin that closes it is noticed at
once
and the connection leaves the pool; the race that remains (closed while our request is on its way) is the exchange's to handle.
"""
from proxyd_ext.balance.server cimport server_drop, server_hold
from proxyd_ext.conn.model cimport ORIGIN_CONNECTING, ORIGIN_IDLE, ORIGIN_WAITING, context_timers_needed
from proxyd_ext.core.buffer cimport BUFFER_64K
from proxyd_ext.core.fault cimport (
    FAULT_CONNECT_FAILED, FAULT_CONNECT_REFUSED, FAULT_CONNECT_TIMEOUT, FAULT_CONNECT_UNREACHABLE, FAULT_FD_EXHAUSTED, FAULT_MEMORY,
)
from proxyd_ext.core.shim cimport counter_add, fetch_add_i64, store_i64
from proxyd_ext.core.slab cimport slab_free, slab_new
from proxyd_ext.core.timer cimport timer_after, timer_init, timer_remove, timers_reserve
from proxyd_ext.io.poller cimport STREAM_ENDED, STREAM_ENDING, STREAM_READABLE
from proxyd_ext.io.stream cimport stream_bury, stream_close, stream_connect, stream_resume
from proxyd_ext.io.sys cimport (
    EADDRNOTAVAIL, EAGAIN, ECONNREFUSED, EHOSTUNREACH, EMFILE, ENFILE, ENETUNREACH, ENOBUFS, ENOENT, ENOMEM, ETIMEDOUT, sockaddr,
)


cdef void _reap(void* object) noexcept nogil:
    cdef OriginConn* origin = <OriginConn*>object
    server_drop(origin.server)
    slab_free(&origin.context.origins, origin)


cdef int connect_fault(int error) noexcept nogil:
    if error == ECONNREFUSED or error == ENOENT or error == EAGAIN:
        return FAULT_CONNECT_REFUSED
    if error == ETIMEDOUT:
        return FAULT_CONNECT_TIMEOUT
    if error == ENETUNREACH or error == EHOSTUNREACH or error == EADDRNOTAVAIL:
        return FAULT_CONNECT_UNREACHABLE
    if error == EMFILE or error == ENFILE:
        return FAULT_FD_EXHAUSTED
    if error == ENOBUFS or error == ENOMEM:
        return FAULT_MEMORY
    return FAULT_CONNECT_FAILED


cdef void _unlink_idle(OriginConn* origin) noexcept nogil:
    if origin.previous != NULL:
        origin.previous.next = origin.next
    else:
        origin.local.idle = origin.next
    if origin.next != NULL:
        origin.next.previous = origin.previous
    store_i64(&origin.local.idle_count, origin.local.idle_count - 1)
    fetch_add_i64(&origin.server.idle_total, -1)


cdef OriginConn* origin_reuse(Context* context, ServerData* server) noexcept nogil:
    cdef OriginConn* origin = <OriginConn*>server.local[context.engine].idle
    while origin != NULL:
        _unlink_idle(origin)
        # An end or stray bytes that the kernel has already announced: not usable.
        if origin.stream.flags & (STREAM_ENDED | STREAM_ENDING | STREAM_READABLE) == 0 and origin.stream.received == NULL:
            origin.state = ORIGIN_WAITING
            store_i64(&origin.local.active_count, origin.local.active_count + 1)
            return origin
        origin.state = ORIGIN_WAITING
        store_i64(&origin.local.active_count, origin.local.active_count + 1)
        origin_close(origin, False)
        origin = <OriginConn*>server.local[context.engine].idle
    return NULL


cdef OriginConn* origin_connect(Context* context, ServerData* server, int* fault) noexcept nogil:
    cdef OriginConn* origin = <OriginConn*>slab_new(&context.origins)
    cdef int result
    if origin == NULL or not timers_reserve(&context.timers, context_timers_needed(context)):
        if origin != NULL:
            slab_free(&context.origins, origin)
        fault[0] = FAULT_MEMORY
        return NULL
    result = stream_connect(&origin.stream, &context.poller, <const sockaddr*>server.address, server.address_size, context.on_origin,
                            origin, _reap, BUFFER_64K)
    if result < 0:
        slab_free(&context.origins, origin)
        fault[0] = connect_fault(-result)
        return NULL
    timer_init(&origin.timer, origin, context.on_origin_timer)
    origin.context = context
    origin.server = server
    server_hold(server)
    origin.local = server.local[context.engine]
    origin.exchange = NULL
    origin.next = NULL
    origin.previous = NULL
    origin.scanned = 0
    origin.progress = 0
    origin.served = 0
    origin.state = ORIGIN_CONNECTING
    origin.previous_all = NULL
    origin.next_all = context.first_origin
    if origin.next_all != NULL:
        origin.next_all.previous_all = origin
    context.first_origin = origin
    store_i64(&origin.local.active_count, origin.local.active_count + 1)
    counter_add(&origin.local.opened, 1)
    return origin


cdef void origin_park(OriginConn* origin, int64_t most, int64_t idle_ms) noexcept nogil:
    cdef Context* context = origin.context
    origin.exchange = NULL
    if context.draining or origin.local.mark != context.snapshot.generation:
        origin_close(origin, False)
        return
    if fetch_add_i64(&origin.server.idle_total, 1) >= most:
        fetch_add_i64(&origin.server.idle_total, -1)
        origin_close(origin, False)
        return
    store_i64(&origin.local.active_count, origin.local.active_count - 1)
    store_i64(&origin.local.idle_count, origin.local.idle_count + 1)
    origin.state = ORIGIN_IDLE
    origin.served += 1
    origin.scanned = 0
    origin.previous = NULL
    origin.next = <OriginConn*>origin.local.idle
    if origin.next != NULL:
        origin.next.previous = origin
    origin.local.idle = origin
    timer_after(&context.timers, &origin.timer, context.clock.now_ms, idle_ms)
    # If the kernel may hold more (after a splice we do not know), it is looked at before the connection is used again.
    stream_resume(&origin.stream)


cdef void origin_close(OriginConn* origin, bint reset) noexcept nogil:
    cdef Context* context = origin.context
    if origin.stream.fd < 0:
        return
    if origin.state == ORIGIN_IDLE:
        _unlink_idle(origin)
    else:
        store_i64(&origin.local.active_count, origin.local.active_count - 1)
    stream_close(&origin.stream, reset)
    timer_remove(&context.timers, &origin.timer)
    if origin.previous_all != NULL:
        origin.previous_all.next_all = origin.next_all
    else:
        context.first_origin = origin.next_all
    if origin.next_all != NULL:
        origin.next_all.previous_all = origin.previous_all
    origin.exchange = NULL
    stream_bury(&origin.stream)


cdef void origins_sweep(Context* context) noexcept nogil:
    cdef OriginConn* origin = context.first_origin
    cdef OriginConn* following
    while origin != NULL:
        following = origin.next_all
        if origin.state == ORIGIN_IDLE and (context.draining or origin.local.mark != context.snapshot.generation):
            origin_close(origin, False)
        origin = following
