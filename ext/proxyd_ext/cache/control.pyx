"""Cache directives (see control.pxd).

Cache-Control is read as it is written in the world: case does not count, arguments may be quoted, blanks where none belong make an
argument invalid, never a directive unseen.  Targeted fields are structured fields: one byte out of place, and the field says nothing.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free
from proxyd_ext.cache.dictionary cimport ITEM_BOOLEAN, ITEM_INTEGER, DictionaryMember, dictionary_next
from proxyd_ext.cache.probe cimport OwnHead, own_head
from proxyd_ext.core.slice cimport Slice, slice_of
from proxyd_ext.http1.head cimport FIELD_AGE, FIELD_CACHE_CONTROL, FIELD_CDN_CACHE_CONTROL, FIELD_PRAGMA, head_field
from proxyd_ext.http1.names cimport field_value
from proxyd_ext.http1.scan cimport PXD_TOKEN, is_blank, pxd_class, word_is


cdef enum:
    KIND_NONE = 0                   # not known here
    KIND_FLAG = 1
    KIND_SECONDS = 2
    KIND_NAMES = 3                  # a flag that may carry field names

    SECONDS_MAX_AGE = 0
    SECONDS_S_MAXAGE = 1
    SECONDS_MIN_FRESH = 2
    SECONDS_MAX_STALE = 3
    SECONDS_WHILE_REVALIDATE = 4
    SECONDS_IF_ERROR = 5


cdef struct Directive:
    int kind                        # KIND_*
    uint32_t what                   # CC_* of a flag, SECONDS_* else


cdef inline Directive _directive(int kind, uint32_t what) noexcept nogil:
    cdef Directive found
    found.kind = kind
    found.what = what
    return found


cdef Directive _find(const uint8_t* p, size_t n) noexcept nogil:
    """The directive of a name that holds token bytes only, in any case."""
    if n == 6:
        if word_is(p, "public", 6):
            return _directive(KIND_FLAG, CC_PUBLIC)
    elif n == 7:
        if word_is(p, "max-age", 7):
            return _directive(KIND_SECONDS, SECONDS_MAX_AGE)
        if word_is(p, "private", 7):
            return _directive(KIND_NAMES, CC_PRIVATE)
    elif n == 8:
        if word_is(p, "no-cache", 8):
            return _directive(KIND_NAMES, CC_NO_CACHE)
        if word_is(p, "no-store", 8):
            return _directive(KIND_FLAG, CC_NO_STORE)
        if word_is(p, "s-maxage", 8):
            return _directive(KIND_SECONDS, SECONDS_S_MAXAGE)
    elif n == 9:
        if word_is(p, "max-stale", 9):
            return _directive(KIND_SECONDS, SECONDS_MAX_STALE)
        if word_is(p, "min-fresh", 9):
            return _directive(KIND_SECONDS, SECONDS_MIN_FRESH)
        if word_is(p, "immutable", 9):
            return _directive(KIND_FLAG, CC_IMMUTABLE)
    elif n == 12:
        if word_is(p, "no-transform", 12):
            return _directive(KIND_FLAG, CC_NO_TRANSFORM)
    elif n == 14:
        if word_is(p, "only-if-cached", 14):
            return _directive(KIND_FLAG, CC_ONLY_IF_CACHED)
        if word_is(p, "stale-if-error", 14):
            return _directive(KIND_SECONDS, SECONDS_IF_ERROR)
    elif n == 15:
        if word_is(p, "must-revalidate", 15):
            return _directive(KIND_FLAG, CC_MUST_REVALIDATE)
        if word_is(p, "must-understand", 15):
            return _directive(KIND_FLAG, CC_MUST_UNDERSTAND)
    elif n == 16:
        if word_is(p, "proxy-revalidate", 16):
            return _directive(KIND_FLAG, CC_PROXY_REVALIDATE)
    elif n == 22:
        if word_is(p, "stale-while-revalidate", 22):
            return _directive(KIND_SECONDS, SECONDS_WHILE_REVALIDATE)
    return _directive(KIND_NONE, 0)


cdef inline int64_t* _seconds(CacheControl* control, uint32_t what) noexcept nogil:
    if what == SECONDS_MAX_AGE:
        return &control.max_age
    elif what == SECONDS_S_MAXAGE:
        return &control.s_maxage
    elif what == SECONDS_MIN_FRESH:
        return &control.min_fresh
    elif what == SECONDS_MAX_STALE:
        return &control.max_stale
    elif what == SECONDS_WHILE_REVALIDATE:
        return &control.stale_while_revalidate
    return &control.stale_if_error


cdef int64_t _read_delta(Slice digits) noexcept nogil:
    """delta-seconds (RFC 9111 §1.2.2): digits only; -1 when it is none.  What is too large is DELTA_MAX."""
    cdef int64_t value = 0
    cdef size_t i
    if digits.size == 0:
        return -1
    for i in range(digits.size):
        if not c'0' <= digits.data[i] <= c'9':
            return -1
        value = value * 10 + digits.data[i] - c'0'
        if value > DELTA_MAX:
            value = DELTA_MAX
    return value


# ---- Cache-Control

cdef const uint8_t* _skip_quoted(const uint8_t* p, const uint8_t* end) noexcept nogil:
    """Behind the quoted-string (RFC 9110 §5.6.4) that begins at p, or NULL when it does not end: then its '"' is a byte like others."""
    p += 1
    while p < end:
        if p[0] == c'"':
            return p + 1
        p += 2 if p[0] == c'\\' else 1
    return NULL


cdef inline const uint8_t* _skip_argument(const uint8_t* p, const uint8_t* end) noexcept nogil:
    """The next comma outside of quotes, or end."""
    cdef const uint8_t* behind
    while p < end and p[0] != c',':
        behind = _skip_quoted(p, end) if p[0] == c'"' else NULL
        p = behind if behind != NULL else p + 1
    return p


cdef void _apply(Slice name, bint has_argument, Slice argument, CacheControl* out) noexcept nogil:
    cdef Directive found = _find(name.data, name.size)
    cdef int64_t value
    cdef int64_t* seconds
    if found.kind == KIND_FLAG or found.kind == KIND_NAMES:
        out.flags |= found.what
    elif found.kind == KIND_SECONDS:
        seconds = _seconds(out, found.what)
        if seconds[0] >= 0 or (found.what == SECONDS_MAX_STALE and out.flags & CC_MAX_STALE_ANY):
            return
        if found.what == SECONDS_MAX_STALE and not has_argument:
            out.flags |= CC_MAX_STALE_ANY
            return
        if argument.size >= 2 and argument.data[0] == c'"' and argument.data[argument.size - 1] == c'"':
            argument = slice_of(argument.data + 1, argument.size - 2)
        value = _read_delta(argument)
        seconds[0] = value if value >= 0 else 0


cdef void _read_list(Slice list, CacheControl* out) noexcept nogil:
    """Read the directives of one field line: #( token [ "=" ( token / quoted-string ) ] )."""
    cdef const uint8_t* p = list.data
    cdef const uint8_t* end = list.data + list.size
    cdef const uint8_t* start
    cdef const uint8_t* stop
    cdef const uint8_t* name_end
    cdef bint has_argument
    while p < end:
        if p[0] == c',' or is_blank(p[0]):
            p += 1
            continue
        start = p
        while p < end and pxd_class[p[0]] & PXD_TOKEN:
            p += 1
        name_end = p
        p = _skip_argument(p, end)
        stop = p
        while stop > name_end and is_blank(stop[-1]):
            stop -= 1
        has_argument = stop > name_end
        # What stands behind the name and does not begin with '=' makes no argument, but one there was: "max-age =60" is invalid.
        if has_argument and name_end[0] == c'=':
            _apply(slice_of(start, name_end - start), True, slice_of(name_end + 1, stop - name_end - 1), out)
        else:
            _apply(slice_of(start, name_end - start), has_argument, slice_of(name_end, 0), out)


