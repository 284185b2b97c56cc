"""Stored field lines (see merge.pxd)."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcpy
from proxyd_ext.cache.probe cimport OwnHead, bytes_slice, own_head
from proxyd_ext.core.slice cimport Slice, slice_equals_nocase, slice_of
from proxyd_ext.http1.head cimport (
    FIELD_AGE, FIELD_CONTENT_ENCODING, FIELD_CONTENT_LENGTH, FIELD_CONTENT_RANGE, FIELD_CONTENT_TYPE, FIELD_DATE, FIELD_OTHER,
    FIELD_SET_COOKIE, FIELD_TRAILER, Field, Head,
)
from proxyd_ext.http1.names cimport field_bit, field_id
from proxyd_ext.http1.rewrite cimport write_http_date


cdef struct Writer:
    uint8_t* out      # NULL: only count
    size_t cap        # bytes of out
    size_t size       # written, or what would have been


cdef inline void _put(Writer* w, const void* data, size_t size) noexcept nogil:
    if w.out != NULL and w.size <= w.cap and size <= w.cap - w.size and size:
        memcpy(w.out + w.size, data, size)
    w.size += size


cdef inline int _written(const Writer* w) noexcept nogil:
    if w.size > 0x7FFFFFFF or (w.out != NULL and w.size > w.cap):
        return -1
    return <int>w.size


cdef void _put_field(Writer* w, const Head* head, const Field* field) noexcept nogil:
    _put(w, head.base + field.name, field.name_size)
    _put(w, <const char*>b": ", 2)
    _put(w, head.base + field.value, field.value_size)
    _put(w, <const char*>b"\r\n", 2)


cdef void _put_date(Writer* w, int64_t now_s) noexcept nogil:
    cdef uint8_t[29] date
    write_http_date(<uint64_t>now_s if now_s > 0 else 0, date)
    _put(w, <const char*>b"Date: ", 6)
    _put(w, date, 29)
    _put(w, <const char*>b"\r\n", 2)


cdef inline bint _is_kept(const Head* head, const Field* field, uint64_t drop) noexcept nogil:
    """Is it none of a connection's or a proxy's (RFC 9111 §3.1; Proxy-Authenticate and -Authorization are `hop`), and not in `drop`?"""
    if field.hop or drop >> field.id & 1:
        return False
    return field.id != FIELD_OTHER or field.name_size != 25 or not slice_equals_nocase(
        slice_of(head.base + field.name, 25), slice_of(<const uint8_t*>b"proxy-authentication-info", 25))


cdef inline bint _has_date(const Head* head) noexcept nogil:
    cdef uint16_t at = head.first[FIELD_DATE]
    return at != 0 and not head.fields[at - 1].hop


cdef int storable_lines(const Head* answer, int64_t now_s, bint strip_set_cookie, uint8_t* out, size_t cap) noexcept nogil:
    cdef uint64_t drop = field_bit(FIELD_AGE) | field_bit(FIELD_CONTENT_LENGTH) | field_bit(FIELD_TRAILER)
    cdef Writer w
    cdef uint32_t i
    w.out, w.cap, w.size = out, cap, 0
    if strip_set_cookie:
        drop |= field_bit(FIELD_SET_COOKIE)
    for i in range(answer.field_count):
        if _is_kept(answer, &answer.fields[i], drop):
            _put_field(&w, answer, &answer.fields[i])
    if not _has_date(answer):
        _put_date(&w, now_s)
    return _written(&w)


cdef inline uint64_t _not_merged() noexcept nogil:
    return (field_bit(FIELD_AGE) | field_bit(FIELD_CONTENT_ENCODING) | field_bit(FIELD_CONTENT_LENGTH) | field_bit(FIELD_CONTENT_RANGE)
            | field_bit(FIELD_CONTENT_TYPE) | field_bit(FIELD_SET_COOKIE) | field_bit(FIELD_TRAILER))


cdef bint _is_replaced(Slice name, const Head* update) noexcept nogil:
    """Does the 304 bring this field?  A Date is always new: without one, the 304 was made when it was received."""
    cdef uint8_t id = field_id(name.data, name.size)
    cdef const Field* field
    cdef uint32_t i
    if id != FIELD_OTHER:
        return id == FIELD_DATE or (not _not_merged() >> id & 1 and update.first[id] != 0 and not update.fields[update.first[id] - 1].hop)
    for i in range(update.field_count):
        field = &update.fields[i]
        if (field.id == FIELD_OTHER and field.name_size == name.size and _is_kept(update, field, 0)
                and slice_equals_nocase(slice_of(update.base + field.name, field.name_size), name)):
            return True
    return False


cdef int merge_lines(Slice stored, const Head* not_modified, int64_t now_s, uint8_t* out, size_t cap) noexcept nogil:
    cdef const uint8_t* p = stored.data
    cdef const uint8_t* end = stored.data + stored.size
    cdef const uint8_t* colon
    cdef const uint8_t* feed
    cdef Writer w
    cdef uint32_t i
    w.out, w.cap, w.size = out, cap, 0
    while p < end:
        feed = <const uint8_t*>memchr(p, c'\n', end - p)
        feed = end if feed == NULL else feed + 1
        colon = <const uint8_t*>memchr(p, c':', feed - p)
        if colon == NULL or not _is_replaced(slice_of(p, colon - p), not_modified):
            _put(&w, p, feed - p)
        p = feed
    for i in range(not_modified.field_count):
        if _is_kept(not_modified, &not_modified.fields[i], _not_merged()):
            _put_field(&w, not_modified, &not_modified.fields[i])
    if not _has_date(not_modified):
        _put_date(&w, now_s)
    return _written(&w)


# ---- for tests and tools

cdef int _write(const Head* head, Slice stored, int64_t now_s, bint strip, uint8_t* out, size_t cap) noexcept nogil:
    """merge_lines where there are stored ones, storable_lines else."""
    return storable_lines(head, now_s, strip, out, cap) if stored.data == NULL else merge_lines(stored, head, now_s, out, cap)


cdef object _into_block(bytes head, bytes stored, int64_t now_s, bint strip, object cap):
    cdef OwnHead* own = own_head(head, True)
    cdef Slice lines = bytes_slice(stored)
    cdef int n = _write(&own.head, lines, now_s, strip, NULL, 0)
    cdef size_t room = n if cap is None else cap
    cdef uint8_t* out = <uint8_t*>malloc(room)
    if out == NULL:
        free(own)
        raise MemoryError
    with nogil:
        n = _write(&own.head, lines, now_s, strip, out, room)
    written = n if n < 0 else <bytes>out[:n]
    free(out)
    free(own)
    return written


def stored_lines(bytes answer not None, int64_t now_s, *, bint strip_set_cookie=False, cap: int | None = None) -> bytes | int:
    """storable_lines into a block of `cap` bytes."""
    return _into_block(answer, None, now_s, strip_set_cookie, cap)


def freshened_lines(bytes stored not None, bytes not_modified not None, int64_t now_s, *, cap: int | None = None) -> bytes | int:
    """merge_lines into a block of `cap` bytes."""
    return _into_block(not_modified, stored, now_s, False, cap)
