"""An exchange: one request and its response. The only file that knows the order of phases.

The functions are its steps, called when something happened (conn/dispatch); each leaves the exchange waiting for the next thing, or ended.
"""
from libc.stdint cimport int64_t, uint16_t, uint64_t
from proxyd_ext.conn.model cimport USE_TAKE, CacheUse, ClientConn, EX_REQUEST_DONE, Exchange, ORIGIN_CONNECTING
from proxyd_ext.conn.wait cimport Answer
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.io.stream cimport stream_unsent
from proxyd_ext.snapshot.compile cimport CompiledListener


cdef enum:
    SEND_STALL_MS = 60000         # a client that takes nothing of its answer for so long is cut off
    BODY_GRACE_MS = 5000          # min_body_rate counts from then on


# Bytes of a request head have come.
cdef void exchange_read_head(ClientConn* client) noexcept nogil
# A head has come (size > 0), or was refused (size = -FAULT_*).
cdef void exchange_begin(ClientConn* client, CompiledListener* settings, int size) noexcept nogil
cdef void exchange_connected(Exchange* exchange) noexcept nogil
# More of a body has come, or there is room for it.
cdef void exchange_move_request(Exchange* exchange) noexcept nogil
cdef void exchange_move_response(Exchange* exchange) noexcept nogil
cdef void exchange_request_spliced(Exchange* exchange) noexcept nogil
cdef void exchange_response_spliced(Exchange* exchange) noexcept nogil
# Bytes of a response head have come.
cdef void exchange_read_response(Exchange* exchange) noexcept nogil
# The origin ended a body that only its end delimits.
cdef void exchange_response_closed(Exchange* exchange) noexcept nogil
# The control plane's answer to a consult.
cdef void exchange_answered(Exchange* exchange, uint16_t status, Slice head, Slice body) noexcept nogil
# Something went wrong with the current try, or with the client's body: retry, answer, or cut off.
cdef void exchange_fail(Exchange* exchange, int fault) noexcept nogil
# Answer with a fault, without another try.
cdef void exchange_refuse(Exchange* exchange, int fault) noexcept nogil
# The client will not end this exchange.  `listens`: it only shut its side, and may still take the answers that were given before.
cdef void exchange_abandon(Exchange* exchange, int fault, bint listens) noexcept nogil
# The same about a step of its filters.  What is taken out of the answer is set to NULL there.
cdef void exchange_filter_answered(Exchange* exchange, Answer* answer) noexcept nogil
# It waited for a place of its route, and has been told GATE_GRANTED or GATE_SHED.
cdef void exchange_place_told(Exchange* exchange, int told) noexcept nogil
# It lost its place in the queue of the upstream.
cdef void exchange_shed(Exchange* exchange) noexcept nogil
# Somebody left a server while the exchange waits for room.
cdef void exchange_woken(Exchange* exchange) noexcept nogil
# The timer `pause` is due.
cdef void exchange_paused(Exchange* exchange) noexcept nogil
# Make the other try of a hedged exchange the current one.
cdef void exchange_switch(Exchange* exchange) noexcept nogil
# The origin has `ms` for what it owes next, within the time of the whole try.
cdef void exchange_watch_origin(Exchange* exchange, int64_t ms) noexcept nogil
cdef void exchange_end_tunnel(Exchange* exchange) noexcept nogil


# Whether body bytes of the client can be passed on now.
cdef inline bint exchange_takes_body(const Exchange* exchange) noexcept nogil:
    if exchange.flags & EX_REQUEST_DONE:
        return False
    if exchange.origin != NULL:
        return exchange.origin.state != ORIGIN_CONNECTING
    return exchange.cached != NULL and exchange.cached.state == USE_TAKE


# Grows with every byte that moved between the origin and us.
cdef inline uint64_t exchange_progress(const Exchange* exchange) noexcept nogil:
    return exchange.bytes_in + exchange.bytes_out + exchange.splice.moved - stream_unsent(&exchange.origin.stream)

# Answers from the cache: the client takes more, or there is more; a wake-up of the cache; the second tier has answered.
cdef void exchange_move_stored(Exchange* exchange) noexcept nogil
cdef void exchange_cache_heard(CacheUse* use) noexcept nogil
cdef void exchange_tier_answered(Exchange* exchange) noexcept nogil
