"""Finding and filling in error pages (see page.pxd)."""
from libc.string cimport memcpy, strlen
from proxyd_ext.conn.answer cimport write_request_id
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.http1.rewrite cimport reason_phrase, write_decimal
from proxyd_ext.http1.template cimport PART_HOST, PART_MESSAGE, PART_REASON, PART_REQUEST_ID, PART_STATUS, PART_TEXT


cdef const CompiledPage* page_find(const Exchange* exchange, uint16_t status, bint intercept) noexcept nogil:
    cdef const CompiledPage* pages = exchange.listener.pages
    cdef const CompiledPage* page
    cdef int i, k, count = exchange.listener.page_count
    if exchange.route != NULL:
        pages = exchange.route.pages
        count = exchange.route.page_count
    for i in range(count):
        page = &pages[i]
        if intercept and not page.intercept:
            continue
        for k in range(page.status_count):
            if page.statuses[k].first <= status <= page.statuses[k].last:
                return page
    return NULL


cdef inline const char* _entity(uint8_t c) noexcept nogil:
    """What stands for a byte in HTML, in text and in quoted attributes alike; NULL: itself."""
    if c == c'&':
        return "&amp;"
    if c == c'<':
        return "&lt;"
    if c == c'>':
        return "&gt;"
    if c == c'"':
        return "&quot;"
    if c == c"'":
        return "&#39;"
    return NULL


cdef Slice _escaped(Slice value, uint8_t* scratch) noexcept nogil:
    cdef uint8_t* at = scratch
    cdef const char* entity
    cdef size_t i, size
    for i in range(value.size):
        entity = _entity(value.data[i])
        size = strlen(entity) if entity != NULL else 1
        if size > <size_t>(scratch + PAGE_SCRATCH - at):
            break
        if entity != NULL:
            memcpy(at, entity, size)
        else:
            at[0] = value.data[i]
        at += size
    return slice_of(scratch, at - scratch)


cdef inline Slice _words(const char* text) noexcept nogil:
    return slice_of(<const uint8_t*>text, strlen(text))


cdef Slice page_part(const CompiledPage* page, int part, const Exchange* exchange, uint16_t status, const char* message,
                     uint8_t* scratch) noexcept nogil:
    cdef int kind = page.parts[part].kind
    cdef uint8_t[128] id      # the most that write_request_id writes
    cdef Slice value
    if kind == PART_TEXT:
        return page.parts[part].text
    if kind == PART_STATUS:
        return slice_of(scratch, write_decimal(status, scratch))
    if kind == PART_REASON:
        value = _words(reason_phrase(status))
    elif kind == PART_MESSAGE:
        value = _words(message)
    elif kind == PART_HOST:
        value = exchange.host
    else:
        INVARIANT(kind == PART_REQUEST_ID)
        value = slice_of(id, write_request_id(exchange, id))
    if page.escape:
        return _escaped(value, scratch)
    if value.size > PAGE_SCRATCH:
        value.size = PAGE_SCRATCH
    if value.size:
        memcpy(scratch, value.data, value.size)
    return slice_of(scratch, value.size)


cdef size_t page_size(const CompiledPage* page, const Exchange* exchange, uint16_t status, const char* message) noexcept nogil:
    cdef uint8_t[PAGE_SCRATCH] scratch
    cdef size_t size = 0
    cdef int i
    for i in range(page.part_count):
        size += page_part(page, i, exchange, status, message, scratch).size
    return size
