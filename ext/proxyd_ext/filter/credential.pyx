"""Where the credential of a request is (see credential.pxd)."""
from libc.stdint cimport uint8_t
from libc.string cimport memcpy
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport ascii_lower, slice_empty, slice_of
from proxyd_ext.filter.chain cimport CHAIN_SCRATCH
from proxyd_ext.filter.rules cimport SOURCE_BASIC, SOURCE_BEARER, SOURCE_COOKIE, SOURCE_FIELDS, SOURCE_HEADER, SOURCE_QUERY
from proxyd_ext.http1.fields cimport cookie_value, field_from_last, parameter_next
from proxyd_ext.http1.head cimport Head


cdef Slice _field_once(const Head* head, Slice name) noexcept nogil:
    if field_from_last(head, name, 1).data != NULL:
        return slice_empty()
    return field_from_last(head, name, 0)


cdef Slice _of_scheme(const Head* head, const char* scheme, size_t size) noexcept nogil:
    """What stands behind the name of the scheme in Authorization (RFC 9110 section 11.6.2); the name in any case, then spaces."""
    cdef Slice value = _field_once(head, slice_of(<const uint8_t*>b"authorization", 13))
    cdef size_t i
    if value.size <= size or value.data[size] != c' ':
        return slice_empty()
    for i in range(size):
        if ascii_lower(value.data[i]) != <uint8_t>scheme[i]:
            return slice_empty()
    i = size
    while i < value.size and value.data[i] == c' ':
        i += 1
    return slice_of(value.data + i, value.size - i) if i < value.size else slice_empty()


cdef bint _put(uint8_t* out, size_t* at, Slice text) noexcept nogil:
    """The text and its end. False: no room."""
    if text.size + 2 > CHAIN_SCRATCH - at[0]:
        return False
    if text.size:
        memcpy(out + at[0], text.data, text.size)
    at[0] += text.size
    out[at[0]] = c'\n'        # a field holds none
    at[0] += 1
    return True


cdef Slice _fields(const AuthRule* rule, FilterState* state) noexcept nogil:
    """All values of the fields in order, each named by its number, so that no two requests with different fields look alike."""
    cdef size_t at = 0
    cdef uint8_t mark
    cdef Slice value
    cdef int i, number
    if rule.per_target and not (_put(state.scratch, &at, state.head.method_text) and _put(state.scratch, &at, state.host)
                                and _put(state.scratch, &at, state.path) and _put(state.scratch, &at, state.query)):
        return slice_empty()
    for i in range(rule.field_count):
        number = 0
        while True:
            value = field_from_last(state.head, rule.fields[i], number)
            if value.data == NULL:
                break
            mark = <uint8_t>(i + 1)
            if not _put(state.scratch, &at, slice_of(&mark, 1)) or not _put(state.scratch, &at, value):
                return slice_empty()
            number += 1
    return slice_of(state.scratch, at)      # of no field at all: a credential, too, namely the empty one


cdef Slice credential_find(const AuthRule* rule, FilterState* state) noexcept nogil:
    cdef size_t at = 0
    cdef Slice found, second
    if rule.source == SOURCE_BEARER:
        return _of_scheme(state.head, b"bearer", 6)
    if rule.source == SOURCE_BASIC:
        return _of_scheme(state.head, b"basic", 5)
    if rule.source == SOURCE_FIELDS:
        return _fields(rule, state)
    if rule.source == SOURCE_HEADER:
        found = _field_once(state.head, rule.name)
    elif rule.source == SOURCE_COOKIE:
        found = cookie_value(state.head, rule.name)
    else:
        INVARIANT(rule.source == SOURCE_QUERY)
        found = parameter_next(state.query, rule.name, &at)
        second = parameter_next(state.query, rule.name, &at)
        if second.data != NULL:
            return slice_empty()
    return found if found.size else slice_empty()
