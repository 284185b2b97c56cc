"""Which resource is asked for: the request target and Host (RFC 9112 §3.2).

Part of head.pyx: it stands in a .pxd of its own only because one file would be too long, and is compiled into head alone.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy
from proxyd_ext.core.fault cimport FAULT_HOST_INVALID, FAULT_REQUEST_LINE_MALFORMED
from proxyd_ext.core.shim cimport PXD_LIKELY
from proxyd_ext.core.slice cimport Slice, slice_empty, slice_of
from proxyd_ext.http1.head cimport (
    FIELD_HOST, METHOD_CONNECT, METHOD_OPTIONS, TARGET_ABSOLUTE, TARGET_ASTERISK, TARGET_AUTHORITY, TARGET_ORIGIN, Head, head_field,
)
from proxyd_ext.http1.names cimport field_bit
from proxyd_ext.http1.scan cimport PXD_HOST, pxd_class, word_is


cdef extern from "<arpa/inet.h>" nogil:
    enum:
        AF_INET6
    int inet_pton(int family, const char* text, void* address)


cdef enum:
    IPV6_TEXT_MAX = 45


cdef inline int read_authority(Slice authority, Slice* name) noexcept nogil:
    """See split_host."""
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
        if p == end or size > IPV6_TEXT_MAX or memchr(start, 0, size) != NULL:
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
        if size == 0 or start[size - 1] == c'.':   # nothing, or more than the root's dot behind it
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


cdef inline void split_query(Slice target, Head* out) noexcept nogil:
    """Cut an origin-form target into path and query."""
    cdef const uint8_t* mark = <const uint8_t*>memchr(target.data, c'?', target.size)
    out.path = target
    if mark != NULL:
        out.path.size = mark - target.data
        out.query = slice_of(mark + 1, target.size - out.path.size - 1)


cdef inline int read_absolute(Slice target, Head* out) noexcept nogil:
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
    if read_authority(out.host, &name) < 0:
        return -FAULT_HOST_INVALID
    if p < end:
        split_query(slice_of(p, end - p), out)
        if out.path.size == 0:
            out.path = slice_of(<const uint8_t*>b"/", 1)
    elif out.method == METHOD_OPTIONS:   # no path and no query: the last proxy sends "*" (RFC 9112 §3.2.4)
        out.target_form = TARGET_ASTERISK
        out.path = slice_of(<const uint8_t*>b"*", 1)
    else:
        out.path = slice_of(<const uint8_t*>b"/", 1)
    return 0


cdef inline int read_target(Slice target, Head* out) noexcept nogil:
    """Which of the four forms is it (RFC 9112 §3.2)?  Sets target_form, path, query, and host where the target names one.

    Returns 0 or -FAULT_*.
    """
    cdef Slice name
    cdef int port
    out.query = slice_empty()
    out.host = slice_empty()
    if PXD_LIKELY(target.data[0] == c'/' and out.method != METHOD_CONNECT):
        out.target_form = TARGET_ORIGIN
        split_query(target, out)
        return 0
    if out.method == METHOD_CONNECT:
        out.target_form = TARGET_AUTHORITY
        out.path = slice_empty()
        out.host = target
        port = read_authority(target, &name)
        return 0 if port > 0 else -FAULT_REQUEST_LINE_MALFORMED
    if target.size == 1 and target.data[0] == c'*' and out.method == METHOD_OPTIONS:
        out.target_form = TARGET_ASTERISK
        out.path = target
        return 0
    return read_absolute(target, out)


cdef inline int read_host(Head* out, uint64_t repeated) noexcept nogil:
    """Exactly one valid Host (RFC 9112 §3.2), also beside an absolute target; HTTP/1.0 may lack it.  0 or -FAULT_HOST_INVALID."""
    cdef Slice name, host = head_field(out, FIELD_HOST)
    if host.data == NULL:
        return 0 if out.minor == 0 else -FAULT_HOST_INVALID
    if repeated & field_bit(FIELD_HOST) or read_authority(host, &name) < 0:
        return -FAULT_HOST_INVALID
    if out.host.data == NULL:
        out.host = host
    return 0
