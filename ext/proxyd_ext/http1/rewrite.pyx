# cython: cdivision=True
"""Heads are written by copying: runs of consecutive lines that stay are copied whole, and only what proxyd says itself is composed.

What is cut is a set of field ids, made once from the edits, plus each field's `hop`.  All writing goes through `_put`, which knows the
end of the buffer: once something did not fit nothing more is written, and the caller gets the fault instead of a size.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, strlen
from proxyd_ext.core.fault cimport FAULT_HEAD_REWRITE_TOO_LARGE, FAULT_UPSTREAM_HEAD_TOO_LARGE
from proxyd_ext.core.shim cimport PXD_UNLIKELY
from proxyd_ext.core.slice cimport Slice, slice_empty, slice_of
from proxyd_ext.http1.head cimport (
    BODY_CHUNKED, BODY_CLOSE, BODY_LENGTH, BODY_NONE, FIELD_CONTENT_LENGTH, FIELD_DATE, FIELD_FORWARDED, FIELD_HOST, FIELD_TRACEPARENT,
    FIELD_TRACESTATE, FIELD_VIA,
    FIELD_X_FORWARDED_FOR, FIELD_X_FORWARDED_HOST, FIELD_X_FORWARDED_PROTO, FIELD_X_REAL_IP, FIELD_X_REQUEST_ID, MAX_FIELDS, Field,
    HeadLimits, parse_request_head, parse_response_head,
)
from proxyd_ext.http1.names cimport field_bit


cdef struct Writer:
    uint8_t* at       # where the next byte goes
    uint8_t* end      # end of the buffer
    bint full         # something did not fit


cdef inline void _put(Writer* w, const void* data, size_t size) noexcept nogil:
    if PXD_UNLIKELY(size > <size_t>(w.end - w.at)):
        w.end = w.at
        w.full = True
        return
    memcpy(w.at, data, size)
    w.at += size


cdef inline void _put_slice(Writer* w, Slice s) noexcept nogil:
    if s.size:
        _put(w, s.data, s.size)


cdef inline void _put_decimal(Writer* w, uint64_t value) noexcept nogil:
    cdef uint8_t[20] digits
    _put(w, digits, write_decimal(value, digits))


cdef inline void _put_framing(Writer* w, uint8_t body, bint has_length, uint64_t length) noexcept nogil:
    if body == BODY_CHUNKED:
        _put(w, <const char*>b"Transfer-Encoding: chunked\r\n", 28)
    elif has_length:
        _put(w, <const char*>b"Content-Length: ", 16)
        _put_decimal(w, length)
        _put(w, <const char*>b"\r\n", 2)


cdef inline void _put_kept(Writer* w, const Head* head, uint64_t drop) noexcept nogil:
    """Copy the field lines whose id is not in `drop` and that are not hop-by-hop, in order, run by run.

    A line ends where the next begins: there is nothing between field lines.
    """
    cdef uint32_t i, n = head.field_count, start = 0, stop
    cdef bint running = False
    cdef const Field* f
    for i in range(n):
        f = &head.fields[i]
        if f.hop or drop >> f.id & 1:
            if running:
                _put(w, head.base + start, f.name - start)
                running = False
        elif not running:
            start = f.name
            running = True
    if running:
        stop = head.size - 2
        _put(w, head.base + start, stop - start)


cdef inline bint _kept(const Head* head, int id) noexcept nogil:
    """Is there a field with this id, not hop-by-hop and not empty?  Connection names all fields of a name or none, so the first tells."""
    cdef uint16_t at = head.first[id]
    return at != 0 and not head.fields[at - 1].hop and head.fields[at - 1].value_size != 0


cdef void _put_joined(Writer* w, const Head* head, int id) noexcept nogil:
    """The values of all fields with this id, each with ", " behind it (RFC 9110 §5.3)."""
    cdef uint32_t i
    cdef const Field* f
    for i in range(<uint32_t>head.first[id] - 1, head.field_count):
        f = &head.fields[i]
        if f.id == id and not f.hop and f.value_size:
            _put(w, head.base + f.value, f.value_size)
            _put(w, <const char*>b", ", 2)


cdef inline void _put_forwarded(Writer* w, const Head* head, const RequestEdits* edits, Slice host, uint64_t drop) noexcept nogil:
    """X-Forwarded-For, -Proto, -Host, X-Request-ID and traceparent, where they are not kept as they came (then they are not in `drop`)."""
    cdef bint joined = edits.trusted and head.first[FIELD_X_FORWARDED_FOR] != 0
    if edits.replaced >> FIELD_X_FORWARDED_FOR & 1:
        pass
    elif edits.client_ip.size or (joined and _kept(head, FIELD_X_FORWARDED_FOR)):
        _put(w, <const char*>b"X-Forwarded-For: ", 17)
        if joined:
            _put_joined(w, head, FIELD_X_FORWARDED_FOR)
        if edits.client_ip.size:
            _put_slice(w, edits.client_ip)
        elif not w.full:
            w.at -= 2   # the ", " behind the last value
        _put(w, <const char*>b"\r\n", 2)
    if drop & field_bit(FIELD_X_FORWARDED_PROTO):
        _put(w, <const char*>b"X-Forwarded-Proto: ", 19)
        _put_slice(w, edits.proto)
        _put(w, <const char*>b"\r\n", 2)
    if drop & field_bit(FIELD_X_FORWARDED_HOST) and host.size:
        _put(w, <const char*>b"X-Forwarded-Host: ", 18)
        _put_slice(w, host)
        _put(w, <const char*>b"\r\n", 2)
    if drop & field_bit(FIELD_X_REQUEST_ID):
        _put(w, <const char*>b"X-Request-ID: ", 14)
        _put_slice(w, edits.request_id)
        _put(w, <const char*>b"\r\n", 2)
    if drop & field_bit(FIELD_TRACEPARENT):
        _put(w, <const char*>b"traceparent: ", 13)
        _put_slice(w, edits.trace)
        _put(w, <const char*>b"\r\n", 2)


cdef inline void _put_via(Writer* w, const Head* head, Slice pseudonym) noexcept nogil:
    """Via with ourselves added (RFC 9110 §7.6.3): the version is the one in which the message was received."""
    _put(w, <const char*>b"Via: ", 5)
    if head.first[FIELD_VIA]:
        _put_joined(w, head, FIELD_VIA)
    if head.minor == 1:
        _put(w, <const char*>b"1.1 ", 4)
    else:
        _put(w, <const char*>b"1.0 ", 4)
    _put_slice(w, pseudonym)
    _put(w, <const char*>b"\r\n", 2)


cdef inline uint64_t _request_drop(const Head* head, bint trusted) noexcept nogil:
    """The ids of fields that are not copied because we write them, or because a stranger may not say them."""
    cdef uint64_t drop = (field_bit(FIELD_HOST) | field_bit(FIELD_CONTENT_LENGTH) | field_bit(FIELD_VIA)
                          | field_bit(FIELD_X_FORWARDED_FOR))
    if not trusted:
        return (drop | field_bit(FIELD_X_FORWARDED_PROTO) | field_bit(FIELD_X_FORWARDED_HOST) | field_bit(FIELD_X_REQUEST_ID)
                | field_bit(FIELD_FORWARDED) | field_bit(FIELD_X_REAL_IP))
    if not _kept(head, FIELD_X_FORWARDED_PROTO):
        drop |= field_bit(FIELD_X_FORWARDED_PROTO)
    if not _kept(head, FIELD_X_FORWARDED_HOST):
        drop |= field_bit(FIELD_X_FORWARDED_HOST)
    if not _kept(head, FIELD_X_REQUEST_ID):
        drop |= field_bit(FIELD_X_REQUEST_ID)
    return drop


cdef int write_request_head(const Head* head, const RequestEdits* edits, uint8_t* out, size_t cap) noexcept nogil:
    cdef Writer w
    cdef uint64_t drop = _request_drop(head, edits.trusted)
    if edits.trace.data != NULL:
        drop |= field_bit(FIELD_TRACEPARENT)
        if edits.trace_new:
            drop |= field_bit(FIELD_TRACESTATE)
    w.at = out
    w.end = out + cap
    w.full = False
    _put_slice(&w, head.method_text)
    _put(&w, <const char*>b" ", 1)
    _put_slice(&w, edits.path)
    if edits.query.data != NULL:
        _put(&w, <const char*>b"?", 1)
        _put_slice(&w, edits.query)
    # HTTP/1.0 may come without a host: HTTP/1.1 then asks for an empty Host (RFC 9112 §3.2).
    _put(&w, <const char*>b" HTTP/1.1\r\nHost: ", 17)
    _put_slice(&w, edits.host if edits.host.data != NULL else head.host)
    _put(&w, <const char*>b"\r\n", 2)
    _put_kept(&w, head, drop)
    _put_framing(&w, edits.body, edits.body == BODY_LENGTH, edits.content_length)
    _put_forwarded(&w, head, edits, head.host, drop & ~edits.replaced)
    if not edits.replaced >> FIELD_VIA & 1:
        _put_via(&w, head, edits.via)
    if edits.upgrade:
        _put(&w, <const char*>b"Connection: Upgrade\r\nUpgrade: websocket\r\n", 41)
    _put_slice(&w, edits.extra)
    _put(&w, <const char*>b"\r\n", 2)
    return -FAULT_HEAD_REWRITE_TOO_LARGE if w.full else <int>(w.at - out)


cdef int write_response_head(const Head* head, const ResponseEdits* edits, uint8_t* out, size_t cap) noexcept nogil:
    cdef Writer w
    cdef uint8_t[4] status
    cdef uint16_t date = head.first[FIELD_DATE]
    cdef bint bodiless = head.status < 200 or head.status == 204   # these carry no framing at all (RFC 9110 §8.6, RFC 9112 §6.1)
    w.at = out
    w.end = out + cap
    w.full = False
    _put(&w, <const char*>b"HTTP/1.1 ", 9)
    write_decimal(head.status, status)
    status[3] = c' '
    _put(&w, status, 4)
    _put_slice(&w, head.reason)
    _put(&w, <const char*>b"\r\n", 2)
    _put_kept(&w, head, field_bit(FIELD_CONTENT_LENGTH))
    if edits.date.size and head.status >= 200 and (date == 0 or head.fields[date - 1].hop):
        _put(&w, <const char*>b"Date: ", 6)
        _put_slice(&w, edits.date)
        _put(&w, <const char*>b"\r\n", 2)
    if not bodiless:
        _put_framing(&w, edits.body, edits.body == BODY_LENGTH or (edits.body == BODY_NONE and edits.has_content_length),
                     edits.content_length)
    if edits.upgrade:
        _put(&w, <const char*>b"Connection: Upgrade\r\nUpgrade: websocket\r\n", 41)
    elif edits.close or edits.body == BODY_CLOSE:
        _put(&w, <const char*>b"Connection: close\r\n", 19)
    elif edits.keep_alive:
        _put(&w, <const char*>b"Connection: keep-alive\r\n", 24)
    _put_slice(&w, edits.extra)
    _put_slice(&w, edits.cookies)
    _put(&w, <const char*>b"\r\n", 2)
    return -FAULT_UPSTREAM_HEAD_TOO_LARGE if w.full else <int>(w.at - out)


# ---- answers of our own

cdef int write_status_line(uint16_t status, uint8_t* out) noexcept nogil:
    cdef const char* reason = reason_phrase(status)
    cdef size_t n = strlen(reason)
    memcpy(out, <const char*>b"HTTP/1.1 ", 9)
    # Three digits (RFC 9112 §4), whatever comes in.
    out[9] = c'0' + status // 100 % 10
    out[10] = c'0' + status // 10 % 10
    out[11] = c'0' + status % 10
    out[12] = c' '
    memcpy(out + 13, reason, n)
    memcpy(out + 13 + n, <const char*>b"\r\n", 2)
    return <int>(15 + n)


cdef const char* reason_phrase(uint16_t status) noexcept nogil:
    if status == 200:
        return "OK"
    elif status == 100:
        return "Continue"
    elif status == 101:
        return "Switching Protocols"
    elif status == 103:
        return "Early Hints"
    elif status == 201:
        return "Created"
    elif status == 202:
        return "Accepted"
    elif status == 203:
        return "Non-Authoritative Information"
    elif status == 204:
        return "No Content"
    elif status == 205:
        return "Reset Content"
    elif status == 206:
        return "Partial Content"
    elif status == 300:
        return "Multiple Choices"
    elif status == 301:
        return "Moved Permanently"
    elif status == 302:
        return "Found"
    elif status == 303:
        return "See Other"
    elif status == 304:
        return "Not Modified"
    elif status == 305:
        return "Use Proxy"
    elif status == 307:
        return "Temporary Redirect"
    elif status == 308:
        return "Permanent Redirect"
    elif status == 400:
        return "Bad Request"
    elif status == 401:
        return "Unauthorized"
    elif status == 402:
        return "Payment Required"
    elif status == 403:
        return "Forbidden"
    elif status == 404:
        return "Not Found"
    elif status == 405:
        return "Method Not Allowed"
    elif status == 406:
        return "Not Acceptable"
    elif status == 407:
        return "Proxy Authentication Required"
    elif status == 408:
        return "Request Timeout"
    elif status == 409:
        return "Conflict"
    elif status == 410:
        return "Gone"
    elif status == 411:
        return "Length Required"
    elif status == 412:
        return "Precondition Failed"
    elif status == 413:
        return "Content Too Large"
    elif status == 414:
        return "URI Too Long"
    elif status == 415:
        return "Unsupported Media Type"
    elif status == 416:
        return "Range Not Satisfiable"
    elif status == 417:
        return "Expectation Failed"
    elif status == 421:
        return "Misdirected Request"
    elif status == 422:
        return "Unprocessable Content"
    elif status == 425:
        return "Too Early"
    elif status == 426:
        return "Upgrade Required"
    elif status == 428:
        return "Precondition Required"
    elif status == 429:
        return "Too Many Requests"
    elif status == 431:
        return "Request Header Fields Too Large"
    elif status == 451:
        return "Unavailable For Legal Reasons"
    elif status == 500:
        return "Internal Server Error"
    elif status == 501:
        return "Not Implemented"
    elif status == 502:
        return "Bad Gateway"
    elif status == 503:
        return "Service Unavailable"
    elif status == 504:
        return "Gateway Timeout"
    elif status == 505:
        return "HTTP Version Not Supported"
    elif status == 508:
        return "Loop Detected"
    elif status == 511:
        return "Network Authentication Required"
    return ""


cdef int write_decimal(uint64_t value, uint8_t* out) noexcept nogil:
    cdef uint8_t[20] digits
    cdef int n = 20
    while True:
        n -= 1
        digits[n] = <uint8_t>(c'0' + value % 10)
        value //= 10
        if value == 0:
            break
    memcpy(out, &digits[n], 20 - n)
    return 20 - n


cdef inline void _put_two(uint8_t* out, uint32_t value) noexcept nogil:
    out[0] = <uint8_t>(c'0' + value // 10)
    out[1] = <uint8_t>(c'0' + value % 10)


cdef void write_http_date(uint64_t seconds, uint8_t* out) noexcept nogil:
    # Days to a civil date as in H. Hinnant, "chrono-Compatible Low-Level Date Algorithms" (civil_from_days): years begin in March, so
    # that the leap day is the last of its year, and an era is 400 years of 146097 days.
    if seconds > <uint64_t>253402300799:
        seconds = <uint64_t>253402300799   # the end of year 9999: IMF-fixdate has four digits
    cdef uint32_t days = <uint32_t>(seconds // 86400)
    cdef uint32_t second = <uint32_t>(seconds % 86400)
    cdef uint32_t shifted = days + 719468   # days since 0000-03-01
    cdef uint32_t era = shifted // 146097
    cdef uint32_t day_of_era = shifted % 146097
    cdef uint32_t year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    cdef uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    cdef uint32_t march_month = (5 * day_of_year + 2) // 153
    cdef uint32_t day = day_of_year - (153 * march_month + 2) // 5 + 1
    cdef uint32_t month = march_month + 2 if march_month < 10 else march_month - 10   # 0 is January
    cdef uint32_t year = year_of_era + era * 400 + (1 if month < 2 else 0)
    memcpy(out, (<const char*>b"ThuFriSatSunMonTueWed") + 3 * (days % 7), 3)   # 1970-01-01 was a Thursday
    memcpy(out + 3, <const char*>b", ", 2)
    _put_two(out + 5, day)
    out[7] = c' '
    memcpy(out + 8, (<const char*>b"JanFebMarAprMayJunJulAugSepOctNovDec") + 3 * month, 3)
    out[11] = c' '
    _put_two(out + 12, year // 100)
    _put_two(out + 14, year % 100)
    out[16] = c' '
    _put_two(out + 17, second // 3600)
    out[19] = c':'
    _put_two(out + 20, second // 60 % 60)
    out[22] = c':'
    _put_two(out + 23, second % 60)
    memcpy(out + 25, <const char*>b" GMT", 4)


# ---- for tests and tools

cdef Slice _slice(bytes value):
    """A slice of a bytes object that the caller keeps, or the empty one for None."""
    if value is None:
        return slice_empty()
    return slice_of(<const uint8_t*>value, len(value))


def rewrite_request(data: bytes, *, path: bytes | None = None, query: bytes | None = None, client_ip: bytes = b"192.0.2.1",
                    proto: bytes = b"http", request_id: bytes = b"0123456789abcdef", via: bytes = b"proxyd", host: bytes | None = None,
                    extra: bytes = b"", trusted: bool = False, upgrade: bool = False, body: int | None = None,
                    trace: bytes | None = None, trace_new: bool = False,
                    content_length: int | None = None, cap: int = 65536) -> bytes | int:
    """Parse a request head and write it as forwarded, into a block of exactly `cap` bytes: the new head, 0 or -FAULT_*.

    What is None (path with query, body, content_length) is as in the head.
    """
    cdef RequestEdits edits
    cdef HeadLimits limits
    cdef size_t scanned = 0, space = cap
    cdef int rc
    cdef Head* head = <Head*>malloc(sizeof(Head))
    cdef uint8_t* out = <uint8_t*>malloc(space)
    limits.head_size, limits.uri_length, limits.field_count = 1 << 20, 1 << 20, MAX_FIELDS
    try:
        if head == NULL or out == NULL:
            raise MemoryError
        rc = parse_request_head(data, len(data), &scanned, &limits, head)
        if rc <= 0:
            return rc
        edits.path = head.path if path is None else _slice(path)
        edits.query = head.query if path is None else _slice(query)
        edits.client_ip, edits.proto, edits.request_id = _slice(client_ip), _slice(proto), _slice(request_id)
        edits.replaced, edits.trace, edits.trace_new = 0, _slice(trace), trace_new
        edits.via, edits.host, edits.extra = _slice(via), _slice(host), _slice(extra)
        edits.trusted, edits.upgrade = trusted, upgrade
        edits.body = head.body if body is None else body
        edits.content_length = head.content_length if content_length is None else content_length
        with nogil:
            rc = write_request_head(head, &edits, out, space)
        return rc if rc < 0 else <bytes>out[:rc]
    finally:
        free(head)
        free(out)


def rewrite_response(data: bytes, *, extra: bytes = b"", date: bytes = b"Thu, 01 Jan 1970 00:00:00 GMT", close: bool = False,
                     keep_alive: bool = False, upgrade: bool = False, body: int | None = None, content_length: int | None = None,
                     cap: int = 65536) -> bytes | int:
    """The same for a response head; body and length as in the head when None, where content_length -1 is none."""
    cdef ResponseEdits edits
    cdef HeadLimits limits
    cdef size_t scanned = 0, size = len(data), space = cap
    cdef int rc
    cdef Head* head = <Head*>malloc(sizeof(Head))
    cdef uint8_t* out = <uint8_t*>malloc(space)
    cdef uint8_t* block = <uint8_t*>malloc(size)
    limits.head_size, limits.uri_length, limits.field_count = 1 << 20, 0, MAX_FIELDS
    try:
        if head == NULL or out == NULL or block == NULL:
            raise MemoryError
        memcpy(block, <const uint8_t*>data, size)
        rc = parse_response_head(block, size, &scanned, &limits, head)
        if rc <= 0:
            return rc
        edits.extra, edits.cookies, edits.date = _slice(extra), slice_empty(), _slice(date)
        edits.close, edits.keep_alive, edits.upgrade = close, keep_alive, upgrade
        edits.body = head.body if body is None else body
        edits.has_content_length = head.has_content_length if content_length is None else content_length >= 0
        edits.content_length = head.content_length if content_length is None or content_length < 0 else content_length
        with nogil:
            rc = write_response_head(head, &edits, out, space)
        return rc if rc < 0 else <bytes>out[:rc]
    finally:
        free(head)
        free(out)
        free(block)


def status_line(status: int) -> bytes:
    """write_status_line."""
    cdef uint8_t[64] out
    cdef int n = write_status_line(status, out)
    return <bytes>out[:n]


def http_date(seconds: int) -> bytes:
    """write_http_date."""
    cdef uint8_t[29] out
    write_http_date(seconds, out)
    return <bytes>out[:29]


def decimal(value: int) -> bytes:
    """write_decimal."""
    cdef uint8_t[20] out
    cdef int n = write_decimal(value, out)
    return <bytes>out[:n]
