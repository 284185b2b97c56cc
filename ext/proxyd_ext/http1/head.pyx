# cython: cdivision=True
"""The head parser: a start line, then one walk over the field lines, then what the known fields mean taken together.

The walk only finds boundaries, refuses bytes that may not stand where they stand, and notes which known fields there are; meaning
(host, framing, connection) is settled once the head is complete, from `Head.first` and a set of the ids that came more than once.
That keeps the walk tight, and makes a fault depend on the bytes in front of it alone, never on how they were cut into reads.

A head that has not come whole is not parsed again at each read: `_worth_parsing` looks only at what is new, and asks for a parse when an
empty line or a byte that no head holds has come, when the limit is reached, or when the bytes have doubled (so that nonsense is refused
early, at a cost that stays O(n)).
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memcpy, memset
from proxyd_ext.core.fault cimport (
    FAULT_EXPECTATION_FAILED, FAULT_FIELD_MALFORMED, FAULT_FRAMING_AMBIGUOUS, FAULT_HEAD_TOO_LARGE, FAULT_HOST_INVALID, FAULT_MEMORY,
    FAULT_REQUEST_LINE_MALFORMED, FAULT_TRANSFER_CODING_UNKNOWN, FAULT_UPSTREAM_FRAMING, FAULT_UPSTREAM_HEAD_MALFORMED,
    FAULT_UPSTREAM_HEAD_TOO_LARGE, FAULT_URI_TOO_LONG, FAULT_VERSION_UNSUPPORTED,
)
from proxyd_ext.core.shim cimport PXD_LIKELY, PXD_UNLIKELY
from proxyd_ext.core.slice cimport Slice, slice_empty, slice_equals_nocase, slice_of
from proxyd_ext.http1.names cimport field_bit, field_id, is_hop_by_hop, method_id
from proxyd_ext.http1.scan cimport PXD_HOST, PXD_TARGET, PXD_TOKEN, is_blank, pxd_class, span_target, span_value, word_is


cdef extern from "<arpa/inet.h>" nogil:
    enum:
        AF_INET6
    int inet_pton(int family, const char* text, void* address)


cdef enum:
    EMPTY_LINES_MAX = 4          # in front of a request line (RFC 9112 §2.2)
    CONNECTION_NAMES_MAX = 64    # fields named by Connection: marking them costs names x fields
    HEAD_SIZE_MAX = 0x7FFFFFFF   # offsets and results are 32 bits
    LENGTH_MAX_TENTH = 922337203685477580  # INT64_MAX / 10: Content-Length stays below INT64_MAX, so sums of sizes cannot wrap
    IPV6_TEXT_MAX = 45

    CODING_NONE = 0              # no Transfer-Encoding
    CODING_CHUNKED = 1           # chunked alone
    CODING_UNKNOWN = 2           # codings, none of them chunked
    CODING_UNKNOWN_CHUNKED = 3   # unknown codings, then chunked
    CODING_AMBIGUOUS = 4         # chunked not last or not once, or not the grammar of codings

    OPTION_CLOSE = 1
    OPTION_KEEP_ALIVE = 2
    OPTION_UPGRADE = 4
    OPTION_NAMES = 8
    OPTION_MALFORMED = 16
    OPTION_TOO_MANY = 32

cdef const uint8_t* _ROOT = <const uint8_t*>b"/"
cdef const uint8_t* _ASTERISK = <const uint8_t*>b"*"


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
            # A folded line is joined with spaces (RFC 9112 §5.2).
            mend = <uint8_t*>p
            mend[0] = mend[1] = c' '
            p += 2
            while p < end and is_blank(p[0]):
                (<uint8_t*>p)[0] = c' '
                p += 1
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


# ---- what the fields mean

cdef inline Slice _value(const Head* head, uint32_t i) noexcept nogil:
    return slice_of(head.base + head.fields[i].value, head.fields[i].value_size)


cdef inline bint _value_is(Slice value, const char* word, size_t n) noexcept nogil:
    """Is the value this lower-case word (letters, digits, '-') in any case?"""
    return value.size == n and word_is(value.data, word, n)


cdef int _mark_named(Head* head, Slice name) noexcept nogil:
    """Fields named by Connection belong to the connection (RFC 9110 §7.6.1); framing and Host are always written anew, so they stay."""
    cdef uint32_t i
    cdef Field* field
    for i in range(head.field_count):
        field = &head.fields[i]
        if (field.name_size == name.size and field.id != FIELD_HOST and field.id != FIELD_CONTENT_LENGTH
                and slice_equals_nocase(slice_of(head.base + field.name, field.name_size), name)):
            field.hop = 1
    return 0


cdef int _read_options(Head* head) noexcept nogil:
    """Read all Connection fields (RFC 9110 §7.6.1) and mark what they name.  Returns OPTION_* bits."""
    cdef uint32_t i, names = 0
    cdef int options = 0
    cdef const uint8_t* p
    cdef const uint8_t* end
    cdef const uint8_t* start
    cdef Slice value
    cdef size_t n
    for i in range(head.first[FIELD_CONNECTION] - 1, head.field_count):
        if head.fields[i].id != FIELD_CONNECTION:
            continue
        value = _value(head, i)
        p = value.data
        end = p + value.size
        while p < end:
            if p[0] == c',' or is_blank(p[0]):
                p += 1
                continue
            start = p
            while p < end and pxd_class[p[0]] & PXD_TOKEN:
                p += 1
            n = p - start
            while p < end and is_blank(p[0]):
                p += 1
            if n == 0 or (p < end and p[0] != c','):
                options |= OPTION_MALFORMED
                while p < end and p[0] != c',':
                    p += 1
                continue
            if n == 5 and word_is(start, "close", 5):
                options |= OPTION_CLOSE
            elif n == 10 and word_is(start, "keep-alive", 10):
                options |= OPTION_KEEP_ALIVE
            elif n == 7 and word_is(start, "upgrade", 7):
                options |= OPTION_UPGRADE
            elif n != 2 or not word_is(start, "te", 2):
                options |= OPTION_NAMES
                names += 1
                if names > CONNECTION_NAMES_MAX:
                    return options | OPTION_TOO_MANY
                _mark_named(head, slice_of(start, n))
    return options


cdef inline int _read_connection(Head* out, bint may_upgrade) noexcept nogil:
    """Set the flags that come from version, Connection, Upgrade and Trailer.  Returns OPTION_* bits."""
    cdef int options = 0
    cdef uint32_t flags = 0
    if out.first[FIELD_CONNECTION]:
        options = _read_options(out)
    if options & OPTION_CLOSE:
        flags |= HEAD_CONNECTION_CLOSE
    elif out.minor == 1 or options & OPTION_KEEP_ALIVE:
        flags |= HEAD_KEEP_ALIVE
    if options & OPTION_NAMES:
        flags |= HEAD_CONNECTION_NAMES
    if out.first[FIELD_TRAILER]:
        flags |= HEAD_TRAILERS_ANNOUNCED
    if out.first[FIELD_UPGRADE]:
        # An Upgrade in HTTP/1.0, or one that Connection does not name, counts for nothing (RFC 9110 §7.8).
        if (may_upgrade and out.minor == 1 and options & OPTION_UPGRADE
                and _value_is(head_field(out, FIELD_UPGRADE), "websocket", 9)):
            flags |= HEAD_UPGRADE_WEBSOCKET
        else:
            flags |= HEAD_UPGRADE_OTHER
    out.flags = flags
    return options


cdef int _add_coding(int coding, Slice value) noexcept nogil:
    """Go on from CODING_* `coding` over one more Transfer-Encoding value (RFC 9112 §6.1).

    Strict: no empty list element, chunked without parameters, no quoted string (whose commas a careless reader counts).
    """
    cdef const uint8_t* p = value.data
    cdef const uint8_t* end = p + value.size
    cdef const uint8_t* start
    cdef bint chunked
    while True:
        while p < end and is_blank(p[0]):
            p += 1
        start = p
        while p < end and pxd_class[p[0]] & PXD_TOKEN:
            p += 1
        if p == start:
            return CODING_AMBIGUOUS
        chunked = p - start == 7 and word_is(start, "chunked", 7)
        while p < end and p[0] != c',':
            if p[0] == c'"' or (chunked and not is_blank(p[0])) or not (is_blank(p[0]) or p[0] == c';' or p[0] == c'='
                                                                       or pxd_class[p[0]] & PXD_TOKEN):
                return CODING_AMBIGUOUS
            p += 1
        if coding == CODING_NONE:
            coding = CODING_CHUNKED if chunked else CODING_UNKNOWN
        elif coding == CODING_UNKNOWN:
            coding = CODING_UNKNOWN_CHUNKED if chunked else CODING_UNKNOWN
        else:
            return CODING_AMBIGUOUS
        if p == end:
            return coding
        p += 1


cdef int _read_coding(const Head* head) noexcept nogil:
    """CODING_* of all Transfer-Encoding fields taken as one list."""
    cdef uint32_t i
    cdef int coding = CODING_NONE
    for i in range(head.first[FIELD_TRANSFER_ENCODING] - 1, head.field_count):
        if head.fields[i].id == FIELD_TRANSFER_ENCODING and coding != CODING_AMBIGUOUS:
            coding = _add_coding(coding, _value(head, i))
    return coding


cdef inline bint _read_digits(const uint8_t** at, const uint8_t* end, uint64_t* number) noexcept nogil:
    """Read 1*DIGIT at *at and move *at behind it; false if there is none or the number is over INT64_MAX."""
    cdef const uint8_t* p = at[0]
    cdef uint64_t n = 0
    if p == end or not c'0' <= p[0] <= c'9':
        return False
    while p < end and c'0' <= p[0] <= c'9':
        if n > LENGTH_MAX_TENTH or (n == LENGTH_MAX_TENTH and p[0] > c'7'):
            return False
        n = n * 10 + (p[0] - c'0')
        p += 1
    at[0] = p
    number[0] = n
    return True


cdef inline bint _read_length(Slice value, uint64_t* number) noexcept nogil:
    """Content-Length as one number and nothing else (RFC 9110 §8.6)."""
    cdef const uint8_t* p = value.data
    return _read_digits(&p, value.data + value.size, number) and p == value.data + value.size


cdef bint _read_lengths(const Head* head, uint64_t* number) noexcept nogil:
    """All Content-Length values of a response: repeats and lists of one and the same number count as that number (RFC 9110 §8.6)."""
    cdef uint32_t i
    cdef uint64_t n = 0
    cdef bint any = False
    cdef const uint8_t* p
    cdef const uint8_t* end
    cdef Slice value
    for i in range(head.first[FIELD_CONTENT_LENGTH] - 1, head.field_count):
        if head.fields[i].id != FIELD_CONTENT_LENGTH:
            continue
        value = _value(head, i)
        p = value.data
        end = p + value.size
        while True:
            while p < end and is_blank(p[0]):
                p += 1
            if not _read_digits(&p, end, &n) or (any and n != number[0]):
                return False
            number[0] = n
            any = True
            while p < end and is_blank(p[0]):
                p += 1
            if p == end:
                break
            if p[0] != c',':
                return False
            p += 1
    return True


cdef inline int _read_request_framing(Head* out, uint64_t repeated) noexcept nogil:
    """How long is the body (RFC 9112 §6.3)?  Returns 0 or -FAULT_*: what two readers could read in two ways is refused."""
    cdef int coding
    out.body = BODY_NONE
    out.content_length = 0
    out.has_content_length = False
    if out.first[FIELD_TRANSFER_ENCODING]:
        coding = _read_coding(out)
        if out.first[FIELD_CONTENT_LENGTH] or out.minor == 0 or coding == CODING_UNKNOWN or coding == CODING_AMBIGUOUS:
            return -FAULT_FRAMING_AMBIGUOUS
        if coding == CODING_UNKNOWN_CHUNKED:
            return -FAULT_TRANSFER_CODING_UNKNOWN
        out.body = BODY_CHUNKED
    elif out.first[FIELD_CONTENT_LENGTH]:
        if repeated & field_bit(FIELD_CONTENT_LENGTH) or not _read_length(head_field(out, FIELD_CONTENT_LENGTH), &out.content_length):
            return -FAULT_FRAMING_AMBIGUOUS
        out.body = BODY_LENGTH
        out.has_content_length = True
    return 0


cdef inline int _read_response_framing(Head* out) noexcept nogil:
    """The same for a response, without regard to the request's method.  Returns 0 or -FAULT_UPSTREAM_FRAMING.

    Only chunked alone is taken: we never say TE, so any other coding would be forwarded as if it were the content.
    """
    out.body = BODY_CLOSE
    out.content_length = 0
    out.has_content_length = False
    if out.first[FIELD_TRANSFER_ENCODING]:
        if out.first[FIELD_CONTENT_LENGTH] or out.minor == 0 or _read_coding(out) != CODING_CHUNKED:
            return -FAULT_UPSTREAM_FRAMING
        out.body = BODY_CHUNKED
    elif out.first[FIELD_CONTENT_LENGTH]:
        if not _read_lengths(out, &out.content_length):
            return -FAULT_UPSTREAM_FRAMING
        out.body = BODY_LENGTH
        out.has_content_length = True
    if out.status < 200 or out.status == 204 or out.status == 304:
        out.body = BODY_NONE
    return 0


cdef int split_host(Slice authority, Slice* name) noexcept nogil:
    # Escapes and commas are left out of RFC 3986's reg-name: no host that answers HTTP has either, "%2e" would give one name two
    # spellings, and a comma is what joining two Host fields leaves behind.  An empty host is refused (RFC 9110 §4.2.1).
    cdef const uint8_t* p = authority.data
    cdef const uint8_t* end = p + authority.size
    cdef const uint8_t* start = p
    cdef const uint8_t* digits
    cdef char[IPV6_TEXT_MAX + 1] text
    cdef uint8_t[16] address
    cdef uint32_t port = 0
    cdef size_t size
    if authority.size == 0:
        return -FAULT_HOST_INVALID
    if p[0] == c'[':
        start += 1
        while p < end and p[0] != c']':
            p += 1
        size = p - start
        if p == end or size > IPV6_TEXT_MAX:
            return -FAULT_HOST_INVALID
        memcpy(text, start, size)
        text[size] = 0
        if inet_pton(AF_INET6, text, address) != 1:
            return -FAULT_HOST_INVALID
        p += 1
    else:
        while p < end and pxd_class[p[0]] & PXD_HOST:
            p += 1
        size = p - start
        if size and start[size - 1] == c'.':
            size -= 1
        if size == 0:
            return -FAULT_HOST_INVALID
    name[0] = slice_of(start, size)
    if p == end:
        return 0
    if p[0] != c':':
        return -FAULT_HOST_INVALID
    p += 1
    digits = p
    while p < end and c'0' <= p[0] <= c'9' and port <= 0xFFFF:
        port = port * 10 + (p[0] - c'0')
        p += 1
    if p != end or port > 0xFFFF or (port == 0 and p != digits):
        return -FAULT_HOST_INVALID
    return <int>port


cdef inline void _split_query(Slice target, Head* out) noexcept nogil:
    """Cut an origin-form target into path and query."""
    cdef const uint8_t* mark = <const uint8_t*>memchr(target.data, c'?', target.size)
    out.path = target
    if mark != NULL:
        out.path.size = mark - target.data
        out.query = slice_of(mark + 1, target.size - out.path.size - 1)


cdef int _read_absolute(Slice target, Head* out) noexcept nogil:
    """http://authority[/path][?query] (RFC 9112 §3.2.2).  Returns 0 or -FAULT_*; userinfo and other schemes are refused."""
    cdef const uint8_t* p = target.data
    cdef const uint8_t* end = p + target.size
    cdef const uint8_t* start
    cdef Slice name
    if target.size >= 7 and word_is(p, "http", 4) and memcmp(p + 4, <const char*>b"://", 3) == 0:
        p += 7
    elif target.size >= 8 and word_is(p, "https", 5) and memcmp(p + 5, <const char*>b"://", 3) == 0:
        p += 8
    else:
        return -FAULT_REQUEST_LINE_MALFORMED
    start = p
    while p < end and p[0] != c'/' and p[0] != c'?':
        p += 1
    out.target_form = TARGET_ABSOLUTE
    out.host = slice_of(start, p - start)
    if split_host(out.host, &name) < 0:
        return -FAULT_HOST_INVALID
    if p < end:
        _split_query(slice_of(p, end - p), out)
        if out.path.size == 0:
            out.path = slice_of(_ROOT, 1)
    elif out.method == METHOD_OPTIONS:   # no path and no query: the last proxy sends "*" (RFC 9112 §3.2.4)
        out.target_form = TARGET_ASTERISK
        out.path = slice_of(_ASTERISK, 1)
    else:
        out.path = slice_of(_ROOT, 1)
    return 0


