"""Running the steps of a route (see chain.pxd)."""
from libc.stdint cimport uint8_t
from libc.string cimport memchr
from proxyd_ext.core.address cimport network_contains
from proxyd_ext.core.fault cimport FAULT_DENIED
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport ascii_lower, slice_of
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
            state.request_drop = step.request_drop
            state.response_lines = step.response_lines
            state.response_drop = step.response_drop
    return CHAIN_CONTINUE


cdef bint _next_name(Slice* names, Slice* name) noexcept nogil:
    """Cut the first name off."""
    cdef const uint8_t* end
    if names.size == 0:
        return False
    end = <const uint8_t*>memchr(names.data, c'\n', names.size)
    INVARIANT(end != NULL)   # the control plane wrote these names
    name[0] = slice_of(names.data, end - names.data)
    names[0] = slice_of(end + 1, names.size - name.size - 1)
    return True


cdef bint _is_named(Slice field, Slice name) noexcept nogil:
    cdef size_t i
    cdef uint8_t c
    if field.size != name.size:
        return False
    for i in range(field.size):
        c = ascii_lower(field.data[i])
        if c != name.data[i] and not (c == c'_' and name.data[i] == c'-'):
            return False
    return True


cdef uint64_t drop_fields(Head* head, Slice names) noexcept nogil:
    cdef Slice name
    cdef uint64_t known = 0
    cdef int i
    while _next_name(&names, &name):
        known |= field_bit(field_id(name.data, name.size))
        for i in range(head.field_count):
            if _is_named(slice_of(head.base + head.fields[i].name, head.fields[i].name_size), name):
                head.fields[i].hop = 1
    return known & ~field_bit(FIELD_OTHER)


cdef bint names_have(Slice names, Slice name) noexcept nogil:
    cdef Slice one
    while _next_name(&names, &one):
        if _is_named(name, one):
            return True
    return False
