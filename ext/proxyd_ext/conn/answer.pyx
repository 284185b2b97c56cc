# cython: cdivision=True
"""Composing proxyd's own answers (see answer.pxd)."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, strlen
from proxyd_ext.conn.model cimport EX_OWN_ANSWER, EX_RESPONSE_BEGUN, Context
from proxyd_ext.conn.out cimport Out, out_connection, out_lines, out_open, out_put, out_send, out_slice, out_text
from proxyd_ext.conn.page cimport PAGE_SCRATCH, page_find, page_part, page_size
from proxyd_ext.core.fault cimport FAULT_CLIENT_LIMIT, FAULT_METHOD_REFUSED, FAULT_URI_TOO_LONG, FaultInfo, fault_info
from proxyd_ext.core.slice cimport Slice, slice_empty, slice_equals_nocase, slice_of
from proxyd_ext.filter.chain cimport names_have
from proxyd_ext.http1.head cimport FIELD_CACHE_CONTROL, FIELD_RETRY_AFTER, FIELD_SET_COOKIE, METHOD_HEAD, Field
from proxyd_ext.http1.rewrite cimport reason_phrase, write_decimal, write_status_line
from proxyd_ext.http1.template cimport TemplateValues, template_room, template_write
from proxyd_ext.io.stream cimport stream_send
from proxyd_ext.snapshot.compile cimport CompiledRoute

cdef const char* _ALLOW = b"Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\n"

cdef enum:
    HEAD_ROOM = 1024          # status line and the fields that we write ourselves
    BODY_ROOM = 1024          # an error body
    COMPOSED_MAX = 65536      # a body up to this is composed with its head


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


cdef inline Slice _words(const char* text) noexcept nogil:
    return slice_of(<const uint8_t*>text, strlen(text))


cdef void _begin(Exchange* exchange, Out* out, uint16_t status, size_t room, Slice drop) noexcept nogil:
    """`drop`: names of fields that a filter took away."""
    cdef Context* context = exchange.context
    out_open(out, exchange, room)
    exchange.status = status
    exchange.flags |= EX_RESPONSE_BEGUN | EX_OWN_ANSWER
    out.at += write_status_line(status, out.at)
    if drop.size == 0 or not names_have(drop, _words(b"date")):
        out_text(out, b"Date: ")
        out_put(out, context.date, 29)
        out_text(out, b"\r\n")


cdef bint _end_head(Exchange* exchange, Out* out, size_t size) noexcept nogil:
    """Content-Length and the end of the head. False when the request or the status forbids a body (RFC 9110 §6.4.1)."""
    cdef uint16_t status = exchange.status
    out_connection(out, exchange)
    if status != 204 and status != 304 and status >= 200:
        out_text(out, b"Content-Length: ")
        out.at += write_decimal(size, out.at)
        out_text(out, b"\r\n")
    out_text(out, b"\r\n")
    exchange.head_out += out.at - out.start
    return exchange.method != METHOD_HEAD and status != 204 and status != 304


cdef void _body(Exchange* exchange, Out* out, Slice body) noexcept nogil:
    if _end_head(exchange, out, body.size):
        out_slice(out, body)


cdef void _page_body(Exchange* exchange, Out* out, const CompiledPage* page, size_t size, const char* message) noexcept nogil:
    """The end of the head, the page, and all of it sent; `size` as page_size gave it."""
    cdef uint8_t[PAGE_SCRATCH] scratch
    cdef bint wanted = _end_head(exchange, out, size)
    cdef Slice part
    cdef int i
    if not wanted or size > COMPOSED_MAX:
        out_send(out, exchange)
        if not wanted:
            return
    for i in range(page.part_count):
        part = page_part(page, i, exchange, exchange.status, message, scratch)
        if size <= COMPOSED_MAX:
            out_slice(out, part)
        elif part.size:
            exchange.bytes_out += part.size
            stream_send(&exchange.client.stream, part.data, <uint32_t>part.size)
    if size <= COMPOSED_MAX:
        out_send(out, exchange)


cdef inline size_t _page_room(const CompiledPage* page, size_t size) noexcept nogil:
    return page.head.size + (size if size <= COMPOSED_MAX else 0)


cdef void _error_body(const Exchange* exchange, const FaultInfo* info, uint16_t status, Out* out) noexcept nogil:
    cdef int form = exchange.error_form
    if form == WANT_JSON:
        out_text(out, b'{"status":')
        out.at += write_decimal(status, out.at)
        out_text(out, b',"error":"')
        out_text(out, info.word)
        out_text(out, b'","message":"')
        out_text(out, info.sentence)
        out_text(out, b'","request_id":"')
        out.at += write_request_id(exchange, out.at)
        out_text(out, b'"}\n')
        return
    if form == WANT_HTML:
        out_text(out, b"<!doctype html><html lang=en><meta charset=utf-8><title>")
        out.at += write_decimal(status, out.at)
        out_text(out, b" ")
        out_text(out, reason_phrase(status))
        out_text(out, b"</title><body style=\"font-family:sans-serif;max-width:40em;margin:4em auto;padding:0 1em\"><h1>")
        out.at += write_decimal(status, out.at)
        out_text(out, b" ")
        out_text(out, reason_phrase(status))
        out_text(out, b"</h1><p>")
        out_text(out, info.sentence)
        out_text(out, b".<p><small>request ")
        out.at += write_request_id(exchange, out.at)
        out_text(out, b"</small>\n")
        return
    out.at += write_decimal(status, out.at)
    out_text(out, b" ")
    out_text(out, reason_phrase(status))
    out_text(out, b": ")
    out_text(out, info.sentence)
    out_text(out, b" (request ")
    out.at += write_request_id(exchange, out.at)
    out_text(out, b")\n")


cdef bint _says_when(Slice lines) noexcept nogil:
    """Whether Retry-After is among the lines of a fault."""
    cdef const uint8_t* at = lines.data
    cdef const uint8_t* end = lines.data + lines.size
    cdef const uint8_t* feed
    while at != NULL and end - at > 12:
        if at[11] == c':' and slice_equals_nocase(slice_of(at, 11), _words(b"retry-after")):
            return True
        feed = <const uint8_t*>memchr(at, c'\n', end - at)
        at = feed + 1 if feed != NULL else NULL
    return False


cdef void answer_refusal(Exchange* exchange) noexcept nogil:
    """What the verdict about a credential says in full: the sign-in page of a service, say."""
    cdef uint16_t status = exchange.refused_status
    exchange.response_lines = slice_empty()
    answer_with(exchange, status, exchange.fault_lines, exchange.fault_body)


cdef void answer_fault(Exchange* exchange, int fault) noexcept nogil:
    cdef const FaultInfo* info = fault_info(fault)
    cdef uint16_t status = exchange.refused_status if exchange.refused_status else info.status
    cdef const CompiledPage* page = page_find(exchange, status, False)
    cdef uint8_t[BODY_ROOM] room
    cdef size_t size = 0
    cdef Out body, out
    body.start = room
    body.at = room
    if page != NULL:
        size = page_size(page, exchange, status, info.sentence)
        _begin(exchange, &out, status, HEAD_ROOM + exchange.fault_lines.size + _page_room(page, size), slice_empty())
        out_slice(&out, page.head)
    else:
        _error_body(exchange, info, status, &body)
        _begin(exchange, &out, status, HEAD_ROOM + exchange.fault_lines.size + BODY_ROOM, slice_empty())
    if page != NULL:
        pass
    elif exchange.error_form == WANT_JSON:
        out_text(&out, b"Content-Type: application/json\r\n")
    elif exchange.error_form == WANT_HTML:
        out_text(&out, b"Content-Type: text/html; charset=utf-8\r\n")
    else:
        out_text(&out, b"Content-Type: text/plain; charset=utf-8\r\n")
    out_text(&out, b"Proxy-Status: proxyd; error=")
    out_text(&out, info.proxy_error)
    out_text(&out, b"; details=\"")
    out_text(&out, info.word)
    out_text(&out, b"\"\r\nX-Request-ID: ")
    out.at += write_request_id(exchange, out.at)
    out_text(&out, b"\r\n")
    if fault == FAULT_METHOD_REFUSED and exchange.fault_lines.size == 0:
        out_text(&out, _ALLOW)
    if status == 503 and fault != FAULT_CLIENT_LIMIT and not _says_when(exchange.fault_lines):
        out_text(&out, b"Retry-After: 1\r\n")
    out_slice(&out, exchange.fault_lines)
    if page != NULL:
        _page_body(exchange, &out, page, size, info.sentence)
        return
    _body(exchange, &out, slice_of(body.start, body.at - body.start))
    out_send(&out, exchange)


cdef bint _stays(const Head* head, const Field* field) noexcept nogil:
    """Whether a field of a server's answer outlives its body."""
    cdef Slice name = slice_of(head.base + field.name, field.name_size)
    if field.hop:
        return False
    return (field.id == FIELD_RETRY_AFTER or field.id == FIELD_SET_COOKIE or field.id == FIELD_CACHE_CONTROL
            or slice_equals_nocase(name, _words(b"www-authenticate")) or slice_equals_nocase(name, _words(b"allow")))


