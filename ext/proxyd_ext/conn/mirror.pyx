# cython: cdivision=True
"""The life of a copy (see mirror.pxd):

    mirror_request → [flush] → begin → connected → send → read_head → discard → answered

`_fail` is the way out for every fault, `_end` the one end of all. A copy's origin connection is an ordinary one, from the same pools; while
the copy has it, its stream reports here instead of to conn/dispatch, and the copy's timer stands in for the connection's.
"""
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t
from libc.string cimport memcmp
from proxyd_ext.balance.ewma cimport ewma_note
from proxyd_ext.balance.heap cimport Tried
from proxyd_ext.balance.passive cimport note_success
from proxyd_ext.balance.pick cimport PICK_FULL, PickInput, pick, pick_leave
from proxyd_ext.balance.pool cimport (
    BALANCE_EWMA, CIRCUIT_CLOSED, MirrorCounts, UpstreamData, UpstreamLocal, pool_pin, pool_unpin,
)
from proxyd_ext.balance.server cimport ServerLocal
from proxyd_ext.conn.affinity cimport affinity_again
from proxyd_ext.conn.model cimport (
    EX_REPLAYABLE, EX_REQUEST_DONE, EX_STICKY_KEY, EX_UPGRADE, MirrorCopy, ORIGIN_BODY, ORIGIN_CONNECTING, ORIGIN_WAITING, OriginConn,
    context_timers_needed,
)
from proxyd_ext.conn.pin cimport snapshot_hold, snapshot_release
from proxyd_ext.conn.origin cimport connect_fault, origin_close, origin_connect, origin_park, origin_reuse
from proxyd_ext.conn.record cimport record_failure
from proxyd_ext.core.buffer cimport Buffer, buffer_free
from proxyd_ext.core.fault cimport (
    FAULT_CIRCUIT_OPEN, FAULT_CONNECT_TIMEOUT, FAULT_NONE, FAULT_NO_SERVER, FAULT_RETRY_IF_REUSED, FAULT_SOURCE_UPSTREAM,
    FAULT_UPGRADE_UNEXPECTED, FAULT_UPSTREAM_CHUNK, FAULT_UPSTREAM_CLOSED, FAULT_UPSTREAM_FIRST_BYTE_TIMEOUT,
    FAULT_UPSTREAM_HEAD_MALFORMED, FAULT_UPSTREAM_HEAD_TOO_LARGE, FAULT_UPSTREAM_READ_TIMEOUT, FAULT_UPSTREAM_RESET,
    FAULT_UPSTREAM_TRUNCATED, FaultInfo, fault_info,
)
from proxyd_ext.core.hash cimport random_below
from proxyd_ext.core.shim cimport INVARIANT, counter_add, load_i64, load_int, store_i64
from proxyd_ext.core.slab cimport slab_free, slab_new
from proxyd_ext.core.stats cimport count_add, histogram_add
from proxyd_ext.core.timer cimport TIMER_OFF_MS, timer_init, timer_off, timer_remove, timer_set, timers_reserve
from proxyd_ext.http1.chunk cimport CHUNK_DONE, CHUNK_TRAILERS, chunk_decode, chunk_start
from proxyd_ext.http1.head cimport (
    BODY_CHUNKED, BODY_CLOSE, BODY_LENGTH, BODY_NONE, HEAD_KEEP_ALIVE, Head, HeadLimits, MAX_FIELDS, METHOD_HEAD,
    parse_response_head,
)
from proxyd_ext.io.poller cimport (
    STREAM_BROKEN, STREAM_BYTES, STREAM_CONNECTED, STREAM_DRAINED, STREAM_ENDED, STREAM_ENDING, STREAM_EOF, STREAM_ERRORED, STREAM_FAILED,
    STREAM_HUNG, STREAM_SENT,
)
from proxyd_ext.io.stream cimport poller_flush, stream_consume, stream_salvage, stream_send_stable, stream_unsent
from proxyd_ext.snapshot.compile cimport CompiledMirror, SnapshotData

cdef enum:
    MILLION = 1000000
    ANSWER_HEAD_MAX = 65536       # bytes of an answer's head
    ANSWER_MAX = 4 << 20          # bytes of an answer's body that are read, to keep the connection; one with more is closed
    INTERIMS_MAX = 32             # 1xx answers to one request

