# cython: cdivision=True
"""logfmt has no standard, only readers; what Go's (`go-logfmt`, and with it Loki) and Heroku's agree on is taken.

It says what `json` says, under the same names, and is made from its line: so there is one list of what a record tells.  A text that
needs no quotes stands without; any other keeps JSON's quotes and escapes, which those readers undo alike.  What is no plain value (the
list `tries`) is its JSON, quoted.
"""
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.log.text cimport Out, out_of, put_byte, put_bytes


cdef inline bint _is_plain(uint8_t c) noexcept nogil:
    """Whether a value may hold it without quotes."""
    return 0x20 < c < 0x7F and c not in (c'"', c'\\', c'=')


cdef const uint8_t* _string_end(const uint8_t* at, bint* plain) noexcept nogil:
    """Behind the closing quote of the string that begins at `at`; plain: it needs no quotes."""
    cdef const uint8_t* begin = at
    plain[0] = True
    at += 1
    while at[0] != c'"':
        plain[0] = plain[0] and _is_plain(at[0])
        at += 2 if at[0] == c'\\' else 1
    plain[0] = plain[0] and at > begin + 1
    return at + 1


cdef const uint8_t* _value_end(const uint8_t* at) noexcept nogil:
    """Behind the value at `at`, whatever it is."""
    cdef int depth = 0
    cdef bint _plain
    while depth > 0 or at[0] not in (c',', c'}'):
        if at[0] == c'"':
            at = _string_end(at, &_plain)
            continue
        if at[0] in (c'[', c'{'):
            depth += 1
        elif at[0] in (c']', c'}'):
            depth -= 1
        at += 1
    return at


cdef void _put_nested(Out* o, const uint8_t* at, const uint8_t* end) noexcept nogil:
    put_byte(o, c'"')
    while at < end:
        if at[0] == c'"' or at[0] == c'\\':
            put_byte(o, c'\\')
        put_byte(o, at[0])
        at += 1
    put_byte(o, c'"')


cdef const uint8_t* _put_value(Out* o, const uint8_t* at) noexcept nogil:
    cdef const uint8_t* end = _value_end(at)
    cdef bint plain
    if at[0] == c'"':
        _string_end(at, &plain)
        put_bytes(o, at + plain, end - at - 2 * plain)
    elif at[0] == c'[' or at[0] == c'{':
        _put_nested(o, at, end)
    else:
        put_bytes(o, at, end - at)
    return end


cdef size_t logfmt_of(const uint8_t* json, size_t size, uint8_t* out, size_t cap) noexcept nogil:
    cdef Out line = out_of(out, cap)
    cdef Out* o = &line
    cdef const uint8_t* at = json
    cdef const uint8_t* end
    cdef bint _plain
    INVARIANT(size > 2 and json[0] == c'{' and json[size - 2] == c'}')
    while at[0] != c'}':    # at the brace or comma before a name
        if at > json:
            put_byte(o, c' ')
        end = _string_end(at + 1, &_plain)
        put_bytes(o, at + 2, end - at - 3)
        put_byte(o, c'=')
        at = _put_value(o, end + 1)
    put_byte(o, c'\n')
    return 0 if o.full else o.at - out


def respelled(bytes json not None):
    """A line of JSON, a flat object, as logfmt; for tests and tools."""
    cdef size_t cap = 2 * len(json)    # quoting what is nested escapes a byte at most
    cdef uint8_t* out = <uint8_t*>malloc(cap)
    cdef size_t size
    if out == NULL:
        raise MemoryError
    try:
        size = logfmt_of(<const uint8_t*><const char*>json, len(json), out, cap)
        return (<const char*>out)[:size]
    finally:
        free(out)
