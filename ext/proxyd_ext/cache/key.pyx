# cython: cdivision=True
"""Writing keys (see key.pxd)."""
from libc.string cimport memchr, memcmp, memcpy
from proxyd_ext.core.slice cimport slice_empty, slice_of
from proxyd_ext.http1.fields cimport cookie_value, field_from_last, parameter_next

cdef enum:
    APART = 0x1f              # in front of a list of values; each tells its own length, so that none can pass for two


ctypedef struct Out:
    uint8_t* at
    uint8_t* end
    bint full


cdef inline void _put(Out* out, Slice s) noexcept nogil:
    if <size_t>(out.end - out.at) < s.size:
        out.full = True
        return
    if s.size:
        memcpy(out.at, s.data, s.size)
        out.at += s.size


cdef inline void _byte(Out* out, uint8_t c) noexcept nogil:
    if out.at == out.end:
        out.full = True
        return
    out.at[0] = c
    out.at += 1


cdef void _value(Out* out, Slice s) noexcept nogil:
    """A value by its length, so that it can contain anything; absent is not the same as empty."""
    cdef size_t size = s.size
    if s.data == NULL:
        _byte(out, c'-')
        return
    _byte(out, c'+')
    while size >= 128:
        _byte(out, <uint8_t>(size & 127 | 128))
        size >>= 7
    _byte(out, <uint8_t>size)
    _put(out, s)


cdef void _parameters(Out* out, const KeyPart* part, Slice query) noexcept nogil:
    cdef Slice value
    cdef size_t at
    cdef int i
    for i in range(part.name_count):
        _byte(out, APART)
        at = 0
        value = parameter_next(query, part.names[i], &at)
        while value.data != NULL:
            _value(out, value)
            value = parameter_next(query, part.names[i], &at)


cdef void _field(Out* out, Slice name, const Head* head) noexcept nogil:
    """All lines of that name: one that comes twice is another key."""
    cdef Slice value = field_from_last(head, name, 0)
    cdef int i = 0
    _byte(out, APART)
    while value.data != NULL:
        _value(out, value)
        i += 1
        value = field_from_last(head, name, i)


cdef int key_write(const KeyRecipe* recipe, Slice zone, const Url* url, const Head* head, uint8_t* start, size_t cap) noexcept nogil:
    cdef Out out
    cdef const KeyPart* part
    cdef int i, size
    out.at = start
    out.end = start + cap
    out.full = False
    _put(&out, zone)
    _byte(&out, 0)
    if out.full:
        return -1
    if recipe.plain:
        size = url_write(url, out.at, out.end - out.at)
        return <int>(out.at - start) + size if size >= 0 else -1
    for i in range(recipe.count):
        part = &recipe.parts[i]
        if part.kind == KEY_SCHEME:
            _value(&out, url.scheme)
        elif part.kind == KEY_AUTHORITY:
            _value(&out, url.authority)
        elif part.kind == KEY_PATH:
            _value(&out, url.path)
        elif part.kind == KEY_QUERY:
            _value(&out, url.query)
        elif part.kind == KEY_PARAMETERS:
            _parameters(&out, part, url.query)
        elif head == NULL:
            break
        elif part.kind == KEY_FIELD:
            _field(&out, part.names[0], head)
        else:
            _byte(&out, APART)
            _value(&out, cookie_value(head, part.names[0]))
    return -1 if out.full else <int>(out.at - start)


cdef int url_write(const Url* url, uint8_t* start, size_t cap) noexcept nogil:
    cdef Out out
    out.at = start
    out.end = start + cap
    out.full = False
    _put(&out, url.scheme)
    _put(&out, slice_of(<const uint8_t*>b"://", 3))
    _put(&out, url.authority)
    _put(&out, url.path)
    if url.query.data != NULL:
        _byte(&out, c'?')
        _put(&out, url.query)
    return -1 if out.full else <int>(out.at - start)


cdef size_t authority_write(Slice scheme, Slice authority, uint8_t* out) noexcept nogil:
    cdef size_t i, size = authority.size
    cdef uint8_t c
    cdef const char* port = ":443" if scheme.size == 5 else ":80"
    cdef size_t port_size = 4 if scheme.size == 5 else 3
    if size > port_size and memcmp(authority.data + size - port_size, port,
                                   port_size) == 0 and authority.data[size - port_size - 1] != c':':
        size -= port_size
    for i in range(size):
        c = authority.data[i]
        out[i] = c + 32 if c'A' <= c <= c'Z' else c
    # The dot of a fully qualified name stays: the server is sent it, and may answer it otherwise ("no such site").
    return size


cdef bint url_read(Slice text, Url* out, uint8_t* scratch) noexcept nogil:
    cdef const uint8_t* end = text.data + text.size
    cdef const uint8_t* at
    cdef const uint8_t* slash
    cdef const uint8_t* mark
    if text.size > 7 and memcmp(text.data, b"http://", 7) == 0:
        out.scheme = slice_of(text.data, 4)
        at = text.data + 7
    elif text.size > 8 and memcmp(text.data, b"https://", 8) == 0:
        out.scheme = slice_of(text.data, 5)
        at = text.data + 8
    else:
        return False
    mark = <const uint8_t*>memchr(at, c'#', end - at)
    if mark != NULL:
        end = mark
    mark = <const uint8_t*>memchr(at, c'?', end - at)
    slash = <const uint8_t*>memchr(at, c'/', (mark if mark != NULL else end) - at)
    out.query = slice_of(mark + 1, end - mark - 1) if mark != NULL else slice_empty()
    if mark == NULL:
        mark = end
    if slash == NULL:
        slash = mark
        scratch[text.size] = c'/'
        out.path = slice_of(scratch + text.size, 1)
    else:
        out.path = slice_of(slash, mark - slash)
    if slash == at:
        return False
    out.authority = slice_of(scratch, authority_write(out.scheme, slice_of(at, slash - at), scratch))
    return out.authority.size > 0
