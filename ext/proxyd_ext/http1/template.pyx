"""Filling in templates (see template.pxd).

A rewritten path is made normal while it is written: literal parts were made so when they were compiled, {path} and {rest} are, and other
values are settled byte by byte. What can still be wrong then is a dot segment, which one look at the result tells.
"""
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy
from proxyd_ext.core.fault cimport FAULT_PATH_INVALID, FAULT_URI_TOO_LONG
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport ascii_lower, slice_empty, slice_of
from proxyd_ext.http1.fields cimport parameter_next
from proxyd_ext.http1.path cimport path_is_normal
from proxyd_ext.http1.scan cimport PXD_PATH, PXD_UNRESERVED, pxd_class

PART_KINDS = {"text": PART_TEXT, "scheme": PART_SCHEME, "host": PART_HOST, "path": PART_PATH, "query": PART_QUERY, "rest": PART_REST,
              "parameter": PART_PARAMETER, "status": PART_STATUS, "reason": PART_REASON, "message": PART_MESSAGE,
              "request_id": PART_REQUEST_ID}

cdef const char* _HEX = "0123456789ABCDEF"


cdef struct Writer:
    uint8_t* start
    uint8_t* at
    uint8_t* end
    int fault                 # FAULT_*: nothing more is written


cdef Slice _value(const TemplatePart* part, const TemplateValues* values) noexcept nogil:
    if part.kind == PART_TEXT:
        return part.text
    if part.kind == PART_SCHEME:
        return values.scheme
    if part.kind == PART_HOST:
        return values.host
    if part.kind == PART_PATH:
        return values.path
    INVARIANT(part.kind == PART_QUERY)
    return values.query


cdef size_t template_room(const Template* template, const TemplateValues* values) noexcept nogil:
    cdef size_t room = 0
    cdef int i
    for i in range(template.count):
        room += _value(&template.parts[i], values).size + 1
    return room


cdef size_t template_write(const Template* template, const TemplateValues* values, uint8_t* out) noexcept nogil:
    cdef uint8_t* at = out
    cdef Slice value
    cdef int i
    for i in range(template.count):
        value = _value(&template.parts[i], values)
        if template.parts[i].kind == PART_QUERY and value.data != NULL:
            at[0] = c'?'
            at += 1
        if value.size:
            memcpy(at, value.data, value.size)
            at += value.size
    return at - out


# ---- rewritten paths ----

cdef inline int _digit(uint8_t c) noexcept nogil:
    if c'0' <= c <= c'9':
        return c - c'0'
    c = ascii_lower(c)
    return c - c'a' + 10 if c'a' <= c <= c'f' else -1


cdef inline void _put(Writer* w, const uint8_t* data, size_t size) noexcept nogil:
    if w.fault:
        return
    if size > <size_t>(w.end - w.at):
        w.fault = FAULT_URI_TOO_LONG
        return
    memcpy(w.at, data, size)
    w.at += size


cdef inline void _put_byte(Writer* w, int c) noexcept nogil:
    """A byte of a value: as it is where a path may hold it, else escaped."""
    cdef uint8_t[3] escape
    escape[0] = <uint8_t>c
    if pxd_class[c] & PXD_PATH:
        _put(w, escape, 1)
        return
    escape[0] = c'%'
    escape[1] = _HEX[c >> 4]
    escape[2] = _HEX[c & 15]
    _put(w, escape, 3)


cdef inline void _put_parameter(Writer* w, Slice value) noexcept nogil:
    """A raw value: escapes stay escapes, in normal form."""
    cdef size_t i = 0
    cdef int high, low
    while i < value.size:
        if value.data[i] != c'%':
            _put_byte(w, value.data[i])
            i += 1
            continue
        high = _digit(value.data[i + 1]) if i + 2 < value.size else -1
        low = _digit(value.data[i + 2]) if i + 2 < value.size else -1
        if high < 0 or low < 0 or high + low == 0:
            w.fault = FAULT_PATH_INVALID
            return
        if pxd_class[high * 16 + low] & PXD_UNRESERVED:
            _put_byte(w, high * 16 + low)
        else:
            _put(w, <const uint8_t*>b"%", 1)
            _put(w, <const uint8_t*>&_HEX[high], 1)
            _put(w, <const uint8_t*>&_HEX[low], 1)
        i += 3


