"""W3C Trace Context of a request: which trace it belongs to, whether that is exported, and what its server is told."""
from libc.stdint cimport uint8_t
from proxyd_ext.conn.model cimport Exchange
from proxyd_ext.core.slice cimport Slice


cdef enum:
    TRACEPARENT_SIZE = 55     # "00-", 32 digits, "-", 16 digits, "-", 2 digits (§3.2)
    TRACE_KEPT = 48           # bytes of a trace id and of a span id


# Read what the client says and decide the rest; `kept` has room for TRACE_KEPT bytes, which live as long as the exchange.
# Bytes of it that were used.
cdef int trace_take(Exchange* exchange, Slice traceparent, uint8_t* kept) noexcept nogil

# The traceparent for the server, TRACEPARENT_SIZE bytes: our span is the parent.
cdef void trace_write(const Exchange* exchange, uint8_t* out) noexcept nogil