cdef HeadLimits _answer_limits
_answer_limits.head_size = ANSWER_HEAD_MAX
_answer_limits.uri_length = 0
_answer_limits.field_count = MAX_FIELDS


# ---- birth ----

cdef void mirror_request(Exchange* exchange) noexcept nogil:
    cdef Context* context = exchange.context
    cdef CompiledMirror* mirror = exchange.route.mirror
    cdef MirrorCounts* counts
    if exchange.target == NULL or exchange.flags & EX_UPGRADE or context.copies_off:
        return                # refused, or answered, before there was a request to send
    if random_below(&context.random, MILLION) >= mirror.sample_ppm:
        return
    counts = &mirror.upstream.state.local[context.engine].mirror
    if exchange.flags & (EX_REQUEST_DONE | EX_REPLAYABLE) != (EX_REQUEST_DONE | EX_REPLAYABLE):
        counter_add(&counts.skipped_body, 1)
    elif counts.in_flight >= mirror.in_flight or not _new(exchange, mirror, counts):
        counter_add(&counts.skipped_in_flight, 1)


cdef bint _new(Exchange* exchange, CompiledMirror* mirror, MirrorCounts* counts) noexcept nogil:
    """Take the exchange's request and queue it; False: no memory."""
    cdef Context* context = exchange.context
    cdef MirrorCopy* copy = <MirrorCopy*>slab_new(&context.copies)
    if copy == NULL or not timers_reserve(&context.timers, context_timers_needed(context)):
        if copy != NULL:
            slab_free(&context.copies, copy)
        return False
    copy.context = context
    copy.snapshot = exchange.snapshot
    snapshot_hold(context, copy.snapshot)
    copy.mirror = mirror
    copy.counts = counts
    copy.pool = NULL
    copy.server = NULL
    copy.origin = NULL
    _find_key(copy, exchange)
    copy.request = exchange.request
    copy.request_start = exchange.request_start
    exchange.request = NULL
    # As it was sent: for the cache a HEAD is asked as a GET, and its answer has a body.
    copy.to_head = exchange.method == METHOD_HEAD and memcmp(copy.request.data + copy.request_start, b"HEAD ", 5) == 0
    copy.sent_us = 0
    copy.reused = False
    copy.heard = False
    copy.keep = False
    copy.body = BODY_NONE
    copy.interims = 0
    copy.left = 0
    copy.taken = 0
    timer_init(&copy.timer, copy, _on_timer)
    store_i64(&counts.in_flight, counts.in_flight + 1)
    copy.next = NULL
    copy.previous = NULL
    if context.new_copies == NULL:
        context.new_copies = copy
    else:
        context.last_new_copy.next = copy
    context.last_new_copy = copy
    return True


cdef void _find_key(MirrorCopy* copy, Exchange* exchange) noexcept nogil:
    """What the mirror's balancer hashes."""
    copy.key = 0
    copy.by_key = False
    if not copy.mirror.upstream.keyed:
        return
    exchange.upstream = copy.mirror.upstream   # the exchange is over: nobody asks for its own any more
    affinity_again(exchange)
    copy.key = exchange.key
    copy.by_key = (exchange.flags & EX_STICKY_KEY) != 0


cdef MirrorCopy* _take_new(Context* context) noexcept nogil:
    """The oldest new copy, now one of those under way; NULL: none."""
    cdef MirrorCopy* copy = context.new_copies
    if copy == NULL:
        return NULL
    context.new_copies = copy.next
    copy.next = context.first_copy
    if copy.next != NULL:
        copy.next.previous = copy
    context.first_copy = copy
    return copy


cdef void mirrors_begin(Context* context) noexcept nogil:
    cdef MirrorCopy* copy = _take_new(context)
    while copy != NULL:
        _begin(copy)
        copy = _take_new(context)
    poller_flush(&context.poller)


# ---- to the server ----

