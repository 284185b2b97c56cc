# cython: cdivision=True
"""Fills (see fill.pxd):

    fill_begin → take … take → whole | broken → end

The connection's stream and timer report here while the fill has it, as with conn/mirror.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy, memset
from proxyd_ext.balance.pick cimport pick_leave
from proxyd_ext.balance.pool cimport pool_pin_again, pool_unpin
from proxyd_ext.cache.alarm cimport alarm_heard, alarm_is_promised
from proxyd_ext.cache.chain cimport chain_drop, chain_extend, chain_finish, chain_full, chain_hold, chain_room, chain_wrote
from proxyd_ext.cache.insert cimport store_filled
from proxyd_ext.cache.memory cimport KILL_CAPACITY, store_extend, store_largest
from proxyd_ext.cache.object cimport CHAIN_COMPLETE, CHAIN_FAILED, Chain, Piece
from proxyd_ext.cache.pin cimport store_hold, store_kill, store_release
from proxyd_ext.conn.describe cimport cached_tell
from proxyd_ext.conn.model cimport (
    EX_HEDGE, EX_IN_FLIGHT, EX_ORIGIN_KEEP, EX_REQUEST_DONE, ORIGIN_BODY, OriginConn, context_timers_needed,
)
from proxyd_ext.conn.origin cimport origin_close, origin_park
from proxyd_ext.conn.pin cimport snapshot_hold, snapshot_release
from proxyd_ext.conn.record cimport record_failure
from proxyd_ext.core.buffer cimport Buffer
from proxyd_ext.core.events cimport EVENT_FILL
from proxyd_ext.core.fault cimport FAULT_UPSTREAM_CHUNK, FAULT_UPSTREAM_READ_TIMEOUT, FAULT_UPSTREAM_RESET, FAULT_UPSTREAM_TRUNCATED
from proxyd_ext.core.shim cimport INVARIANT, counter_add, store_i64
from proxyd_ext.core.slab cimport slab_free, slab_new
from proxyd_ext.core.stats cimport count_add
from proxyd_ext.core.timer cimport timer_after, timer_init, timer_off, timer_remove, timer_set, timers_reserve
from proxyd_ext.http1.chunk cimport CHUNK_DONE, CHUNK_TRAILERS, chunk_decode, chunk_start
from proxyd_ext.http1.head cimport BODY_CHUNKED, BODY_CLOSE, BODY_LENGTH
from proxyd_ext.io.poller cimport (
    STREAM_BROKEN, STREAM_BYTES, STREAM_ENDED, STREAM_ENDING, STREAM_EOF, STREAM_ERRORED, STREAM_FAILED, STREAM_HUNG, STREAM_PAUSED,
    Stream,
)
from proxyd_ext.snapshot.compile cimport SnapshotData
from proxyd_ext.io.stream cimport stream_again, stream_consume, stream_pause, stream_resume, stream_unsent

cdef enum:
    FIRST_PIECE = 16384       # of a body whose length is not known
    PIECE = 65536
    FROM_HEAP = 32768         # of a body that is only passed on, for want of room
    LOOK_MS = 250             # how often a fill that waits for readers looks whether they still come


cdef bint fill_begin(Exchange* exchange, const Head* head, int size) noexcept nogil:
    cdef Context* context = exchange.context
    cdef OriginConn* origin = exchange.origin
    cdef Fill* fill = <Fill*>slab_new(&context.fills)
    if fill == NULL or not timers_reserve(&context.timers, context_timers_needed(context)):
        if fill != NULL:
            slab_free(&context.fills, fill)
        return False
    memset(fill, 0, sizeof(Fill))
    fill.alarm.node.kind = EVENT_FILL
    fill.alarm.node.subject = fill
    fill.alarm.queue = &context.wakeups
    fill.context = context
    fill.snapshot = exchange.snapshot
    snapshot_hold(context, fill.snapshot)
    fill.store = exchange.snapshot.store
    fill.upstream = exchange.upstream
    fill.pool = pool_pin_again(exchange.pool, context.engine)
    fill.server = exchange.server
    fill.object = exchange.cached.object
    store_hold(fill.object)
    fill.object.chain.source = &fill.alarm
    chain_hold(fill.object.chain)
    fill.body = head.body
    fill.left = head.content_length
    fill.most = exchange.route.cache.max_object
    if fill.most == 0 or fill.most > store_largest(fill.store):
        fill.most = store_largest(fill.store)
    fill.between_ms = exchange.route.between_bytes_ms
    fill.keep = (exchange.flags & (EX_ORIGIN_KEEP | EX_REQUEST_DONE)) == (EX_ORIGIN_KEEP | EX_REQUEST_DONE) and head.body != BODY_CLOSE
    if head.body == BODY_CHUNKED:
        chunk_start(&fill.chunks)
    fill.next = context.first_fill
    if fill.next != NULL:
        fill.next.previous = fill
    context.first_fill = fill
    # From here on the connection, and the place among the server's requests in flight, are the fill's.
    INVARIANT((exchange.flags & EX_IN_FLIGHT) != 0)
    exchange.flags &= ~<uint32_t>(EX_IN_FLIGHT | EX_HEDGE)
    exchange.origin = NULL
    fill.origin = origin
    origin.exchange = NULL
    origin.state = ORIGIN_BODY
    origin.stream.handler = _on_stream
    origin.stream.owner = fill
    timer_off(&origin.timer)
    timer_init(&fill.timer, fill, _on_timer)
    timer_after(&context.timers, &fill.timer, context.clock.now_ms, fill.between_ms)
    counter_add(&origin.local.bytes_in, size)
    stream_consume(&origin.stream, size)
    if origin.stream.received != NULL:
        stream_again(&origin.stream)         # later in this turn, when the exchange has become a reader
    return True


cdef bint _take(Fill* fill) noexcept nogil:
    """Store what has come, or as much of it as the readers have room for. False: the fill is over."""
    cdef OriginConn* origin = fill.origin
    cdef Buffer* received
    cdef size_t data_size, consumed
    cdef int result = 0
    cdef bint alone
    timer_after(&fill.context.timers, &fill.timer, fill.context.clock.now_ms, fill.between_ms)
    while origin.stream.received != NULL:
        if chain_full(fill.object.chain, &alone):
            stream_pause(&origin.stream)
            timer_set(&fill.context.timers, &fill.timer, fill.context.clock.now_ms + LOOK_MS)
            return True
        if alone:
            _end(fill, CHAIN_FAILED, False)  # nobody reads it, and nobody will find it
            return False
        received = origin.stream.received
        data_size = consumed = received.end - received.start
        if fill.body == BODY_CHUNKED:
            result = chunk_decode(&fill.chunks, received.data + received.start, consumed, &data_size, &consumed)
            if result < 0:
                _broken(fill, FAULT_UPSTREAM_CHUNK)
                return False
        elif fill.body == BODY_LENGTH:
            if consumed > fill.left:
                data_size = consumed = fill.left
            fill.left -= consumed
        counter_add(&origin.local.bytes_in, data_size)
        if not _write(fill, received.data + received.start, data_size):
            _end(fill, CHAIN_FAILED, False)
            return False
        stream_consume(&origin.stream, <uint32_t>consumed)
        if result == CHUNK_TRAILERS:
            fill.keep = False                # trailers are not stored: the body is whole, the connection is not read on
            result = CHUNK_DONE
        if result == CHUNK_DONE or fill.body == BODY_LENGTH and fill.left == 0:
            _end(fill, CHAIN_COMPLETE, fill.keep)
            return False
    return True


cdef bint _write(Fill* fill, const uint8_t* data, size_t size) noexcept nogil:
    cdef Chain* chain = fill.object.chain
    cdef uint8_t* room
    cdef uint32_t part
    if chain.filled + size > fill.most and fill.object.base != NULL:
        store_kill(fill.store, fill.object, KILL_CAPACITY)       # too large to keep: it is passed on
    while size > 0:
        room = chain_room(chain, &part)
        if room == NULL:
            if not _extend(fill, chain, size):
                return False
            continue
        if part > size:
            part = <uint32_t>size
        memcpy(room, data, part)
        chain_wrote(chain, part)
        data += part
        size -= part
    return True


cdef inline uint64_t _guess(const Chain* chain, size_t size) noexcept nogil:
    """A body of unknown length: the first piece is a small one, all others are whole pages."""
    if chain.first != NULL:
        return PIECE
    return size if size > FIRST_PIECE else FIRST_PIECE


cdef bint _extend(Fill* fill, Chain* chain, size_t size) noexcept nogil:
    """Another piece. What the store has no room for is passed on from the heap: CHAIN_AHEAD bytes at most, since its readers are waited
    for."""
    cdef uint64_t left = size + fill.left if fill.body == BODY_LENGTH else _guess(chain, size)
    cdef Piece* piece
    if store_extend(fill.store, chain, left, fill.object.hash):
        return True
    store_kill(fill.store, fill.object, KILL_CAPACITY)
    piece = <Piece*>malloc(sizeof(Piece) + FROM_HEAP)
    if piece == NULL:
        return False
    chain_extend(chain, piece, <uint8_t*>(piece + 1), FROM_HEAP, 0)
    return True


# ---- what the stream and the timer tell ----

cdef void _on_stream(void* owner, int what) noexcept nogil:
    cdef Fill* fill = <Fill*>owner
    if what == STREAM_HUNG:
        return                               # paused for its readers: what came before is still taken when there is room
    INVARIANT(what == STREAM_BYTES or what == STREAM_EOF or what == STREAM_FAILED)
    _go_on(fill, what == STREAM_FAILED)


cdef void _go_on(Fill* fill, bint failed) noexcept nogil:
    """Take what has come; then see whether that was all. The end may be told while bytes still stand in the buffer: those that came with
    the
    head (see fill_begin), and those that wait for the readers."""
    cdef Stream* stream = &fill.origin.stream
    if not _take(fill) or stream.received != NULL:
        return
    if failed or stream.error != 0:
        _broken(fill, FAULT_UPSTREAM_RESET)
    elif stream.flags & STREAM_ENDED and fill.body == BODY_CLOSE:
        _end(fill, CHAIN_COMPLETE, False)
    elif stream.flags & STREAM_ENDED:
        _broken(fill, FAULT_UPSTREAM_TRUNCATED)


cdef void _on_timer(void* owner) noexcept nogil:
    cdef Fill* fill = <Fill*>owner
    if fill.origin.stream.flags & STREAM_PAUSED:
        _resume(fill)
    else:
        _broken(fill, FAULT_UPSTREAM_READ_TIMEOUT)


cdef void _resume(Fill* fill) noexcept nogil:
    stream_resume(&fill.origin.stream)
    _go_on(fill, False)


cdef void fill_woken(Fill* fill) noexcept nogil:
    alarm_heard(&fill.alarm)
    if fill.over:
        fill.context.uses_waiting -= 1
        slab_free(&fill.context.fills, fill)
        return
    _resume(fill)


# ---- the end ----

cdef void _broken(Fill* fill, int fault) noexcept nogil:
    count_add(&fill.server.local[fill.context.engine].errors, fault, 1)
    record_failure(fill.context, fill.pool, fill.server)
    _end(fill, CHAIN_FAILED, False)


cdef void _end(Fill* fill, int state, bint keep) noexcept nogil:
    cdef Context* context = fill.context
    cdef OriginConn* origin = fill.origin
    cdef SnapshotData* snapshot = fill.snapshot
    cdef Chain* chain = fill.object.chain
    if state == CHAIN_COMPLETE:
        store_i64(&fill.object.body_size, <int64_t>chain.filled)
    store_filled(fill.store, fill.object, state == CHAIN_COMPLETE)
    chain_finish(chain, state)
    if state == CHAIN_COMPLETE:
        cached_tell(context, fill.object)
    pick_leave(fill.upstream.state, fill.server)
    origin.stream.handler = context.on_origin
    origin.stream.owner = origin
    if (keep and origin.stream.received == NULL and origin.stream.error == 0 and stream_unsent(&origin.stream) == 0
            and not origin.stream.flags & (STREAM_ENDED | STREAM_ENDING | STREAM_ERRORED | STREAM_BROKEN)):
        origin_park(origin, fill.pool.pool_max, fill.pool.pool_idle_ms)
    else:
        origin_close(origin, False)
    timer_remove(&context.timers, &fill.timer)
    if fill.previous != NULL:
        fill.previous.next = fill.next
    else:
        context.first_fill = fill.next
    if fill.next != NULL:
        fill.next.previous = fill.previous
    pool_unpin(fill.pool, context.engine)
    store_release(fill.store, fill.object)
    chain_drop(fill.store.arena, chain)
    if alarm_is_promised(&fill.alarm):
        fill.over = True                     # freed when that wake-up comes
        context.uses_waiting += 1
    else:
        slab_free(&context.fills, fill)
    snapshot_release(context, snapshot)


cdef void fills_abort(Context* context) noexcept nogil:
    while context.first_fill != NULL:
        _end(context.first_fill, CHAIN_FAILED, False)
