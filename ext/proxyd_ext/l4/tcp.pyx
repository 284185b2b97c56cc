# cython: cdivision=True
"""TCP flows (see tcp.pxd).

One file, because the order of a flow's states, and which of them each event of a stream or of the timer may meet, would stand nowhere if it
were cut in two; what it uses (looking for a server, counting, parsing, streams) stands elsewhere.
"""
from libc.stdint cimport int32_t
from libc.string cimport memcpy
from proxyd_ext.conn.attempt cimport retry_backoff_ms
from proxyd_ext.conn.introduce cimport introduce
from proxyd_ext.conn.model cimport context_timers_needed
from proxyd_ext.conn.origin cimport connect_fault
from proxyd_ext.core.buffer cimport BUFFER_16K, Buffer
from proxyd_ext.core.ending cimport (
    END_AGE, END_CLIENT, END_CLIENT_RESET, END_DOWN, END_DRAIN, END_IDLE, END_REFUSED, END_SERVER, END_SERVER_RESET, END_SHUTDOWN,
)
from proxyd_ext.core.fault cimport (
    FAULT_CLIENT_CLOSED, FAULT_CONNECT_TIMEOUT, FAULT_HELLO, FAULT_MEMORY, FAULT_NAME_UNKNOWN, FAULT_PREFACE_TIMEOUT, FAULT_PROXY_HEADER,
    FAULT_SERVER_DOWN, FAULT_SOURCE_UPSTREAM, fault_info,
)
from proxyd_ext.core.shim cimport INVARIANT, counter_add, store_i64
from proxyd_ext.core.slab cimport slab_free, slab_new
from proxyd_ext.core.slice cimport Slice, slice_empty, slice_of
from proxyd_ext.core.stats cimport count_add
from proxyd_ext.core.timer cimport timer_after, timer_init, timer_off, timer_remove, timer_set, timers_reserve
from proxyd_ext.io.listener cimport REJECT_HELLO, REJECT_MEMORY, REJECT_NAME, REJECT_PROXY, ListenerLocal
from proxyd_ext.io.peer cimport local_address, peer_address
from proxyd_ext.io.poller cimport (
    STREAM_BROKEN, STREAM_BYTES, STREAM_CONNECTED, STREAM_DRAINED, STREAM_ENDED, STREAM_EOF, STREAM_ERRORED, STREAM_FAILED,
    STREAM_HUNG, STREAM_PAUSED, STREAM_READABLE, STREAM_SPLICED,
)
from proxyd_ext.io.stream cimport (
    splice_flow, splice_stop, stream_again, stream_bury, stream_close, stream_commit, stream_connect, stream_consume, stream_finish,
    stream_flush, stream_open, stream_pause, stream_resume, stream_room, stream_send, stream_unsent,
)
from proxyd_ext.io.sys cimport ECONNRESET, EPIPE, SIOCOUTQ, SOL_SOCKET, SO_KEEPALIVE, close, ioctl, setsockopt, sockaddr
from proxyd_ext.l4.choice cimport choice_begin, choice_end, choice_failed, choice_made, choice_next
from proxyd_ext.l4.facts cimport facts_begin, facts_end, facts_rename, facts_review
from proxyd_ext.log.record cimport RECORD_TCP, RECORD_TLS
from proxyd_ext.preface.hello cimport (
    ALERT_BYTES, ALERT_INTERNAL_ERROR, ALERT_NO_APPLICATION_PROTOCOL, ALERT_UNRECOGNIZED_NAME, ClientHello, alert_write, hello_offers,
    hello_parse,
)
from proxyd_ext.preface.proxy cimport PROXY_STREAM, ProxyHeader, proxy_parse
from proxyd_ext.route.names cimport NameSearch, name_next, name_search
from proxyd_ext.snapshot.compile cimport MODE_TLS, CompiledFlow, CompiledFlowRoute, CompiledListener