cdef void parse_cache_control(const Head* head, int field_id, CacheControl* out) noexcept nogil:
    cdef uint32_t i
    out[0] = control_none()
    if head.first[field_id] == 0:
        return
    out.flags = CC_PRESENT
    for i in range(<uint32_t>head.first[field_id] - 1, head.field_count):
        if head.fields[i].id == field_id:
            _read_list(field_value(head, i), out)


cdef void parse_request_directives(const Head* head, CacheControl* out) noexcept nogil:
    cdef CacheControl pragma
    parse_cache_control(head, FIELD_CACHE_CONTROL, out)
    if not out.flags & CC_PRESENT and head.first[FIELD_PRAGMA]:
        parse_cache_control(head, FIELD_PRAGMA, &pragma)
        out.flags |= pragma.flags & CC_NO_CACHE


# ---- targeted fields

cdef bint _apply_member(const DictionaryMember* member, CacheControl* out) noexcept nogil:
    """Take over one member; False when its value cannot be that of its directive (RFC 9213 §2.1).  Of equal keys the last counts."""
    cdef Directive found = _find(member.key.data, member.key.size)
    if found.kind == KIND_NONE:
        return True
    if found.kind == KIND_SECONDS:
        if found.what == SECONDS_MAX_STALE and member.type == ITEM_BOOLEAN:
            return True             # a directive of requests: nothing that an answer says
        if member.type != ITEM_INTEGER or member.number < 0:
            return False
        _seconds(out, found.what)[0] = member.number if member.number < DELTA_MAX else DELTA_MAX
        return True
    if member.type == ITEM_BOOLEAN:
        if member.number:
            out.flags |= found.what
        else:
            out.flags &= ~found.what
        return True
    out.flags |= found.what
    return found.kind == KIND_NAMES and member.type != ITEM_INTEGER


