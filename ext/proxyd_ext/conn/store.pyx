"""Storing answers (see store.pxd)."""
from libc.stdint cimport int64_t, uint64_t, uint8_t
from libc.string cimport memcpy, memset
from proxyd_ext.cache.chain cimport chain_disown
from proxyd_ext.cache.fetch cimport store_resolve
from proxyd_ext.cache.find cimport store_vary
from proxyd_ext.cache.freshness cimport Freshness, STORE_OK
from proxyd_ext.cache.insert cimport INSERT_NO_ROOM, INSERT_PURGED, INSERT_RETRY, INSERT_STORED, store_insert, vary_union
from proxyd_ext.cache.make cimport ObjectShape, object_new, object_weight
from proxyd_ext.cache.memory cimport StoreData, store_chain
from proxyd_ext.cache.merge cimport storable_lines
from proxyd_ext.cache.object cimport FETCH_PASS, INLINE_MAX, Object, TAGS_MAX, VARIANT_MAX, VARY_MAX, object_body, object_head
from proxyd_ext.cache.pin cimport store_release
from proxyd_ext.cache.reasons cimport REASON_NO_ROOM, REASON_PURGED, REASON_VARIANT
from proxyd_ext.cache.vary cimport vary_names, vary_text
from proxyd_ext.conn.cached cimport cached_forget_stale, cached_read_asked, context_wall_s
from proxyd_ext.conn.describe cimport cached_describe, cached_share, cached_stamp, cached_tags, cached_tell, cached_url_text, object_stands
from proxyd_ext.conn.invalidate cimport cached_invalidate
from proxyd_ext.conn.judge cimport cached_judge, cached_mark
from proxyd_ext.conn.lookup cimport cached_name_variant
from proxyd_ext.conn.model cimport CacheUse, LINES_ROOM, USE_ALONE, USE_LEAD, USE_PASS, USE_SERVE, USE_UNSAFE
from proxyd_ext.conn.revalidate cimport cached_refresh
from proxyd_ext.conn.stale cimport cached_instead
from proxyd_ext.core.slice cimport Slice, slice_empty, slice_of
from proxyd_ext.http1.head cimport BODY_LENGTH, BODY_NONE, METHOD_HEAD

cdef enum:
    INSERTS_MAX = 8


cdef int cached_answer(Exchange* exchange, Head* head, uint32_t size) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    cdef int reason, result
    cdef Freshness fresh
    if use == NULL:
        return STORE_RELAY
    if use.state == USE_UNSAFE:
        cached_invalidate(exchange, head)
        return STORE_RELAY
    if use.state != USE_LEAD and use.state != USE_ALONE:
        return STORE_RELAY
    if exchange.method == METHOD_HEAD and not use.as_get:
        return STORE_RELAY        # known not to be stored, so it was asked as it came: there is no body to store
    if head.status == 304 and use.conditional:
        return cached_refresh(use, head)
    if head.status >= 500 and head.status <= 504 and head.status != 501 and cached_instead(exchange):
        return STORE_SERVE
    reason = cached_judge(use, head, &fresh)
    if reason == STORE_OK:
        result = _store(use, head, size, &fresh, &reason)
        if result != STORE_RELAY:
            return result
    use.reason = <uint8_t>reason
    cached_mark(use, head, reason)
    store_resolve(use.rules.store, &use.fetch, FETCH_PASS, NULL, 0)
    use.state = USE_PASS
    return STORE_RELAY


cdef bint _find_variant(CacheUse* use, const Head* head, uint8_t* known, uint32_t* known_size, uint8_t* names, uint32_t* names_size,
                        Slice* text) noexcept nogil:
    """By what the answers of the base vary with this one, and what the request says of it. An answer that varies by less than those before
    is newer than they and answers all their requests (RFC 9111 §4); one that varies by other fields adds these."""
    cdef uint8_t[VARY_MAX] both
    cdef int size
    known_size[0] = store_vary(use.rules.store, use.base, known)
    size = vary_names(head, names, VARY_MAX)
    if size < 0:
        return False
    names_size[0] = <uint32_t>size
    text[0] = slice_empty()
    use.variant = 0
    if size == 0 and known_size[0] == 0:
        return True
    size = vary_union(slice_of(known, known_size[0]), slice_of(names, names_size[0]), both, VARY_MAX)
    if size < 0:
        return False
    if <uint32_t>size != known_size[0] or names_size[0] == known_size[0]:
        names_size[0] = <uint32_t>size
        memcpy(names, both, size)
    if names_size[0] == 0:
        return True
    if not cached_read_asked(use):
        return False
    if not cached_name_variant(use, slice_of(names, names_size[0]), &use.context.asked):
        return False
    size = vary_text(slice_of(names, names_size[0]), &use.context.asked, use.context.variant, VARIANT_MAX)
    text[0] = slice_of(use.context.variant, size)
    return True