cdef enum:
    FILLED = 2                # receives in a row that fill their buffer, before a direction is spliced
    LITTLE_BYTES = 16384      # a splice that moved less than this before its source ran dry found little ...
    LITTLE_TIMES = 4          # ... and after so many in a row copies are cheaper
    TELL_MS = 2000            # how long an alert may take to arrive
    LEAVE_MS = 5000           # how long the last bytes may take, after a reset of the server, while the client takes some
    LEAVE_LOOK_MS = 20


# ---- birth and death ----

cdef void _reap(void* object) noexcept nogil:
    cdef TcpFlow* flow = <TcpFlow*>object
    slab_free(&flow.l4.flows, flow)


cdef void tcp_accept(void* owner, int fd, const sockaddr_storage* peer, socklen_t size) noexcept nogil:
    cdef ListenerLocal* local = <ListenerLocal*>owner
    cdef Context* context = <Context*>local.context
    cdef CompiledListener* settings = <CompiledListener*>local.settings
    cdef L4* l4 = <L4*>context.l4
    cdef TcpFlow* flow = <TcpFlow*>slab_new(&l4.flows)
    cdef Address address
    cdef int on = 1
    if flow == NULL or not timers_reserve(&context.timers, context_timers_needed(context)):
        if flow != NULL:
            slab_free(&l4.flows, flow)
        counter_add(&local.accepted, 1)
        count_add(&local.rejected, REJECT_MEMORY, 1)
        close(fd)
        return
    peer_address(peer, &address)
    if facts_begin(&flow.facts, context, local, &address, RECORD_TLS if settings.mode == MODE_TLS else RECORD_TCP) != 0:
        slab_free(&l4.flows, flow)
        close(fd)
        return
    _init(flow, l4, settings)
    if stream_open(&flow.client, &context.poller, fd, _on_client, flow, _reap, BUFFER_16K) < 0:
        flow.facts.fault = FAULT_MEMORY
        facts_end(&flow.facts, END_REFUSED, slice_empty(), slice_empty(), slice_empty(), slice_empty())
        count_add(&local.rejected, REJECT_MEMORY, 1)
        slab_free(&l4.flows, flow)
        close(fd)
        return
    _link(flow)
    if settings.flow.keepalive:
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on))
    if settings.flow.needs_local:
        local_address(fd, &flow.local)
    if settings.proxied or settings.mode == MODE_TLS:
        flow.state = FLOW_PROXY if settings.proxied else FLOW_HELLO
        timer_after(&context.timers, &flow.timer, context.clock.now_ms, settings.header_ms)
        return
    stream_pause(&flow.client)
    _take_route(flow, &settings.flow.routes[0])


cdef void _init(TcpFlow* flow, L4* l4, const CompiledListener* settings) noexcept nogil:
    cdef Context* context = l4.context
    timer_init(&flow.timer, flow, _on_timer)
    flow.l4 = l4
    flow.server.fd = -1
    flow.choice.snapshot = NULL
    flow.choice.server = NULL
    flow.choice.upstream = NULL
    flow.up.splice.active = flow.down.splice.active = False
    flow.up.splice.moved = flow.down.splice.moved = flow.up.counted = flow.down.counted = 0
    flow.up.filled = flow.down.filled = flow.up.small = flow.down.small = 0
    flow.up.ended = flow.down.ended = flow.up.over = flow.down.over = False
    flow.hello = NULL
    flow.local.family = 0
    flow.local.port = 0
    flow.need = 0
    flow.idle_ms = settings.flow.idle_ms
    flow.age_ms = context.clock.now_ms + settings.flow.max_age_ms if settings.flow.max_age_ms > 0 else 0
    flow.unsent = 0
    flow.moved_ms = context.clock.now_ms
    flow.buffer = settings.buffer
    flow.first = 0
    flow.broken = False
    flow.counted_server = False


cdef void _link(TcpFlow* flow) noexcept nogil:
    flow.previous = NULL
    flow.next = <TcpFlow*>flow.l4.first_flow
    if flow.next != NULL:
        flow.next.previous = flow
    flow.l4.first_flow = flow