cdef inline int _read_target(Slice target, Head* out) noexcept nogil:
    """Which of the four forms is it (RFC 9112 §3.2)?  Sets target_form, path, query, and host where the target names one.  0 or -FAULT_*."""
    cdef Slice name
    cdef int port
    out.query = slice_empty()
    out.host = slice_empty()
    if PXD_LIKELY(target.data[0] == c'/' and out.method != METHOD_CONNECT):
        out.target_form = TARGET_ORIGIN
        _split_query(target, out)
        return 0
    if out.method == METHOD_CONNECT:
        out.target_form = TARGET_AUTHORITY
        out.path = slice_empty()
        out.host = target
        port = split_host(target, &name)
        return 0 if port > 0 else -FAULT_REQUEST_LINE_MALFORMED
    if target.size == 1 and target.data[0] == c'*' and out.method == METHOD_OPTIONS:
        out.target_form = TARGET_ASTERISK
        out.path = target
        return 0
    return _read_absolute(target, out)


cdef inline int _read_host(Head* out, uint64_t repeated) noexcept nogil:
    """Exactly one valid Host (RFC 9112 §3.2), also beside an absolute target; HTTP/1.0 may lack it.  0 or -FAULT_HOST_INVALID."""
    cdef Slice name, host = head_field(out, FIELD_HOST)
    if host.data == NULL:
        return 0 if out.minor == 0 else -FAULT_HOST_INVALID
    if repeated & field_bit(FIELD_HOST) or split_host(host, &name) < 0:
        return -FAULT_HOST_INVALID
    if out.host.data == NULL:
        out.host = host
    return 0


