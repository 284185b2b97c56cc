"""Running the steps of a route (see chain.pxd)."""
from proxyd_ext.core.address cimport network_contains
from proxyd_ext.core.fault cimport FAULT_DENIED
from proxyd_ext.core.shim cimport INVARIANT


cdef bint _admits(const FilterStep* step, const Address* client) noexcept nogil:
    """The longest prefix that contains the client decides; networks stand in that order."""
    cdef int i
    for i in range(step.network_count):
        if network_contains(&step.networks[i], client):
            return step.networks[i].allow
    return step.default_allow


cdef int chain_run(const FilterStep* steps, int count, FilterState* state) noexcept nogil:
    cdef const FilterStep* step
    while state.at < count:
        step = &steps[state.at]
        state.at += 1
        if step.kind == FILTER_ACCESS:
            if not _admits(step, state.client):
                return -FAULT_DENIED
        else:
            INVARIANT(step.kind == FILTER_HEADERS)
            state.request_lines = step.request_lines
            state.response_lines = step.response_lines
    return CHAIN_CONTINUE