cdef void _leave_server(TcpFlow* flow, bint reset) noexcept nogil:
    """The connection to the server ends, whatever it was."""
    stream_close(&flow.server, reset)
    if flow.counted_server:
        flow.counted_server = False
        store_i64(&flow.choice.server.local[flow.l4.context.engine].active_count,
                  flow.choice.server.local[flow.l4.context.engine].active_count - 1)


cdef void _end(TcpFlow* flow, int end) noexcept nogil:
    cdef bint cut = flow.broken or end == END_AGE or end == END_DOWN or end == END_DRAIN or end == END_SHUTDOWN
    cdef Context* context = flow.l4.context
    cdef Slice upstream = slice_empty()
    _count_spliced(flow, &flow.up)
    _count_spliced(flow, &flow.down)
    # An end that the other side must not take for a whole one is a reset, whoever has said FIN before.
    if flow.broken:
        stream_flush(&flow.server)                # the client's last bytes came in this turn
    stream_close(&flow.client, cut or stream_unsent(&flow.client) > 0)
    if flow.facts.server != NULL:
        flow.choice.server = flow.facts.server
    _leave_server(flow, cut or stream_unsent(&flow.server) > 0)
    timer_remove(&context.timers, &flow.timer)
    if flow.previous != NULL:
        flow.previous.next = flow.next
    else:
        flow.l4.first_flow = flow.next
    if flow.next != NULL:
        flow.next.previous = flow.previous
    if flow.choice.snapshot != NULL:
        upstream = flow.choice.upstream.name
    if flow.hello != NULL:
        facts_end(&flow.facts, end, slice_of(flow.hello.route, flow.hello.route_size), upstream,
                  slice_of(flow.hello.name, flow.hello.name_size), slice_of(flow.hello.alpn, flow.hello.alpn_size))
        slab_free(&flow.l4.hellos, flow.hello)
    else:                         # the only route of a listener without hellos is named after it
        facts_end(&flow.facts, end, flow.facts.listener.name if flow.facts.kind == RECORD_TCP else slice_empty(), upstream, slice_empty(),
                  slice_empty())
    choice_end(&flow.choice)      # behind the record, which names its upstream
    stream_bury(&flow.client)


cdef void _refuse(TcpFlow* flow, int fault, uint8_t alert) noexcept nogil:
    """It reaches no server. A client that speaks TLS is told by an alert: FIN behind it, and what still comes is thrown away, because a
    reset could destroy the alert on its way."""
    cdef Context* context = flow.l4.context
    cdef uint8_t* out
    flow.facts.fault = <uint16_t>fault
    if alert == 0:
        _end(flow, END_REFUSED)
        return
    _leave_server(flow, False)
    flow.state = FLOW_TELLING
    if flow.client.received != NULL:
        stream_consume(&flow.client, flow.client.received.end - flow.client.received.start)
    out = stream_room(&flow.client, ALERT_BYTES)
    alert_write(out, alert)
    stream_commit(&flow.client, out, ALERT_BYTES)
    flow.facts.bytes_out += ALERT_BYTES
    flow.client.want_drained = True
    timer_set(&context.timers, &flow.timer, context.clock.now_ms + TELL_MS)
    stream_resume(&flow.client)


cdef inline uint8_t _alert_of(const TcpFlow* flow, uint8_t alert) noexcept nogil:
    """None for who has not spoken TLS to us."""
    return alert if flow.hello != NULL else 0


# ---- what comes before the flow's own bytes ----

cdef void _read_preface(TcpFlow* flow) noexcept nogil:
    cdef CompiledListener* settings = <CompiledListener*>flow.facts.local.settings
    if flow.state == FLOW_PROXY and not _read_proxy(flow):
        return
    if settings.mode == MODE_TLS:
        flow.state = FLOW_HELLO
        if flow.client.received != NULL:
            _read_hello(flow)
        return
    stream_pause(&flow.client)
    _take_route(flow, &settings.flow.routes[0])


