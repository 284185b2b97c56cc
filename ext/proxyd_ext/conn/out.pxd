"""Composing an answer into a stream's arena: room is asked for first, then everything is put behind one another."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr, memcpy, strlen
from proxyd_ext.conn.model cimport EX_CLIENT_CLOSE, Exchange
from proxyd_ext.core.slice cimport Slice, slice_of
from proxyd_ext.filter.chain cimport names_have
from proxyd_ext.io.stream cimport stream_commit, stream_room


ctypedef struct Out:
    uint8_t* start
    uint8_t* at


cdef inline void out_open(Out* out, Exchange* exchange, size_t room) noexcept nogil:
    out.start = stream_room(&exchange.client.stream, <uint32_t>room)
    out.at = out.start


cdef inline void out_put(Out* out, const void* data, size_t size) noexcept nogil:
    memcpy(out.at, data, size)
    out.at += size


cdef inline void out_text(Out* out, const char* text) noexcept nogil:
    out_put(out, text, strlen(text))


cdef inline void out_slice(Out* out, Slice s) noexcept nogil:
    if s.size:
        out_put(out, s.data, s.size)


cdef inline void out_lines(Out* out, Slice lines, Slice drop) noexcept nogil:
    """Field lines without those whose names stand in `drop` (as FilterStep.response_drop): a filter took them away or writes them
    itself."""
    cdef const uint8_t* colon
    cdef const uint8_t* end
    cdef Slice line
    if drop.size == 0:
        out_slice(out, lines)
        return
    while lines.size:
        colon = <const uint8_t*>memchr(lines.data, c':', lines.size)
        end = <const uint8_t*>memchr(lines.data, c'\n', lines.size)
        line = slice_of(lines.data, end + 1 - lines.data if end != NULL else lines.size)
        if colon == NULL or not names_have(drop, slice_of(line.data, colon - line.data)):
            out_slice(out, line)
        lines = slice_of(line.data + line.size, lines.size - line.size)


cdef inline void out_connection(Out* out, const Exchange* exchange) noexcept nogil:
    if exchange.flags & EX_CLIENT_CLOSE:
        out_text(out, b"Connection: close\r\n")
    elif exchange.minor == 0:
        out_text(out, b"Connection: keep-alive\r\n")


cdef inline void out_send(Out* out, Exchange* exchange) noexcept nogil:
    cdef uint32_t size = <uint32_t>(out.at - out.start)
    exchange.bytes_out += size
    stream_commit(&exchange.client.stream, out.start, size)
