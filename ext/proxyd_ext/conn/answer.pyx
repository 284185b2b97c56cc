# cython: cdivision=True
"""Composing proxyd's own answers (see answer.pxd)."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, strlen
from proxyd_ext.conn.model cimport EX_CLIENT_CLOSE, EX_OWN_ANSWER, EX_RESPONSE_BEGUN, Context
from proxyd_ext.core.fault cimport FAULT_CLIENT_LIMIT, FAULT_METHOD_REFUSED, FAULT_URI_TOO_LONG, FaultInfo, fault_info
from proxyd_ext.core.slice cimport Slice, slice_empty, slice_of
from proxyd_ext.http1.head cimport METHOD_HEAD
from proxyd_ext.http1.rewrite cimport reason_phrase, write_decimal, write_status_line
from proxyd_ext.io.stream cimport stream_commit, stream_room, stream_send
from proxyd_ext.snapshot.compile cimport (
    CompiledRoute, PART_HOST, PART_PATH, PART_QUERY, PART_SCHEME, PART_TEXT,
)

cdef const char* _ALLOW = b"Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\n"

cdef enum:
    HEAD_ROOM = 1024          # status line and the fields that we write ourselves
    BODY_ROOM = 1024          # an error body


ctypedef struct Out:
    uint8_t* start
    uint8_t* at


cdef inline void _put(Out* out, const void* data, size_t size) noexcept nogil:
    memcpy(out.at, data, size)
    out.at += size


cdef inline void _text(Out* out, const char* text) noexcept nogil:
    _put(out, text, strlen(text))


cdef inline void _slice(Out* out, Slice s) noexcept nogil:
    if s.size:
        _put(out, s.data, s.size)


cdef int wanted_form(Slice accept) noexcept nogil:
    """A plain look for the types, in the order a browser and an API client would send them: no q-values, the worst that happens is another
    form."""
    cdef size_t i
    if accept.size < 4:
        return WANT_TEXT
    for i in range(accept.size - 3):
        if accept.data[i] == c'h' and memcmp(accept.data + i, b"html", 4) == 0:
            return WANT_HTML
        if accept.data[i] == c'j' and memcmp(accept.data + i, b"json", 4) == 0:
            return WANT_JSON
    return WANT_TEXT


cdef inline bint _harmless(Slice id) noexcept nogil:
    cdef size_t i
    cdef uint8_t c
    if not 0 < id.size <= 128:
        return False
    for i in range(id.size):
        c = id.data[i]
        if not (c'0' <= c <= c'9' or c'a' <= c <= c'z' or c'A' <= c <= c'Z' or c == c'-' or c == c'_' or c == c'.'):
            return False
    return True


cdef int write_request_id(const Exchange* exchange, unsigned char* out) noexcept nogil:
    cdef int i
    cdef uint64_t id = exchange.id
    if _harmless(exchange.request_id):
        memcpy(out, exchange.request_id.data, exchange.request_id.size)
        return <int>exchange.request_id.size
    for i in range(16):
        out[15 - i] = b"0123456789abcdef"[id & 15]
        id >>= 4
    return 16


cdef void _begin(Exchange* exchange, Out* out, uint16_t status, size_t room) noexcept nogil:
    cdef Context* context = exchange.context
    out.start = stream_room(&exchange.client.stream, <uint32_t>room)
    out.at = out.start
    exchange.status = status
    exchange.flags |= EX_RESPONSE_BEGUN | EX_OWN_ANSWER
    out.at += write_status_line(status, out.at)
    _text(out, b"Date: ")
    _put(out, context.date, 29)
    _text(out, b"\r\n")


cdef void _connection(Exchange* exchange, Out* out) noexcept nogil:
    if exchange.flags & EX_CLIENT_CLOSE:
        _text(out, b"Connection: close\r\n")
    elif exchange.minor == 0:
        _text(out, b"Connection: keep-alive\r\n")


cdef void _body(Exchange* exchange, Out* out, Slice body) noexcept nogil:
    """Content-Length, the end of the head, and the body unless the request or the status forbids one (RFC 9110 §6.4.1)."""
    cdef uint16_t status = exchange.status
    _connection(exchange, out)
    if status != 204 and status != 304 and status >= 200:
        _text(out, b"Content-Length: ")
        out.at += write_decimal(body.size, out.at)
        _text(out, b"\r\n")
    _text(out, b"\r\n")
    if exchange.method != METHOD_HEAD and status != 204 and status != 304:
        _slice(out, body)


cdef void _send(Exchange* exchange, Out* out) noexcept nogil:
    cdef uint32_t size = <uint32_t>(out.at - out.start)
    exchange.bytes_out += size
    stream_commit(&exchange.client.stream, out.start, size)


cdef void _error_body(const Exchange* exchange, const FaultInfo* info, Out* out) noexcept nogil:
    cdef int form = exchange.error_form
    if form == WANT_JSON:
        _text(out, b'{"status":')
        out.at += write_decimal(info.status, out.at)
        _text(out, b',"error":"')
        _text(out, info.word)
        _text(out, b'","message":"')
        _text(out, info.sentence)
        _text(out, b'","request_id":"')
        out.at += write_request_id(exchange, out.at)
        _text(out, b'"}\n')
        return
    if form == WANT_HTML:
        _text(out, b"<!doctype html><html lang=en><meta charset=utf-8><title>")
        out.at += write_decimal(info.status, out.at)
        _text(out, b" ")
        _text(out, reason_phrase(info.status))
        _text(out, b"</title><body style=\"font-family:sans-serif;max-width:40em;margin:4em auto;padding:0 1em\"><h1>")
        out.at += write_decimal(info.status, out.at)
        _text(out, b" ")
        _text(out, reason_phrase(info.status))
        _text(out, b"</h1><p>")
        _text(out, info.sentence)
        _text(out, b".<p><small>request ")
        out.at += write_request_id(exchange, out.at)
        _text(out, b"</small>\n")
        return
    out.at += write_decimal(info.status, out.at)
    _text(out, b" ")
    _text(out, reason_phrase(info.status))
    _text(out, b": ")
    _text(out, info.sentence)
    _text(out, b" (request ")
    out.at += write_request_id(exchange, out.at)
    _text(out, b")\n")


cdef void answer_fault(Exchange* exchange, int fault) noexcept nogil:
    cdef const FaultInfo* info = fault_info(fault)
    cdef uint8_t[BODY_ROOM] room
    cdef Out body, out
    body.start = room
    body.at = room
    _error_body(exchange, info, &body)
    _begin(exchange, &out, info.status, HEAD_ROOM + BODY_ROOM)
    if exchange.error_form == WANT_JSON:
        _text(&out, b"Content-Type: application/json\r\n")
    elif exchange.error_form == WANT_HTML:
        _text(&out, b"Content-Type: text/html; charset=utf-8\r\n")
    else:
        _text(&out, b"Content-Type: text/plain; charset=utf-8\r\n")
    _text(&out, b"Proxy-Status: proxyd; error=")
    _text(&out, info.proxy_error)
    _text(&out, b"; details=\"")
    _text(&out, info.word)
    _text(&out, b"\"\r\nX-Request-ID: ")
    out.at += write_request_id(exchange, out.at)
    _text(&out, b"\r\n")
    if fault == FAULT_METHOD_REFUSED:
        _text(&out, _ALLOW)
    if info.status == 503 and fault != FAULT_CLIENT_LIMIT:
        _text(&out, b"Retry-After: 1\r\n")
    _body(exchange, &out, slice_of(body.start, body.at - body.start))
    _send(exchange, &out)


cdef void answer_options(Exchange* exchange) noexcept nogil:
    answer_with(exchange, 200, slice_of(<const uint8_t*>_ALLOW, strlen(_ALLOW)), slice_empty())


cdef void answer_with(Exchange* exchange, uint16_t status, Slice head, Slice body) noexcept nogil:
    cdef Out out
    cdef Slice lines = exchange.response_lines
    cdef Slice first = body
    cdef bint large
    if status == 204 or status == 304:
        body = first = slice_empty()   # these have none (RFC 9110 §6.4.1), whatever the config says
    large = head.size + lines.size + body.size > 65536
    if large:
        # Too big to compose: the head goes through the arena, the body straight after it.
        first = slice_empty()
    _begin(exchange, &out, status, HEAD_ROOM + head.size + lines.size + first.size)
    _slice(&out, head)
    _slice(&out, lines)
    if not large:
        _body(exchange, &out, body)
        _send(exchange, &out)
        return
    _connection(exchange, &out)
    _text(&out, b"Content-Length: ")
    out.at += write_decimal(body.size, out.at)
    _text(&out, b"\r\n\r\n")
    _send(exchange, &out)
    if exchange.method != METHOD_HEAD:
        exchange.bytes_out += body.size
        stream_send(&exchange.client.stream, body.data, <uint32_t>body.size)


cdef void answer_fixed(Exchange* exchange) noexcept nogil:
    answer_with(exchange, exchange.route.status, exchange.route.head, exchange.route.body)


cdef void answer_redirect(Exchange* exchange) noexcept nogil:
    cdef CompiledRoute* route = exchange.route
    cdef Out out
    cdef size_t room = HEAD_ROOM + exchange.response_lines.size
    cdef int i, kind
    for i in range(route.part_count):
        room += route.parts[i].text.size + exchange.host.size + exchange.path.size + exchange.query.size + 16
        if room > 131072:
            break
    if room > 131072:
        # A template that repeats a very long path: refuse rather than cut.
        answer_fault(exchange, FAULT_URI_TOO_LONG)
        return
    _begin(exchange, &out, route.status, room)
    _slice(&out, exchange.response_lines)
    _text(&out, b"Location: ")
    for i in range(route.part_count):
        kind = route.parts[i].kind
        if kind == PART_TEXT:
            _slice(&out, route.parts[i].text)
        elif kind == PART_SCHEME:
            _slice(&out, exchange.listener.scheme)
        elif kind == PART_HOST:
            _slice(&out, exchange.host)
        elif kind == PART_PATH:
            _slice(&out, exchange.path)
        elif kind == PART_QUERY and exchange.query.data != NULL:
            _text(&out, b"?")
            _slice(&out, exchange.query)
    _text(&out, b"\r\n")
    _body(exchange, &out, slice_empty())
    _send(exchange, &out)