cdef bint _read_proxy(TcpFlow* flow) noexcept nogil:
    """False: it is not whole yet, or the flow is over."""
    cdef Buffer* buffer = flow.client.received
    cdef ProxyHeader header
    cdef int size = proxy_parse(buffer.data + buffer.start, buffer.end - buffer.start, PROXY_STREAM, &header)
    if size == 0:
        return False
    if size < 0:
        count_add(&flow.facts.local.rejected, REJECT_PROXY, 1)
        _refuse(flow, FAULT_PROXY_HEADER, 0)
        return False
    if not header.local:
        flow.local = header.destination
    if facts_rename(&flow.facts, &flow.facts.peer if header.local else &header.source) != 0:
        _refuse(flow, flow.facts.fault, 0)
        return False
    stream_consume(&flow.client, <uint32_t>size)
    return True


cdef void _read_hello(TcpFlow* flow) noexcept nogil:
    cdef Buffer* buffer = flow.client.received
    cdef L4* l4 = flow.l4
    cdef CompiledFlowRoute* route
    cdef ClientHello hello
    cdef uint8_t alert = ALERT_UNRECOGNIZED_NAME
    cdef size_t size = buffer.end - buffer.start
    cdef int result
    if size < flow.need:
        return
    result = hello_parse(buffer.data + buffer.start, size, l4.scratch, &flow.need, &hello)
    if result == 0:
        return
    flow.hello = <TcpHello*>slab_new(&l4.hellos)
    if flow.hello == NULL:
        _refuse(flow, FAULT_MEMORY, 0)
        return
    flow.hello.name_size = flow.hello.alpn_size = flow.hello.route_size = 0
    if result < 0:
        count_add(&flow.facts.local.rejected, REJECT_HELLO, 1)
        _refuse(flow, FAULT_HELLO, hello.alert)
        return
    _keep_hello(flow.hello, &hello)
    stream_pause(&flow.client)
    route = _route_of((<CompiledListener*>flow.facts.local.settings).flow, &hello, &alert)
    if route == NULL:
        count_add(&flow.facts.local.rejected, REJECT_NAME, 1)
        _refuse(flow, FAULT_NAME_UNKNOWN, alert)
        return
    flow.hello.route_size = <uint8_t>(route.name.size if route.name.size < TOLD_ROUTE else TOLD_ROUTE)
    memcpy(flow.hello.route, route.name.data, flow.hello.route_size)
    _take_route(flow, route)


cdef void _keep_hello(TcpHello* out, const ClientHello* hello) noexcept nogil:
    cdef size_t at = 0
    out.name_size = <uint8_t>hello.name.size      # at most TOLD_NAME, by its length on the wire
    if out.name_size > 0:
        memcpy(out.name, hello.name.data, out.name_size)
    while at < hello.alpn.size and at + 1 + hello.alpn.data[at] <= TOLD_ALPN:     # whole protocols
        at += 1 + hello.alpn.data[at]
    out.alpn_size = <uint8_t>at
    if at > 0:
        memcpy(out.alpn, hello.alpn.data, at)


cdef CompiledFlowRoute* _route_of(const CompiledFlow* rules, const ClientHello* hello, uint8_t* alert) noexcept nogil:
    """The first route for the name that is for one of the protocols, too. NULL: none, or one that refuses; `alert` says why."""
    cdef NameSearch search = name_search(rules.names, hello.name)
    cdef CompiledFlowRoute* route
    cdef int32_t number = name_next(&search)
    cdef int i
    while number >= 0:
        route = &rules.routes[number]
        if route.alpn_count == 0:
            return route if route.target_count > 0 else NULL
        for i in range(route.alpn_count):
            if hello_offers(hello.alpn, route.alpn[i]):
                return route if route.target_count > 0 else NULL
        if hello.alpn.size > 0:      # who offers none is not told that none of them fits (RFC 7301 §3.2)
            alert[0] = ALERT_NO_APPLICATION_PROTOCOL
        number = name_next(&search)
    return NULL


# ---- a server ----

cdef void _take_route(TcpFlow* flow, const CompiledFlowRoute* route) noexcept nogil:
    choice_begin(&flow.choice, flow.l4.context, <CompiledListener*>flow.facts.local.settings, route, &flow.facts.client, &flow.local)
    _connect(flow)


