# cython: cdivision=True
"""Judging answers (see judge.pxd)."""
from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memset
from proxyd_ext.cache.find cimport store_vary
from proxyd_ext.cache.freshness cimport (
    FreshnessRules, STORE_AUTHORIZATION, STORE_METHOD, STORE_NO_STORE_REQUEST, STORE_OK, STORE_PARTIAL, judge_answer,
)
from proxyd_ext.cache.insert cimport store_insert
from proxyd_ext.cache.make cimport ObjectShape, object_new
from proxyd_ext.cache.memory cimport store_largest
from proxyd_ext.cache.object cimport OBJECT_MARKER, Object, VARY_MAX
from proxyd_ext.cache.pin cimport store_release
from proxyd_ext.cache.reasons cimport REASON_IDENTITY, REASON_NO_ROOM, REASON_PURGED, REASON_TOO_LARGE
from proxyd_ext.cache.vary cimport names_have, vary_names
from proxyd_ext.conn.cached cimport context_wall_s
from proxyd_ext.conn.describe cimport cached_url_text
from proxyd_ext.conn.model cimport Context, EX_PERSONAL, Exchange
from proxyd_ext.core.shim cimport fetch_add_i64
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.snapshot.compile cimport CompiledCache, status_in


# ---- judging ----

cdef int cached_judge(CacheUse* use, const Head* head, Freshness* fresh) noexcept nogil:
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
    reason = judge_answer(&use.facts, head, &freshness, request_s, context_wall_s(context), fresh)
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


# ---- markers ----

cdef bint _marks(int reason, const Head* head) noexcept nogil:
    """Whether the next answer for this key will most likely not be stored either."""
    if head.status >= 500 or head.status == 304 or head.status == 416:
        return False
    return (reason != STORE_OK and reason != STORE_METHOD and reason != STORE_NO_STORE_REQUEST and reason != STORE_AUTHORIZATION
            and reason != STORE_PARTIAL and reason != REASON_NO_ROOM and reason != REASON_PURGED)


cdef void cached_mark(CacheUse* use, const Head* head, int reason) noexcept nogil:
    """Leave word that answers for this key are not stored, so that nobody waits for one."""
    cdef Context* context = use.context
    cdef ObjectShape shape
    cdef uint8_t[VARY_MAX] known
    cdef Object* marker
    cdef uint32_t known_size
    if use.rules.uncacheable_ms <= 0 or not _marks(reason, head):
        return
    memset(&shape, 0, sizeof(shape))
    shape.url = cached_url_text(use)
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
    marker.response_s = context_wall_s(context)
    marker.fresh.lifetime_s = use.rules.uncacheable_ms // 1000
    known_size = store_vary(use.rules.store, use.base, known)
    store_insert(use.rules.store, use.base, marker, slice_of(known, known_size), slice_of(known, known_size), use.rules.variants)
    store_release(use.rules.store, marker)
