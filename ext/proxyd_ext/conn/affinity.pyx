# cython: cdivision=True
"""Sticky sessions and pinned splits (see affinity.pxd).

A sticky cookie holds a keyed hash of the server's name, made by the control plane: a client can neither read which server it is nor name
another. One that names nobody, or a server that cannot be used now, is as good as none: the balancer chooses, and the answer brings the new
one.
"""
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy
from proxyd_ext.balance.pool cimport STICKY_ID_MAX
from proxyd_ext.conn.key cimport request_key
from proxyd_ext.conn.model cimport Context, EX_FAILED_OVER, EX_SET_PIN, EX_STICKY_KEY
from proxyd_ext.core.hash cimport crc32_update, mix64, random_next
from proxyd_ext.core.slice cimport Slice, slice_empty, slice_equals
from proxyd_ext.http1.fields cimport cookie_value, field_from_last
from proxyd_ext.http1.head cimport Field, HeadLimits, MAX_FIELDS, parse_request_head
from proxyd_ext.snapshot.compile cimport (
    CompiledRoute, CompiledUpstream, SPLIT_COOKIE, SPLIT_NONE, STICKY_APP_COOKIE, STICKY_COOKIE, STICKY_KEY,
)


cdef HeadLimits _sent_limits
_sent_limits.head_size = 262144
_sent_limits.uri_length = 262144
_sent_limits.field_count = MAX_FIELDS


cdef Target* _branch_at(CompiledRoute* route, uint64_t draw) noexcept nogil:
    cdef int i = 0
    while draw >= route.targets[i].up_to:
        i += 1
    return &route.targets[i]


cdef Target* affinity_branch(Exchange* exchange, const Head* head) noexcept nogil:
    cdef CompiledRoute* route = exchange.route
    cdef uint64_t total = route.targets[route.target_count - 1].up_to
    cdef Slice value
    cdef int i
    if route.split == SPLIT_NONE:
        return _branch_at(route, ((random_next(&exchange.context.random) >> 32) * total) >> 32)
    if route.split == SPLIT_COOKIE:
        value = cookie_value(head, route.split_name)
        for i in range(route.target_count):
            if slice_equals(value, route.targets[i].upstream.name):
                return &route.targets[i]
        exchange.flags |= EX_SET_PIN
    else:
        value = field_from_last(head, route.split_name, 0)
        if value.size:
            return _branch_at(route, ((mix64(crc32_update(0, value.data, value.size)) >> 32) * total) >> 32)
    return _branch_at(route, ((random_next(&exchange.context.random) >> 32) * total) >> 32)


cdef void affinity_read(Exchange* exchange, const Head* head) noexcept nogil:
    cdef CompiledUpstream* upstream = exchange.upstream
    cdef bint found = False
    if upstream.keyed:
        exchange.key = request_key(exchange, head, &found)
        if upstream.sticky == STICKY_KEY and found:
            exchange.flags |= EX_STICKY_KEY
    if upstream.sticky == STICKY_COOKIE or upstream.sticky == STICKY_APP_COOKIE:
        exchange.sticky = cookie_value(head, upstream.sticky_name)
        if exchange.sticky.size > STICKY_ID_MAX:
            exchange.sticky = slice_empty()


cdef void affinity_again(Exchange* exchange) noexcept nogil:
    cdef Context* context = exchange.context
    cdef size_t scanned = 0
    exchange.key = 0
    exchange.sticky = slice_empty()
    exchange.flags &= ~<uint32_t>EX_STICKY_KEY
    if not exchange.upstream.keyed:
        return
    if parse_request_head(exchange.request.data + exchange.request_start, exchange.request.end - exchange.request_start, &scanned,
                          &_sent_limits, &context.asked) > 0:     # rewriting may have put it over the bound of fields
        affinity_read(exchange, &context.asked)     # Context.head may still be somebody's: of who is served while this goes on behind
    exchange.sticky = slice_empty()


cdef bint _sets_cookie(const Head* head, Slice name) noexcept nogil:
    """Whether the answer sets a cookie of that name."""
    cdef const Field* field
    cdef int i
    for i in range(head.field_count):
        field = &head.fields[i]
        if (field.name_size == 10 and _is_set_cookie(head.base + field.name) and field.value_size > name.size
                and memcmp(head.base + field.value, name.data, name.size) == 0 and head.base[field.value + name.size] == c'='):
            return True
    return False


cdef inline bint _is_set_cookie(const uint8_t* name) noexcept nogil:
    cdef const char* word = b"set-cookie"
    cdef int i
    for i in range(10):
        if name[i] | 0x20 != <uint8_t>word[i] | 0x20:
            return False
    return True


cdef uint8_t* _line(uint8_t* out, Slice name, Slice value, Slice attributes) noexcept nogil:
    memcpy(out, <const char*>b"Set-Cookie: ", 12)
    out += 12
    memcpy(out, name.data, name.size)
    out += name.size
    out[0] = c'='
    memcpy(out + 1, value.data, value.size)
    out += 1 + value.size
    if attributes.size:
        memcpy(out, attributes.data, attributes.size)
        out += attributes.size
    out[0] = c'\r'
    out[1] = c'\n'
    return out + 2


cdef uint32_t affinity_lines(const Exchange* exchange, const Head* head, uint8_t* out) noexcept nogil:
    cdef CompiledUpstream* upstream = exchange.upstream
    cdef uint8_t* at = out
    cdef Slice id
    if exchange.flags & EX_FAILED_OVER:
        return 0              # the client's own upstream will be back: it keeps what it has
    if upstream.sticky == STICKY_COOKIE or upstream.sticky == STICKY_APP_COOKIE:
        id = exchange.pool.members[exchange.member].sticky_id
        if upstream.sticky == STICKY_COOKIE:
            if id.size and not slice_equals(id, exchange.sticky):
                at = _line(at, upstream.sticky_name, id, upstream.sticky_attributes)
        elif id.size and _sets_cookie(head, upstream.sticky_follows):     # renewed with it, so that both live equally long
            at = _line(at, upstream.sticky_name, id, upstream.sticky_attributes)
    if exchange.flags & EX_SET_PIN and upstream.name.size < 256:
        at = _line(at, exchange.route.split_name, upstream.name, exchange.route.split_attributes)
    return <uint32_t>(at - out)