cdef void _connect(TcpFlow* flow) noexcept nogil:
    cdef Context* context = flow.l4.context
    cdef int fault = -choice_next(&flow.choice)
    cdef int result
    if fault != 0:
        flow.choice.server = NULL
        _refuse(flow, flow.facts.fault if flow.facts.fault != 0 else fault, _alert_of(flow, ALERT_INTERNAL_ERROR))
        return
    flow.state = FLOW_CONNECTING
    flow.try_us = context.clock.now_us
    result = stream_connect(&flow.server, &context.poller, <const sockaddr*>flow.choice.server.address, flow.choice.server.address_size,
                            _on_server, flow, NULL, BUFFER_16K)
    if result < 0:
        fault = connect_fault(-result)
        if fault_info(fault).source == FAULT_SOURCE_UPSTREAM:
            _connect_failed(flow, fault)
        else:
            flow.facts.tries = flow.choice.tries
            _refuse(flow, fault, _alert_of(flow, ALERT_INTERNAL_ERROR))     # ours, not the server's
        return
    flow.counted_server = True
    store_i64(&flow.choice.server.local[context.engine].active_count, flow.choice.server.local[context.engine].active_count + 1)
    counter_add(&flow.choice.server.local[context.engine].opened, 1)
    timer_after(&context.timers, &flow.timer, context.clock.now_ms, flow.choice.target.connect_ms)


cdef void _connect_failed(TcpFlow* flow, int fault) noexcept nogil:
    cdef Context* context = flow.l4.context
    cdef int64_t ms
    _leave_server(flow, False)
    flow.facts.fault = <uint16_t>fault            # what the last try failed with is what is told
    flow.facts.tries = flow.choice.tries
    if not choice_failed(&flow.choice, fault):
        _refuse(flow, fault, _alert_of(flow, ALERT_INTERNAL_ERROR))
        return
    ms = retry_backoff_ms(&flow.choice.target.retry, flow.choice.tries, &context.random)
    flow.state = FLOW_PAUSING
    timer_set(&context.timers, &flow.timer, context.clock.now_ms + ms)   # not from here: a list of dead servers must not be a deep stack


cdef void _connected(TcpFlow* flow) noexcept nogil:
    cdef Context* context = flow.l4.context
    cdef CompiledListener* settings = <CompiledListener*>flow.facts.local.settings
    cdef int on = 1
    flow.facts.fault = 0
    choice_made(&flow.choice, &flow.facts, context.clock.now_us - flow.try_us)
    if flow.choice.upstream.proxy:
        introduce(&flow.server, flow.choice.upstream, &flow.facts.client, &flow.local, flow.facts.id)
    choice_end(&flow.choice)
    if settings.flow.keepalive:
        setsockopt(flow.server.fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on))
    flow.state = FLOW_OPEN
    if facts_review(&flow.facts) != 0:            # taken out while it was being connected to
        flow.facts.fault = FAULT_SERVER_DOWN
        _end(flow, END_DOWN)
        return
    _touch(flow)
    stream_resume(&flow.client)
    if flow.client.received != NULL:
        stream_again(&flow.client)


# ---- bytes ----

cdef inline void _touch(TcpFlow* flow) noexcept nogil:
    """Something has moved: the idle time begins anew."""
    flow.moved_ms = flow.l4.context.clock.now_ms
    _watch(flow)


cdef inline void _watch(TcpFlow* flow) noexcept nogil:
    cdef int64_t due = flow.age_ms
    if flow.facts.leave_ms and (due == 0 or flow.facts.leave_ms < due):
        due = flow.facts.leave_ms
    if flow.idle_ms and (due == 0 or flow.moved_ms + flow.idle_ms < due):
        due = flow.moved_ms + flow.idle_ms
    if due:
        timer_set(&flow.l4.context.timers, &flow.timer, due)
    else:
        timer_off(&flow.timer)


