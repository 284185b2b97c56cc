# cython: cdivision=True
"""Exchanges and the cache (see cached.pxd)."""
from libc.stdint cimport uint16_t, uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memchr, memcmp, memcpy, memset, strlen
from proxyd_ext.cache.alarm cimport alarm_is_promised
from proxyd_ext.cache.chain cimport chain_adopt, chain_disown, chain_finish, chain_join, chain_leave
from proxyd_ext.cache.conditional cimport Validators, freshens
from proxyd_ext.cache.control cimport CC_NO_CACHE, CC_NO_STORE, CC_ONLY_IF_CACHED, control_none, parse_request_directives
from proxyd_ext.cache.dates cimport parse_http_date
from proxyd_ext.cache.fetch cimport LEAD_ALONE, LEAD_WAIT, LEAD_YOURS, store_hand_over, store_lead, store_outcome, store_quit, store_resolve
from proxyd_ext.cache.find cimport store_base_of, store_find, store_variant, store_vary
from proxyd_ext.cache.freshness cimport (
    Freshness, FreshnessRules, SERVE_FRESH, SERVE_NOT, SERVE_STALE_REVALIDATE, STORE_AUTHORIZATION, STORE_METHOD,
    STORE_NO_STORE_REQUEST, STORE_OK, STORE_PARTIAL, judge_answer, may_serve, read_facts,
)
from proxyd_ext.cache.insert cimport INSERT_NO_ROOM, INSERT_PURGED, INSERT_RETRY, INSERT_STORED, store_filled, store_insert, vary_union
from proxyd_ext.cache.key cimport Url, authority_write, key_write, url_write
from proxyd_ext.cache.make cimport ObjectShape, object_new, object_weight
from proxyd_ext.cache.memory cimport KILL_REPLACED, StoreData, store_chain, store_largest
from proxyd_ext.cache.merge cimport merge_lines, storable_lines
from proxyd_ext.cache.object cimport (
    CHAIN_COMPLETE, CHAIN_FAILED, FETCH_FAILED, FETCH_LEAD, FETCH_PASS, FETCH_STORED, FORM_BR, FORM_GZIP, FORM_NONE, FORM_ZSTD,
    INLINE_MAX, KEY_MAX, OBJECT_COMPRESS, OBJECT_MARKER, OBJECT_SHARE, OBJECT_SOFT, TAGS_MAX, TAG_MAX, URL_MAX, VARIANT_MAX, VARY_MAX,
    object_body, object_head, object_variant,
)
from proxyd_ext.cache.pin cimport object_is_found, store_kill, store_leave, store_release
from proxyd_ext.cache.reasons cimport (
    REASON_IDENTITY, REASON_NO_ROOM, REASON_PURGED, REASON_TOO_LARGE, REASON_VARIANT, reason_word,
)
from proxyd_ext.cache.vary cimport (
    ENCODING_BR, ENCODING_GZIP, ENCODING_ZSTD, accepted_encodings, names_have, vary_names, vary_text,
)
from proxyd_ext.conn.model cimport (
    EX_PERSONAL, EX_TRUSTED, EX_UPGRADE, LINES_ROOM, USE_ALONE, USE_LEAD, USE_PASS, USE_SERVE, USE_TIER, USE_UNSAFE, USE_WAIT,
)
from proxyd_ext.cache.sweep cimport sweep_reference, sweep_url
from proxyd_ext.core.events cimport EVENT_CACHE, EVENT_INVALID, EVENT_STORED, event_push
from proxyd_ext.core.fault cimport (
    FAULT_TOTAL_TIMEOUT, FAULT_UPSTREAM_CLOSED, FAULT_UPSTREAM_HEAD_MALFORMED, FAULT_UPSTREAM_HEAD_TOO_LARGE, FAULT_UPSTREAM_RESET,
)
from proxyd_ext.core.hash cimport hash_bytes, mix64
from proxyd_ext.core.shim cimport INVARIANT, fetch_add_i64, fetch_add_int, load_acquire_int, load_i64
from proxyd_ext.core.slab cimport slab_free, slab_new
from proxyd_ext.core.slice cimport slice_empty, slice_equals_nocase, slice_of
from proxyd_ext.http1.fields cimport field_from_last
from proxyd_ext.http1.head cimport (
    FIELD_X_FORWARDED_HOST, FIELD_X_FORWARDED_PROTO, BODY_LENGTH, BODY_NONE, FIELD_ACCEPT_ENCODING, FIELD_CACHE_CONTROL, FIELD_PRAGMA,
    FIELD_CONTENT_LOCATION, FIELD_IF_MATCH, FIELD_IF_MODIFIED_SINCE, FIELD_IF_NONE_MATCH, FIELD_IF_RANGE, FIELD_IF_UNMODIFIED_SINCE,
    FIELD_LOCATION, FIELD_RANGE, HEAD_EXPECT_CONTINUE, HeadLimits, MAX_FIELDS, METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_TRACE,
    FIELD_OTHER, Field, head_field, parse_request_head, parse_response_head,
)
from proxyd_ext.http1.rewrite cimport write_decimal, write_status_line
from proxyd_ext.log.record cimport (
    T_NONE, CACHE_BYPASS, CACHE_COALESCED, CACHE_EXPIRED, CACHE_HIT, CACHE_MISS, CACHE_NONE, CACHE_REVALIDATED, CACHE_STALE,
    CACHE_UNCACHEABLE,
)
from proxyd_ext.route.condition cimport RouteInput, conditions_hold
from proxyd_ext.snapshot.compile cimport CompiledCache, status_in

cdef enum:
    HANDED_MOST = 2           # others that lead after a leader failed by what may be its own fault
    LOOKS_MAX = 8             # how often something newer is looked at before one fetches on its own
    INSERTS_MAX = 8

cdef HeadLimits _own_limits
_own_limits.head_size = 1 << 20
_own_limits.uri_length = 1 << 20
_own_limits.field_count = MAX_FIELDS


# ---- a use ----

