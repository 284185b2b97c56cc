# cython: cdivision=True
"""What an exchange does with the cache: a CacheUse, from its birth at the lookup to the end of the exchange, and what it knows.

Nothing here or in the files that go on with it sends or connects: conn/exchange asks at its phases CACHE_LOOKUP and CACHE_STORE and acts on
what it is told; conn/deliver writes what is stored; conn/fill brings in bodies. The files: `lookup` (key, finding, weighing, leading),
`collapse` (waiting for another's fetch), `revalidate` (the head that goes to the server, its 304), `store` with `judge` and `describe` (a
server's answer becomes an object, or a marker), `stale` (something old instead of an error), `invalidate` (unsafe methods), `cache_status`.
"""
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memset
from proxyd_ext.cache.control cimport control_none
from proxyd_ext.cache.freshness cimport Freshness
from proxyd_ext.cache.key cimport Url
from proxyd_ext.cache.object cimport OBJECT_SOFT, Object
from proxyd_ext.conn.model cimport CacheUse, Context, Exchange
from proxyd_ext.core.events cimport EVENT_CACHE
from proxyd_ext.core.slab cimport slab_new
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport Head, METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_TRACE


cdef inline CacheUse* cached_use(Exchange* exchange) noexcept nogil:
    """A use for an exchange of a route with a cache; NULL: no memory."""
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


cdef inline Url cached_url(const Exchange* exchange, const CacheUse* use) noexcept nogil:
    """What the server is asked for, by the word of a user's filter: two requests that it sends to different places are not one."""
    cdef Url url
    url.scheme = use.scheme
    url.authority = use.authority
    url.path = exchange.changed_path if exchange.changed_path.data != NULL else exchange.path
    url.query = exchange.changed_query if exchange.query_changed else exchange.query
    return url


cdef inline bint method_is_safe(uint8_t method) noexcept nogil:
    """RFC 9110 §9.2.1."""
    return method == METHOD_GET or method == METHOD_HEAD or method == METHOD_OPTIONS or method == METHOD_TRACE


cdef inline int64_t object_age_s(const Object* object, const Context* context) noexcept nogil:
    return object.fresh.initial_age_s + (context.clock.now_ms - object.response_ms) // 1000


cdef inline Freshness object_freshness(const Object* object, int64_t age_s) noexcept nogil:
    """Softly purged: as if it had become stale just now."""
    cdef Freshness fresh = object.fresh
    if object.flags & OBJECT_SOFT and fresh.lifetime_s > age_s:
        fresh.lifetime_s = age_s
    return fresh


cdef inline int64_t context_wall_s(const Context* context) noexcept nogil:
    return context.clock.wall_us // 1000000


cdef void cached_end(Exchange* exchange) noexcept nogil      # part with everything; what waits for this exchange is seen to
cdef void cached_heard(CacheUse* use) noexcept nogil         # the last wake-up of a use whose exchange has gone
# Something newer answers than the stale object that the use holds.
cdef void cached_forget_stale(CacheUse* use) noexcept nogil
# Make sure of the whole body of `object` before anything of the answer is sent.  False: it is gone; the servers have to be asked.
cdef bint cached_claim(Exchange* exchange) noexcept nogil
# The body of the answer that was stored cannot be brought in: it is taken out again.
cdef void cached_unfilled(Exchange* exchange) noexcept nogil

# The client's head once more, into Context.asked.  False: it was not kept.
cdef bint cached_read_asked(CacheUse* use) noexcept nogil
# The client's head once more, for its conditions and ranges; NULL: it was not kept, and is not needed.  It stands in Context.asked.
cdef const Head* cached_asked(Exchange* exchange) noexcept nogil
# Whether the server was asked by GET for a client that asked by HEAD.
cdef bint cached_as_get(const Exchange* exchange) noexcept nogil
# What the request says of these fields, into Context.variant; its size, or -1.
cdef int cached_variant_text(Exchange* exchange, Slice names) noexcept nogil