cdef inline void _count(TcpFlow* flow, Way* way, uint64_t size) noexcept nogil:
    cdef int engine = flow.l4.context.engine
    if way == &flow.up:
        flow.facts.bytes_in += size
        counter_add(&flow.facts.local.bytes_in, size)
        counter_add(&flow.facts.server.local[engine].bytes_out, size)
    else:
        flow.facts.bytes_out += size
        counter_add(&flow.facts.local.bytes_out, size)
        counter_add(&flow.facts.server.local[engine].bytes_in, size)


cdef uint64_t _count_spliced(TcpFlow* flow, Way* way) noexcept nogil:
    """Count what a splice has moved since the last time."""
    cdef uint64_t moved
    if flow.facts.server == NULL or way.splice.moved == way.counted:
        return 0
    moved = way.splice.moved - way.counted
    way.counted = way.splice.moved
    _count(flow, way, moved)
    return moved


cdef void _move(TcpFlow* flow, Way* way, Stream* source, Stream* sink) noexcept nogil:
    """Pass on what was received."""
    cdef Buffer* buffer = source.received
    cdef uint32_t size
    cdef bint whole
    if buffer == NULL:
        return
    size = buffer.end - buffer.start
    whole = buffer.end == buffer.cap
    stream_send(sink, buffer.data + buffer.start, size)
    stream_consume(source, size)
    _count(flow, way, size)
    _touch(flow)
    if stream_unsent(sink) >= flow.buffer:
        stream_pause(source)
        sink.want_drained = True
    elif not whole:
        way.filled = 0
    elif way.filled < FILLED:
        way.filled += 1
        if way.filled == FILLED:
            way.small = 0
            way.counted = 0
            splice_flow(&way.splice, source, sink, flow.buffer)


cdef void _spliced(TcpFlow* flow, Way* way, Stream* source) noexcept nogil:
    """The source has no more for now, or there was no pipe."""
    cdef uint64_t moved = _count_spliced(flow, way)
    _touch(flow)
    if not way.splice.active:
        way.filled = 0
    elif moved >= LITTLE_BYTES:
        way.small = 0
    else:
        way.small += 1
        if way.small >= LITTLE_TIMES:
            splice_stop(&way.splice)
            way.filled = 0
            stream_resume(source)


cdef void _source_ended(TcpFlow* flow, Way* way, Stream* sink, int end) noexcept nogil:
    """One side will say no more: FIN to the other, when all before it is out."""
    _count_spliced(flow, way)
    way.ended = True
    if flow.first == 0:
        flow.first = <uint8_t>end
    _touch(flow)
    if stream_unsent(sink) > 0:
        sink.want_drained = True
        return
    _pass_end(flow, way, sink)


cdef void _pass_end(TcpFlow* flow, Way* way, Stream* sink) noexcept nogil:
    way.over = True
    if flow.up.over and flow.down.over:
        _end(flow, flow.first)    # closing is a FIN, too
    else:
        stream_finish(sink)


cdef void _sink_drained(TcpFlow* flow, Way* way, Stream* source, Stream* sink) noexcept nogil:
    """The sink has taken everything: its source may go on, or its end is passed on."""
    _touch(flow)
    if way.ended:
        _pass_end(flow, way, sink)
    else:
        stream_resume(source)


cdef inline void _client_reset(TcpFlow* flow) noexcept nogil:
    flow.broken = True
    # Who has closed and is then reset, by what still comes for it, has closed. Behind the other side's FIN a reset is one, and is told.
    _end(flow, END_CLIENT if flow.first == END_CLIENT else END_CLIENT_RESET)


cdef bint _unheard(TcpFlow* flow, Way* way, Stream* source, Stream* sink) noexcept nogil:
    """What is sent to the sink is refused: a reset of it has come, perhaps behind words that are still to be read. False: there are none,
    or it is not that."""
    if not sink.flags & STREAM_BROKEN or sink.flags & STREAM_ENDED or way.over or (sink.error != EPIPE and sink.error != ECONNRESET):
        return False
    way.ended = way.over = True
    flow.broken = True
    splice_stop(&way.splice)
    stream_pause(source)
    sink.flags = (sink.flags | STREAM_READABLE) & ~<uint32_t>STREAM_BROKEN      # has been told: behind the last bytes comes an end
    if not sink.flags & STREAM_PAUSED:
        stream_resume(sink)
    return True


