"""Tunnels (see tunnel.pxd). Each direction is copied with a bounded backlog; an end is passed on as FIN once the bytes before it are
out."""
from libc.stdint cimport uint32_t
from proxyd_ext.core.shim cimport counter_add
from proxyd_ext.core.timer cimport timer_after
from proxyd_ext.io.poller cimport STREAM_ENDED, Stream
from proxyd_ext.io.stream cimport stream_consume, stream_finish, stream_pause, stream_resume, stream_send, stream_unsent


cdef uint32_t _pump(Exchange* exchange, Stream* source, Stream* sink) noexcept nogil:
    cdef uint32_t size
    if source.received == NULL:
        return 0
    timer_after(&exchange.context.timers, &exchange.client.timer, exchange.context.clock.now_ms, exchange.route.tunnel_idle_ms)
    size = source.received.end - source.received.start
    stream_send(sink, source.received.data + source.received.start, size)
    stream_consume(source, size)
    if stream_unsent(sink) >= exchange.listener.buffer:
        stream_pause(source)
        sink.want_drained = True
    return size


cdef void tunnel_from_client(Exchange* exchange) noexcept nogil:
    cdef uint32_t size = _pump(exchange, &exchange.client.stream, &exchange.origin.stream)
    exchange.bytes_in += size
    counter_add(&exchange.origin.local.bytes_out, size)


cdef void tunnel_from_origin(Exchange* exchange) noexcept nogil:
    cdef uint32_t size = _pump(exchange, &exchange.origin.stream, &exchange.client.stream)
    exchange.bytes_out += size
    counter_add(&exchange.origin.local.bytes_in, size)


cdef bint _ended(Stream* source, Stream* sink) noexcept nogil:
    """`source` has ended: FIN to `sink`, now or when its backlog is out."""
    if stream_unsent(sink) > 0:
        sink.want_drained = True
        return False
    stream_finish(sink)
    return (sink.flags & STREAM_ENDED) != 0 and stream_unsent(source) == 0


cdef bint _drained(Stream* source, Stream* sink) noexcept nogil:
    """`sink` has taken everything: its source may go on, or its end is passed on."""
    if source.flags & STREAM_ENDED:
        return _ended(source, sink)
    stream_resume(source)
    return False


cdef bint tunnel_client_ended(Exchange* exchange) noexcept nogil:
    return _ended(&exchange.client.stream, &exchange.origin.stream)


cdef bint tunnel_origin_ended(Exchange* exchange) noexcept nogil:
    return _ended(&exchange.origin.stream, &exchange.client.stream)


cdef bint tunnel_client_drained(Exchange* exchange) noexcept nogil:
    return _drained(&exchange.origin.stream, &exchange.client.stream)


cdef bint tunnel_origin_drained(Exchange* exchange) noexcept nogil:
    return _drained(&exchange.client.stream, &exchange.origin.stream)
