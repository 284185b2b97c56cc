# cython: cdivision=True
"""Values of applications (see aside.pxd)."""
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset
from proxyd_ext.cache.chain cimport chain_finish, chain_room, chain_wrote
from proxyd_ext.cache.control cimport CacheControl, parse_cache_control
from proxyd_ext.cache.find cimport store_find, store_vary
from proxyd_ext.cache.insert cimport INSERT_STORED, store_insert
from proxyd_ext.cache.make cimport ObjectShape, object_new, object_weight
from proxyd_ext.cache.memory cimport store_chain, store_extend
from proxyd_ext.cache.object cimport (
    CHAIN_COMPLETE, FORM_NONE, INLINE_MAX, KEY_MAX, OBJECT_MARKER, OBJECT_SHARE, Object, TAGS_MAX, VARY_MAX, object_body, object_head,
)
from proxyd_ext.cache.pin cimport store_release
from proxyd_ext.cache.purge cimport purge_count
from proxyd_ext.conn.cached cimport cached_use, object_age_s
from proxyd_ext.conn.describe cimport cached_tags, cached_tell
from proxyd_ext.conn.model cimport EX_REQUEST_DONE, USE_PASS, USE_SERVE, USE_TAKE, USE_TIER, CacheUse, ClientConn, Context
from proxyd_ext.core.buffer cimport Buffer
from proxyd_ext.core.fault cimport (
    FAULT_BODY_TOO_LARGE, FAULT_LENGTH_REQUIRED, FAULT_METHOD_REFUSED, FAULT_NOT_STORED, FAULT_NO_ROOM, FAULT_TTL_INVALID,
    FAULT_URI_TOO_LONG,
)
from proxyd_ext.core.hash cimport hash_bytes
from proxyd_ext.core.slice cimport Slice, slice_empty, slice_of
from proxyd_ext.http1.fields cimport parameter_next
from proxyd_ext.http1.head cimport (
    FIELD_CACHE_CONTROL, FIELD_CONTENT_TYPE, METHOD_DELETE, METHOD_GET, METHOD_HEAD, METHOD_PUT, head_field,
)
from proxyd_ext.io.stream cimport stream_consume, stream_pause
from proxyd_ext.log.record cimport CACHE_HIT, CACHE_MISS
from proxyd_ext.snapshot.compile cimport CompiledRoute

cdef enum:
    TTL_MOST_S = 2000000000   # 63 years


cdef inline int _hex(uint8_t c) noexcept nogil:
    if c'0' <= c <= c'9':
        return c - c'0'
    c |= 0x20
    return c - c'a' + 10 if c'a' <= c <= c'f' else -1


cdef int _key(Exchange* exchange, int* fault) noexcept nogil:
    """The key of the path, escapes decoded, behind its zone in Context.key; its size in all, or -1."""
    cdef uint8_t* out = exchange.context.key
    cdef Slice prefix = exchange.route.aside_prefix
    cdef Slice path = exchange.path
    cdef size_t i = prefix.size
    cdef int size = 7
    memcpy(out, b"\0aside\0", 7)
    if path.size <= prefix.size or path.size - prefix.size > KEY_MAX - 16:
        fault[0] = FAULT_NOT_STORED if path.size <= prefix.size else FAULT_URI_TOO_LONG
        return -1
    while i < path.size:
        if path.data[i] == c'%' and i + 2 < path.size and _hex(path.data[i + 1]) >= 0 and _hex(path.data[i + 2]) >= 0:
            out[size] = <uint8_t>(_hex(path.data[i + 1]) << 4 | _hex(path.data[i + 2]))
            i += 3
        else:
            out[size] = path.data[i]
            i += 1
        size += 1
    return size