cdef void _server_reset(TcpFlow* flow) noexcept nogil:
    """A reset is passed on, but not before the client has what the server sent in front of it: closing at once would throw away what the
    kernel holds."""
    cdef Context* context = flow.l4.context
    cdef int queued = 0
    flow.broken = not flow.down.ended             # behind its FIN nothing is cut off
    _count_spliced(flow, &flow.down)
    if flow.client.fd >= 0 and stream_unsent(&flow.client) == 0:
        ioctl(flow.client.fd, SIOCOUTQ, &queued)
    if flow.first != END_SERVER:                  # as in _client_reset
        flow.first = END_SERVER_RESET
    if flow.client.flags & STREAM_ERRORED or (stream_unsent(&flow.client) == 0 and queued == 0):
        _end(flow, flow.first)
        return
    flow.choice.server = flow.facts.server
    _leave_server(flow, False)
    flow.state = FLOW_LEAVING
    stream_pause(&flow.client)
    flow.age_ms = context.clock.now_ms + LEAVE_MS
    timer_set(&context.timers, &flow.timer, context.clock.now_ms + LEAVE_LOOK_MS)


cdef void _look_leaving(TcpFlow* flow) noexcept nogil:
    cdef Context* context = flow.l4.context
    cdef uint64_t left
    cdef int queued = 0
    ioctl(flow.client.fd, SIOCOUTQ, &queued)
    left = <uint64_t>queued + stream_unsent(&flow.client)
    if left != flow.unsent:
        flow.unsent = left
        flow.age_ms = context.clock.now_ms + LEAVE_MS
    if left == 0 or context.clock.now_ms >= flow.age_ms:
        _end(flow, flow.first)
        return
    timer_set(&context.timers, &flow.timer, context.clock.now_ms + LEAVE_LOOK_MS)


# ---- what streams tell ----

cdef void _on_client(void* owner, int what) noexcept nogil:
    cdef TcpFlow* flow = <TcpFlow*>owner
    cdef int state = flow.state
    if what == STREAM_BYTES:
        if state == FLOW_OPEN:
            _move(flow, &flow.up, &flow.client, &flow.server)
        elif state == FLOW_PROXY or state == FLOW_HELLO:
            _read_preface(flow)
        elif state == FLOW_TELLING:
            stream_consume(&flow.client, flow.client.received.end - flow.client.received.start)
        else:
            stream_pause(&flow.client)
    elif what == STREAM_DRAINED:
        if state == FLOW_OPEN:
            _sink_drained(flow, &flow.down, &flow.server, &flow.client)
        elif state == FLOW_TELLING and flow.up.ended:
            _end(flow, END_REFUSED)
        elif state == FLOW_TELLING:
            stream_finish(&flow.client)
    elif what == STREAM_SPLICED:
        _spliced(flow, &flow.up, &flow.client)
    elif what == STREAM_EOF:
        if state == FLOW_OPEN and flow.broken:
            _client_reset(flow)                   # the reset itself was told when it was sent to
        elif state == FLOW_OPEN:
            _source_ended(flow, &flow.up, &flow.server, END_CLIENT)
        elif state == FLOW_TELLING and stream_unsent(&flow.client) > 0:
            flow.up.ended = True                  # it is told all the same
        else:
            if flow.facts.fault == 0:
                flow.facts.fault = FAULT_CLIENT_CLOSED
            _end(flow, END_REFUSED if state == FLOW_TELLING else END_CLIENT)
    else:
        INVARIANT(what == STREAM_FAILED or what == STREAM_HUNG)
        if what == STREAM_HUNG and state == FLOW_OPEN and not flow.client.flags & STREAM_ENDED:
            return                # what it sent before the reset is read when there is room, and then the reset is met again
        if state == FLOW_TELLING:
            _end(flow, END_REFUSED)
        elif state == FLOW_LEAVING:
            _end(flow, flow.first)
        elif state != FLOW_OPEN or not _unheard(flow, &flow.down, &flow.server, &flow.client):
            _client_reset(flow)