cdef CacheUse* cached_use(Exchange* exchange) noexcept nogil:
    cdef Context* context = exchange.context
    cdef CacheUse* use = <CacheUse*>slab_new(&context.uses)
    if use == NULL:
        return NULL
    memset(use, 0, sizeof(CacheUse))
    use.alarm.node.kind = EVENT_CACHE
    use.alarm.node.subject = use
    use.alarm.queue = &context.wakeups
    use.exchange = exchange
    use.context = context
    use.rules = exchange.route.cache
    use.waiter.alarm = &use.alarm
    use.waiter.own = &use.fetch
    use.reader.alarm = &use.alarm
    use.facts.control = control_none()
    exchange.cached = use
    return use


cdef void _leave_all(CacheUse* use) noexcept nogil:
    cdef StoreData* store
    if use.rules == NULL:
        return
    store = use.rules.store
    if use.joined:
        chain_leave(store.arena, use.object.chain, &use.reader)
        use.joined = False
    if use.state == USE_WAIT:
        store_quit(store, use.base, &use.waiter)
    elif use.state == USE_LEAD or use.state == USE_TIER:
        store_hand_over(store, &use.fetch)
    use.state = USE_PASS
    if use.object != NULL:
        store_release(store, use.object)
        use.object = NULL
    if use.stale != NULL:
        store_release(store, use.stale)
        use.stale = NULL
    if use.base != NULL:
        store_leave(store, use.base)
        use.base = NULL


cdef void cached_end(Exchange* exchange) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    if use == NULL:
        return
    exchange.cached = NULL
    _leave_all(use)
    use.exchange = NULL
    if alarm_is_promised(&use.alarm):
        use.context.uses_waiting += 1        # conn/exchange hears of it and comes to cached_heard
        return
    slab_free(&use.context.uses, use)


cdef void cached_heard(CacheUse* use) noexcept nogil:
    use.context.uses_waiting -= 1
    slab_free(&use.context.uses, use)


# ---- the key ----

cdef Slice _keep(Exchange* exchange, Slice s) noexcept nogil:
    """A copy in the exchange's buffer (cached_need made room for it)."""
    cdef uint8_t* out = exchange.request.data + exchange.request.end
    INVARIANT(s.size <= exchange.request.cap - exchange.request.end)
    if s.size:
        memcpy(out, s.data, s.size)
    exchange.request.end += <uint32_t>s.size
    exchange.request_start = exchange.request.end
    return slice_of(out, s.size)


cdef inline bint _is_safe(uint8_t method) noexcept nogil:
    """RFC 9110 §9.2.1."""
    return method == METHOD_GET or method == METHOD_HEAD or method == METHOD_OPTIONS or method == METHOD_TRACE


cdef size_t cached_need(const Exchange* exchange, const Head* head, uint32_t size) noexcept nogil:
    if exchange.snapshot.store == NULL or exchange.route == NULL:
        return 0
    return head.host.size + size + CACHED_LINES if exchange.route.cache != NULL else head.host.size


cdef Url _url_of(const Exchange* exchange, const CacheUse* use) noexcept nogil:
    """What the server is asked for, by the word of a user's filter: two requests that it sends to different places are not one."""
    cdef Url url
    url.scheme = use.scheme
    url.authority = use.authority
    url.path = exchange.changed_path if exchange.changed_path.data != NULL else exchange.path
    url.query = exchange.changed_query if exchange.query_changed else exchange.query
    return url


cdef void _keep_authority(Exchange* exchange, const Head* head, CacheUse* use) noexcept nogil:
    """Scheme and authority of the URL. The server answers by what a trusted peer says of the scheme, so answers are kept apart by that,
    too."""
    cdef Slice proto
    use.scheme = exchange.listener.scheme
    if exchange.flags & EX_TRUSTED and head.first[FIELD_X_FORWARDED_PROTO]:
        proto = head_field(head, FIELD_X_FORWARDED_PROTO)
        if proto.size == 5 and memcmp(proto.data, b"https", 5) == 0:
            use.scheme = slice_of(<const uint8_t*>b"https", 5)
        elif proto.size == 4 and memcmp(proto.data, b"http", 4) == 0:
            use.scheme = slice_of(<const uint8_t*>b"http", 4)
    use.authority = _keep(exchange, head.host)
    use.authority.size = authority_write(use.scheme, head.host, <uint8_t*>use.authority.data)


cdef void _order_forms(const CompiledCache* rules, const Head* head, uint8_t* order) noexcept nogil:
    """The encodings that the route makes and the client accepts, in the order of the route."""
    cdef int accepted, i, n = 0
    cdef uint8_t form
    order[0] = FORM_NONE
    if rules.encodings[0] == FORM_NONE:
        return
    accepted = accepted_encodings(head)
    if accepted <= 0:
        return
    for i in range(3):
        form = rules.encodings[i]
        if form == FORM_NONE:
            break
        if (form == FORM_GZIP and accepted & ENCODING_GZIP or form == FORM_BR and accepted & ENCODING_BR
                or form == FORM_ZSTD and accepted & ENCODING_ZSTD):
            order[n] = form
            n += 1
    order[n] = FORM_NONE


cdef bint _bypasses(const Exchange* exchange, const CompiledCache* rules, const Head* head) noexcept nogil:
    cdef RouteInput asked
    cdef int i
    if rules.bypass_count == 0:
        return False
    asked.head = head
    asked.host = exchange.host
    asked.path = exchange.path
    asked.query = exchange.query
    asked.client = &exchange.client_address
    asked.method = exchange.method
    for i in range(rules.bypass_count):
        if conditions_hold(&rules.bypass[i], 1, &asked):
            return True
    return False


cdef bint _names_another_host(const Exchange* exchange, const Head* head) noexcept nogil:
    """A trusted peer names another host than Host does: servers build links from it, and it stands in no key."""
    return (exchange.flags & EX_TRUSTED and head.first[FIELD_X_FORWARDED_HOST]
            and not slice_equals_nocase(head_field(head, FIELD_X_FORWARDED_HOST), head.host))


# ---- CACHE_LOOKUP ----

