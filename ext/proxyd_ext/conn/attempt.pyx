# cython: cdivision=True
"""Rules of retries (see attempt.pxd).

    attempts    at most `retry.attempts` after the first on an upstream
    condition   the fault or the status is among `retry.when`
    repeatable  idempotent (or an Idempotency-Key is trusted), or not a byte of the request has left
    replayable  all that was sent still stands in the exchange's buffer
    budget      retries in flight at most `budget` of what is in flight on the upstream, but always `budget_min`
    deadline    the wait before the try ends before `timeout.total`

A connection that was reused and died before any byte of an answer is the keep-alive race (RFC 9112 §9.3.1): it counts for none of these but
"repeatable" and "replayable".
"""
from libc.stdint cimport uint8_t
from proxyd_ext.balance.budget cimport budget_give, budget_take
from proxyd_ext.conn.model cimport EX_IDEMPOTENT, EX_FAILED_OVER, EX_IN_FLIGHT, EX_REPLAYABLE, EX_RESPONSE_BEGUN, EX_RETRYING, EX_REUSED
from proxyd_ext.core.fault cimport FAULT_RETRY_BUDGET, FAULT_RETRY_IF_REUSED, FAULT_RETRY_SAFE
from proxyd_ext.core.hash cimport random_next
from proxyd_ext.core.slice cimport Slice, slice_of
from proxyd_ext.core.stats cimport count_add
from proxyd_ext.http1.fields cimport field_from_last
from proxyd_ext.io.poller cimport STREAM_SENT
from proxyd_ext.snapshot.compile cimport CompiledFailover, status_in

cdef enum:
    NEVER_S = 10000000        # seconds of Retry-After beyond that are as good as never


cdef bint attempt_repeatable(const Exchange* exchange) noexcept nogil:
    if exchange.flags & EX_IDEMPOTENT:
        return True
    return exchange.origin == NULL or not exchange.origin.stream.flags & STREAM_SENT


cdef int attempt_after_fault(const Exchange* exchange, const FaultInfo* info) noexcept nogil:
    cdef const CompiledRetry* retry
    if exchange.member < 0 or not exchange.flags & EX_REPLAYABLE:
        return RETRY_NO
    if exchange.flags & EX_REUSED and info.retry == FAULT_RETRY_IF_REUSED:
        return RETRY_SAME if attempt_repeatable(exchange) else RETRY_NO
    retry = &exchange.target.retry
    if exchange.retries >= retry.attempts or not info.when & retry.when:
        return RETRY_NO
    return RETRY_OTHER if info.retry == FAULT_RETRY_SAFE or attempt_repeatable(exchange) else RETRY_NO


cdef bint attempt_after_status(const Exchange* exchange, uint16_t status) noexcept nogil:
    cdef const CompiledRetry* retry = &exchange.target.retry
    return (retry.has_statuses and status_in(&retry.statuses, status) and exchange.retries < retry.attempts
            and exchange.flags & (EX_IDEMPOTENT | EX_REPLAYABLE) == (EX_IDEMPOTENT | EX_REPLAYABLE))


cdef bint attempt_failover(const Exchange* exchange, uint32_t when, bint no_server, uint16_t status) noexcept nogil:
    cdef const CompiledFailover* failover
    if exchange.route == NULL or exchange.flags & (EX_FAILED_OVER | EX_RESPONSE_BEGUN) or not exchange.flags & EX_REPLAYABLE:
        return False
    failover = &exchange.route.failover
    if not failover.active:
        return False
    if no_server and failover.no_server:
        return True
    return when & failover.when != 0 or (status != 0 and status_in(&failover.statuses, status))


cdef int64_t retry_backoff_ms(const CompiledRetry* retry, int retries, Random* random) noexcept nogil:
    """base, base × factor, base × factor² …, at most max; with full jitter a uniform draw between 0 and that (Brooker 2015)."""
    cdef int64_t ms = retry.backoff_ms
    cdef int _i
    for _i in range(retries - 1):
        ms = ms * retry.factor_percent // 100
        if ms >= retry.backoff_max_ms:
            break
    if ms > retry.backoff_max_ms:
        ms = retry.backoff_max_ms
    if retry.jitter and ms > 0:
        ms = <int64_t>(random_next(random) % <unsigned long long>(ms + 1))
    return ms


cdef int64_t attempt_backoff_ms(Exchange* exchange) noexcept nogil:
    return retry_backoff_ms(&exchange.target.retry, exchange.retries, &exchange.context.random)


cdef int64_t attempt_retry_after_ms(const Head* head) noexcept nogil:
    """RFC 9110 §10.2.3, the form in seconds; a date is taken for no wish at all."""
    cdef Slice value = field_from_last(head, slice_of(<const uint8_t*>b"retry-after", 11), 0)
    cdef int64_t seconds = 0
    cdef size_t i
    cdef uint8_t c
    for i in range(value.size):
        c = value.data[i]
        if not c'0' <= c <= c'9':
            return 0
        if seconds < NEVER_S:
            seconds = seconds * 10 + c - c'0'
    return seconds * 1000


cdef void attempt_refuse_budget(Exchange* exchange) noexcept nogil:
    count_add(&exchange.upstream.state.local[exchange.context.engine].refused, FAULT_RETRY_BUDGET, 1)


cdef bint attempt_take_budget(Exchange* exchange) noexcept nogil:
    """The share is of the exchanges on the upstream's servers now, this one included. What is taken goes back when the exchange's retries
    are over: those that wait for their turn count, too."""
    cdef const CompiledRetry* retry = &exchange.target.retry
    if exchange.flags & EX_RETRYING:
        return True
    if not budget_take(exchange.upstream.state, retry.budget_percent, retry.budget_min, exchange.flags & EX_IN_FLIGHT != 0):
        return False
    exchange.flags |= EX_RETRYING
    return True


cdef void attempt_give_budget(Exchange* exchange) noexcept nogil:
    if exchange.flags & EX_RETRYING:
        exchange.flags &= ~<uint32_t>EX_RETRYING
        budget_give(exchange.upstream.state)
