"""Running the steps of a route (see chain.pxd)."""
from libc.stdint cimport uint8_t
from libc.string cimport memchr
from proxyd_ext.core.address cimport network_contains
from proxyd_ext.core.fault cimport FAULT_DENIED
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport slice_equals_nocase, slice_of
from proxyd_ext.http1.head cimport FIELD_OTHER
from proxyd_ext.http1.names cimport field_bit, field_id


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


cdef uint64_t replace_fields(Head* head, Slice lines) noexcept nogil:
    cdef const uint8_t* at = lines.data
    cdef const uint8_t* end = lines.data + lines.size
    cdef const uint8_t* colon
    cdef Slice name
    cdef uint64_t known = 0
    cdef int i
    while at < end:
        colon = <const uint8_t*>memchr(at, c':', end - at)
        INVARIANT(colon != NULL)   # the control plane wrote these lines
        name = slice_of(at, colon - at)
        known |= field_bit(field_id(name.data, name.size))
        for i in range(head.field_count):
            if slice_equals_nocase(slice_of(head.base + head.fields[i].name, head.fields[i].name_size), name):
                head.fields[i].hop = 1
        at = <const uint8_t*>memchr(colon, c'\n', end - colon)
        INVARIANT(at != NULL)
        at += 1
    return known & ~field_bit(FIELD_OTHER)