cdef int cached_lookup(Exchange* exchange, Head* head, uint32_t size) noexcept nogil:
    cdef Context* context = exchange.context
    cdef CompiledCache* rules = exchange.route.cache
    cdef CacheUse* use
    cdef Url url
    cdef int key_size
    if not _is_safe(head.method):
        use = cached_use(exchange)
        if use != NULL:
            _keep_authority(exchange, head, use)
            use.state = USE_UNSAFE
        exchange.cache = CACHE_BYPASS if rules != NULL else CACHE_NONE
        return LOOKUP_PASS
    if rules == NULL or head.method != METHOD_GET and head.method != METHOD_HEAD:
        return LOOKUP_PASS
    exchange.cache = CACHE_BYPASS
    if (head.body != BODY_NONE or head.flags & HEAD_EXPECT_CONTINUE or head.first[FIELD_IF_MATCH] or head.first[FIELD_IF_UNMODIFIED_SINCE]
            or exchange.flags & EX_UPGRADE or _names_another_host(exchange, head) or _bypasses(exchange, rules, head)):
        return LOOKUP_PASS
    use = cached_use(exchange)
    if use == NULL:
        return LOOKUP_PASS
    if rules.client_directives and (head.first[FIELD_CACHE_CONTROL] or head.first[FIELD_PRAGMA]):
        parse_request_directives(head, &use.facts.control)
        if use.facts.control.flags & CC_NO_STORE:
            return LOOKUP_PASS
    _keep_authority(exchange, head, use)
    url = _url_of(exchange, use)
    key_size = key_write(&rules.recipe, rules.zone, &url, head, context.key, sizeof(context.key))
    if key_size < 0:
        return LOOKUP_PASS
    _order_forms(rules, head, use.order)
    return _look(use, hash_bytes(context.key, key_size), key_size, head, size)


cdef void _read_facts(CacheUse* use, const Head* head) noexcept nogil:
    read_facts(head, use.rules.client_directives, &use.facts)
    use.facts.method = METHOD_GET            # a HEAD is asked as one
    if use.rules.encodings[0] != FORM_NONE:
        use.facts.encodings = -1             # Accept-Encoding is not passed on


cdef int _look(CacheUse* use, uint64_t hash, uint32_t key_size, Head* head, uint32_t size) noexcept nogil:
    """Find what is stored, and decide what it is good for."""
    cdef Exchange* exchange = use.exchange
    cdef Context* context = use.context
    cdef StoreData* store = use.rules.store
    cdef uint8_t[VARY_MAX] names
    cdef uint32_t names_size
    cdef Object* object = store_find(store, hash, context.key, key_size, use.order, &use.base, &use.version, names, &names_size)
    cdef int verdict
    if object == NULL and use.base == NULL:
        use.state = USE_PASS
        use.reason = REASON_NO_ROOM
        return LOOKUP_PASS
    if names_size:
        if not _name_variant(use, slice_of(names, names_size), head):
            use.state = USE_PASS
            use.reason = REASON_VARIANT
            return LOOKUP_PASS
        object = store_variant(store, use.base, use.variant, use.order, &use.version)
    verdict = _weigh(use, object)
    if verdict == LOOKUP_SERVE or verdict == LOOKUP_BEHIND or verdict == LOOKUP_ONLY:
        return verdict
    if _is_disguised(head):
        use.state = USE_PASS
        exchange.cache = CACHE_BYPASS
        return LOOKUP_PASS
    _read_facts(use, head)
    # The head is needed later, when an answer says by which of its fields it varies.
    use.asked = _keep(exchange, slice_of(head.base, size))
    return _fetch(use, verdict)


cdef bint _is_disguised(const Head* head) noexcept nogil:
    """A GET that says it is another method: servers that believe it answer what no GET should be given, and some do as it says."""
    cdef const Field* field
    cdef Slice name
    cdef int i
    for i in range(head.field_count):
        field = &head.fields[i]
        if field.id != FIELD_OTHER or field.name_size != 13 and field.name_size != 17 and field.name_size != 22:
            continue
        name = slice_of(head.base + field.name, field.name_size)
        if (slice_equals_nocase(name, slice_of(<const uint8_t*>b"x-http-method-override", 22))
                or slice_equals_nocase(name, slice_of(<const uint8_t*>b"x-http-method", 13))
                or slice_equals_nocase(name, slice_of(<const uint8_t*>b"x-method-override", 17))):
            return True
    return False


cdef bint _name_variant(CacheUse* use, Slice names, const Head* head) noexcept nogil:
    cdef Context* context = use.context
    cdef int text = vary_text(names, head, context.variant, VARIANT_MAX)
    if text < 0:
        return False
    use.variant = _variant_hash(names, slice_of(context.variant, text))
    return True


cdef inline uint64_t _variant_hash(Slice names, Slice text) noexcept nogil:
    cdef uint64_t hash = mix64(hash_bytes(names.data, names.size)) ^ hash_bytes(text.data, text.size)
    return hash if hash else 1


cdef int64_t object_age_s(const Object* object, const Context* context) noexcept nogil:
    return object.fresh.initial_age_s + (context.clock.now_ms - object.response_ms) // 1000


cdef Freshness _freshness_now(const Object* object, int64_t age_s) noexcept nogil:
    """Softly purged: as if it had become stale just now."""
    cdef Freshness fresh = object.fresh
    if object.flags & OBJECT_SOFT and fresh.lifetime_s > age_s:
        fresh.lifetime_s = age_s
    return fresh


cdef int _weigh(CacheUse* use, Object* object) noexcept nogil:
    """What to do about an object that was found (pinned), or none. Takes the pin over."""
    cdef Exchange* exchange = use.exchange
    cdef StoreData* store = use.rules.store
    cdef Freshness fresh
    cdef int64_t age_s
    cdef int serve
    exchange.cache = CACHE_MISS
    if object != NULL and object.flags & OBJECT_MARKER:
        age_s = object_age_s(object, use.context)
        use.reason = object.reason
        serve = age_s < object.fresh.lifetime_s
        store_release(store, object)
        object = NULL
        if serve:
            exchange.cache = CACHE_UNCACHEABLE
            return LOOKUP_PASS if not use.facts.control.flags & CC_ONLY_IF_CACHED else LOOKUP_ONLY
        use.reason = STORE_OK
    if object != NULL:
        age_s = object_age_s(object, use.context)
        fresh = _freshness_now(object, age_s)
        serve = may_serve(&fresh, age_s, &use.facts.control, &use.if_error)
        if serve != SERVE_NOT:
            use.object = object
            use.state = USE_SERVE
            exchange.cache = CACHE_HIT if serve == SERVE_FRESH else CACHE_STALE
            exchange.cache_age = <uint32_t>age_s
            return LOOKUP_BEHIND if serve == SERVE_STALE_REVALIDATE else LOOKUP_SERVE
        use.stale = object
        exchange.cache = CACHE_EXPIRED
    return LOOKUP_ONLY if use.facts.control.flags & CC_ONLY_IF_CACHED else LOOKUP_WAIT