cdef void answer_instead(Exchange* exchange, const CompiledPage* page, const Head* head, Slice cookies) noexcept nogil:
    cdef const char* message = b"the server gave this answer"
    cdef size_t size = page_size(page, exchange, head.status, message)
    cdef size_t lines = head.size + 4 * head.field_count + exchange.response_lines.size + cookies.size
    cdef const Field* field
    cdef Out out
    cdef int i
    _begin(exchange, &out, head.status, HEAD_ROOM + _page_room(page, size) + lines, exchange.response_drop)
    exchange.flags &= ~<uint32_t>EX_OWN_ANSWER   # the status is the server's
    out_lines(&out, page.head, exchange.response_drop)
    for i in range(head.field_count):
        field = &head.fields[i]
        if _stays(head, field):
            out_put(&out, head.base + field.name, field.name_size)
            out_text(&out, b": ")
            out_put(&out, head.base + field.value, field.value_size)
            out_text(&out, b"\r\n")
    if exchange.response_drop.size == 0 or not names_have(exchange.response_drop, _words(b"x-request-id")):
        out_text(&out, b"X-Request-ID: ")
        out.at += write_request_id(exchange, out.at)
        out_text(&out, b"\r\n")
    out_slice(&out, exchange.response_lines)
    out_slice(&out, cookies)
    _page_body(exchange, &out, page, size, message)