cdef int aside_begin(Exchange* exchange, const Head* head, int* fault, uint32_t* size) noexcept nogil:
    cdef Context* context = exchange.context
    cdef int key = _key(exchange, fault)
    if key < 0:
        return ASIDE_FAULT
    if head.method == METHOD_GET or head.method == METHOD_HEAD:
        return _get(exchange, key, fault)
    if head.method == METHOD_PUT:
        return _put(exchange, head, key, fault)
    if head.method != METHOD_DELETE:
        fault[0] = FAULT_METHOD_REFUSED
        return ASIDE_FAULT
    memcpy(context.lines, b"DELETE\naside:", 13)
    memcpy(context.lines + 13, context.key + 7, key - 7)
    size[0] = <uint32_t>(13 + key - 7)
    return ASIDE_DELETE


cdef int _get(Exchange* exchange, int key, int* fault) noexcept nogil:
    cdef Context* context = exchange.context
    cdef CacheUse* use = cached_use(exchange)
    cdef uint8_t[VARY_MAX] vary
    cdef uint32_t vary_size
    cdef Object* object
    cdef int64_t age_s
    exchange.cache = CACHE_MISS
    fault[0] = FAULT_NOT_STORED
    if use == NULL:
        return ASIDE_FAULT
    use.order[0] = FORM_NONE
    object = store_find(use.rules.store, hash_bytes(context.key, key), context.key, key, use.order, &use.base, &use.version, vary,
                        &vary_size)
    if object != NULL:
        age_s = object_age_s(object, context)
        if age_s < object.fresh.lifetime_s and not object.flags & OBJECT_MARKER:
            use.object = object
            use.state = USE_SERVE
            exchange.cache = CACHE_HIT
            exchange.cache_age = <uint32_t>age_s
            return ASIDE_SERVE
        store_release(use.rules.store, object)
    if use.rules.share and use.base != NULL:
        use.state = USE_TIER
        return ASIDE_TIER
    return ASIDE_FAULT


cdef int64_t _ttl_s(const Exchange* exchange, const Head* head) noexcept nogil:
    """Seconds; -1: what the query says is no time."""
    cdef Slice name = slice_of(<const uint8_t*>b"ttl", 3)
    cdef CacheControl control
    cdef size_t at = 0, i
    cdef int64_t seconds = 0
    cdef Slice text = parameter_next(exchange.query, name, &at)
    if text.data != NULL:
        if text.size and text.data[text.size - 1] == c's':
            text.size -= 1
        for i in range(text.size):
            if not c'0' <= text.data[i] <= c'9' or seconds >= TTL_MOST_S // 10:
                return -1
            seconds = seconds * 10 + text.data[i] - c'0'
        return seconds if seconds > 0 else -1
    parse_cache_control(head, FIELD_CACHE_CONTROL, &control)
    if control.max_age > 0:
        return control.max_age
    return exchange.route.aside_ttl_ms // 1000


