# cython: cdivision=True
"""The head parser: a start line, then one walk over the field lines, then what the known fields mean taken together.

The walk only finds boundaries, refuses bytes that may not stand where they stand, and notes which known fields there are; meaning
(target.pxd, framing.pxd, connection.pxd) is settled once the head is complete, from `Head.first` and the ids that came more than once.
That keeps the walk tight, and makes a fault depend on the bytes in front of it alone, never on how they were cut into reads.

A head that has not come whole is not parsed again at each read: `_worth_parsing` looks only at what is new, and asks for a parse when an
empty line or a byte that no head holds has come, when the limit is reached, or when the bytes have doubled (so that nonsense is refused
early, at a cost that stays O(n)).
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset
from proxyd_ext.core.fault cimport (
    FAULT_FIELD_MALFORMED, FAULT_HEAD_TOO_LARGE, FAULT_REQUEST_LINE_MALFORMED, FAULT_UPSTREAM_HEAD_MALFORMED,
    FAULT_UPSTREAM_HEAD_TOO_LARGE, FAULT_URI_TOO_LONG, FAULT_VERSION_UNSUPPORTED,
)
from proxyd_ext.core.shim cimport PXD_LIKELY, PXD_UNLIKELY
from proxyd_ext.core.slice cimport Slice, slice_of
from proxyd_ext.http1.connection cimport OPTION_MALFORMED, OPTION_TOO_MANY, read_connection, read_expectation
from proxyd_ext.http1.framing cimport read_request_framing, read_response_framing
from proxyd_ext.http1.names cimport field_bit, field_id, is_hop_by_hop, method_id
from proxyd_ext.http1.scan cimport PXD_TOKEN, is_blank, pxd_class, span_target, span_value
from proxyd_ext.http1.target cimport read_authority, read_host, read_target


cdef enum:
    EMPTY_LINES_MAX = 4          # in front of a request line (RFC 9112 §2.2)
    HEAD_SIZE_MAX = 0x7FFFFFFF   # offsets and results are 32 bits


# ---- what comes before the first field

cdef inline int _read_version(const uint8_t* p, const uint8_t* end, int malformed) noexcept nogil:
    """Is "HTTP/d.d" at p?  Returns 10 * major + minor, + 1 so that HTTP/0.0 is not 0; 0 when incomplete; or -malformed."""
    cdef int i
    if PXD_LIKELY(end - p >= 8 and memcmp(p, <const char*>b"HTTP/1.", 7) == 0 and (p[7] == c'1' or p[7] == c'0')):
        return 11 + p[7] - c'0'
    for i in range(8):
        if p + i == end:
            return 0
        if i == 5 or i == 7:
            if not c'0' <= p[i] <= c'9':
                return -malformed
        elif p[i] != (<const uint8_t*>b"HTTP/0.0")[i]:
            return -malformed
    return 10 * (p[5] - c'0') + p[7] - c'0' + 1


cdef inline int _read_line_end(const uint8_t* p, const uint8_t* end, int malformed) noexcept nogil:
    """Is CRLF at p?  Returns 1, 0 when incomplete, or -malformed: a lone CR or LF ends no line here (RFC 9112 §2.2 allows to refuse it)."""
    if p == end:
        return 0
    if p[0] != c'\r':
        return -malformed
    if p + 1 == end:
        return 0
    return 1 if p[1] == c'\n' else -malformed


cdef inline int _read_request_line(const uint8_t** at, const uint8_t* end, uint32_t uri_length, Slice* target, Head* out) noexcept nogil:
    """Read "method SP target SP version CRLF" (RFC 9112 §3) at *at and move *at behind it.  Returns 1, 0 when incomplete, or -FAULT_*."""
    cdef const uint8_t* p = at[0]
    cdef const uint8_t* start = p
    cdef const uint8_t* stop
    cdef int version, rc
    while p < end and pxd_class[p[0]] & PXD_TOKEN:
        p += 1
    if p == end:
        return 0
    if p[0] != c' ' or p == start:
        return -FAULT_REQUEST_LINE_MALFORMED
    out.method_text = slice_of(start, p - start)
    out.method = method_id(start, p - start)
    p += 1
    start = p
    stop = end if <size_t>(end - p) <= uri_length else p + uri_length + 1
    p = span_target(out.base, p, stop)
    if <size_t>(p - start) > uri_length:
        return -FAULT_URI_TOO_LONG
    if p == end:
        return 0
    if p[0] != c' ' or p == start:
        return -FAULT_REQUEST_LINE_MALFORMED
    target[0] = slice_of(start, p - start)
    p += 1
    version = _read_version(p, end, FAULT_REQUEST_LINE_MALFORMED)
    if version <= 0:
        return version
    rc = _read_line_end(p + 8, end, FAULT_REQUEST_LINE_MALFORMED)
    if rc <= 0:
        return rc
    if version != 11 and version != 12:
        return -FAULT_VERSION_UNSUPPORTED
    out.minor = version - 11
    at[0] = p + 10
    return 1


cdef inline int _read_status_line(const uint8_t** at, const uint8_t* end, Head* out) noexcept nogil:
    """Read "version SP status [SP reason] CRLF" (RFC 9112 §4; the space may be missing) at *at and move *at behind it.

    Returns 1, 0 when incomplete, or -FAULT_UPSTREAM_HEAD_MALFORMED.
    """
    cdef const uint8_t* p = at[0]
    cdef const uint8_t* start
    cdef int i, rc, version = _read_version(p, end, FAULT_UPSTREAM_HEAD_MALFORMED)
    if version <= 0:
        return version
    if version != 11 and version != 12:
        return -FAULT_UPSTREAM_HEAD_MALFORMED
    out.minor = version - 11
    out.status = 0
    p += 8
    for i in range(4):
        if p + i == end:
            return 0
        if i == 0:
            if p[0] != c' ':
                return -FAULT_UPSTREAM_HEAD_MALFORMED
        elif not c'0' <= p[i] <= c'9' or (i == 1 and p[i] == c'0'):
            return -FAULT_UPSTREAM_HEAD_MALFORMED
        else:
            out.status = out.status * 10 + p[i] - c'0'
    p += 4
    if p < end and p[0] == c' ':
        p += 1
    elif p < end and p[0] != c'\r':
        return -FAULT_UPSTREAM_HEAD_MALFORMED
    start = p
    p = span_value(out.base, p, end)
    rc = _read_line_end(p, end, FAULT_UPSTREAM_HEAD_MALFORMED)
    if rc <= 0:
        return rc
    out.reason = slice_of(start, p - start)
    at[0] = p + 2
    return 1


# ---- the walk over the fields

cdef inline int _read_fields(const uint8_t* p, const uint8_t* end, uint32_t field_limit, bint response, uint64_t* repeated,
                             Head* out) noexcept nogil:
    """Read field lines and the empty line from p on; *repeated gets the ids (field_bit) that came more than once.

    Returns the size of the head, 0 when incomplete, or -FAULT_*.  For a response the bytes are repaired in place; a repair is the
    same when it is made again on a longer prefix.
    """
    cdef const uint8_t* start
    cdef const uint8_t* last
    cdef const uint8_t* fold_end
    cdef uint8_t* mend
    cdef uint64_t seen = 0, twice = 0, bit
    cdef uint32_t count = 0
    cdef uint8_t id
    cdef int rc
    cdef int malformed = FAULT_UPSTREAM_HEAD_MALFORMED if response else FAULT_FIELD_MALFORMED
    cdef int too_large = FAULT_UPSTREAM_HEAD_TOO_LARGE if response else FAULT_HEAD_TOO_LARGE
    cdef Field* field
    while True:
        start = p
        while p < end and pxd_class[p[0]] & PXD_TOKEN:
            p += 1
        if PXD_UNLIKELY(p == end):
            return 0
        if PXD_UNLIKELY(p[0] != c':' or p == start):
            if p == start and p[0] == c'\r':
                break
            if not response or p == start or not is_blank(p[0]):
                return -malformed
            # Spaces before the colon are removed (RFC 9112 §5.1): the colon moves to the end of the name, in place.
            mend = <uint8_t*>p
            while p < end and is_blank(p[0]):
                (<uint8_t*>p)[0] = c' '
                p += 1
            if p == end:
                return 0
            if p[0] != c':':
                return -malformed
            (<uint8_t*>p)[0] = c' '
            mend[0] = c':'
            p = mend
        if PXD_UNLIKELY(count >= field_limit or p - start > 0xFFFF):
            return -too_large
        field = &out.fields[count]
        field.name = <uint32_t>(start - out.base)
        field.name_size = <uint16_t>(p - start)
        id = field_id(start, p - start)
        p += 1
        while p < end and is_blank(p[0]):
            p += 1
        start = p
        while True:
            p = span_value(out.base, p, end)
            rc = _read_line_end(p, end, malformed)
            if PXD_UNLIKELY(rc <= 0):
                return rc
            if not response:
                break
            if p + 2 == end:
                return 0
            if not is_blank(p[2]):
                break
            # A folded line is joined with spaces (RFC 9112 §5.2), only once it is all there, so that every cut of the bytes gives the same
            # value.
            fold_end = p + 2
            while fold_end < end and is_blank(fold_end[0]):
                fold_end += 1
            if fold_end == end:
                return 0
            memset(<uint8_t*>p, c' ', fold_end - p)
            p = fold_end
        last = p
        while last > start and is_blank(last[-1]):
            last -= 1
        while response and start < last and is_blank(start[0]):   # a fold right behind the colon
            start += 1
        field.value = <uint32_t>(start - out.base)
        field.value_size = <uint32_t>(last - start)
        field.id = id
        field.hop = is_hop_by_hop(id)
        count += 1
        if id != FIELD_OTHER:
            bit = field_bit(id)
            if seen & bit:
                twice |= bit
            else:
                seen |= bit
                out.first[id] = count
        p += 2
    rc = _read_line_end(p, end, malformed)
    if rc <= 0:
        return rc
    out.field_count = count
    repeated[0] = twice
    out.size = <uint32_t>(p + 2 - out.base)
    return <int>out.size


# ---- the two parsers

cdef bint _worth_parsing(const uint8_t* data, size_t size, size_t head_size, size_t* scanned) noexcept nogil:
    """Look at the bytes that came since the last call: could a parse now give more than "incomplete"?"""
    cdef size_t from_ = scanned[0]
    cdef const uint8_t* end = data + size
    cdef const uint8_t* p
    scanned[0] = size
    if from_ == 0 or size >= head_size or size ^ from_ > from_:   # the last: the highest bit changed, so the bytes have doubled
        return True
    p = data + from_
    while p > data and data + from_ - p < 4 and (p[-1] == c'\r' or p[-1] == c'\n'):
        p -= 1
    while True:
        p = span_value(data, p, end)
        if end - p < 2:
            return p < end and p[0] != c'\r'
        if p[0] != c'\r' or p[1] != c'\n':
            return True
        p += 2
        if p < end and (p[0] == c'\r' or p[0] == c'\n'):
            if p[0] == c'\n' or p + 1 < end:
                return True


cdef int _parse_request(const uint8_t* data, size_t size, const HeadLimits* limits, Head* out) noexcept nogil:
    """Parse with all checks but that of head_size; see parse_request_head."""
    cdef const uint8_t* p = data
    cdef const uint8_t* end = data + size
    cdef Slice target
    cdef uint64_t repeated = 0
    cdef uint32_t empty = 0, field_limit = limits.field_count
    cdef int rc, options
    cdef bint may_upgrade
    if field_limit > MAX_FIELDS:
        field_limit = MAX_FIELDS
    out.base = data
    while PXD_UNLIKELY(p < end and (p[0] == c'\r' or p[0] == c'\n')):
        rc = _read_line_end(p, end, FAULT_REQUEST_LINE_MALFORMED)
        if rc <= 0:
            return rc
        empty += 1
        if empty > EMPTY_LINES_MAX:
            return -FAULT_REQUEST_LINE_MALFORMED
        p += 2
    rc = _read_request_line(&p, end, limits.uri_length, &target, out)
    if rc <= 0:
        return rc
    memset(out.first, 0, sizeof(out.first))
    rc = _read_fields(p, end, field_limit, False, &repeated, out)
    if rc <= 0:
        return rc
    rc = read_target(target, out)
    if rc < 0:
        return rc
    rc = read_host(out, repeated)
    if rc < 0:
        return rc
    rc = read_request_framing(out, repeated)
    if rc < 0:
        return rc
    # RFC 6455 §4.1: GET.  A body would have to be read from the same bytes as the tunnel: such an upgrade is not passed on.
    may_upgrade = out.method == METHOD_GET and out.body != BODY_CHUNKED and out.content_length == 0
    options = read_connection(out, may_upgrade and not repeated & field_bit(FIELD_UPGRADE))
    if options & OPTION_MALFORMED:
        return -FAULT_FIELD_MALFORMED
    if options & OPTION_TOO_MANY:
        return -FAULT_HEAD_TOO_LARGE
    if out.first[FIELD_EXPECT]:
        rc = read_expectation(out)
        if rc < 0:
            return rc
    return <int>out.size


cdef int _parse_response(uint8_t* data, size_t size, const HeadLimits* limits, Head* out) noexcept nogil:
    """Parse with all checks but that of head_size; see parse_response_head."""
    cdef const uint8_t* p = data
    cdef uint64_t repeated = 0
    cdef uint32_t field_limit = limits.field_count
    cdef int rc
    if field_limit > MAX_FIELDS:
        field_limit = MAX_FIELDS
    out.base = data
    rc = _read_status_line(&p, data + size, out)
    if rc <= 0:
        return rc
    memset(out.first, 0, sizeof(out.first))
    rc = _read_fields(p, data + size, field_limit, True, &repeated, out)
    if rc <= 0:
        return rc
    rc = read_response_framing(out)
    if rc < 0:
        return rc
    if read_connection(out, out.status == 101 and not repeated & field_bit(FIELD_UPGRADE)) & OPTION_TOO_MANY:
        return -FAULT_UPSTREAM_HEAD_TOO_LARGE
    return <int>out.size


cdef inline size_t _head_size(const HeadLimits* limits) noexcept nogil:
    return limits.head_size if limits.head_size < HEAD_SIZE_MAX else HEAD_SIZE_MAX


cdef int parse_request_head(const uint8_t* data, size_t size, size_t* scanned, const HeadLimits* limits, Head* out) noexcept nogil:
    cdef size_t most = _head_size(limits)
    cdef int rc
    if not _worth_parsing(data, size, most, scanned):
        return 0
    rc = _parse_request(data, size if size < most else most, limits, out)
    if rc == 0 and size >= most:
        rc = -FAULT_HEAD_TOO_LARGE
    if rc != 0:
        scanned[0] = 0
    return rc


cdef int parse_response_head(uint8_t* data, size_t size, size_t* scanned, const HeadLimits* limits, Head* out) noexcept nogil:
    cdef size_t most = _head_size(limits)
    cdef int rc
    if not _worth_parsing(data, size, most, scanned):
        return 0
    rc = _parse_response(data, size if size < most else most, limits, out)
    if rc == 0 and size >= most:
        rc = -FAULT_UPSTREAM_HEAD_TOO_LARGE
    if rc != 0:
        scanned[0] = 0
    return rc


cdef int split_host(Slice authority, Slice* name) noexcept nogil:
    return read_authority(authority, name)


cdef uint8_t method_of(Slice token) noexcept nogil:
    return method_id(token.data, token.size)


cdef const char* method_name(uint8_t method) noexcept nogil:
    if method == METHOD_GET:
        return "GET"
    elif method == METHOD_HEAD:
        return "HEAD"
    elif method == METHOD_POST:
        return "POST"
    elif method == METHOD_PUT:
        return "PUT"
    elif method == METHOD_DELETE:
        return "DELETE"
    elif method == METHOD_OPTIONS:
        return "OPTIONS"
    elif method == METHOD_PATCH:
        return "PATCH"
    elif method == METHOD_TRACE:
        return "TRACE"
    elif method == METHOD_CONNECT:
        return "CONNECT"
    return "OTHER"


# ---- for tests and tools

cdef object _bytes_or_none(Slice s):
    return None if s.data == NULL else <bytes>s.data[:s.size]


cdef object _describe(const Head* head, bint response):
    cdef uint32_t i
    cdef const Field* f
    fields = []
    for i in range(head.field_count):
        f = &head.fields[i]
        fields.append((
            <bytes>head.base[f.name:f.name + f.name_size], <bytes>head.base[f.value:f.value + f.value_size], f.id, bool(f.hop),
        ))
    out = {
        "size": head.size, "flags": head.flags, "minor": head.minor, "body": head.body,
        "content_length": head.content_length if head.has_content_length else None, "fields": fields,
    }
    if response:
        out.update(status=head.status, reason=_bytes_or_none(head.reason), head=<bytes>head.base[:head.size])
    else:
        out.update(method=_bytes_or_none(head.method_text), method_id=head.method, target_form=head.target_form,
                   path=_bytes_or_none(head.path), query=_bytes_or_none(head.query), host=_bytes_or_none(head.host))
    return out


cdef object _parse(bytes data, object cuts, HeadLimits limits, bint response):
    """Feed prefixes of `data` (each from a block of exactly its size, so that a sanitizer sees any byte read too far) until a result."""
    cdef const uint8_t* source = data
    cdef uint8_t* block = NULL
    cdef uint8_t* grown
    cdef size_t size, scanned = 0, before = 0
    cdef int rc = 0
    cdef Head* head = <Head*>malloc(sizeof(Head))
    if head == NULL:
        raise MemoryError
    try:
        for size in [*cuts, len(data)]:
            if not before <= size <= <size_t>len(data):
                raise ValueError(f"a cut at {size} is out of order or out of range")
            grown = <uint8_t*>malloc(size)
            if grown == NULL:
                raise MemoryError
            if before:
                memcpy(grown, block, before)   # with the repairs made so far
            memcpy(grown + before, source + before, size - before)
            free(block)
            block = grown
            before = size
            with nogil:
                if response:
                    rc = parse_response_head(block, size, &scanned, &limits, head)
                else:
                    rc = parse_request_head(block, size, &scanned, &limits, head)
            if rc != 0:
                break
        return _describe(head, response) if rc > 0 else rc
    finally:
        free(block)
        free(head)


def parse_request(data: bytes, *, cuts=(), head_size: int = 16384, uri_length: int = 8192, field_count: int = 100) -> dict | int:
    """Parse a request head as an engine does that receives data[:cuts[0]], data[:cuts[1]], ..., data: the first result that is not 0.

    Returns a dict of the Head, 0 when it is incomplete, or -FAULT_*.  For tests and tools.
    """
    cdef HeadLimits limits
    limits.head_size, limits.uri_length, limits.field_count = head_size, uri_length, field_count
    return _parse(data, cuts, limits, False)


def parse_response(data: bytes, *, cuts=(), head_size: int = 16384, field_count: int = 100) -> dict | int:
    """The same for a response head; "head" holds the bytes after the repairs."""
    cdef HeadLimits limits
    limits.head_size, limits.uri_length, limits.field_count = head_size, 0, field_count
    return _parse(data, cuts, limits, True)


def parse_authority(authority: bytes) -> tuple[bytes, int] | int:
    """split_host: (name, port) or -FAULT_HOST_INVALID."""
    cdef Slice name
    cdef int port = split_host(slice_of(authority, len(authority)), &name)
    return port if port < 0 else (<bytes>name.data[:name.size], port)