cdef void _begin(MirrorCopy* copy) noexcept nogil:
    cdef Context* context = copy.context
    cdef int64_t now_ms = context.clock.now_ms
    cdef OriginConn* origin
    cdef int fault = FAULT_NONE
    copy.due_ms = now_ms + copy.mirror.answer_ms if copy.mirror.answer_ms > 0 else TIMER_OFF_MS
    copy.begin_us = context.clock.now_us
    fault = _choose(copy)
    if fault != FAULT_NONE:
        _fail(copy, fault)
        return
    origin = origin_reuse(context, copy.server)
    copy.reused = origin != NULL
    if origin == NULL:
        origin = origin_connect(context, copy.server, &fault)
        if origin == NULL:
            _fail(copy, fault)
            return
    copy.origin = origin
    origin.stream.handler = _on_stream
    origin.stream.owner = copy
    timer_off(&origin.timer)
    if copy.reused:
        _send(copy)
    elif copy.mirror.connect_ms > 0 and now_ms + copy.mirror.connect_ms < copy.due_ms:
        timer_set(&context.timers, &copy.timer, now_ms + copy.mirror.connect_ms)
    else:
        _set_deadline(copy)


cdef int _choose(MirrorCopy* copy) noexcept nogil:
    """Ask the balancer; FAULT_* when there is no server. Copies neither probe a circuit that is not closed nor queue for room, nor
    overtake a queue."""
    cdef Context* context = copy.context
    cdef UpstreamData* state = copy.mirror.upstream.state
    cdef PickInput input
    cdef Tried none
    cdef int32_t member = PICK_FULL
    if load_int(&state.circuit) != CIRCUIT_CLOSED:
        return FAULT_CIRCUIT_OPEN
    none.count = 0
    input.tried = &none
    input.key = copy.key
    input.by_key = copy.by_key
    input.sticky = -1
    input.random = &context.random
    input.now_ms = context.clock.now_ms
    copy.pool = pool_pin(state, context.engine)
    if load_i64(&state.waiting) == 0:
        member = pick(copy.pool, &input)
    if member < 0:
        return FAULT_NO_SERVER
    copy.server = copy.pool.members[member].server
    return FAULT_NONE


cdef inline void _set_deadline(MirrorCopy* copy) noexcept nogil:
    if copy.due_ms == TIMER_OFF_MS:
        timer_off(&copy.timer)
    else:
        timer_set(&copy.context.timers, &copy.timer, copy.due_ms)


cdef void _connected(MirrorCopy* copy) noexcept nogil:
    histogram_add(&copy.mirror.upstream.state.local[copy.context.engine].connect, copy.context.clock.now_us - copy.begin_us)
    copy.origin.state = ORIGIN_WAITING
    _send(copy)


cdef void _send(MirrorCopy* copy) noexcept nogil:
    cdef OriginConn* origin = copy.origin
    cdef uint32_t size = copy.request.end - copy.request_start
    origin.stream.flags &= ~<uint32_t>STREAM_SENT
    copy.sent_us = copy.context.clock.now_us
    counter_add(&copy.counts.sent, 1)
    counter_add(&origin.local.bytes_out, size)
    stream_send_stable(&origin.stream, copy.request.data + copy.request_start, size)
    origin.stream.want_drained = True
    _set_deadline(copy)


# ---- its answer ----

cdef void _read_head(MirrorCopy* copy) noexcept nogil:
    """Heads of the answer: any number of 1xx, then the final one."""
    cdef Context* context = copy.context
    cdef OriginConn* origin = copy.origin
    cdef Head* head = &context.head
    cdef int size
    while True:
        size = parse_response_head(origin.stream.received.data + origin.stream.received.start,
                                   origin.stream.received.end - origin.stream.received.start, &origin.scanned, &_answer_limits, head)
        if size == 0:
            return
        origin.scanned = 0
        copy.heard = True
        if size < 0:
            _fail(copy, -size)
            return
        counter_add(&origin.local.bytes_in, size)
        stream_consume(&origin.stream, size)
        if head.status >= 200:
            break
        copy.interims += 1
        if head.status == 101 or copy.interims > INTERIMS_MAX:
            _fail(copy, FAULT_UPGRADE_UNEXPECTED if head.status == 101 else FAULT_UPSTREAM_HEAD_TOO_LARGE)
            return
        if origin.stream.received == NULL:
            return
    _note_answer(copy, head.status)
    copy.keep = (head.flags & HEAD_KEEP_ALIVE) != 0
    copy.body = BODY_NONE if copy.to_head else head.body
    copy.left = head.content_length
    if copy.body == BODY_CHUNKED:
        chunk_start(&copy.chunks)
    origin.state = ORIGIN_BODY
    _discard(copy)


