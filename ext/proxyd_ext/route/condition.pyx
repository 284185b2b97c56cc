"""Whether conditions hold (see condition.pxd).

A field or a parameter may come several times: its condition is fulfilled when one of the values fulfils it.  `negate` turns the result as a
whole, so that "not x" also holds where there is none.  Of cookies with one name the first counts, as it does for the keys of balancers.
"""
from libc.stdint cimport uint64_t
from libc.string cimport memcmp
from proxyd_ext.core.address cimport network_contains
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport slice_equals_nocase, slice_of
from proxyd_ext.http1.fields cimport cookie_value, parameter_next
from proxyd_ext.http1.head cimport Field
from proxyd_ext.route.regex cimport regex_search


cdef bint _same(const RouteCondition* condition, Slice part) noexcept nogil:
    """Host names know no case, all else does.  `part` has the size of the condition's value."""
    if condition.of == ROUTE_MISS_HOST:
        return slice_equals_nocase(part, condition.value)
    return part.size == 0 or memcmp(part.data, condition.value.data, part.size) == 0


cdef bint _fits(const RouteCondition* condition, Slice value) noexcept nogil:
    cdef uint64_t steps = 0
    cdef size_t size = condition.value.size
    if condition.test == TEST_PRESENT:
        return True
    if condition.test == TEST_REGEX:
        return regex_search(condition.regex, value, &steps)
    if value.size < size:
        return False
    if condition.test == TEST_EXACT:
        return value.size == size and _same(condition, value)
    if condition.test == TEST_PREFIX:
        return _same(condition, slice_of(value.data, size))
    INVARIANT(condition.test == TEST_SUFFIX)
    return _same(condition, slice_of(value.data + value.size - size, size))


cdef bint _field_fits(const RouteCondition* condition, const Head* head) noexcept nogil:
    cdef const Field* field
    cdef int i
    for i in range(head.field_count):
        field = &head.fields[i]
        if (slice_equals_nocase(slice_of(head.base + field.name, field.name_size), condition.name)
                and _fits(condition, slice_of(head.base + field.value, field.value_size))):
            return True
    return False


cdef bint _parameter_fits(const RouteCondition* condition, Slice query) noexcept nogil:
    cdef size_t at = 0
    cdef Slice value = parameter_next(query, condition.name, &at)
    while value.data != NULL:
        if _fits(condition, value):
            return True
        value = parameter_next(query, condition.name, &at)
    return False


cdef bint _in_networks(const RouteCondition* condition, const Address* client) noexcept nogil:
    cdef int i
    for i in range(condition.network_count):
        if network_contains(&condition.networks[i], client):
            return True
    return False


cdef bint _holds(const RouteCondition* condition, const RouteInput* asked) noexcept nogil:
    cdef bint result
    cdef Slice value
    if condition.of == ROUTE_MISS_HEADER:
        result = asked.head != NULL and _field_fits(condition, asked.head)
    elif condition.of == ROUTE_MISS_PATH:
        result = _fits(condition, asked.path)
    elif condition.of == ROUTE_MISS_QUERY:
        result = _parameter_fits(condition, asked.query)
    elif condition.of == ROUTE_MISS_COOKIE:
        result = False
        if asked.head != NULL:
            value = cookie_value(asked.head, condition.name)
            result = value.data != NULL and _fits(condition, value)
    elif condition.of == ROUTE_MISS_SOURCE:
        result = asked.client != NULL and _in_networks(condition, asked.client)
    else:
        INVARIANT(condition.of == ROUTE_MISS_HOST)
        result = _fits(condition, host_without_dot(asked.host))
    return result != condition.negate


cdef bint conditions_hold(const RouteCondition* conditions, int count, const RouteInput* asked) noexcept nogil:
    cdef int i
    for i in range(count):
        if not _holds(&conditions[i], asked):
            return False
    return True


cdef int conditions_missed(const RouteCondition* conditions, int count, const RouteInput* asked) noexcept nogil:
    cdef int i, missed = 0
    for i in range(count):
        if not _holds(&conditions[i], asked):
            missed |= conditions[i].of
    return missed