cdef int _fetch(CacheUse* use, int verdict) noexcept nogil:
    """Nothing that is stored answers: lead, wait, or go alone."""
    cdef StoreData* store = use.rules.store
    cdef bint may_wait = use.rules.collapse_ms > 0
    cdef int lead, _looks
    if verdict == LOOKUP_PASS:
        use.state = USE_ALONE     # known not to be stored; but it may have changed its ways
        use.fetch.base = NULL
        use.fetch.epoch = load_i64(&store.purges.count)
        return LOOKUP_PASS
    for _looks in range(LOOKS_MAX):
        lead = store_lead(store, use.base, use.variant, use.version, &use.fetch, &use.waiter, may_wait)
        if lead == LEAD_WAIT:
            use.state = USE_WAIT
            return LOOKUP_WAIT
        if lead == LEAD_YOURS:
            if use.rules.share and use.stale == NULL:
                use.state = USE_TIER
                return LOOKUP_TIER
            use.state = USE_LEAD
            return LOOKUP_PASS
        if lead == LEAD_ALONE:
            break
        if use.stale != NULL:
            store_release(store, use.stale)
            use.stale = NULL
        verdict = _weigh(use, store_variant(store, use.base, use.variant, use.order, &use.version))
        if verdict != LOOKUP_WAIT:
            if verdict == LOOKUP_PASS:
                use.state = USE_ALONE
            return verdict
    use.state = USE_ALONE
    use.fetch.base = NULL
    use.fetch.epoch = load_i64(&store.purges.count)
    return LOOKUP_PASS


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
    etag = _stored_etag(use.stale)
    modified = _stored_field(use.stale, b"last-modified", 13)
    if etag.size and etag.size < 512:
        written += _line(out, b"If-None-Match: ", etag)
    if modified.size and modified.size < 64:
        written += _line(out + written, b"If-Modified-Since: ", modified)
    use.conditional = written > 0
    return written


cdef Slice _stored_etag(const Object* object) noexcept nogil:
    cdef Slice s = slice_empty()
    if object.etag_size:
        s = slice_of(object_head(object).data + object.etag_at, object.etag_size)
    return s


cdef Slice _stored_field(const Object* object, const char* name, size_t size) noexcept nogil:
    """The value of the first line with that name (lower case)."""
    cdef Slice lines = object_head(object)
    cdef const uint8_t* end
    cdef size_t i, length
    while lines.size:
        end = <const uint8_t*>memchr(lines.data, c'\n', lines.size)
        length = end + 1 - lines.data if end != NULL else lines.size
        if length > size + 3 and lines.data[size] == c':':
            for i in range(size):
                if lines.data[i] | 0x20 != name[i] and lines.data[i] != name[i]:
                    break
            else:
                i = size + 1
                while i < length - 2 and lines.data[i] == c' ':
                    i += 1
                return slice_of(lines.data + i, length - 2 - i)
        lines = slice_of(lines.data + length, lines.size - length)
    return slice_empty()


# ---- fetching behind ----

cdef bint cached_behind(Exchange* asker, Exchange* behind, Head* head, uint32_t size) noexcept nogil:
    cdef CacheUse* use = asker.cached
    cdef CacheUse* fresh = cached_use(behind)
    cdef StoreData* store = use.rules.store
    if fresh == NULL:
        return False
    _read_facts(fresh, head)
    fresh.facts.control = control_none()
    fresh.order[0] = FORM_NONE
    fresh.variant = use.variant
    # The base of an object that was found is not pinned: find it by the object.
    fresh.base = store_base_of(store, use.object, &fresh.version)
    if fresh.base == NULL or store_lead(store, fresh.base, fresh.variant, fresh.version, &fresh.fetch, &fresh.waiter, False) != LEAD_YOURS:
        cached_end(behind)
        return False
    fresh.state = USE_LEAD
    _keep_authority(behind, head, fresh)
    fresh.asked = _keep(behind, slice_of(head.base, size))
    fresh.stale = store_variant(store, fresh.base, fresh.variant, fresh.order, &fresh.version)
    if fresh.stale != NULL and fresh.stale.flags & OBJECT_MARKER:
        store_release(store, fresh.stale)
        fresh.stale = NULL
    return True


# ---- waiting ----

cdef bint _read_asked(CacheUse* use) noexcept nogil:
    """The client's head once more, into Context.asked."""
    cdef size_t scanned = 0
    return parse_request_head(use.asked.data, use.asked.size, &scanned, &_own_limits, &use.context.asked) > 0


cdef int cached_woken(Exchange* exchange, int* fault) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    cdef StoreData* store = use.rules.store
    cdef int outcome
    fault[0] = 0
    if use.state != USE_WAIT:
        return LOOKUP_WAIT
    outcome = store_outcome(store, use.base, &use.waiter)
    if outcome == 0:
        return LOOKUP_WAIT
    if outcome == FETCH_STORED and not object_is_found(use.waiter.object):
        outcome = FETCH_PASS  # purged before this answer was begun
    if outcome == FETCH_STORED:
        use.object = use.waiter.object
        use.waiter.object = NULL
        if use.object.variant != use.variant and not _is_ours(use):
            return _look_again(use)
        use.state = USE_SERVE
        exchange.cache = CACHE_COALESCED
        exchange.cache_age = <uint32_t>object_age_s(use.object, use.context)
        return LOOKUP_SERVE
    if outcome == FETCH_LEAD:
        use.state = USE_LEAD
        return LOOKUP_PASS
    if use.waiter.object != NULL:
        store_release(store, use.waiter.object)
        use.waiter.object = NULL
    use.state = USE_ALONE
    use.fetch.epoch = load_i64(&store.purges.count)
    if outcome == FETCH_FAILED:
        fault[0] = use.waiter.fault
    else:
        exchange.cache = CACHE_UNCACHEABLE
    return LOOKUP_PASS