cdef bint parse_targeted(const Head* head, int field_id, CacheControl* out) noexcept nogil:
    cdef uint32_t i
    cdef size_t at
    cdef int rc
    cdef DictionaryMember member
    out[0] = control_none()
    if head.first[field_id] == 0:
        return False
    for i in range(<uint32_t>head.first[field_id] - 1, head.field_count):
        if head.fields[i].id != field_id:
            continue
        at = 0
        while True:
            rc = dictionary_next(field_value(head, i), &at, &member)
            if rc == 0:
                break
            if rc < 0 or not _apply_member(&member, out):
                out[0] = control_none()
                return False
            out.flags |= CC_PRESENT
    return out.flags & CC_PRESENT != 0


cdef int64_t parse_age(const Head* head) noexcept nogil:
    cdef Slice value = head_field(head, FIELD_AGE)
    cdef size_t n = 0
    while n < value.size and value.data[n] != c',':
        n += 1
    while n > 0 and is_blank(value.data[n - 1]):
        n -= 1
    return _read_delta(slice_of(value.data, n))


# ---- for tests and tools

cdef dict _FLAGS = {
    CC_PRESENT: "present", CC_NO_STORE: "no-store", CC_NO_CACHE: "no-cache", CC_PRIVATE: "private", CC_PUBLIC: "public",
    CC_MUST_REVALIDATE: "must-revalidate", CC_PROXY_REVALIDATE: "proxy-revalidate", CC_MUST_UNDERSTAND: "must-understand",
    CC_NO_TRANSFORM: "no-transform", CC_ONLY_IF_CACHED: "only-if-cached", CC_MAX_STALE_ANY: "max-stale", CC_IMMUTABLE: "immutable",
}


cdef dict _said(const CacheControl* control):
    numbers = {
        "max-age": control.max_age, "s-maxage": control.s_maxage, "min-fresh": control.min_fresh, "max-stale": control.max_stale,
        "stale-while-revalidate": control.stale_while_revalidate, "stale-if-error": control.stale_if_error,
    }
    return ({word: True for bit, word in _FLAGS.items() if control.flags & bit and bit != CC_PRESENT}
            | {word: seconds for word, seconds in numbers.items() if seconds >= 0})


def read_cache_control(bytes head not None, *, bint request=False) -> dict[str, int | bool] | None:
    """What Cache-Control (of a request: or Pragma) says; None when it says nothing."""
    cdef CacheControl control
    cdef OwnHead* own = own_head(head, not request)
    with nogil:
        if request:
            parse_request_directives(&own.head, &control)
        else:
            parse_cache_control(&own.head, FIELD_CACHE_CONTROL, &control)
    free(own)
    return _said(&control) if control.flags else None


def read_targeted(bytes head not None) -> dict[str, int | bool] | None:
    """What CDN-Cache-Control says; None when it is ignored."""
    cdef CacheControl control
    cdef bint valid
    cdef OwnHead* own = own_head(head, True)
    with nogil:
        valid = parse_targeted(&own.head, FIELD_CDN_CACHE_CONTROL, &control)
    free(own)
    return _said(&control) if valid else None


def read_age(bytes head not None) -> int:
    """parse_age of an answer's head."""
    cdef OwnHead* own = own_head(head, True)
    cdef int64_t age = parse_age(&own.head)
    free(own)
    return age