cdef int _store(CacheUse* use, Head* head, uint32_t size, const Freshness* fresh, int* reason) noexcept nogil:
    """Make an object of the answer and hang it in. STORE_RELAY: it was not to be, for `reason`."""
    cdef Exchange* exchange = use.exchange
    cdef StoreData* store = use.rules.store
    cdef uint8_t[VARY_MAX] known
    cdef uint8_t[VARY_MAX] names
    cdef Slice[TAGS_MAX] tags
    cdef uint32_t known_size, names_size, here
    cdef ObjectShape shape
    cdef Object* object
    cdef int lines, _looks, result, tag_count
    cdef bint whole
    cdef uint64_t body = 0
    here = exchange.origin.stream.received.end - exchange.origin.stream.received.start - size
    if head.body == BODY_LENGTH:
        body = head.content_length
    whole = head.body == BODY_NONE or head.body == BODY_LENGTH and body <= here
    tag_count = cached_tags(use, head, tags)
    lines = storable_lines(head, context_wall_s(use.context), use.rules.fresh.strip_set_cookie, use.context.lines, LINES_ROOM)
    if lines < 0 or tag_count < 0:
        reason[0] = REASON_NO_ROOM
        return STORE_RELAY
    for _looks in range(INSERTS_MAX):
        memset(&shape, 0, sizeof(shape))
        if not _find_variant(use, head, known, &known_size, names, &names_size, &shape.variant):
            reason[0] = REASON_VARIANT
            return STORE_RELAY
        shape.url = cached_url_text(use)
        shape.route = exchange.route.name
        shape.head_size = <uint32_t>lines
        shape.tags = tags
        shape.tag_count = tag_count
        if whole and sizeof(Object) + shape.url.size + shape.route.size + shape.variant.size + lines + body <= INLINE_MAX:
            shape.inline_size = body
        object = object_new(store, use.base.hash, &shape)
        if object == NULL:
            reason[0] = REASON_NO_ROOM
            return STORE_RELAY
        memcpy(<void*>object_head(object).data, use.context.lines, lines)
        cached_stamp(use, object, fresh, head.status)
        cached_describe(use, object, head)
        object.body_size = -1 if head.body != BODY_NONE and head.body != BODY_LENGTH else <int64_t>body
        if shape.inline_size:
            memcpy(object_body(object), exchange.origin.stream.received.data + exchange.origin.stream.received.start + size, body)
        elif body > 0 or object.body_size < 0:
            object.chain = store_chain(store, use.base.hash)
            if object.chain == NULL:
                store_release(store, object)
                reason[0] = REASON_NO_ROOM
                return STORE_RELAY
            object.node.size = object_weight(object)
        result = store_insert(store, use.base, object, slice_of(known, known_size), slice_of(names, names_size), use.rules.variants)
        if result != INSERT_RETRY:
            break
        store_release(store, object)
        object = NULL
    if object == NULL or result == INSERT_NO_ROOM:
        if object != NULL:
            store_release(store, object)
        reason[0] = REASON_NO_ROOM
        return STORE_RELAY
    if result == INSERT_PURGED:
        use.reason = REASON_PURGED
    use.object = object
    # Others may have it when it stands for more than this moment.
    cached_share(use, result == INSERT_STORED and object_stands(object))
    use.state = USE_SERVE
    cached_forget_stale(use)
    if object.chain != NULL:
        if result != INSERT_STORED:
            chain_disown(store.arena, object.chain)
        return STORE_FILL
    if result == INSERT_STORED:
        cached_tell(exchange.context, object)
    return STORE_SERVE