cdef bint _is_ours(CacheUse* use) noexcept nogil:
    """Only the answer has told by what it varies: whether it is the one for this request, too. The request's variant is known
    afterwards."""
    cdef uint8_t[VARY_MAX] names
    cdef uint32_t size = store_vary(use.rules.store, use.base, names)
    if size == 0:
        use.variant = 0
    elif not _read_asked(use) or not _name_variant(use, slice_of(names, size), &use.context.asked):
        return False
    return use.object.variant == use.variant


cdef int _look_again(CacheUse* use) noexcept nogil:
    """Another's variant was stored: ours may stand there, or is fetched as any other, by one for all who want it."""
    cdef StoreData* store = use.rules.store
    cdef Object* stale = use.stale           # the head that goes to the server names its validators
    cdef int verdict, lead
    store_release(store, use.object)
    use.object = NULL
    use.stale = NULL
    use.state = USE_ALONE
    use.fetch.base = NULL
    use.fetch.epoch = load_i64(&store.purges.count)
    verdict = _weigh(use, store_variant(store, use.base, use.variant, use.order, &use.version))
    _forget_stale(use)
    use.stale = stale
    if verdict == LOOKUP_SERVE or verdict == LOOKUP_BEHIND:
        use.exchange.cache = CACHE_COALESCED
        return LOOKUP_SERVE
    if verdict != LOOKUP_WAIT:
        return LOOKUP_PASS
    lead = store_lead(store, use.base, use.variant, use.version, &use.fetch, &use.waiter, True)
    if lead == LEAD_WAIT:
        use.state = USE_WAIT
        return LOOKUP_WAIT
    if lead == LEAD_YOURS:
        use.state = USE_LEAD
    return LOOKUP_PASS


cdef void _forget_stale(CacheUse* use) noexcept nogil:
    """Something newer answers: a client that takes it slowly does not keep what it replaced."""
    if use.stale != NULL:
        store_release(use.rules.store, use.stale)
        use.stale = NULL


cdef void cached_alone(Exchange* exchange) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    store_quit(use.rules.store, use.base, &use.waiter)
    use.state = USE_ALONE
    use.fetch.base = NULL
    use.fetch.epoch = load_i64(&use.rules.store.purges.count)


cdef int cached_again(Exchange* exchange) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    cdef StoreData* store = use.rules.store
    cdef uint8_t[VARY_MAX] names
    cdef uint32_t size = store_vary(store, use.base, names)
    cdef Object* object
    cdef int verdict
    INVARIANT(use.state == USE_TIER)
    use.state = USE_LEAD
    if size and use.variant == 0:
        # The tier knows by what the answers vary; others may wait for this fetch under the wrong name, so they are sent on.
        if not _read_asked(use):
            return LOOKUP_PASS
        if not _name_variant(use, slice_of(names, size), &use.context.asked):
            return LOOKUP_PASS
        store_resolve(store, &use.fetch, FETCH_PASS, NULL, 0)
        use.state = USE_ALONE
    object = store_variant(store, use.base, use.variant, use.order, &use.version)
    if object == NULL or object.flags & OBJECT_MARKER:
        if object != NULL:
            store_release(store, object)
        return LOOKUP_PASS
    verdict = _weigh(use, object)
    if verdict == LOOKUP_SERVE or verdict == LOOKUP_BEHIND:
        fetch_add_int(&use.object.refs, 1)
        store_resolve(store, &use.fetch, FETCH_STORED, use.object, 0)
        store_release(store, use.object)
        use.state = USE_SERVE
        return LOOKUP_SERVE
    return LOOKUP_PASS


# ---- CACHE_STORE ----

cdef int cached_answer(Exchange* exchange, Head* head, uint32_t size) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    cdef int reason, result
    cdef Freshness fresh
    if use == NULL:
        return STORE_RELAY
    if use.state == USE_UNSAFE:
        _invalidate(exchange, head)
        return STORE_RELAY
    if use.state != USE_LEAD and use.state != USE_ALONE:
        return STORE_RELAY
    if exchange.method == METHOD_HEAD and not use.as_get:
        return STORE_RELAY        # known not to be stored, so it was asked as it came: there is no body to store
    if head.status == 304 and use.conditional:
        return _refresh(use, head)
    if head.status >= 500 and head.status <= 504 and head.status != 501 and cached_instead(exchange):
        return STORE_SERVE
    reason = _judge(use, head, &fresh)
    if reason == STORE_OK:
        result = _store(use, head, size, &fresh, &reason)
        if result != STORE_RELAY:
            return result
    use.reason = <uint8_t>reason
    _mark(use, head, reason)
    store_resolve(use.rules.store, &use.fetch, FETCH_PASS, NULL, 0)
    use.state = USE_PASS
    return STORE_RELAY


cdef inline int64_t _now_s(const Context* context) noexcept nogil:
    return context.clock.wall_us // 1000000


cdef int _judge(CacheUse* use, const Head* head, Freshness* fresh) noexcept nogil:
    """STORE_OK, or why not."""
    cdef Exchange* exchange = use.exchange
    cdef Context* context = use.context
    cdef CompiledCache* rules = use.rules
    cdef FreshnessRules freshness = rules.fresh
    cdef int64_t request_s = (context.clock.wall_us - (context.clock.now_us - exchange.sent_us)) // 1000000
    cdef int reason
    freshness.negative_s = rules.negative_s if status_in(&rules.negative, head.status) else -1
    if exchange.flags & EX_PERSONAL:
        use.facts.authorization = True       # as if the request said itself who asks (RFC 9111 section 3.5)
    reason = judge_answer(&use.facts, head, &freshness, request_s, _now_s(context), fresh)
    if rules.fresh.while_revalidate_s == 0:
        fresh.stale_while_revalidate_s = 0       # `none`, whatever the answer says
    if rules.fresh.if_error_s == 0:
        fresh.stale_if_error_s = 0
    if reason == STORE_OK and (exchange.flags & EX_PERSONAL or exchange.route.identifies) and _varies_by_identity(exchange, head):
        reason = REASON_IDENTITY
    if reason == STORE_OK and head.has_content_length and head.content_length > _most(rules):
        reason = REASON_TOO_LARGE
        fetch_add_i64(&rules.store.counts.too_large, 1)
    return reason


