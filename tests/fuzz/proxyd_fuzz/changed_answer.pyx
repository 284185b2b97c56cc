"""A server's answer that a user's filter changes: what is written in its place reads as the same answer, framed the same way, with the
fields that are left as they were, and the bytes behind it untouched.

An input is which change, which status, and the answer with what follows it.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset
from proxyd_ext.conn.filtered cimport filtered_change_answer
from proxyd_ext.conn.model cimport Context, Exchange, OriginConn
from proxyd_ext.core.buffer cimport Buffer, buffer_class, buffer_free, buffer_new, buffers_init
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport Slice, slice_equals, slice_of
from proxyd_ext.filter.chain cimport filter_begin, names_have
from proxyd_ext.filter.change cimport new_change
from proxyd_ext.filter.hooks cimport Hooks
from proxyd_ext.filter.rules cimport FILTER_PYTHON, FilterStep
from proxyd_ext.filter.state cimport FilterChange, FilterState
from proxyd_ext.http1.head cimport Head, HeadLimits, MAX_FIELDS, parse_response_head
from proxyd_ext.snapshot.compile cimport CompiledRoute
from proxyd_fuzz.support cimport check_head

cdef enum:
    CHANGES = 6
    STATUSES = 4
    HEADS = 2                 # before and after


cdef FilterChange* _changes[CHANGES]
_changes[0] = new_change(b"X-New: 1\r\n", b"", "", None, 0)
_changes[1] = new_change(b"", b"server\nx-a\n", "", None, 0)
_changes[2] = new_change(b"Set-Cookie: a=b\r\nX-A: 2\r\n", b"x-a\nset-cookie\ndate\n", "", None, 0)
_changes[3] = new_change(b"X-Long: %s\r\n" % (b"l" * 8_000), b"", "", None, 404)
_changes[4] = new_change(b"", b"%s\n" % (b"n" * 8_000), "", None, 0)
_changes[5] = new_change(b"", b"", "/ignored", "", 0)
cdef int[STATUSES] _statuses
_statuses[0], _statuses[1], _statuses[2], _statuses[3] = 0, 200, 404, 204
cdef Hooks _hooks = Hooks("fuzz")
cdef Context* _context = <Context*>calloc(1, sizeof(Context))
buffers_init(&_context.buffers)
cdef Head[HEADS] _heads


cdef inline Slice _name(const Head* head, int i) noexcept nogil:
    return slice_of(head.base + head.fields[i].name, head.fields[i].name_size)


cdef inline Slice _value(const Head* head, int i) noexcept nogil:
    return slice_of(head.base + head.fields[i].value, head.fields[i].value_size)


cdef void check_fields(const Head* old, const Head* new, const FilterChange* change) noexcept nogil:
    """Those that are left, in order, with their values; then the added ones."""
    cdef int i, at = 0
    for i in range(old.field_count):
        if change.drop.size and names_have(change.drop, _name(old, i)):
            continue
        INVARIANT(at < new.field_count and slice_equals(_name(old, i), _name(new, at)) and slice_equals(_value(old, i), _value(new, at)))
        INVARIANT(old.fields[i].id == new.fields[at].id and old.fields[i].hop == new.fields[at].hop)
        at += 1
    for i in range(<int>change.lines.size):
        at += change.lines.data[i] == c'\n'
    INVARIANT(at == new.field_count)


cdef void check_change(Exchange* exchange, const FilterChange* change, int status) noexcept nogil:
    cdef HeadLimits limits
    cdef Head* old = &_heads[0]
    cdef Head* new = &_heads[1]
    cdef Buffer* before = exchange.origin.stream.received
    cdef Buffer* kept = buffer_new(&_context.buffers, before.size_class)
    cdef Buffer* after
    cdef size_t scanned = 0
    cdef int size, again
    limits.head_size, limits.uri_length, limits.field_count = 1 << 18, 0, MAX_FIELDS
    size = parse_response_head(before.data + before.start, before.end - before.start, &scanned, &limits, old)
    memcpy(kept.data, before.data, before.end)      # with the parser's repairs; `old` points into what is freed
    kept.start, kept.end = before.start, before.end
    if size > 0 and old.status >= 200 and filtered_change_answer(exchange, old, change, status):
        old.base = kept.data + kept.start
        after = exchange.origin.stream.received
        scanned = 0
        again = parse_response_head(after.data + after.start, after.end - after.start, &scanned, &limits, new)
        if again > 0 or old.field_count < MAX_FIELDS - 4:
            check_head(new, again, after.end - after.start)
            INVARIANT(after.end - after.start - again == kept.end - kept.start - size)
            INVARIANT(memcmp(after.data + after.start + again, kept.data + kept.start + size, kept.end - kept.start - size) == 0)
            INVARIANT(new.minor == old.minor and new.flags == old.flags and new.body == old.body)
            INVARIANT(new.content_length == old.content_length and new.has_content_length == old.has_content_length)
            INVARIANT(new.status == old.status or new.status == status)
            check_fields(old, new, change)
    buffer_free(&_context.buffers, kept)


cdef int one_input_c(const uint8_t* data, size_t size) noexcept:
    cdef Exchange* exchange
    cdef CompiledRoute route
    cdef FilterStep step
    cdef FilterState state
    cdef uint32_t start
    if size < 3:
        return 0
    exchange = <Exchange*>calloc(1, sizeof(Exchange))
    exchange.origin = <OriginConn*>calloc(1, sizeof(OriginConn))
    memset(&route, 0, sizeof(route))
    memset(&step, 0, sizeof(step))
    filter_begin(&state)
    state.buffers = &_context.buffers
    step.kind = FILTER_PYTHON
    step.rule.python.hooks = _hooks.data
    route.steps, route.step_count = &step, 1
    exchange.context, exchange.route, exchange.filtered, exchange.answer_step = _context, &route, &state, 1
    start = data[1] & 63      # earlier answers stood there
    exchange.origin.stream.received = buffer_new(&_context.buffers, buffer_class(size + start))
    memcpy(exchange.origin.stream.received.data + start, data + 2, size - 2)
    exchange.origin.stream.received.start = start
    exchange.origin.stream.received.end = start + <uint32_t>size - 2
    check_change(exchange, _changes[data[0] % CHANGES], _statuses[data[1] >> 6])
    buffer_free(&_context.buffers, exchange.origin.stream.received)
    free(exchange.origin)
    free(exchange)
    INVARIANT(_context.buffers.bytes_out == 0)
    return 0


one_input = PyCapsule_New(<void*>one_input_c, "proxyd_fuzz.one_input", NULL)
