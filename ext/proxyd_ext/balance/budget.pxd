"""The retry budget of an upstream: tries after the first that are under way, as a share of what is on its servers now."""
from libc.stdint cimport int64_t
from proxyd_ext.balance.pool cimport UpstreamData
from proxyd_ext.core.shim cimport fetch_add_i64, load_i64


cdef inline bint budget_take(UpstreamData* state, int64_t percent, int64_t least, bint counted) noexcept nogil:
    """A place for one more, until budget_give. `counted`: who asks is in flight on the upstream. False: there is none."""
    cdef int64_t most = (load_i64(&state.in_flight) + (0 if counted else 1)) * percent // 100
    if most < least:
        most = least
    if fetch_add_i64(&state.retrying, 1) >= most:
        fetch_add_i64(&state.retrying, -1)
        return False
    return True


cdef inline void budget_give(UpstreamData* state) noexcept nogil:
    fetch_add_i64(&state.retrying, -1)