cdef bint _varies_by_identity(const Exchange* exchange, const Head* head) noexcept nogil:
    """Whether the answer varies by a field in which the server was told who asks. What the client says there is not what the server saw."""
    cdef uint8_t[VARY_MAX] names
    cdef int size = vary_names(head, names, VARY_MAX)
    cdef size_t start = 0, i
    if size <= 0:
        return False
    for i in range(exchange.request_drop.size):
        if exchange.request_drop.data[i] == c'\n':
            if names_have(slice_of(names, size), <const char*>exchange.request_drop.data + start, i - start):
                return True
            start = i + 1
    return False


cdef inline uint64_t _most(const CompiledCache* rules) noexcept nogil:
    cdef uint64_t most = store_largest(rules.store)
    return rules.max_object if 0 < rules.max_object < most else most


cdef bint _marks(int reason, const Head* head) noexcept nogil:
    """Whether the next answer for this key will most likely not be stored either."""
    if head.status >= 500 or head.status == 304 or head.status == 416:
        return False
    return (reason != STORE_OK and reason != STORE_METHOD and reason != STORE_NO_STORE_REQUEST and reason != STORE_AUTHORIZATION
            and reason != STORE_PARTIAL and reason != REASON_NO_ROOM and reason != REASON_PURGED)


cdef void _mark(CacheUse* use, const Head* head, int reason) noexcept nogil:
    """Leave word that answers for this key are not stored, so that nobody waits for one."""
    cdef Context* context = use.context
    cdef ObjectShape shape
    cdef uint8_t[VARY_MAX] known
    cdef Object* marker
    cdef uint32_t known_size
    if use.rules.uncacheable_ms <= 0 or not _marks(reason, head):
        return
    memset(&shape, 0, sizeof(shape))
    shape.url = _url_text(use)
    shape.route = use.exchange.route.name
    marker = object_new(use.rules.store, use.base.hash, &shape)
    if marker == NULL:
        return
    marker.flags = OBJECT_MARKER
    marker.reason = <uint8_t>reason
    marker.status = head.status
    marker.variant = use.variant
    marker.epoch = use.fetch.epoch
    marker.response_ms = context.clock.now_ms
    marker.response_s = _now_s(context)
    marker.fresh.lifetime_s = use.rules.uncacheable_ms // 1000
    known_size = store_vary(use.rules.store, use.base, known)
    store_insert(use.rules.store, use.base, marker, slice_of(known, known_size), slice_of(known, known_size), use.rules.variants)
    store_release(use.rules.store, marker)


cdef Slice _url_text(CacheUse* use) noexcept nogil:
    cdef Url url = _url_of(use.exchange, use)
    cdef int size = url_write(&url, use.context.key, URL_MAX)
    return slice_of(use.context.key, size if size > 0 else 0)


cdef int cached_tags(const CacheUse* use, const Head* head, Slice* out) noexcept nogil:
    """The words of the fields that carry tags; at most TAGS_MAX."""
    cdef Slice value
    cdef int f, n, count = 0
    cdef size_t i, start
    for f in range(use.rules.tag_count):
        n = 0
        value = field_from_last(head, use.rules.tags[f], n)
        while value.data != NULL:
            i = 0
            while i < value.size:
                while i < value.size and (value.data[i] == c' ' or value.data[i] == c',' or value.data[i] == c'\t'):
                    i += 1
                start = i
                while i < value.size and value.data[i] != c' ' and value.data[i] != c',' and value.data[i] != c'\t':
                    i += 1
                if i > start and i - start <= TAG_MAX:
                    if count == TAGS_MAX:
                        return -1
                    if not _among(out, count, slice_of(value.data + start, i - start)):
                        out[count] = slice_of(value.data + start, i - start)
                        count += 1
            n += 1
            value = field_from_last(head, use.rules.tags[f], n)
    return count


cdef bint _among(const Slice* tags, int count, Slice tag) noexcept nogil:
    cdef int i
    for i in range(count):
        if tags[i].size == tag.size and memcmp(tags[i].data, tag.data, tag.size) == 0:
            return True
    return False


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
    if not _read_asked(use):
        return False
    if not _name_variant(use, slice_of(names, names_size[0]), &use.context.asked):
        return False
    size = vary_text(slice_of(names, names_size[0]), &use.context.asked, use.context.variant, VARIANT_MAX)
    text[0] = slice_of(use.context.variant, size)
    return True


cdef void _describe(CacheUse* use, Object* object, const Head* head) noexcept nogil:
    """What of the answer is asked again and again."""
    cdef Slice etag = _stored_field(object, b"etag", 4)
    cdef Slice kind = _stored_field(object, b"content-type", 12)
    cdef Slice modified = _stored_field(object, b"last-modified", 13)
    cdef Slice lines = object_head(object)
    if etag.size and etag.size < 0xFFFF and etag.data - lines.data < 0xFFFF:
        object.etag_at = <uint16_t>(etag.data - lines.data)
        object.etag_size = <uint16_t>etag.size
    if kind.size and kind.data - lines.data < 0xFFFF:
        object.type_at = <uint16_t>(kind.data - lines.data)
        object.type_size = <uint16_t>kind.size
    if modified.size:
        object.last_modified_s = parse_http_date(modified, object.response_s)
    object.date_s = parse_http_date(_stored_field(object, b"date", 4), object.response_s)
    if object.date_s < 0:
        object.date_s = object.response_s


