"""Asking the server (see revalidate.pxd)."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset, strlen
from proxyd_ext.cache.chain cimport chain_adopt, chain_disown
from proxyd_ext.cache.conditional cimport Validators, freshens
from proxyd_ext.cache.find cimport store_variant, store_vary
from proxyd_ext.cache.freshness cimport Freshness, STORE_OK
from proxyd_ext.cache.insert cimport INSERT_STORED, store_insert
from proxyd_ext.cache.make cimport ObjectShape, object_new, object_weight
from proxyd_ext.cache.memory cimport KILL_REPLACED, StoreData
from proxyd_ext.cache.merge cimport merge_lines
from proxyd_ext.cache.object cimport CHAIN_COMPLETE, FORM_NONE, Object, TAGS_MAX, VARY_MAX, object_body, object_head, object_variant
from proxyd_ext.cache.pin cimport object_is_found, store_kill, store_release
from proxyd_ext.conn.cached cimport cached_forget_stale, context_wall_s, object_age_s
from proxyd_ext.conn.describe cimport (
    cached_describe, cached_share, cached_stamp, cached_tags, cached_tell, cached_url_text, object_etag, object_field, object_stands,
)
from proxyd_ext.conn.judge cimport cached_judge
from proxyd_ext.conn.model cimport Context, LINES_ROOM, USE_PASS, USE_SERVE, USE_UNSAFE
from proxyd_ext.conn.stale cimport cached_serve_stale
from proxyd_ext.conn.store cimport STORE_AGAIN, STORE_SERVE
from proxyd_ext.core.shim cimport load_acquire_int
from proxyd_ext.core.slice cimport Slice, slice_of
from proxyd_ext.http1.head cimport (
    FIELD_ACCEPT_ENCODING, FIELD_IF_MODIFIED_SINCE, FIELD_IF_NONE_MATCH, FIELD_IF_RANGE, FIELD_RANGE, HeadLimits, MAX_FIELDS, METHOD_GET,
    METHOD_HEAD, parse_response_head,
)
from proxyd_ext.http1.rewrite cimport write_status_line
from proxyd_ext.log.record cimport CACHE_REVALIDATED, CACHE_UNCACHEABLE

cdef HeadLimits _merged_limits
_merged_limits.head_size = 1 << 20
_merged_limits.uri_length = 1 << 20
_merged_limits.field_count = MAX_FIELDS


# ---- the head that goes to the server ----

cdef void _drop(Head* head, int id) noexcept nogil:
    cdef int i
    if head.first[id] == 0:
        return
    for i in range(head.field_count):
        if head.fields[i].id == id:
            head.fields[i].hop = 1


cdef int _line(uint8_t* out, const char* name, Slice value) noexcept nogil:
    cdef size_t size = strlen(name)
    memcpy(out, name, size)
    memcpy(out + size, value.data, value.size)
    out[size + value.size] = c'\r'
    out[size + value.size + 1] = c'\n'
    return <int>(size + value.size + 2)


cdef int cached_edit(Exchange* exchange, Head* head, uint8_t* out) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    cdef Slice etag, modified
    cdef int written = 0
    if use == NULL or use.state == USE_UNSAFE or use.state == USE_PASS:
        return 0
    if exchange.cache == CACHE_UNCACHEABLE:
        use.facts.method = head.method           # sent as it is: only the answer to a GET can be stored
        return 0
    _drop(head, FIELD_IF_MODIFIED_SINCE)
    _drop(head, FIELD_IF_NONE_MATCH)
    _drop(head, FIELD_IF_RANGE)
    _drop(head, FIELD_RANGE)
    if use.rules.encodings[0] != FORM_NONE:
        _drop(head, FIELD_ACCEPT_ENCODING)       # what is stored is compressed by us
    if head.method == METHOD_HEAD:
        use.as_get = True
        head.method = METHOD_GET                 # the answer to a HEAD could not be stored
        head.method_text = slice_of(<const uint8_t*>b"GET", 3)
    if use.stale == NULL or use.stale.encoding != FORM_NONE:
        return 0
    if use.stale.chain != NULL and load_acquire_int(&use.stale.chain.state) != CHAIN_COMPLETE:
        return 0                  # its body is still to come, and may break off: a 304 could not answer
    etag = object_etag(use.stale)
    modified = object_field(use.stale, b"last-modified", 13)
    if etag.size and etag.size < 512:
        written += _line(out, b"If-None-Match: ", etag)
    if modified.size and modified.size < 64:
        written += _line(out + written, b"If-Modified-Since: ", modified)
    use.conditional = written > 0
    return written


# ---- 304 ----

cdef int cached_refresh(CacheUse* use, Head* head) noexcept nogil:
    """The stored answer still holds: a new object with its body and the merged head (RFC 9111 §4.3.4)."""
    cdef Exchange* exchange = use.exchange
    cdef StoreData* store = use.rules.store
    cdef Object* old = use.stale
    cdef Object* object
    cdef ObjectShape shape
    cdef Freshness fresh
    cdef uint8_t[VARY_MAX] known
    cdef Slice[TAGS_MAX] tags
    cdef uint32_t known_size
    cdef int lines, skip = 0, result
    if not _still_the_same(old, head, context_wall_s(use.context)):
        # It speaks of something else: what we have is of no use, and the server is asked again.
        store_kill(store, old, KILL_REPLACED)
        store_release(store, old)
        use.stale = NULL
        use.conditional = False
        return STORE_AGAIN
    exchange.cache = CACHE_REVALIDATED
    lines = _merge(use, head, &skip)
    memset(&shape, 0, sizeof(shape))
    shape.url = cached_url_text(use)
    shape.route = exchange.route.name
    shape.variant = object_variant(old)
    shape.head_size = <uint32_t>(lines if lines > 0 else 0)
    shape.inline_size = <uint64_t>old.body_size if old.chain == NULL else 0
    shape.tags = tags
    # Not those of the old object, whose tags go with its place in the store.
    shape.tag_count = cached_tags(use, &use.context.asked, tags) if lines > 0 else -1
    object = NULL
    if shape.tag_count >= 0 and _is_whole(old) and not _is_replaced(use):
        object = object_new(store, use.base.hash, &shape)
    if object != NULL and old.chain != NULL and not chain_adopt(old.chain):
        store_release(store, object)
        object = NULL
    if object == NULL:
        # It holds, but cannot be made anew: it answers once more as it is.
        cached_serve_stale(use)
        exchange.cache_age = 0
        return STORE_SERVE
    memcpy(<void*>object_head(object).data, use.context.lines + skip, lines)
    if old.chain != NULL:
        object.chain = old.chain
    else:
        memcpy(object_body(object), object_body(old), old.body_size)
    object.body_size = old.body_size
    _judge_refreshed(use, &fresh)
    cached_stamp(use, object, &fresh, old.status)
    object.variant = old.variant
    cached_describe(use, object, head)
    object.node.size = object_weight(object)
    known_size = store_vary(store, use.base, known)
    result = store_insert(store, use.base, object, slice_of(known, known_size), slice_of(known, known_size), use.rules.variants)
    use.object = object
    cached_share(use, result == INSERT_STORED and object_stands(object))
    use.state = USE_SERVE
    cached_forget_stale(use)
    exchange.cache_age = <uint32_t>object_age_s(object, use.context)
    if result == INSERT_STORED:
        cached_tell(exchange.context, object)
    elif object.chain != NULL:
        chain_disown(store.arena, object.chain)
    return STORE_SERVE


cdef bint _is_whole(const Object* object) noexcept nogil:
    """A body that is still arriving belongs to the object that it was stored with: its end is told to that one alone."""
    return object.chain == NULL or load_acquire_int(&object.chain.state) == CHAIN_COMPLETE


cdef bint _is_replaced(CacheUse* use) noexcept nogil:
    """What has come meanwhile does not make way for what the server was asked about before."""
    cdef StoreData* store = use.rules.store
    cdef Object* other
    cdef uint8_t[1] order
    if object_is_found(use.stale):
        return False
    order[0] = FORM_NONE
    other = store_variant(store, use.base, use.stale.variant, order, &use.version)
    if other != NULL:
        store_release(store, other)
    return other != NULL


cdef bint _still_the_same(const Object* old, const Head* head, int64_t now_s) noexcept nogil:
    """A 304 that names another ETag speaks of something else."""
    cdef Validators stored
    stored.etag = object_etag(old)
    stored.last_modified_s = old.last_modified_s
    stored.date_s = old.date_s
    return freshens(&stored, head, now_s)


cdef int _merge(CacheUse* use, const Head* head, int* skip) noexcept nogil:
    """The stored head with what the 304 says, into Context.lines behind a status line of *skip bytes, and parsed: into Context.asked. The
    size
    of the lines; <= 0: it does not fit."""
    cdef Context* context = use.context
    cdef uint8_t* text = context.lines
    cdef size_t scanned = 0
    cdef int size
    skip[0] = write_status_line(use.stale.status, text)
    size = merge_lines(object_head(use.stale), head, context_wall_s(context), text + skip[0], LINES_ROOM - skip[0] - 2)
    if size <= 0:
        return size
    memcpy(text + skip[0] + size, b"\r\n", 2)
    return size if parse_response_head(text, skip[0] + size + 2, &scanned, &_merged_limits, &context.asked) > 0 else -1


cdef void _judge_refreshed(CacheUse* use, Freshness* fresh) noexcept nogil:
    """How long the merged head says that it is good."""
    if cached_judge(use, &use.context.asked, fresh) != STORE_OK:
        fresh[0] = use.stale.fresh
        fresh.initial_age_s = 0
        fresh.lifetime_s = 0
