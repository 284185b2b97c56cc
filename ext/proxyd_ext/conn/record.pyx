# cython: cdivision=True
"""Counting and logging an exchange (see record.pxd)."""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint8_t
from libc.string cimport memcpy
from proxyd_ext.balance.circuit cimport circuit_told
from proxyd_ext.balance.ewma cimport ewma_note
from proxyd_ext.balance.passive cimport note_failure
from proxyd_ext.balance.pool cimport BALANCE_EWMA, UpstreamLocal
from proxyd_ext.balance.server cimport ServerLocal, server_drop, server_hold
from proxyd_ext.conn.filtered cimport NOTES_ROOM, filtered_notes
from proxyd_ext.conn.model cimport ClientConn, EX_OWN_ANSWER, EX_PROBE, USE_SERVE
from proxyd_ext.core.ending cimport END_NONE
from proxyd_ext.core.events cimport event_push
from proxyd_ext.core.shim cimport PXD_UNLIKELY, counter_add
from proxyd_ext.core.slice cimport Slice, slice_empty, slice_of
from proxyd_ext.core.stats cimport count_add, histogram_add
from proxyd_ext.filter.chain cimport filter_user
from proxyd_ext.log.record cimport (
    AccessRecord, CACHE_EXPIRED, CACHE_MISS, CACHE_NONE, RECORD_HTTP, STATUS_BY_CACHE, STATUS_BY_PROXYD, STATUS_BY_UPSTREAM, T_NONE,
    TRIES_KEPT, TRY_LABEL, TryNote,
)
from proxyd_ext.log.ring cimport log_submit, log_wanted
from proxyd_ext.route.stats cimport RouteLocal, route_stats_join


cdef inline bint _from_memory(const Exchange* exchange) noexcept nogil:
    """Not for the one who fetched, although it reads from the store what it puts there."""
    return exchange.cached != NULL and exchange.cached.state == USE_SERVE and exchange.cache not in (CACHE_MISS, CACHE_EXPIRED)


cdef void _submit(Exchange* exchange, int64_t total_us) noexcept nogil:
    cdef AccessRecord record
    cdef uint8_t[NOTES_ROOM] notes
    cdef Context* context = exchange.context
    cdef ClientConn* client = exchange.client
    record.kind = RECORD_HTTP
    record.end = END_NONE
    record.time_us = context.clock.wall_us
    record.id = exchange.id
    record.bytes_in = exchange.bytes_in
    record.bytes_out = exchange.bytes_out
    record.body_out = exchange.bytes_out - exchange.head_out
    record.config = exchange.snapshot.config
    record.t_total_us = total_us
    record.t_queue_us = exchange.queue_us
    record.t_connect_us = exchange.connect_us
    record.t_first_byte_us = exchange.first_byte_us
    record.status = exchange.status
    record.engine = <uint16_t>context.engine
    record.client_port = client.address.port
    record.fault = <uint16_t>exchange.fault
    record.attempts = exchange.attempts
    record.status_by = STATUS_BY_PROXYD if exchange.flags & EX_OWN_ANSWER else STATUS_BY_UPSTREAM
    if _from_memory(exchange):
        record.status_by = STATUS_BY_CACHE
    record.minor = exchange.minor
    record.tls = 0
    record.cache = exchange.cache
    record.cache_age = exchange.cache_age
    record.request_id = exchange.request_id
    record.client_ip = exchange.client_ip
    record.listener = client.listener.name
    record.route = exchange.route.name if exchange.route != NULL else slice_empty()
    record.upstream = exchange.upstream.name if exchange.upstream != NULL else slice_empty()
    record.server = exchange.server.label if exchange.server != NULL else slice_empty()
    record.method = exchange.method_text
    record.host = exchange.host
    record.path = exchange.path
    record.query = exchange.query
    record.user_agent = exchange.user_agent
    record.referer = exchange.referer
    record.trace_id = exchange.trace_id
    record.traced = exchange.traced
    record.parent_id = exchange.parent_id
    record.tries = slice_of(<const uint8_t*>&exchange.tries[0], exchange.try_count * sizeof(TryNote))
    record.packets_in = record.packets_out = 0
    record.user = record.policies = record.tls_name = record.tls_alpn = slice_empty()
    if exchange.filtered != NULL:
        record.user = filter_user(exchange.filtered)
        record.policies = slice_of(notes, filtered_notes(exchange, notes))
    log_submit(context.log, &record)