cdef void _discard(MirrorCopy* copy) noexcept nogil:
    """Throw away what has come of the body."""
    cdef OriginConn* origin = copy.origin
    cdef Buffer* received
    cdef size_t data_size, consumed
    cdef int result = 0
    if copy.body == BODY_NONE:
        _answered(copy, True)
        return
    while copy.body != BODY_LENGTH or copy.left > 0:
        received = origin.stream.received
        if received == NULL:
            return
        data_size = consumed = received.end - received.start
        if copy.body == BODY_CHUNKED:
            result = chunk_decode(&copy.chunks, received.data + received.start, consumed, &data_size, &consumed)
            if result < 0:
                _fail(copy, FAULT_UPSTREAM_CHUNK)
                return
        elif copy.body == BODY_LENGTH:
            if consumed > copy.left:
                data_size = consumed = copy.left
            copy.left -= consumed
        counter_add(&origin.local.bytes_in, data_size)
        copy.taken += data_size
        stream_consume(&origin.stream, <uint32_t>consumed)
        if result == CHUNK_DONE:
            break
        if result == CHUNK_TRAILERS or copy.taken > ANSWER_MAX:
            _answered(copy, False)   # trailers are not worth a buffer, nor much more body the time
            return
    _answered(copy, True)


cdef void _ended(MirrorCopy* copy) noexcept nogil:
    """The server said that it will send no more."""
    if copy.origin.state != ORIGIN_BODY:
        _fail(copy, FAULT_UPSTREAM_CLOSED)
    elif copy.body == BODY_CLOSE:
        _answered(copy, False)
    else:
        _fail(copy, FAULT_UPSTREAM_TRUNCATED)


cdef void _broken(MirrorCopy* copy) noexcept nogil:
    cdef OriginConn* origin = copy.origin
    if origin.state == ORIGIN_CONNECTING:
        _fail(copy, connect_fault(origin.stream.error))
    elif origin.state == ORIGIN_BODY:
        _fail(copy, FAULT_UPSTREAM_TRUNCATED)
    elif origin.stream.flags & STREAM_SENT and stream_salvage(&origin.stream):
        # It answered without reading the whole request, and closed: the answer may stand before the reset.
        _read_head(copy)
        if origin.stream.owner == <void*>copy:   # that was not all of it
            _fail(copy, FAULT_UPSTREAM_RESET if origin.state == ORIGIN_WAITING else FAULT_UPSTREAM_TRUNCATED)
    else:
        _fail(copy, FAULT_UPSTREAM_RESET)


# ---- what the stream and the timer tell ----

cdef void _on_stream(void* owner, int what) noexcept nogil:
    cdef MirrorCopy* copy = <MirrorCopy*>owner
    cdef int state = copy.origin.state
    if what == STREAM_BYTES:
        if state == ORIGIN_BODY:
            _discard(copy)
        elif copy.origin.stream.flags & STREAM_SENT:
            _read_head(copy)
        else:
            # It spoke before it was asked: a parting 408 of an idle connection, or nonsense. Never an answer to this request.
            _fail(copy, FAULT_UPSTREAM_CLOSED if copy.reused else FAULT_UPSTREAM_HEAD_MALFORMED)
    elif what == STREAM_CONNECTED:
        _connected(copy)
    elif what == STREAM_DRAINED:
        buffer_free(&copy.context.buffers, copy.request)   # there is no second try
        copy.request = NULL
    elif what == STREAM_EOF:
        _ended(copy)
    elif what != STREAM_HUNG:              # a reset behind what it had to say
        INVARIANT(what == STREAM_FAILED)   # it is never paused nor spliced
        _broken(copy)


cdef void _on_timer(void* owner) noexcept nogil:
    cdef MirrorCopy* copy = <MirrorCopy*>owner
    cdef int state = copy.origin.state
    if state == ORIGIN_CONNECTING:
        _fail(copy, FAULT_CONNECT_TIMEOUT)
    else:
        _fail(copy, FAULT_UPSTREAM_FIRST_BYTE_TIMEOUT if state == ORIGIN_WAITING else FAULT_UPSTREAM_READ_TIMEOUT)


