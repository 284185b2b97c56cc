# cython: cdivision=True
"""Bodies on their way (see relay.pxd).

Chunked bodies are decoded in place and framed anew, one chunk for what one read brought: whatever the sender's framing contained, the
receiver sees
ours. A body that starts small goes out in the same send as its head.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy
from proxyd_ext.conn.model cimport (
    ClientConn, EX_OUT_CHUNKED, EX_REPLAYABLE, EX_REQUEST_DONE, OriginConn,
)
from proxyd_ext.core.buffer cimport BUFFER_16K, Buffer, buffer_new
from proxyd_ext.core.fault cimport (
    FAULT_BODY_TOO_LARGE, FAULT_CHUNK_MALFORMED, FAULT_MEMORY, FAULT_UPSTREAM_CHUNK,
)
from proxyd_ext.core.shim cimport counter_add
from proxyd_ext.http1.chunk cimport (
    CHUNK_DONE, CHUNK_HEAD_MAX, CHUNK_TRAILERS, ChunkDecoder, chunk_decode, chunk_write_head, chunk_write_trailers,
)
from proxyd_ext.http1.head cimport BODY_CHUNKED, BODY_LENGTH
from proxyd_ext.io.poller cimport Stream
from proxyd_ext.io.stream cimport (
    splice_start, stream_commit, stream_consume, stream_pause, stream_room, stream_send, stream_send_stable, stream_unsent,
)

cdef enum:
    SPLICE_LEAST = 65536      # bodies with less to come are copied
    CHUNK_EXTRA = CHUNK_HEAD_MAX + 2


cdef void _send_chunk(Stream* stream, const uint8_t* data, uint32_t size) noexcept nogil:
    cdef uint8_t* out = stream_room(stream, size + CHUNK_EXTRA)
    cdef int head = chunk_write_head(size, out)
    memcpy(out + head, data, size)
    out[head + size] = c'\r'
    out[head + size + 1] = c'\n'
    stream_commit(stream, out, head + size + 2)


cdef uint32_t _send_last_chunk(Stream* stream, Buffer* trailers, const ChunkDecoder* decoder) noexcept nogil:
    """"0 CRLF", the trailers that may pass, CRLF."""
    cdef uint32_t size = decoder.trailers_size if trailers != NULL else 0
    cdef uint8_t* out = stream_room(stream, size + 8)
    cdef uint32_t at = 3
    memcpy(out, b"0\r\n", 3)
    if size:
        at += chunk_write_trailers(trailers.data, size, out + at)
    out[at] = c'\r'
    out[at + 1] = c'\n'
    stream_commit(stream, out, at + 2)
    return at + 2


cdef bint _trailer_room(Exchange* exchange, Buffer** trailers, ChunkDecoder* decoder) noexcept nogil:
    trailers[0] = buffer_new(&exchange.context.buffers, BUFFER_16K)
    if trailers[0] == NULL:
        return False
    decoder.trailers = trailers[0].data
    decoder.trailers_cap = trailers[0].cap
    decoder.trailers_size = 0
    return True


# ---- request bodies ----

cdef void _give_request(Exchange* exchange, const uint8_t* data, uint32_t size, bint chunked) noexcept nogil:
    """Pass body bytes to the origin. While they fit behind the head in the exchange's buffer they stay there, so that a try can be
    repeated, and leave
    in one send with the head."""
    cdef Stream* stream = &exchange.origin.stream
    cdef Buffer* kept = exchange.request
    cdef uint8_t* out
    cdef uint32_t begin
    counter_add(&exchange.origin.local.bytes_out, size)
    if exchange.flags & EX_REPLAYABLE:
        if kept.cap - kept.end >= size + CHUNK_EXTRA:
            begin = kept.end
            out = kept.data + begin
            if chunked:
                out += chunk_write_head(size, out)
            memcpy(out, data, size)
            out += size
            if chunked:
                out[0] = c'\r'
                out[1] = c'\n'
                out += 2
            kept.end = <uint32_t>(out - kept.data)
            stream_send_stable(stream, kept.data + begin, kept.end - begin)
            return
        exchange.flags &= ~<uint32_t>EX_REPLAYABLE
    if chunked:
        _send_chunk(stream, data, size)
    else:
        stream_send(stream, data, size)


cdef int _request_done(Exchange* exchange) noexcept nogil:
    exchange.flags |= EX_REQUEST_DONE
    stream_pause(&exchange.client.stream)
    return RELAY_DONE


cdef int relay_request(Exchange* exchange) noexcept nogil:
    cdef ClientConn* client = exchange.client
    cdef OriginConn* origin = exchange.origin
    cdef Buffer* received
    cdef uint32_t size
    cdef size_t data_size, consumed
    cdef int result
    while client.stream.received != NULL:
        if stream_unsent(&origin.stream) >= exchange.listener.buffer:
            stream_pause(&client.stream)
            origin.stream.want_drained = True
            return RELAY_BLOCKED
        received = client.stream.received
        size = received.end - received.start
        if exchange.request_body == BODY_LENGTH:
            if size > exchange.request_left:
                size = <uint32_t>exchange.request_left
            exchange.request_left -= size
            exchange.bytes_in += size
            _give_request(exchange, received.data + received.start, size, False)
            stream_consume(&client.stream, size)
            if exchange.request_left == 0:
                return _request_done(exchange)
            continue
        result = chunk_decode(&exchange.request_chunks, received.data + received.start, size, &data_size, &consumed)
        if result < 0:
            return result
        exchange.bytes_in += data_size
        if exchange.body_most and exchange.bytes_in > exchange.body_most:
            return -FAULT_BODY_TOO_LARGE
        if data_size:
            _give_request(exchange, received.data + received.start, <uint32_t>data_size, True)
        stream_consume(&client.stream, <uint32_t>consumed)
        if result == CHUNK_TRAILERS:
            if not _trailer_room(exchange, &exchange.request_trailers, &exchange.request_chunks):
                return -FAULT_MEMORY
        elif result == CHUNK_DONE:
            if exchange.request_trailers == NULL and exchange.flags & EX_REPLAYABLE and exchange.request.cap - exchange.request.end >= 5:
                memcpy(exchange.request.data + exchange.request.end, b"0\r\n\r\n", 5)
                stream_send_stable(&origin.stream, exchange.request.data + exchange.request.end, 5)
                exchange.request.end += 5
            else:
                exchange.flags &= ~<uint32_t>EX_REPLAYABLE
                # Where fields are taken away from requests, trailers go, too: a server may merge them, and find there what was taken.
                _send_last_chunk(&origin.stream, NULL if exchange.request_drop.size else exchange.request_trailers,
                                 &exchange.request_chunks)
            return _request_done(exchange)
    if (exchange.request_body == BODY_LENGTH and exchange.request_left >= SPLICE_LEAST and not exchange.splice.active
            and splice_start(&exchange.splice, &client.stream, &origin.stream, exchange.request_left, False, exchange.listener.buffer)):
        exchange.flags &= ~<uint32_t>EX_REPLAYABLE
        exchange.splice_is_request = True
        return RELAY_SPLICED
    return RELAY_MORE


# ---- response bodies ----

cdef int relay_response(Exchange* exchange) noexcept nogil:
    cdef ClientConn* client = exchange.client
    cdef OriginConn* origin = exchange.origin
    cdef bint chunked = (exchange.flags & EX_OUT_CHUNKED) != 0
    cdef Buffer* received
    cdef uint32_t size
    cdef size_t data_size, consumed
    cdef int result
    cdef uint32_t last
    while origin.stream.received != NULL:
        if stream_unsent(&client.stream) >= exchange.listener.buffer:
            stream_pause(&origin.stream)
            client.stream.want_drained = True
            return RELAY_BLOCKED
        received = origin.stream.received
        size = received.end - received.start
        if exchange.response_body == BODY_CHUNKED:
            result = chunk_decode(&exchange.response_chunks, received.data + received.start, size, &data_size, &consumed)
            if result < 0:
                return -FAULT_UPSTREAM_CHUNK if result == -FAULT_CHUNK_MALFORMED else result
        else:
            result = 0
            if exchange.response_body == BODY_LENGTH:
                if size > exchange.response_left:
                    size = <uint32_t>exchange.response_left
                exchange.response_left -= size
            data_size = size
            consumed = size
        if data_size:
            counter_add(&origin.local.bytes_in, data_size)
            exchange.bytes_out += data_size
            if chunked:
                _send_chunk(&client.stream, received.data + received.start, <uint32_t>data_size)
            else:
                stream_send(&client.stream, received.data + received.start, <uint32_t>data_size)
        if exchange.response_body == BODY_LENGTH and exchange.response_left == 0:
            stream_consume(&origin.stream, <uint32_t>consumed)
            return RELAY_DONE
        stream_consume(&origin.stream, <uint32_t>consumed)
        if result == CHUNK_TRAILERS:
            if not _trailer_room(exchange, &exchange.response_trailers, &exchange.response_chunks):
                return -FAULT_MEMORY
        elif result == CHUNK_DONE:
            if chunked:
                last = _send_last_chunk(&client.stream, exchange.response_trailers, &exchange.response_chunks)
                exchange.bytes_out += last
                exchange.head_out += last
            return RELAY_DONE
    if (exchange.response_body == BODY_LENGTH and exchange.response_left >= SPLICE_LEAST and not exchange.splice.active
            and splice_start(&exchange.splice, &origin.stream, &client.stream, exchange.response_left, False, exchange.listener.buffer)):
        exchange.splice_is_request = False
        return RELAY_SPLICED
    return RELAY_MORE


cdef void finish_until_close(Exchange* exchange) noexcept nogil:
    cdef uint32_t last
    if exchange.flags & EX_OUT_CHUNKED:
        last = _send_last_chunk(&exchange.client.stream, NULL, &exchange.response_chunks)
        exchange.bytes_out += last
        exchange.head_out += last