cdef inline Slice _joined(const Writer* w, Slice value) noexcept nogil:
    """The value without its first '/' where one stands already."""
    if value.size and value.data[0] == c'/' and w.at[-1] == c'/':
        return slice_of(value.data + 1, value.size - 1)
    return value


cdef bint _rest(const Rewrite* rewrite, Slice path, Slice* rest) noexcept nogil:
    """Whether `strip` is a prefix of the path by whole segments, and what follows it."""
    cdef size_t size = rewrite.strip.size
    if path.size < size or size and memcmp(path.data, rewrite.strip.data, size) != 0:
        return False
    rest[0] = slice_of(path.data + size, path.size - size)
    return rest.data[0] == c'/' if rest.size else not rewrite.deep


cdef int rewrite_path(const Rewrite* rewrite, const TemplateValues* values, uint8_t* out, size_t cap) noexcept nogil:
    cdef Writer w
    cdef Slice rest = slice_empty(), value
    cdef const TemplatePart* part
    cdef size_t k, at
    cdef int i
    w.start = w.at = out
    w.end = out + cap
    w.fault = 0
    if values.path.size == 0 or values.path.data[0] != c'/' or not _rest(rewrite, values.path, &rest):
        _put(&w, values.path.data, values.path.size)
        return -w.fault if w.fault else <int>(w.at - w.start)
    _put(&w, <const uint8_t*>b"/", 1)
    if w.fault:
        return -w.fault
    if rewrite.path.count == 0:
        value = _joined(&w, rest)
        _put(&w, value.data, value.size)
    for i in range(rewrite.path.count):
        part = &rewrite.path.parts[i]
        if part.kind == PART_PARAMETER:
            at = 0
            _put_parameter(&w, _joined(&w, parameter_next(values.query, part.text, &at)))
        elif part.kind == PART_HOST:
            for k in range(values.host.size):
                _put_byte(&w, ascii_lower(values.host.data[k]))   # one host, one path
        else:
            value = _joined(&w, rest if part.kind == PART_REST else _value(part, values))
            _put(&w, value.data, value.size)
    if w.fault:
        return -w.fault
    return <int>(w.at - w.start) if path_is_normal(slice_of(w.start, w.at - w.start)) else -FAULT_PATH_INVALID


# ---- for tests and tools

def rewritten(parts, bytes strip, bint deep, bytes path, bytes host=b"test", bytes query=None, int cap=32768) -> bytes | int:
    """rewrite_path into a block of exactly `cap` bytes, with a path in normal form: the new path or -FAULT_*."""
    cdef Rewrite rewrite
    cdef TemplateValues values
    cdef uint8_t* out = <uint8_t*>malloc(cap)
    cdef int rc
    held = [(PART_KINDS[kind], text) for kind, text in parts]
    rewrite.strip = slice_of(strip, len(strip))
    rewrite.deep = deep
    rewrite.host = slice_empty()
    rewrite.path.count = 0
    for kind, text in held:
        rewrite.path.parts[rewrite.path.count].kind = kind
        rewrite.path.parts[rewrite.path.count].text = slice_of(<const uint8_t*><bytes>text, len(text))
        rewrite.path.count += 1
    values.scheme = slice_empty()
    values.host = slice_of(host, len(host))
    values.path = slice_of(path, len(path))
    values.query = slice_empty() if query is None else slice_of(<const uint8_t*>query, len(query))
    try:
        if out == NULL:
            raise MemoryError
        with nogil:
            rc = rewrite_path(&rewrite, &values, out, cap)
        return rc if rc < 0 else <bytes>out[:rc]
    finally:
        free(out)