cdef void _on_server(void* owner, int what) noexcept nogil:
    cdef TcpFlow* flow = <TcpFlow*>owner
    if what == STREAM_BYTES:
        _move(flow, &flow.down, &flow.server, &flow.client)
    elif what == STREAM_DRAINED:
        _sink_drained(flow, &flow.up, &flow.client, &flow.server)
    elif what == STREAM_SPLICED:
        _spliced(flow, &flow.down, &flow.server)
    elif what == STREAM_EOF:
        if flow.broken:
            _server_reset(flow)
        else:
            _source_ended(flow, &flow.down, &flow.client, END_SERVER)
    elif what == STREAM_CONNECTED:
        _connected(flow)
    elif what == STREAM_FAILED:
        if flow.state == FLOW_CONNECTING:
            _connect_failed(flow, connect_fault(flow.server.error))
        elif not _unheard(flow, &flow.up, &flow.client, &flow.server):
            _server_reset(flow)
    else:
        INVARIANT(what == STREAM_HUNG)
        if flow.server.flags & STREAM_ENDED:      # else as above
            _server_reset(flow)


# ---- what the timer tells ----

cdef void _on_timer(void* owner) noexcept nogil:
    cdef TcpFlow* flow = <TcpFlow*>owner
    cdef int state = flow.state
    if state == FLOW_OPEN:
        _look_open(flow)
    elif state == FLOW_PROXY or state == FLOW_HELLO:
        count_add(&flow.facts.local.rejected, REJECT_PROXY if state == FLOW_PROXY else REJECT_HELLO, 1)
        _refuse(flow, FAULT_PREFACE_TIMEOUT, 0)
    elif state == FLOW_CONNECTING:
        _connect_failed(flow, FAULT_CONNECT_TIMEOUT)
    elif state == FLOW_PAUSING:
        _connect(flow)
    elif state == FLOW_LEAVING:
        _look_leaving(flow)
    else:
        INVARIANT(state == FLOW_TELLING)
        _end(flow, END_REFUSED)


cdef void _look_open(TcpFlow* flow) noexcept nogil:
    cdef int64_t now_ms = flow.l4.context.clock.now_ms
    cdef uint64_t unsent
    if flow.age_ms and now_ms >= flow.age_ms:
        _end(flow, END_AGE)
        return
    if flow.facts.leave_ms and now_ms >= flow.facts.leave_ms:
        _end(flow, END_DRAIN)
        return
    # Bytes may move without a word: through a pipe that is never dry, or out of a backlog.
    if _count_spliced(flow, &flow.up) + _count_spliced(flow, &flow.down) > 0:
        flow.moved_ms = now_ms
    unsent = <uint64_t>stream_unsent(&flow.client) + stream_unsent(&flow.server)
    if unsent != flow.unsent:
        flow.unsent = unsent
        flow.moved_ms = now_ms
    if flow.idle_ms and now_ms - flow.moved_ms >= flow.idle_ms:
        _end(flow, END_IDLE)
    else:
        _watch(flow)


# ---- for the engine ----

cdef void tcp_review(Context* context) noexcept nogil:
    cdef TcpFlow* flow = <TcpFlow*>(<L4*>context.l4).first_flow
    cdef TcpFlow* following
    cdef int end
    while flow != NULL:
        following = flow.next
        end = facts_review(&flow.facts)
        if end != 0:
            flow.facts.fault = FAULT_SERVER_DOWN
            _end(flow, end)
        else:
            if not flow.facts.local.leaving:
                flow.idle_ms = (<CompiledListener*>flow.facts.local.settings).flow.idle_ms
            if flow.state == FLOW_OPEN:
                _watch(flow)
        flow = following


cdef void tcp_abort(Context* context) noexcept nogil:
    while (<L4*>context.l4).first_flow != NULL:
        _end(<TcpFlow*>(<L4*>context.l4).first_flow, END_SHUTDOWN)