cdef int _read_expectation(Head* out) noexcept nogil:
    """Expect (RFC 9110 §10.1.1): 100-continue is the only one there is.  From HTTP/1.0 it is ignored, and not forwarded either."""
    cdef uint32_t i
    for i in range(out.first[FIELD_EXPECT] - 1, out.field_count):
        if out.fields[i].id != FIELD_EXPECT:
            continue
        if out.minor == 0:
            out.fields[i].hop = 1
        elif _value_is(_value(out, i), "100-continue", 12):
            out.flags |= HEAD_EXPECT_CONTINUE
        else:
            return -FAULT_EXPECTATION_FAILED
    return 0


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
    rc = _read_target(target, out)
    if rc < 0:
        return rc
    rc = _read_host(out, repeated)
    if rc < 0:
        return rc
    rc = _read_request_framing(out, repeated)
    if rc < 0:
        return rc
    # RFC 6455 §4.1: GET.  A body would have to be read from the same bytes as the tunnel: such an upgrade is not passed on.
    options = _read_connection(out, out.method == METHOD_GET and out.body != BODY_CHUNKED and out.content_length == 0
                               and not repeated & field_bit(FIELD_UPGRADE))
    if options & OPTION_MALFORMED:
        return -FAULT_FIELD_MALFORMED
    if options & OPTION_TOO_MANY:
        return -FAULT_HEAD_TOO_LARGE
    if out.first[FIELD_EXPECT]:
        rc = _read_expectation(out)
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
    rc = _read_response_framing(out)
    if rc < 0:
        return rc
    if _read_connection(out, out.status == 101 and not repeated & field_bit(FIELD_UPGRADE)) & OPTION_TOO_MANY:
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
        fields.append((<bytes>head.base[f.name:f.name + f.name_size], <bytes>head.base[f.value:f.value + f.value_size], f.id, bool(f.hop)))
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
