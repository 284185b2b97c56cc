"""Which requests are exported: those whose client's trace is (its flag is believed, as the specification means it), and of those without
a trace the configured share, chosen by the trace id that they get.  Our span has the id of the request.

Without `tracing` in the config the field passes through untouched, and the record has its trace id if it is one.
"""
from libc.stdint cimport uint64_t, uint8_t
from libc.string cimport memcpy
from proxyd_ext.conn.model cimport EX_NEW_TRACE, Context
from proxyd_ext.core.hash cimport random_next
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.log.record cimport TRACE_SAMPLED, TRACE_UNSAMPLED


cdef enum:
    TRACE_AT = 3
    PARENT_AT = 36
    FLAGS_AT = 53
    FLAG_SAMPLED = 1


cdef bint _digits(const uint8_t* at, int count, bint* zero) noexcept nogil:
    """Whether there stand so many lower-case hex digits; zero: whether all of them are 0."""
    cdef int i
    zero[0] = True
    for i in range(count):
        if not (c'0' <= at[i] <= c'9' or c'a' <= at[i] <= c'f'):
            return False
        zero[0] = zero[0] and at[i] == c'0'
    return True


cdef bint _is_traceparent(Slice value) noexcept nogil:
    """§3.2: of a later version only the part that we know counts, and something may follow it behind another "-"."""
    cdef const uint8_t* at = value.data
    cdef bint zero
    if value.size < TRACEPARENT_SIZE or at[2] != c'-' or at[TRACE_AT + 32] != c'-' or at[PARENT_AT + 16] != c'-':
        return False
    if not _digits(at, 2, &zero) or (at[0] == c'f' and at[1] == c'f'):
        return False
    if value.size > TRACEPARENT_SIZE and (zero or at[TRACEPARENT_SIZE] != c'-'):
        return False
    if not _digits(at + TRACE_AT, 32, &zero) or zero:
        return False
    if not _digits(at + PARENT_AT, 16, &zero) or zero:
        return False
    return _digits(at + FLAGS_AT, 2, &zero)


cdef inline int _value(uint8_t digit) noexcept nogil:
    return digit - c'0' if digit <= c'9' else digit - c'a' + 10


cdef void _write_hex(uint64_t value, uint8_t* out) noexcept nogil:
    cdef int i
    for i in range(16):
        out[15 - i] = (<const char*>b"0123456789abcdef")[value & 15]
        value >>= 4


cdef void _begin_trace(Exchange* exchange, uint8_t* kept) noexcept nogil:
    """A trace of our own. It is drawn once, though what is kept of a request may be kept twice."""
    cdef Context* context = exchange.context
    if not exchange.flags & EX_NEW_TRACE:
        exchange.flags |= EX_NEW_TRACE
        exchange.trace_high = random_next(&context.random)
        exchange.trace_low = random_next(&context.random) | 1     # all zeros is no trace
    _write_hex(exchange.trace_high, kept)
    _write_hex(exchange.trace_low, kept + 16)
    exchange.trace_id = slice_of(kept, 32)
    exchange.traced = TRACE_SAMPLED if exchange.trace_high < exchange.snapshot.trace_below else TRACE_UNSAMPLED


cdef int trace_take(Exchange* exchange, Slice traceparent, uint8_t* kept) noexcept nogil:
    if not _is_traceparent(traceparent):
        if not exchange.snapshot.traces:
            return 0
        _begin_trace(exchange, kept)
        return 32
    memcpy(kept, traceparent.data + TRACE_AT, 32)
    exchange.trace_id = slice_of(kept, 32)
    if not exchange.snapshot.traces:
        return 32
    memcpy(kept + 32, traceparent.data + PARENT_AT, 16)
    exchange.parent_id = slice_of(kept + 32, 16)
    exchange.traced = TRACE_SAMPLED if _value(traceparent.data[FLAGS_AT + 1]) & FLAG_SAMPLED else TRACE_UNSAMPLED
    return TRACE_KEPT


cdef void trace_write(const Exchange* exchange, uint8_t* out) noexcept nogil:
    memcpy(out, <const char*>b"00-", TRACE_AT)
    memcpy(out + TRACE_AT, exchange.trace_id.data, 32)
    out[PARENT_AT - 1] = c'-'
    _write_hex(exchange.id, out + PARENT_AT)
    out[FLAGS_AT - 1] = c'-'
    out[FLAGS_AT] = c'0'
    out[FLAGS_AT + 1] = c'1' if exchange.traced == TRACE_SAMPLED else c'0'