cdef void _stamp(CacheUse* use, Object* object, const Freshness* fresh, uint16_t status) noexcept nogil:
    object.status = status
    object.variant = use.variant
    object.epoch = use.fetch.epoch
    object.response_ms = use.context.clock.now_ms
    object.response_s = _now_s(use.context)
    object.fresh = fresh[0]
    if use.rules.share:
        object.flags |= OBJECT_SHARE
    if use.rules.encodings[0] != FORM_NONE and not fresh.no_transform:
        object.flags |= OBJECT_COMPRESS


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
    lines = storable_lines(head, _now_s(use.context), use.rules.fresh.strip_set_cookie, use.context.lines, LINES_ROOM)
    if lines < 0 or tag_count < 0:
        reason[0] = REASON_NO_ROOM
        return STORE_RELAY
    for _looks in range(INSERTS_MAX):
        memset(&shape, 0, sizeof(shape))
        if not _find_variant(use, head, known, &known_size, names, &names_size, &shape.variant):
            reason[0] = REASON_VARIANT
            return STORE_RELAY
        shape.url = _url_text(use)
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
        _stamp(use, object, fresh, head.status)
        _describe(use, object, head)
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
    _share(use, result == INSERT_STORED and _stands(object))
    use.state = USE_SERVE
    _forget_stale(use)
    if object.chain != NULL:
        if result != INSERT_STORED:
            chain_disown(store.arena, object.chain)
        return STORE_FILL
    if result == INSERT_STORED:
        cached_tell(exchange.context, object)
    return STORE_SERVE


cdef inline bint _stands(const Object* object) noexcept nogil:
    return object.fresh.lifetime_s > object.fresh.initial_age_s and not object.fresh.no_cache and not object.flags & OBJECT_SOFT


cdef void _share(CacheUse* use, bint with_others) noexcept nogil:
    store_resolve(use.rules.store, &use.fetch, FETCH_STORED if with_others else FETCH_PASS, use.object, 0)


cdef void cached_tell(Context* context, Object* object) noexcept nogil:
    """Tell the control plane of an answer that is stored and whole, if it has something to do with it."""
    if object.flags & (OBJECT_SHARE | OBJECT_COMPRESS) == 0 or object.base == NULL:
        return
    fetch_add_int(&object.refs, 1)           # until it has been told
    object.stored.kind = EVENT_STORED
    object.stored.subject = object
    if not event_push(context.events, &object.stored):
        fetch_add_int(&object.refs, -1)


# ---- 304 ----

cdef int _refresh(CacheUse* use, Head* head) noexcept nogil:
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
    if not _still_the_same(old, head, _now_s(use.context)):
        # It speaks of something else: what we have is of no use, and the server is asked again.
        store_kill(store, old, KILL_REPLACED)
        store_release(store, old)
        use.stale = NULL
        use.conditional = False
        return STORE_AGAIN
    exchange.cache = CACHE_REVALIDATED
    lines = _merge(use, head, &skip)
    memset(&shape, 0, sizeof(shape))
    shape.url = _url_text(use)
    shape.route = exchange.route.name
    shape.variant = object_variant(old)
    shape.head_size = <uint32_t>(lines if lines > 0 else 0)
    shape.inline_size = <uint64_t>old.body_size if old.chain == NULL else 0
    shape.tags = tags
    # Not those of the old object, whose tags go with its place in the store.
    shape.tag_count = cached_tags(use, &use.context.asked, tags) if lines > 0 else -1
    object = object_new(store, use.base.hash, &shape) if shape.tag_count >= 0 and _is_whole(old) else NULL
    if object == NULL:
        # It holds, but cannot be made anew: it answers once more as it is.
        _serve_stale(use)
        exchange.cache_age = 0
        return STORE_SERVE
    memcpy(<void*>object_head(object).data, use.context.lines + skip, lines)
    if old.chain != NULL:
        chain_adopt(old.chain)
        object.chain = old.chain
    else:
        memcpy(object_body(object), object_body(old), old.body_size)
    object.body_size = old.body_size
    _judge_refreshed(use, &fresh)
    _stamp(use, object, &fresh, old.status)
    object.variant = old.variant
    _describe(use, object, head)
    object.node.size = object_weight(object)
    known_size = store_vary(store, use.base, known)
    result = store_insert(store, use.base, object, slice_of(known, known_size), slice_of(known, known_size), use.rules.variants)
    use.object = object
    _share(use, result == INSERT_STORED and _stands(object))
    use.state = USE_SERVE
    _forget_stale(use)
    exchange.cache_age = <uint32_t>object_age_s(object, use.context)
    if result == INSERT_STORED:
        cached_tell(exchange.context, object)
    elif object.chain != NULL:
        chain_disown(store.arena, object.chain)
    return STORE_SERVE


cdef bint _is_whole(const Object* object) noexcept nogil:
    """A body that is still arriving belongs to the object that it was stored with: its end is told to that one alone."""
    return object.chain == NULL or load_acquire_int(&object.chain.state) == CHAIN_COMPLETE


cdef bint _still_the_same(const Object* old, const Head* head, int64_t now_s) noexcept nogil:
    """A 304 that names another ETag speaks of something else."""
    cdef Validators stored
    stored.etag = _stored_etag(old)
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
    size = merge_lines(object_head(use.stale), head, _now_s(context), text + skip[0], LINES_ROOM - skip[0] - 2)
    if size <= 0:
        return size
    memcpy(text + skip[0] + size, b"\r\n", 2)
    return size if parse_response_head(text, skip[0] + size + 2, &scanned, &_own_limits, &context.asked) > 0 else -1


cdef void _judge_refreshed(CacheUse* use, Freshness* fresh) noexcept nogil:
    """How long the merged head says that it is good."""
    if _judge(use, &use.context.asked, fresh) != STORE_OK:
        fresh[0] = use.stale.fresh
        fresh.initial_age_s = 0
        fresh.lifetime_s = 0


# ---- serving what is stale ----

cdef void _serve_stale(CacheUse* use) noexcept nogil:
    use.object = use.stale
    use.stale = NULL
    fetch_add_int(&use.object.refs, 1)
    store_resolve(use.rules.store, &use.fetch, FETCH_STORED, use.object, 0)
    store_release(use.rules.store, use.object)
    use.state = USE_SERVE
    use.exchange.cache_age = <uint32_t>object_age_s(use.object, use.context)


cdef bint cached_instead(Exchange* exchange) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    if use == NULL or use.stale == NULL or not use.if_error or use.state == USE_PASS or use.state == USE_SERVE or use.state == USE_UNSAFE:
        return False
    if not object_is_found(use.stale):
        return False          # purged meanwhile: it must not be begun any more
    if use.state == USE_WAIT:
        store_quit(use.rules.store, use.base, &use.waiter)
        use.state = USE_ALONE
    exchange.cache = CACHE_STALE
    _serve_stale(use)
    return True


