# cython: cdivision=True
"""Where streams and timers report: each event, in each state of its connection, becomes one step of the exchange (conn/exchange) or of the
connection.

No step is decided here twice: what a state does with an event stands in one branch below.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from proxyd_ext.conn.client cimport (
    DRAIN_QUIET_MS, client_check_sending, client_close, client_discard, client_finish, client_finished, client_read_proxy,
    client_rested,
)
from proxyd_ext.conn.wait cimport wait_end
from proxyd_ext.conn.model cimport (
    CLIENT_BUSY, CLIENT_CLOSING, CLIENT_HEAD, CLIENT_IDLE, CLIENT_LINGER, CLIENT_PROXY, CLIENT_TUNNEL, ClientConn, EX_CLIENT_CLOSE,
    EX_REQUEST_DONE,
    EX_RESPONSE_BEGUN, EX_REUSED, Exchange, ORIGIN_BODY, ORIGIN_CONNECTING, ORIGIN_TUNNEL, ORIGIN_WAITING, OriginConn, PAUSE_ASK,
    PAUSE_NONE, USE_SERVE,
)
from proxyd_ext.conn.fill cimport fills_abort
from proxyd_ext.conn.origin cimport connect_fault, origin_close
from proxyd_ext.conn.tunnel cimport (
    tunnel_client_drained, tunnel_client_ended, tunnel_from_client, tunnel_from_origin, tunnel_origin_drained, tunnel_origin_ended,
)
from proxyd_ext.core.fault cimport (
    FAULT_BODY_TIMEOUT, FAULT_CLIENT_CLOSED, FAULT_CLIENT_STALLED, FAULT_CONNECT_TIMEOUT, FAULT_CONSULT_TIMEOUT, FAULT_DRAINING,
    FAULT_HEAD_TIMEOUT, FAULT_TOTAL_TIMEOUT, FAULT_UPSTREAM_CLOSED, FAULT_UPSTREAM_FIRST_BYTE_TIMEOUT, FAULT_UPSTREAM_HEAD_MALFORMED,
    FAULT_UPSTREAM_READ_TIMEOUT, FAULT_UPSTREAM_RESET, FAULT_UPSTREAM_TRUNCATED, FAULT_UPSTREAM_TRY_TIMEOUT, FAULT_UPSTREAM_WRITE_TIMEOUT,
)
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.stats cimport count_add
from proxyd_ext.core.timer cimport timer_after, timer_off, timer_set
from proxyd_ext.http1.head cimport BODY_CLOSE
from proxyd_ext.io.listener cimport REJECT_HEAD_TIMEOUT, REJECT_PROXY
from proxyd_ext.io.poller cimport (
    STREAM_BYTES, STREAM_CONNECTED, STREAM_DRAINED, STREAM_EOF, STREAM_ERRORED, STREAM_FAILED, STREAM_HELD, STREAM_HUNG, STREAM_PAUSED,
    STREAM_SENT,
    STREAM_SPLICED,
)
from proxyd_ext.io.stream cimport stream_pause, stream_resume, stream_salvage, stream_unsent
from proxyd_ext.snapshot.compile cimport CompiledListener
from proxyd_ext.conn.exchange cimport (
    BODY_GRACE_MS, SEND_STALL_MS, exchange_abandon, exchange_begin, exchange_connected, exchange_end_tunnel, exchange_fail,
    exchange_move_request, exchange_move_response, exchange_move_stored, exchange_progress, exchange_read_head, exchange_read_response,
    exchange_refuse, exchange_paused, exchange_request_spliced, exchange_response_closed, exchange_response_spliced, exchange_switch,
    exchange_takes_body, exchange_watch_origin,
)

cdef enum:
    BODY_CHECK_MS = 1000


# ---- what streams tell ----

cdef void _on_client(void* owner, int what) noexcept nogil:
    cdef ClientConn* client = <ClientConn*>owner
    cdef Exchange* exchange = client.exchange
    cdef int state = client.state
    if what == STREAM_BYTES:
        if state == CLIENT_IDLE or state == CLIENT_HEAD:
            exchange_read_head(client)
        elif state == CLIENT_PROXY:
            if client_read_proxy(client) and client.stream.received != NULL:
                exchange_read_head(client)
        elif state == CLIENT_LINGER:
            client_discard(client)
        elif state == CLIENT_TUNNEL:
            tunnel_from_client(exchange)
        elif state == CLIENT_BUSY and exchange_takes_body(exchange):
            exchange_move_request(exchange)
        else:
            stream_pause(&client.stream)
    elif what == STREAM_DRAINED:
        if state == CLIENT_CLOSING:
            client_finished(client)
        elif state == CLIENT_TUNNEL:
            if tunnel_client_drained(exchange):
                exchange_end_tunnel(exchange)
        elif state == CLIENT_IDLE:
            client_rested(client)
        elif exchange != NULL and exchange.cached != NULL and exchange.cached.state == USE_SERVE:
            exchange_move_stored(exchange)
        elif exchange != NULL and exchange.origin != NULL and exchange.origin.state == ORIGIN_BODY:
            timer_off(&client.timer)
            timer_after(&client.context.timers, &exchange.origin.timer, client.context.clock.now_ms, exchange.route.between_bytes_ms)
            stream_resume(&exchange.origin.stream)
            if exchange.origin.stream.received != NULL:
                exchange_move_response(exchange)
    elif what == STREAM_EOF:
        client.ended = True
        if state == CLIENT_TUNNEL:
            if tunnel_client_ended(exchange):
                exchange_end_tunnel(exchange)
        elif exchange == NULL:
            if client.stream.flags & STREAM_HELD and client.stream.received != NULL:
                return            # another request came before the end: it is looked at first (_read_head)
            if stream_unsent(&client.stream) > 0:
                client_finish(client, False)   # it asked, shut its side, and still waits for the last answer
            elif state != CLIENT_CLOSING:
                client_close(client, False)
        elif not exchange.flags & EX_REQUEST_DONE:
            exchange_abandon(exchange, FAULT_CLIENT_CLOSED, True)
        # Otherwise a half-close: the client asked, and still listens.
    elif what == STREAM_SPLICED:
        if client.stream.flags & STREAM_ERRORED:
            exchange_abandon(exchange, FAULT_CLIENT_CLOSED, False)   # it reset behind its last byte
        else:
            exchange_request_spliced(exchange)
    else:
        INVARIANT(what == STREAM_FAILED or what == STREAM_HUNG)
        if exchange != NULL:
            exchange_abandon(exchange, FAULT_CLIENT_CLOSED, False)
        else:
            client_close(client, False)


cdef void _on_origin(void* owner, int what) noexcept nogil:
    cdef OriginConn* origin = <OriginConn*>owner
    cdef Exchange* exchange = origin.exchange
    cdef int state = origin.state
    if exchange == NULL:      # idle: an end, an error, or bytes that nobody asked for
        origin_close(origin, False)
        return
    if exchange.origin != origin:
        exchange_switch(exchange)
    if exchange.pausing == PAUSE_ASK and (what == STREAM_FAILED or what == STREAM_EOF or what == STREAM_BYTES):
        return                # its answer is being shown to a user's filter: what follows is looked at when that has spoken
    if what == STREAM_BYTES:
        if state == ORIGIN_WAITING:
            if origin.stream.flags & STREAM_SENT:
                exchange_read_response(exchange)
            else:
                # It spoke before it was asked: a parting 408 of an idle connection, or nonsense. Never an answer to this request.
                exchange_fail(exchange, FAULT_UPSTREAM_CLOSED if exchange.flags & EX_REUSED else FAULT_UPSTREAM_HEAD_MALFORMED)
        elif state == ORIGIN_BODY:
            timer_after(&exchange.context.timers, &origin.timer, exchange.context.clock.now_ms, exchange.route.between_bytes_ms)
            exchange_move_response(exchange)
        else:
            INVARIANT(state == ORIGIN_TUNNEL)
            tunnel_from_origin(exchange)
    elif what == STREAM_DRAINED:
        if state == ORIGIN_TUNNEL:
            if tunnel_origin_drained(exchange):
                exchange_end_tunnel(exchange)
        elif exchange_takes_body(exchange):
            stream_resume(&exchange.client.stream)
            if exchange.client.stream.received != NULL:
                exchange_move_request(exchange)
    elif what == STREAM_CONNECTED:
        exchange_connected(exchange)
    elif what == STREAM_EOF:
        _origin_ended(exchange, state)
    elif what == STREAM_SPLICED:
        exchange_response_spliced(exchange)
    elif what == STREAM_FAILED:
        _origin_failed(exchange, state)
    else:
        INVARIANT(what == STREAM_HUNG)   # paused for a slow client: what the origin sent before is still read when there is room


cdef void _origin_ended(Exchange* exchange, int state) noexcept nogil:
    if state == ORIGIN_TUNNEL:
        if tunnel_origin_ended(exchange):
            exchange_end_tunnel(exchange)
    elif state != ORIGIN_BODY:
        if exchange.origin.stream.received != NULL:
            exchange.flags &= ~<uint32_t>EX_REUSED   # part of an answer came: not the keep-alive race
        exchange_fail(exchange, FAULT_UPSTREAM_CLOSED)
    elif exchange.response_body != BODY_CLOSE:
        exchange_fail(exchange, FAULT_UPSTREAM_TRUNCATED)
    else:
        INVARIANT(exchange.origin.stream.received == NULL)   # the end is told only after all bytes were taken
        exchange_response_closed(exchange)


cdef void _origin_failed(Exchange* exchange, int state) noexcept nogil:
    cdef OriginConn* origin = exchange.origin
    if state == ORIGIN_CONNECTING:
        exchange_fail(exchange, connect_fault(origin.stream.error))
    elif state == ORIGIN_TUNNEL:
        exchange.fault = FAULT_UPSTREAM_RESET
        exchange_end_tunnel(exchange)
    elif state == ORIGIN_BODY:
        exchange_fail(exchange, FAULT_UPSTREAM_TRUNCATED)
    else:
        # An origin may answer a request that it does not want to read whole, and close: the answer is then in our buffer.
        if origin.stream.flags & STREAM_SENT and stream_salvage(&origin.stream):
            exchange_read_response(exchange)
            if origin.exchange == NULL:
                return
            exchange = origin.exchange
            if exchange.pausing == PAUSE_ASK:
                return        # as in _on_origin
            if not exchange.flags & EX_RESPONSE_BEGUN:
                exchange.flags &= ~<uint32_t>EX_REUSED
        exchange_fail(exchange, FAULT_UPSTREAM_RESET if not exchange.flags & EX_RESPONSE_BEGUN else FAULT_UPSTREAM_TRUNCATED)


# ---- what timers tell ----

cdef void _on_client_timer(void* owner) noexcept nogil:
    cdef ClientConn* client = <ClientConn*>owner
    cdef Exchange* exchange = client.exchange
    cdef CompiledListener* settings = <CompiledListener*>client.local.settings
    cdef int state = client.state
    if state == CLIENT_HEAD:
        count_add(&client.local.rejected, REJECT_HEAD_TIMEOUT, 1)
        exchange_begin(client, settings, -FAULT_HEAD_TIMEOUT)
    elif state == CLIENT_TUNNEL:
        exchange_end_tunnel(exchange)
    elif state == CLIENT_BUSY:
        _check_client(exchange)
    elif (state == CLIENT_IDLE or state == CLIENT_CLOSING) and stream_unsent(&client.stream) > 0:
        client_check_sending(client)
    else:
        if state == CLIENT_PROXY:
            count_add(&client.local.rejected, REJECT_PROXY, 1)
        elif state == CLIENT_IDLE and client.served == 0 and not client.context.draining and not client.local.leaving:
            count_add(&client.local.rejected, REJECT_HEAD_TIMEOUT, 1)
        client_close(client, False)


cdef void _check_client(Exchange* exchange) noexcept nogil:
    """The client owes us body bytes, or room for the answer."""
    cdef Context* context = exchange.context
    cdef ClientConn* client = exchange.client
    cdef uint64_t given = exchange.bytes_out - stream_unsent(&client.stream)
    cdef uint64_t taken = exchange.bytes_in
    cdef int64_t waited_ms = context.clock.now_ms - exchange.body_ms
    if exchange.splice_is_request:
        taken += exchange.splice.moved + exchange.splice.held
    else:
        given += exchange.splice.moved
    if exchange.flags & EX_RESPONSE_BEGUN:
        # What is sent from the cache leaves nothing unsent behind: its timer runs only while the client takes no more.
        if given == exchange.client_mark and (stream_unsent(&client.stream) > 0 or exchange.splice.held > 0
                                              or exchange.cached != NULL and exchange.cached.state == USE_SERVE):
            exchange_abandon(exchange, FAULT_CLIENT_STALLED, False)
            return
        exchange.client_mark = given
        timer_set(&context.timers, &client.timer, context.clock.now_ms + SEND_STALL_MS)
        return
    if exchange.flags & EX_REQUEST_DONE:
        return
    if client.stream.flags & STREAM_PAUSED or (exchange.splice.active and exchange.splice.held > 0):
        # The origin is what we wait for: the client's clock starts anew.
        exchange.body_ms = context.clock.now_ms
        exchange.client_mark = taken
        timer_set(&context.timers, &client.timer, context.clock.now_ms + BODY_GRACE_MS)
        return
    if (taken - exchange.client_mark) * 1000 < <uint64_t>waited_ms * exchange.listener.min_body_rate:
        exchange.flags |= EX_CLIENT_CLOSE
        exchange_fail(exchange, FAULT_BODY_TIMEOUT)
        return
    timer_set(&context.timers, &client.timer, context.clock.now_ms + BODY_CHECK_MS)


cdef void _on_origin_timer(void* owner) noexcept nogil:
    cdef OriginConn* origin = <OriginConn*>owner
    cdef Exchange* exchange = origin.exchange
    cdef Context* context = origin.context
    cdef uint64_t progress
    if exchange == NULL:
        origin_close(origin, False)
        return
    if exchange.origin != origin:
        exchange_switch(exchange)
    if exchange.until_ms and context.clock.now_ms >= exchange.until_ms and not exchange.flags & EX_RESPONSE_BEGUN:
        exchange_fail(exchange, FAULT_UPSTREAM_TRY_TIMEOUT)
        return
    if origin.state == ORIGIN_CONNECTING:
        exchange_fail(exchange, FAULT_CONNECT_TIMEOUT)
        return
    progress = exchange_progress(exchange)
    if origin.state == ORIGIN_WAITING:
        if exchange.flags & EX_REQUEST_DONE and stream_unsent(&origin.stream) == 0:
            exchange_fail(exchange, FAULT_UPSTREAM_FIRST_BYTE_TIMEOUT)
            return
        if progress == origin.progress and (stream_unsent(&origin.stream) > 0 or exchange.splice.held > 0):
            exchange_fail(exchange, FAULT_UPSTREAM_WRITE_TIMEOUT)
            return
    elif exchange.splice.active and not exchange.splice_is_request:
        if progress == origin.progress and exchange.splice.held == 0:
            exchange_fail(exchange, FAULT_UPSTREAM_READ_TIMEOUT)
            return
    elif not origin.stream.flags & STREAM_PAUSED:   # every piece sets this timer anew: nothing came
        exchange_fail(exchange, FAULT_UPSTREAM_READ_TIMEOUT)
        return
    origin.progress = progress
    if origin.state == ORIGIN_WAITING:
        exchange_watch_origin(
            exchange, exchange.route.first_byte_ms if exchange.flags & EX_REQUEST_DONE else exchange.route.between_bytes_ms)
    else:
        timer_after(&context.timers, &origin.timer, context.clock.now_ms, exchange.route.between_bytes_ms)


cdef void _on_total_timeout(void* owner) noexcept nogil:
    cdef Exchange* exchange = <Exchange*>owner
    if exchange.wait >= 0 and exchange.pausing == PAUSE_NONE:
        wait_end(exchange)
        exchange_refuse(exchange, FAULT_CONSULT_TIMEOUT)
    else:
        exchange_fail(exchange, FAULT_TOTAL_TIMEOUT)


cdef void _on_pause(void* owner) noexcept nogil:
    exchange_paused(<Exchange*>owner)


# ---- for the engine ----

cdef void dispatch_install(Context* context) noexcept nogil:
    context.on_client = _on_client
    context.on_origin = _on_origin
    context.on_client_timer = _on_client_timer
    context.on_origin_timer = _on_origin_timer
    context.on_total_timeout = _on_total_timeout
    context.on_pause = _on_pause


cdef void connections_drain(Context* context) noexcept nogil:
    """A resting connection may just be sending its next request: it gets DRAIN_QUIET_MS to do so, and an answer with Connection: close."""
    cdef ClientConn* client = context.first_client
    while client != NULL:
        # One that still takes its last answer is left alone: client_rested gives it its time when that is out.
        if client.state == CLIENT_IDLE and client.stream.backlog_bytes == 0 and (context.draining or client.local.leaving):
            timer_set(&context.timers, &client.timer, context.clock.now_ms + DRAIN_QUIET_MS)
        client = client.next


cdef void connections_abort(Context* context) noexcept nogil:
    while context.first_client != NULL:
        if context.first_client.exchange != NULL:
            exchange_abandon(context.first_client.exchange, FAULT_DRAINING, False)
        else:
            client_close(context.first_client, True)
    while context.first_behind != NULL:
        exchange_abandon(context.first_behind.exchange, FAULT_DRAINING, False)
    fills_abort(context)
    while context.first_origin != NULL:
        origin_close(context.first_origin, False)
