"""Whether a failed try may be followed by another, and when: decisions only, the exchange carries them out (conn/exchange)."""
from libc.stdint cimport int64_t, uint16_t, uint32_t
from proxyd_ext.conn.model cimport Exchange
from proxyd_ext.core.fault cimport FaultInfo
from proxyd_ext.core.hash cimport Random
from proxyd_ext.http1.head cimport Head
from proxyd_ext.snapshot.compile cimport CompiledRetry


cdef enum:
    RETRY_NO = 0
    RETRY_SAME = 1            # the keep-alive race: the same server at once, nobody's failure
    RETRY_OTHER = 2           # another server, within attempts, budget and deadline


# Whether the fault of the current try allows another one.  Asked before the try's connection is left.
cdef int attempt_after_fault(const Exchange* exchange, const FaultInfo* info) noexcept nogil
# The same for an answer with this status, whose body has not been looked at.
cdef bint attempt_after_status(const Exchange* exchange, uint16_t status) noexcept nogil
# Whether the exchange may go on to the route's failover upstream; no_server: nothing could be asked at all.
cdef bint attempt_failover(const Exchange* exchange, uint32_t when, bint no_server, uint16_t status) noexcept nogil
# Whether repeating the request is harmless (RFC 9110 §9.2.2), or nothing of it has left.
cdef bint attempt_repeatable(const Exchange* exchange) noexcept nogil
# How long to wait before the next try.
cdef int64_t attempt_backoff_ms(Exchange* exchange) noexcept nogil
# The same for the try behind so many retries, of whatever is tried.
cdef int64_t retry_backoff_ms(const CompiledRetry* retry, int retries, Random* random) noexcept nogil
# Milliseconds of a Retry-After field; 0: there is none, or it names no delay.
cdef int64_t attempt_retry_after_ms(const Head* head) noexcept nogil
# Take a place in the retry budget of the upstream; False: there is none.
cdef bint attempt_take_budget(Exchange* exchange) noexcept nogil
# Count a retry, or a hedge, that is not made for lack of budget.
cdef void attempt_refuse_budget(Exchange* exchange) noexcept nogil
cdef void attempt_give_budget(Exchange* exchange) noexcept nogil
