"""Routes whose steps are limits of rate, access rules and changes of fields alone (LIGHT_*), which is most routes with limits: while all
let pass, nothing is kept for the exchange's life, nothing is said, and no FilterState is needed. Who stops here begins one, and goes on in
the chain (chain_go_on).

Two forms of one loop, since the first is what a limit costs: 3 % of a request's instructions are promised (bench/instructions.py).
"""
from libc.stdint cimport int64_t, uint64_t
from proxyd_ext.core.address cimport Address
from proxyd_ext.core.shim cimport PXD_LIKELY, PXD_UNLIKELY
from proxyd_ext.filter.chain cimport Stop, access_admits, chain_sample
from proxyd_ext.filter.key cimport limit_key, limit_key_client
from proxyd_ext.filter.rules cimport FILTER_HEADERS, FILTER_RATE, FilterStep, HeadersRule, LimitRule
from proxyd_ext.filter.state cimport FilterState
from proxyd_ext.limit.rate cimport RATE_PASSED, RateTaken, rate_count, rate_take


cdef inline bint light_clients(
    const FilterStep* steps, int count, const Address* client, int64_t now_us, int engine, RateTaken* taken, Stop* stop
) noexcept nogil:
    """LIGHT_CLIENT, no sample wanted. Whether all let pass; else `stop` says where, and `taken` what limits took."""
    cdef const FilterStep* step = steps
    cdef const FilterStep* end = steps + count
    cdef const HeadersRule* headers = NULL
    cdef RateTaken* next = taken
    cdef uint64_t hash
    cdef int decision
    while step != end:
        if PXD_LIKELY(step.kind == FILTER_RATE):
            hash = limit_key_client(&step.rule.limit.key, client)
            decision = rate_take(step.rule.limit.rate, hash, now_us, next, &stop.outcome)
            if PXD_UNLIKELY(decision != RATE_PASSED):
                stop.decision = decision
                stop.hash = hash
                stop.at = <int>(step - steps)
                stop.taken = <int>(next - taken)
                stop.headers = headers
                return False
            next += 1
            rate_count(step.rule.limit.rate, engine, RATE_PASSED)
        else:
            headers = &step.rule.headers
        step += 1
    stop.headers = headers
    return True


cdef inline bint light_looking(
    const FilterStep* steps, int count, const FilterState* state, bint sample, RateTaken* taken, Stop* stop
) noexcept nogil:
    """The same of all that is light. `state`: what the caller of the chain sets, and no verdicts."""
    cdef const FilterStep* step
    cdef const LimitRule* rule
    cdef uint64_t hash
    cdef int i
    stop.headers = NULL
    stop.taken = 0
    for i in range(count):
        step = &steps[i]
        stop.at = i
        stop.decision = -1
        if step.kind == FILTER_RATE:
            rule = &step.rule.limit
            hash = limit_key(&rule.key, state)
            if hash == 0:
                continue
            stop.decision = rate_take(rule.rate, hash, state.now_us, taken + stop.taken, &stop.outcome)
            if stop.decision != RATE_PASSED:
                stop.hash = hash
                return False
            stop.taken += 1
            rate_count(rule.rate, state.engine, RATE_PASSED)
            if sample:
                chain_sample(rule, state, hash, RATE_PASSED)
        elif step.kind == FILTER_HEADERS:
            stop.headers = &step.rule.headers
        elif not access_admits(&step.rule.access, state.client):
            return False
    return True
