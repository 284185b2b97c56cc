"""What the cache is for an exchange: looking its key up, waiting for another's fetch, judging and storing what a server answers.

Nothing here sends or connects: conn/exchange asks at its phases CACHE_LOOKUP and CACHE_STORE and acts on what it is told; conn/deliver
writes
what is stored; conn/fill brings in bodies.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from proxyd_ext.cache.object cimport Object
from proxyd_ext.conn.model cimport CacheUse, Context, Exchange
from proxyd_ext.core.events cimport EventNode
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport Head


cdef enum:
    LOOKUP_PASS = 0           # the cache has no answer: on to the servers
    LOOKUP_SERVE = 1          # `object` answers
    LOOKUP_BEHIND = 2         # it answers, and is to be fetched anew behind it
    LOOKUP_WAIT = 3           # another fetches it: wait (at most rules.collapse_ms)
    LOOKUP_TIER = 4           # ask the second tier first, as the leader
    LOOKUP_ONLY = 5           # the client wants nothing that is not stored (only-if-cached)

    STORE_RELAY = 0           # the answer goes to this client only
    STORE_SERVE = 1           # `object` answers; nothing more of the server's answer is needed (its body, if any, is stored or of no use)
    STORE_AGAIN = 3           # a 304 for something that we do not have: ask once more, without a condition
    STORE_FILL = 2            # `object` answers, and its body is still to come (conn/fill)


# Phase CACHE_LOOKUP, while the request's head stands in Context.head.  LOOKUP_*.
cdef int cached_lookup(Exchange* exchange, Head* head, uint32_t size) noexcept nogil
# Bytes that an exchange's buffer must have beside its own for what is kept here.
cdef size_t cached_need(const Exchange* exchange, const Head* head, uint32_t size) noexcept nogil
# What is to be done to the head that goes to the server: fields of `head` that belong to the client's own cache are marked, so that the
# whole answer comes; lines to add are written to `out` (room: CACHED_LINES).  Returns their size.
cdef int cached_edit(Exchange* exchange, Head* head, uint8_t* out) noexcept nogil
cdef enum:
    CACHED_LINES = 1024

# For a stored answer that is fetched anew: a use for the exchange that does it.  False: another does so already, or no memory.
cdef bint cached_behind(Exchange* asker, Exchange* behind, Head* head, uint32_t size) noexcept nogil
# The use of an exchange that waited was woken.  LOOKUP_*; LOOKUP_WAIT: it was nothing.  *fault: the leader's fault, which is this one's
# too.
cdef int cached_woken(Exchange* exchange, int* fault) noexcept nogil
# It has waited long enough: on its own.
cdef void cached_alone(Exchange* exchange) noexcept nogil
# The second tier has answered, or its time is up: look again, as the leader.  LOOKUP_*.
cdef int cached_again(Exchange* exchange) noexcept nogil

# Phase CACHE_STORE: a server has answered.  STORE_*.  The body's first bytes stand behind the head (`size` bytes) in the origin's buffer.
cdef int cached_answer(Exchange* exchange, Head* head, uint32_t size) noexcept nogil
# No server could be asked, or the answer is an error: whether `object` now answers instead, stale as it is.
cdef bint cached_instead(Exchange* exchange) noexcept nogil
# The exchange fails with a fault of its servers: so do those that wait for it.
cdef void cached_failed(Exchange* exchange, int fault) noexcept nogil
# `Cache-Status: ...` CRLF (RFC 9211) for an answer; its size.  `out` has room for STATUS_LINE bytes.
cdef int cached_status_line(const Exchange* exchange, uint8_t* out) noexcept nogil
cdef enum:
    STATUS_LINE = 256

# Tell the control plane of an answer that is stored and whole, if it has something to do with it.
cdef void cached_tell(Context* context, Object* object) noexcept nogil
# A URL that a method made invalid, on its way to the control plane; the text stands behind it. Whoever takes the event frees it.
ctypedef struct InvalidUrl:
    EventNode node
    size_t size


cdef void cached_end(Exchange* exchange) noexcept nogil      # part with everything; what waits for this exchange is seen to
cdef void cached_heard(CacheUse* use) noexcept nogil         # the last wake-up of a use whose exchange has gone
cdef int64_t object_age_s(const Object* object, const Context* context) noexcept nogil

# The client's head once more, for its conditions and ranges; NULL: it was not kept, and is not needed.  It stands in Context.asked.
cdef const Head* cached_asked(Exchange* exchange) noexcept nogil
# Whether the server was asked by GET for a client that asked by HEAD.
cdef bint cached_as_get(const Exchange* exchange) noexcept nogil
# The body of the answer that was stored cannot be brought in: it is taken out again.
cdef void cached_unfilled(Exchange* exchange) noexcept nogil
# What the request says of these fields, into Context.variant; its size, or -1.
cdef int cached_variant_text(Exchange* exchange, Slice names) noexcept nogil
# A use for an exchange of a route with a cache; NULL: no memory.
cdef CacheUse* cached_use(Exchange* exchange) noexcept nogil
# The tags that a head names, each once: at most TAGS_MAX; -1: more.
cdef int cached_tags(const CacheUse* use, const Head* head, Slice* out) noexcept nogil
# Make sure of the whole body of `object` before anything of the answer is sent.  False: it is gone; the servers have to be asked.
cdef bint cached_claim(Exchange* exchange) noexcept nogil