# ---- the end ----

cdef void _note_answer(MirrorCopy* copy, uint16_t status) noexcept nogil:
    cdef Context* context = copy.context
    cdef ServerLocal* server = copy.server.local[context.engine]
    cdef UpstreamLocal* upstream = copy.mirror.upstream.state.local[context.engine]
    cdef int64_t took_us = context.clock.now_us - copy.sent_us
    counter_add(&upstream.finished, 1)
    histogram_add(&upstream.response, took_us)
    count_add(&server.responses, status, 1)
    counter_add(&server.answers, 1)
    counter_add(&server.answers_us, took_us)
    if copy.pool.balance == BALANCE_EWMA:
        ewma_note(&copy.server.ewma, took_us, context.clock.now_ms)
    if status < 500:
        note_success(copy.server)
    else:
        counter_add(&upstream.failed, 1)
        record_failure(copy.context, copy.pool, copy.server)


cdef void _note_fault(MirrorCopy* copy, int fault) noexcept nogil:
    cdef Context* context = copy.context
    cdef UpstreamLocal* upstream = copy.mirror.upstream.state.local[context.engine]
    counter_add(&upstream.finished, 1)
    counter_add(&upstream.failed, 1)
    count_add(&copy.server.local[context.engine].errors, fault, 1)
    if copy.pool.balance == BALANCE_EWMA and copy.sent_us > 0:
        ewma_note(&copy.server.ewma, context.clock.now_us - copy.sent_us, context.clock.now_ms)   # at least so long
    record_failure(copy.context, copy.pool, copy.server)


cdef void _answered(MirrorCopy* copy, bint whole) noexcept nogil:
    cdef OriginConn* origin = copy.origin
    counter_add(&copy.counts.answered, 1)
    _end(copy, (whole and copy.keep and origin.stream.received == NULL and origin.stream.error == 0 and stream_unsent(&origin.stream) == 0
                and not origin.stream.flags & (STREAM_ENDED | STREAM_ENDING | STREAM_ERRORED | STREAM_BROKEN)))


cdef void _fail(MirrorCopy* copy, int fault) noexcept nogil:
    cdef const FaultInfo* info = fault_info(fault)
    # A reused connection that died before any answer is nobody's failure: the server closed it while the copy was on its way.
    cdef bint stale = copy.reused and not copy.heard and info.retry == FAULT_RETRY_IF_REUSED
    counter_add(&copy.counts.failed, 1)
    if copy.server != NULL and info.source == FAULT_SOURCE_UPSTREAM and not stale:
        _note_fault(copy, fault)
    _end(copy, False)


cdef void _end(MirrorCopy* copy, bint park) noexcept nogil:
    cdef Context* context = copy.context
    cdef OriginConn* origin = copy.origin
    cdef SnapshotData* snapshot = copy.snapshot
    if copy.server != NULL:
        pick_leave(copy.mirror.upstream.state, copy.server)
    if origin != NULL:
        origin.stream.handler = context.on_origin
        origin.stream.owner = origin
        origin.stream.want_drained = False
        if park:
            origin_park(origin, copy.pool.pool_max, copy.pool.pool_idle_ms)
        else:
            origin_close(origin, False)
    if copy.request != NULL:
        buffer_free(&context.buffers, copy.request)   # behind the close: the stream may still have had it to send
    timer_remove(&context.timers, &copy.timer)
    if copy.previous != NULL:
        copy.previous.next = copy.next
    else:
        context.first_copy = copy.next
    if copy.next != NULL:
        copy.next.previous = copy.previous
    store_i64(&copy.counts.in_flight, copy.counts.in_flight - 1)
    if copy.pool != NULL:
        pool_unpin(copy.pool, context.engine)
    slab_free(&context.copies, copy)
    snapshot_release(context, snapshot)


cdef void mirrors_abort(Context* context) noexcept nogil:
    context.copies_off = True
    while _take_new(context) != NULL:
        pass
    while context.first_copy != NULL:
        counter_add(&context.first_copy.counts.failed, 1)
        _end(context.first_copy, False)