cdef void answer_options(Exchange* exchange) noexcept nogil:
    answer_with(exchange, 200, slice_of(<const uint8_t*>_ALLOW, strlen(_ALLOW)), slice_empty())


cdef void answer_with(Exchange* exchange, uint16_t status, Slice head, Slice body) noexcept nogil:
    cdef Out out
    cdef Slice lines = exchange.response_lines
    cdef Slice first = body
    cdef bint large, wanted
    if status == 204 or status == 304:
        body = first = slice_empty()   # these have none (RFC 9110 §6.4.1), whatever the config says
    large = head.size + lines.size + body.size > COMPOSED_MAX
    if large:
        # Too big to compose: the head goes through the arena, the body straight after it.
        first = slice_empty()
    _begin(exchange, &out, status, HEAD_ROOM + head.size + lines.size + first.size, exchange.response_drop)
    out_lines(&out, head, exchange.response_drop)
    out_slice(&out, lines)
    if not large:
        _body(exchange, &out, body)
        out_send(&out, exchange)
        return
    wanted = _end_head(exchange, &out, body.size)
    out_send(&out, exchange)
    if wanted:
        exchange.bytes_out += body.size
        stream_send(&exchange.client.stream, body.data, <uint32_t>body.size)


cdef void answer_fixed(Exchange* exchange) noexcept nogil:
    answer_with(exchange, exchange.route.status, exchange.route.head, exchange.route.body)


cdef void answer_redirect(Exchange* exchange) noexcept nogil:
    cdef CompiledRoute* route = exchange.route
    cdef TemplateValues values
    cdef Out out
    cdef size_t room
    values.scheme = exchange.listener.scheme
    values.host = exchange.host
    values.path = exchange.path
    values.query = exchange.query
    room = template_room(&route.location, &values)
    if room > 131072 - HEAD_ROOM:
        # A template that repeats a very long path: refuse rather than cut.
        answer_fault(exchange, FAULT_URI_TOO_LONG)
        return
    _begin(exchange, &out, route.status, HEAD_ROOM + exchange.response_lines.size + room, exchange.response_drop)
    out_slice(&out, exchange.response_lines)
    if exchange.response_drop.size == 0 or not names_have(exchange.response_drop, _words(b"location")):
        out_text(&out, b"Location: ")
        out.at += template_write(&route.location, &values, out.at)
        out_text(&out, b"\r\n")
    _body(exchange, &out, slice_empty())
    out_send(&out, exchange)