cdef void cached_failed(Exchange* exchange, int fault) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    if use == NULL or use.state != USE_LEAD and use.state != USE_TIER:
        return
    if _is_of_request(fault) and use.fetch.handed < HANDED_MOST:
        store_hand_over(use.rules.store, &use.fetch)
    else:
        store_resolve(use.rules.store, &use.fetch, FETCH_FAILED, NULL, fault)
    use.state = USE_PASS


cdef bint _is_of_request(int fault) noexcept nogil:
    """A fault that this request may have provoked, by a cookie that some firewall dislikes, say: others must not be refused for it."""
    return (fault == FAULT_UPSTREAM_CLOSED or fault == FAULT_UPSTREAM_RESET or fault == FAULT_UPSTREAM_HEAD_MALFORMED
            or fault == FAULT_UPSTREAM_HEAD_TOO_LARGE or fault == FAULT_TOTAL_TIMEOUT)


# ---- unsafe methods ----

cdef void _invalidate(Exchange* exchange, const Head* head) noexcept nogil:
    """RFC 9111 §4.4: the target, and what Location and Content-Location name of the same origin."""
    cdef CacheUse* use = exchange.cached
    cdef StoreData* store = exchange.snapshot.store
    cdef Url url = _url_of(exchange, use)
    if not 200 <= head.status < 400:
        return
    sweep_url(store, &url, False, False, exchange.context.key, KEY_MAX)
    if exchange.snapshot.shares:
        _tell_invalid(exchange.context, &url)
    sweep_reference(store, &url, head_field(head, FIELD_LOCATION), exchange.context.key, KEY_MAX)
    sweep_reference(store, &url, head_field(head, FIELD_CONTENT_LOCATION), exchange.context.key, KEY_MAX)


cdef void _tell_invalid(Context* context, const Url* url) noexcept nogil:
    """The second tier has it as well, and other nodes. Without memory for the word it ends with its lifetime there."""
    cdef InvalidUrl* told
    cdef int size = url_write(url, context.key, KEY_MAX)
    if size < 0:
        return
    told = <InvalidUrl*>malloc(sizeof(InvalidUrl) + size)
    if told == NULL:
        return
    memset(told, 0, sizeof(InvalidUrl))
    told.node.kind = EVENT_INVALID
    told.node.subject = told
    told.size = size
    memcpy(told + 1, context.key, size)
    event_push(context.events, &told.node)


# ---- Cache-Status ----

cdef int _word(uint8_t* out, const char* text) noexcept nogil:
    cdef size_t size = strlen(text)
    memcpy(out, text, size)
    return <int>size


cdef int cached_status_line(const Exchange* exchange, uint8_t* out) noexcept nogil:
    cdef const CacheUse* use = exchange.cached
    cdef int cache = exchange.cache
    cdef int64_t ttl, age_s
    cdef int at = _word(out, b"Cache-Status: proxyd")
    if cache == CACHE_HIT or cache == CACHE_STALE:
        at += _word(out + at, b"; hit")
    elif cache == CACHE_BYPASS:
        at += _word(out + at, b"; fwd=bypass" if _is_safe(exchange.method) else b"; fwd=method")
    elif cache == CACHE_EXPIRED or cache == CACHE_REVALIDATED:
        at += _word(out + at, b"; fwd=request" if use != NULL and use.facts.control.flags & CC_NO_CACHE else b"; fwd=stale")
        at += _word(out + at, b"; fwd-status=304" if cache == CACHE_REVALIDATED else b"")
    else:
        at += _word(out + at, b"; fwd=vary-miss" if use != NULL and use.variant else b"; fwd=uri-miss")
    if cache == CACHE_COALESCED:
        at += _word(out + at, b"; collapsed")
    if use != NULL and use.object != NULL:
        if use.object.base != NULL and (cache == CACHE_MISS or cache == CACHE_EXPIRED):
            at += _word(out + at, b"; stored")
        age_s = object_age_s(use.object, exchange.context)
        ttl = _freshness_now(use.object, age_s).lifetime_s - age_s
        at += _word(out + at, b"; ttl=" if ttl >= 0 else b"; ttl=-")
        at += write_decimal(<uint64_t>(ttl if ttl >= 0 else -ttl), out + at)
    elif use != NULL and use.reason:
        at += _word(out + at, b"; detail=")
        at += _word(out + at, reason_word(use.reason))
    at += _word(out + at, b"\r\n")
    return at


cdef const Head* cached_asked(Exchange* exchange) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    if use.asked.size == 0 or not _read_asked(use):
        return NULL
    return &use.context.asked


cdef bint cached_as_get(const Exchange* exchange) noexcept nogil:
    return exchange.cached != NULL and exchange.cached.as_get


cdef void cached_unfilled(Exchange* exchange) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    store_filled(use.rules.store, use.object, False)
    chain_finish(use.object.chain, CHAIN_FAILED)
    store_release(use.rules.store, use.object)
    use.object = NULL
    use.state = USE_PASS


cdef int cached_variant_text(Exchange* exchange, Slice names) noexcept nogil:
    if not _read_asked(exchange.cached):
        return -1
    return vary_text(names, &exchange.context.asked, exchange.context.variant, VARIANT_MAX)


cdef bint cached_claim(Exchange* exchange) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    if use.object.chain == NULL or use.joined:
        return True
    if chain_join(use.object.chain, &use.reader, 0):
        if load_acquire_int(&use.object.chain.state) != CHAIN_FAILED:
            use.joined = True
            return True
        chain_leave(use.rules.store.arena, use.object.chain, &use.reader)
    # It was taken out of the store, and what others have read of it is gone, or nobody read it then and it was given up; or it broke off.
    store_release(use.rules.store, use.object)
    use.object = NULL
    use.state = USE_ALONE if use.base != NULL else USE_PASS
    use.fetch.base = NULL
    use.fetch.epoch = load_i64(&use.rules.store.purges.count)
    exchange.cache = CACHE_MISS
    exchange.cache_age = T_NONE
    return False