cdef int _put(Exchange* exchange, const Head* head, int key, int* fault) noexcept nogil:
    """Make the object that the value goes into; its head is what GET answers with."""
    cdef Context* context = exchange.context
    cdef CompiledRoute* route = exchange.route
    cdef CacheUse* use
    cdef Slice[TAGS_MAX] tags
    cdef ObjectShape shape
    cdef Slice kind = head_field(head, FIELD_CONTENT_TYPE)
    cdef uint8_t* lines = context.lines
    cdef uint64_t hash = hash_bytes(context.key, key)
    cdef uint8_t[VARY_MAX] vary
    cdef uint32_t vary_size, at = 0
    cdef int64_t ttl_s = _ttl_s(exchange, head)
    cdef Object* old
    fault[0] = FAULT_LENGTH_REQUIRED
    if not head.has_content_length:
        return ASIDE_FAULT
    fault[0] = FAULT_BODY_TOO_LARGE
    if head.content_length > route.aside_max:
        return ASIDE_FAULT
    fault[0] = FAULT_TTL_INVALID
    if ttl_s < 0:
        return ASIDE_FAULT
    fault[0] = FAULT_NO_ROOM
    use = cached_use(exchange)
    if use == NULL:
        return ASIDE_FAULT
    use.order[0] = FORM_NONE
    old = store_find(use.rules.store, hash, context.key, key, use.order, &use.base, &use.version, vary, &vary_size)
    if old != NULL:
        store_release(use.rules.store, old)
    if use.base == NULL:
        return ASIDE_FAULT
    memset(&shape, 0, sizeof(shape))
    shape.tag_count = cached_tags(use, head, tags)
    shape.tags = tags
    if shape.tag_count < 0:
        return ASIDE_FAULT
    if kind.size == 0 or kind.size > 256:
        kind = slice_of(<const uint8_t*>b"application/octet-stream", 24)
    memcpy(lines, b"Content-Type: ", 14)
    memcpy(lines + 14, kind.data, kind.size)
    at = 14 + <uint32_t>kind.size
    memcpy(lines + at, b"\r\nDate: ", 8)
    memcpy(lines + at + 8, context.date, 29)
    memcpy(lines + at + 37, b"\r\n", 2)
    shape.head_size = at + 39
    shape.url.data = context.key + 1         # "aside" 0 key: the zero becomes the colon of aside:KEY
    context.key[6] = c':'
    shape.url.size = key - 1
    if sizeof(Object) + shape.url.size + shape.head_size + head.content_length <= INLINE_MAX:
        shape.inline_size = head.content_length
    use.object = object_new(use.rules.store, hash, &shape)
    context.key[6] = 0
    if use.object == NULL:
        return ASIDE_FAULT
    memcpy(<void*>object_head(use.object).data, lines, shape.head_size)
    use.object.type_at = 14
    use.object.type_size = <unsigned short>kind.size
    use.object.status = 200
    use.object.response_ms = context.clock.now_ms
    use.object.response_s = use.object.date_s = context.clock.wall_us // 1000000
    use.object.fresh.lifetime_s = ttl_s
    use.object.fresh.explicit = True
    use.object.epoch = purge_count(use.rules.store.purges)
    use.object.body_size = <int64_t>head.content_length
    if use.rules.share:
        use.object.flags |= OBJECT_SHARE
    if shape.inline_size == 0 and head.content_length > 0:
        use.object.chain = store_chain(use.rules.store, use.object.hash)
        if use.object.chain == NULL:
            return ASIDE_FAULT
    use.left = head.content_length
    use.state = USE_TAKE
    return ASIDE_TAKE


cdef bint aside_take(Exchange* exchange, int* fault) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    cdef ClientConn* client = exchange.client
    cdef Buffer* received
    cdef uint8_t* room
    cdef uint32_t size, part
    fault[0] = 0
    while use.left > 0:
        received = client.stream.received
        if received == NULL:
            return False
        size = received.end - received.start
        if size > use.left:
            size = <uint32_t>use.left
        if use.object.chain == NULL:
            memcpy(object_body(use.object) + (<uint64_t>use.object.body_size - use.left), received.data + received.start, size)
        else:
            room = chain_room(use.object.chain, &part)
            if room == NULL:
                if not store_extend(use.rules.store, use.object.chain, use.left, use.object.hash):
                    fault[0] = FAULT_NO_ROOM
                    return True
                continue
            size = size if size < part else part
            memcpy(room, received.data + received.start, size)
            chain_wrote(use.object.chain, size)
        exchange.bytes_in += size
        exchange.request_left -= size
        use.left -= size
        stream_consume(&client.stream, size)
    exchange.flags |= EX_REQUEST_DONE
    stream_pause(&client.stream)
    _store(exchange, fault)
    return True


cdef void _store(Exchange* exchange, int* fault) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    cdef uint8_t[VARY_MAX] known
    cdef uint32_t size
    if use.object.chain != NULL:
        chain_finish(use.object.chain, CHAIN_COMPLETE)
        use.object.node.size = object_weight(use.object)
    size = store_vary(use.rules.store, use.base, known)
    if store_insert(use.rules.store, use.base, use.object, slice_of(known, size), slice_empty(), 1) != INSERT_STORED:
        fault[0] = FAULT_NO_ROOM
    else:
        cached_tell(exchange.context, use.object)
    use.state = USE_PASS