cdef void record_exchange(Exchange* exchange) noexcept nogil:
    cdef Context* context = exchange.context
    cdef int64_t total_us = context.clock.now_us - exchange.start_us
    cdef RouteLocal* local = route_stats_join(exchange.listener.stats[exchange.route_number], context.engine)
    if local != NULL:
        count_add(&local.requests, <uint32_t>exchange.method << 16 | exchange.status, 1)
        histogram_add(&local.duration, total_us)
        if exchange.first_byte_us != T_NONE:
            histogram_add(&local.ttfb, exchange.ttfb_us)
        if PXD_UNLIKELY(exchange.fault != 0):
            count_add(&local.errors, exchange.fault, 1)
        if exchange.cache != CACHE_NONE:
            counter_add(&local.cache[exchange.cache], 1)
            if _from_memory(exchange):
                counter_add(&local.cache_bytes, exchange.bytes_out - exchange.head_out)
        counter_add(&local.bytes_in, exchange.bytes_in)
        counter_add(&local.bytes_out, exchange.bytes_out)
    if context.log != NULL and log_wanted(context.log, context.clock.now_ms, <uint16_t>exchange.fault, exchange.status, total_us,
                                          exchange.id, exchange.traced):
        _submit(exchange, total_us)


cdef void _note_try(Exchange* exchange, int fault) noexcept nogil:
    cdef TryNote* note = &exchange.tries[exchange.try_count]
    cdef Slice label = exchange.server.label
    if exchange.try_count == TRIES_KEPT:
        return
    exchange.try_count += 1
    note.us = <uint32_t>(exchange.context.clock.now_us - exchange.try_us)
    note.fault = <uint16_t>fault
    note.status = exchange.status if fault == 0 else 0
    note.size = <uint8_t>(label.size if label.size < TRY_LABEL else TRY_LABEL)
    memcpy(note.label, label.data, note.size)


cdef void record_unwanted(Exchange* exchange) noexcept nogil:
    _note_try(exchange, 0)


cdef void record_try(Exchange* exchange, int fault) noexcept nogil:
    """One try has ended, with the head of an answer or with a fault: counters of its server and of its upstream."""
    cdef Context* context = exchange.context
    cdef UpstreamLocal* upstream = exchange.upstream.state.local[context.engine]
    cdef ServerLocal* server = exchange.server.local[context.engine]
    cdef bint failed = fault != 0 or exchange.status >= 500
    counter_add(&upstream.finished, 1)
    if PXD_UNLIKELY(failed):
        counter_add(&upstream.failed, 1)
    if exchange.flags & EX_PROBE:
        exchange.flags &= ~<uint32_t>EX_PROBE
        circuit_told(exchange.upstream.state, failed)
    if fault != 0:
        _note_try(exchange, fault)
        count_add(&server.errors, fault, 1)
        if exchange.pool.balance == BALANCE_EWMA and exchange.sent_us > 0:
            # It took at least so long: a server that answers nobody must not look fast.
            ewma_note(&exchange.server.ewma, context.clock.now_us - exchange.sent_us, context.clock.now_ms)
        return
    count_add(&server.responses, exchange.status, 1)
    counter_add(&server.answers, 1)
    counter_add(&server.answers_us, exchange.first_byte_us)
    histogram_add(&upstream.response, exchange.first_byte_us)
    if exchange.pool.balance == BALANCE_EWMA:
        ewma_note(&exchange.server.ewma, exchange.first_byte_us, context.clock.now_ms)


cdef void record_failure(Context* context, const PoolData* pool, ServerData* server) noexcept nogil:
    cdef ServerLocal* local = server.local[context.engine]
    if not note_failure(pool, server, context.clock.now_ms):
        return
    server_hold(server)       # the node is part of the server: until the control plane has read it
    if not event_push(context.events, &local.ejected):
        server_drop(server)
