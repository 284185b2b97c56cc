"""Looking up (see lookup.pxd)."""
from libc.stdint cimport int64_t, uint64_t, uint8_t
from libc.string cimport memcmp, memcpy
from proxyd_ext.cache.control cimport CC_NO_STORE, CC_ONLY_IF_CACHED, control_none, parse_request_directives
from proxyd_ext.cache.fetch cimport LEAD_ALONE, LEAD_WAIT, LEAD_YOURS, store_lead
from proxyd_ext.cache.find cimport store_base_of, store_find, store_variant
from proxyd_ext.cache.freshness cimport Freshness, SERVE_FRESH, SERVE_NOT, SERVE_STALE_REVALIDATE, STORE_OK, may_serve, read_facts
from proxyd_ext.cache.key cimport Url, authority_write, key_write
from proxyd_ext.cache.memory cimport StoreData
from proxyd_ext.cache.object cimport FORM_BR, FORM_GZIP, FORM_NONE, FORM_ZSTD, OBJECT_MARKER, VARIANT_MAX, VARY_MAX
from proxyd_ext.cache.pin cimport store_release
from proxyd_ext.cache.reasons cimport REASON_NO_ROOM, REASON_VARIANT
from proxyd_ext.cache.vary cimport ENCODING_BR, ENCODING_GZIP, ENCODING_ZSTD, accepted_encodings, vary_text
from proxyd_ext.conn.cached cimport cached_end, cached_url, cached_use, method_is_safe, object_age_s, object_freshness
from proxyd_ext.conn.model cimport Context, EX_TRUSTED, EX_UPGRADE, USE_ALONE, USE_LEAD, USE_PASS, USE_SERVE, USE_TIER, USE_UNSAFE, USE_WAIT
from proxyd_ext.conn.revalidate cimport CACHED_LINES
from proxyd_ext.core.hash cimport hash_bytes, mix64
from proxyd_ext.core.shim cimport INVARIANT, load_i64
from proxyd_ext.core.slice cimport slice_equals_nocase, slice_of
from proxyd_ext.http1.head cimport (
    BODY_NONE, FIELD_CACHE_CONTROL, FIELD_IF_MATCH, FIELD_IF_UNMODIFIED_SINCE, FIELD_OTHER, FIELD_PRAGMA, FIELD_X_FORWARDED_HOST,
    FIELD_X_FORWARDED_PROTO, Field, HEAD_EXPECT_CONTINUE, METHOD_GET, METHOD_HEAD, head_field,
)
from proxyd_ext.log.record cimport CACHE_BYPASS, CACHE_EXPIRED, CACHE_HIT, CACHE_MISS, CACHE_NONE, CACHE_STALE, CACHE_UNCACHEABLE
from proxyd_ext.route.condition cimport RouteInput, conditions_hold
from proxyd_ext.snapshot.compile cimport CompiledCache

cdef enum:
    LOOKS_MAX = 8             # how often something newer is looked at before one fetches on its own


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


cdef size_t cached_need(const Exchange* exchange, const Head* head, uint32_t size) noexcept nogil:
    if exchange.snapshot.store == NULL or exchange.route == NULL:
        return 0
    return head.host.size + size + CACHED_LINES if exchange.route.cache != NULL else head.host.size


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
    if not method_is_safe(head.method):
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
    url = cached_url(exchange, use)
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
        if not cached_name_variant(use, slice_of(names, names_size), head):
            use.state = USE_PASS
            use.reason = REASON_VARIANT
            return LOOKUP_PASS
        object = store_variant(store, use.base, use.variant, use.order, &use.version)
    verdict = cached_weigh(use, object)
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


cdef bint cached_name_variant(CacheUse* use, Slice names, const Head* head) noexcept nogil:
    cdef Context* context = use.context
    cdef int text = vary_text(names, head, context.variant, VARIANT_MAX)
    if text < 0:
        return False
    use.variant = _variant_hash(names, slice_of(context.variant, text))
    return True


cdef inline uint64_t _variant_hash(Slice names, Slice text) noexcept nogil:
    cdef uint64_t hash = mix64(hash_bytes(names.data, names.size)) ^ hash_bytes(text.data, text.size)
    return hash if hash else 1


cdef int cached_weigh(CacheUse* use, Object* object) noexcept nogil:
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
        fresh = object_freshness(object, age_s)
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
        verdict = cached_weigh(use, store_variant(store, use.base, use.variant, use.order, &use.version))
        if verdict != LOOKUP_WAIT:
            if verdict == LOOKUP_PASS:
                use.state = USE_ALONE
            return verdict
    use.state = USE_ALONE
    use.fetch.base = NULL
    use.fetch.epoch = load_i64(&store.purges.count)
    return LOOKUP_PASS


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
