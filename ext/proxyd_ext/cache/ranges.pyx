"""Byte ranges (see ranges.pxd)."""
from libc.stdint cimport UINT64_MAX, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from proxyd_ext.cache.probe cimport OwnHead, bytes_slice, own_head
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport FIELD_RANGE, METHOD_GET, Head, head_field
from proxyd_ext.http1.rewrite cimport write_decimal
from proxyd_ext.http1.scan cimport is_blank, word_is


cdef const uint8_t* _read_number(const uint8_t* p, const uint8_t* end, uint64_t* number) noexcept nogil:
    """Digits at p; returns where they end (p: there are none).  What is too large is UINT64_MAX."""
    cdef uint64_t value = 0, digit
    while p < end and c'0' <= p[0] <= c'9':
        digit = p[0] - c'0'
        value = value * 10 + digit if value <= (UINT64_MAX - digit) // 10 else UINT64_MAX
        p += 1
    number[0] = value
    return p


cdef inline bint _touch(ByteRange a, ByteRange b) noexcept nogil:
    """Do they overlap, or is the gap between them not worth a part?"""
    return (a.first <= b.last or a.first - b.last <= RANGE_NEAR) and (b.first <= a.last or b.first - a.last <= RANGE_NEAR)


cdef void _add(ByteRange* ranges, int* count, ByteRange one) noexcept nogil:
    """Take a range in; all that it touches becomes one with it, at the place of the first of them."""
    cdef int i = 0, place = count[0], k
    while i < count[0]:
        if not _touch(ranges[i], one):
            i += 1
            continue
        one.first = ranges[i].first if ranges[i].first < one.first else one.first
        one.last = ranges[i].last if ranges[i].last > one.last else one.last
        place = i if i < place else place
        count[0] -= 1
        for k in range(i, count[0]):
            ranges[k] = ranges[k + 1]
        i = 0           # what has grown may touch others
    k = count[0]
    while k > place:
        ranges[k] = ranges[k - 1]
        k -= 1
    ranges[place] = one
    count[0] += 1


cdef int _read_spec(const uint8_t** at, const uint8_t* end, uint64_t size, ByteRange* out) noexcept nogil:
    """Read one range-spec (RFC 9110 §14.1.1) at *at and move *at behind it.

    Returns 1: *out is it; 0: not satisfiable; 2: of an empty body all that there is; -1: malformed.
    """
    cdef const uint8_t* p = at[0]
    cdef const uint8_t* behind
    cdef uint64_t first, last = UINT64_MAX
    if p[0] == c'-':
        behind = _read_number(p + 1, end, &last)
        if behind == p + 1:
            return -1
        at[0] = behind
        out.first = size - last if last < size else 0
        out.last = size - 1
        return 0 if last == 0 else 1 if size else 2
    behind = _read_number(p, end, &first)
    if behind == p or behind == end or behind[0] != c'-':
        return -1
    p = behind + 1
    behind = _read_number(p, end, &last)
    if behind == p:
        last = UINT64_MAX
    at[0] = behind
    if last < first:
        return -1
    if first >= size:
        return 0
    out.first = first
    out.last = last if last < size else size - 1
    return 1


cdef int parse_ranges(const Head* request, uint64_t size, ByteRange* out) noexcept nogil:
    cdef Slice value = head_field(request, FIELD_RANGE)
    cdef const uint8_t* p = value.data
    cdef const uint8_t* end = value.data + value.size
    cdef ByteRange one
    cdef int count = 0, specs = 0, found
    cdef bint empty = False
    cdef uint32_t i
    if request.first[FIELD_RANGE] == 0 or request.method != METHOD_GET:
        return RANGES_WHOLE
    for i in range(request.first[FIELD_RANGE], request.field_count):
        if request.fields[i].id == FIELD_RANGE:
            return RANGES_WHOLE         # several: no Range is a list
    if value.size < 6 or not word_is(p, "bytes", 5) or p[5] != c'=':
        return RANGES_WHOLE
    p += 6
    while p < end:
        if p[0] == c',' or is_blank(p[0]):
            p += 1
            continue
        specs += 1
        found = _read_spec(&p, end, size, &one)
        while p < end and is_blank(p[0]):
            p += 1
        if found < 0 or specs > RANGES_MAX or (p < end and p[0] != c','):
            return RANGES_WHOLE
        if found == 1:
            _add(out, &count, one)
        empty = empty or found == 2
    if specs == 0 or (count == 0 and empty):
        return RANGES_WHOLE
    return count if count else RANGES_UNSATISFIABLE


# ---- writing

cdef inline int _put(uint8_t* out, int at, const char* text, int size) noexcept nogil:
    memcpy(out + at, text, size)
    return at + size


cdef int write_content_range(ByteRange part, uint64_t size, uint8_t* out) noexcept nogil:
    cdef int n = _put(out, 0, "bytes ", 6)
    n += write_decimal(part.first, out + n)
    n = _put(out, n, "-", 1)
    n += write_decimal(part.last, out + n)
    n = _put(out, n, "/", 1)
    return n + write_decimal(size, out + n)


