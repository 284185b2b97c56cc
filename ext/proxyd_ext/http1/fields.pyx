"""Finding values by name (see fields.pxd)."""
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp
from proxyd_ext.core.slice cimport slice_empty, slice_equals_nocase, slice_of
from proxyd_ext.http1.head cimport FIELD_COOKIE, MAX_FIELDS, Field, HeadLimits, parse_request_head


cdef Slice field_from_last(const Head* head, Slice name, int number) noexcept nogil:
    cdef int i = head.field_count - 1
    cdef const Field* field
    while i >= 0:
        field = &head.fields[i]
        if slice_equals_nocase(slice_of(head.base + field.name, field.name_size), name):
            if number == 0:
                return slice_of(head.base + field.value, field.value_size)
            number -= 1
        i -= 1
    return slice_empty()


cdef Slice cookie_value(const Head* head, Slice name) noexcept nogil:
    cdef Slice list
    cdef size_t at, end, equals
    cdef int i
    for i in range(head.field_count):
        if head.fields[i].id != FIELD_COOKIE:
            continue
        list = slice_of(head.base + head.fields[i].value, head.fields[i].value_size)
        at = 0
        while at < list.size:
            while at < list.size and (list.data[at] == c' ' or list.data[at] == c';'):
                at += 1
            end = at
            while end < list.size and list.data[end] != c';':
                end += 1
            equals = at
            while equals < end and list.data[equals] != c'=':
                equals += 1
            if equals < end and equals - at == name.size and memcmp(list.data + at, name.data, name.size) == 0:
                return slice_of(list.data + equals + 1, end - equals - 1)
            at = end
    return slice_empty()


cdef Slice parameter_next(Slice query, Slice name, size_t* at) noexcept nogil:
    cdef size_t start, end, equals
    while at[0] < query.size:
        start = end = at[0]
        while end < query.size and query.data[end] != c'&':
            end += 1
        equals = start
        while equals < end and query.data[equals] != c'=':
            equals += 1
        at[0] = end + 1
        if equals - start == name.size and memcmp(query.data + start, name.data, name.size) == 0:
            return slice_of(query.data + equals + 1, end - equals - 1) if equals < end else slice_of(query.data + end, 0)
    return slice_empty()


# ---- for tests and tools

cdef object _bytes_or_none(Slice s):
    return None if s.data == NULL else <bytes>s.data[:s.size]


cdef Slice _slice(bytes text):
    return slice_of(<const unsigned char*><const char*>text, len(text))


def find_cookie(bytes head not None, bytes name not None) -> bytes | None:
    """cookie_value of a request head; ValueError where that is refused."""
    cdef HeadLimits limits
    cdef size_t scanned = 0
    cdef Head* parsed = <Head*>malloc(sizeof(Head))
    limits.head_size, limits.uri_length, limits.field_count = 1 << 16, 1 << 16, MAX_FIELDS
    if parsed == NULL:
        raise MemoryError
    try:
        if parse_request_head(_slice(head).data, len(head), &scanned, &limits, parsed) <= 0:
            raise ValueError("not a request head")
        return _bytes_or_none(cookie_value(parsed, _slice(name)))
    finally:
        free(parsed)


def find_parameters(bytes query not None, bytes name not None) -> list[bytes]:
    """All that parameter_next gives."""
    cdef size_t at = 0
    cdef Slice value
    found = []
    while True:
        value = parameter_next(_slice(query), _slice(name), &at)
        if value.data == NULL:
            return found
        found.append(_bytes_or_none(value))