cdef int write_unsatisfied_range(uint64_t size, uint8_t* out) noexcept nogil:
    cdef int n = _put(out, 0, "bytes */", 8)
    return n + write_decimal(size, out + n)


cdef inline uint64_t _head_size(Slice boundary, Slice content_type, int range_size, bint first) noexcept nogil:
    """CRLF, "--", boundary, CRLF; "Content-Type: ", type, CRLF; "Content-Range: ", range, CRLF; CRLF."""
    return (0 if first else 2) + 4 + boundary.size + (16 + content_type.size if content_type.size else 0) + 15 + range_size + 4


cdef uint64_t part_head_size(Slice boundary, Slice content_type, ByteRange part, uint64_t size, bint first) noexcept nogil:
    cdef uint8_t[72] text
    return _head_size(boundary, content_type, write_content_range(part, size, text), first)


cdef int write_part_head(Slice boundary, Slice content_type, ByteRange part, uint64_t size, bint first, uint8_t* out,
                         size_t cap) noexcept nogil:
    cdef uint8_t[72] text
    cdef int range_size = write_content_range(part, size, text), n = 0
    if _head_size(boundary, content_type, range_size, first) > cap:
        return -1
    if not first:
        n = _put(out, n, "\r\n", 2)
    n = _put(out, n, "--", 2)
    n = _put(out, n, <const char*>boundary.data, <int>boundary.size)
    if content_type.size:
        n = _put(out, n, "\r\nContent-Type: ", 16)
        n = _put(out, n, <const char*>content_type.data, <int>content_type.size)
    n = _put(out, n, "\r\nContent-Range: ", 17)
    n = _put(out, n, <const char*>text, range_size)
    return _put(out, n, "\r\n\r\n", 4)


cdef int write_last_boundary(Slice boundary, uint8_t* out) noexcept nogil:
    cdef int n = _put(out, 0, "\r\n--", 4)
    n = _put(out, n, <const char*>boundary.data, <int>boundary.size)
    return _put(out, n, "--\r\n", 4)


cdef uint64_t multipart_size(Slice boundary, Slice content_type, const ByteRange* parts, int count, uint64_t size) noexcept nogil:
    cdef uint64_t total = boundary.size + 8
    cdef int i
    for i in range(count):
        total += part_head_size(boundary, content_type, parts[i], size, i == 0) + parts[i].last - parts[i].first + 1
    return total


# ---- for tests and tools

def read_ranges(bytes request not None, uint64_t size) -> list[tuple[int, int]] | int:
    """parse_ranges."""
    cdef ByteRange[RANGES_MAX] ranges
    cdef int count, i
    cdef OwnHead* own = own_head(request, False)
    with nogil:
        count = parse_ranges(&own.head, size, ranges)
    free(own)
    return [(ranges[i].first, ranges[i].last) for i in range(count)] if count > 0 else count


cdef ByteRange _range(uint64_t first, uint64_t last):
    cdef ByteRange one
    one.first, one.last = first, last
    return one


def content_range(uint64_t first, uint64_t last, uint64_t size) -> bytes:
    """write_content_range."""
    cdef uint8_t[70] out
    cdef int n = write_content_range(_range(first, last), size, out)
    return <bytes>out[:n]


def unsatisfied_range(uint64_t size) -> bytes:
    """write_unsatisfied_range."""
    cdef uint8_t[28] out
    cdef int n = write_unsatisfied_range(size, out)
    return <bytes>out[:n]


def part_head(bytes boundary not None, bytes content_type not None, uint64_t first, uint64_t last, uint64_t size, *, bint leads,
              size_t cap=1024) -> bytes | int:
    """write_part_head into a block of `cap` bytes."""
    cdef int n
    cdef uint8_t* out = <uint8_t*>malloc(cap)
    if out == NULL and cap:
        raise MemoryError
    n = write_part_head(bytes_slice(boundary), bytes_slice(content_type), _range(first, last), size, leads, out, cap)
    written = n if n < 0 else <bytes>out[:n]
    free(out)
    return written


def multipart_body(bytes boundary not None, bytes content_type not None, object parts, bytes body not None) -> tuple[bytes, int]:
    """The body with these parts, and what multipart_size says of it."""
    cdef ByteRange[RANGES_MAX] ranges
    cdef uint8_t[PART_BOUNDARY_MAX + 8] last
    cdef int i, n
    if len(parts) > RANGES_MAX or len(boundary) > PART_BOUNDARY_MAX:
        raise ValueError("too many parts, or too long a boundary")
    whole = b""
    for i, (first, end) in enumerate(parts):
        ranges[i] = _range(first, end)
        whole += part_head(boundary, content_type, first, end, len(body), leads=i == 0) + body[first:end + 1]
    n = write_last_boundary(bytes_slice(boundary), last)
    size = multipart_size(bytes_slice(boundary), bytes_slice(content_type), ranges, <int>len(parts), len(body))
    return whole + <bytes>last[:n], size
