"""Phase CACHE_LOOKUP: the key of a request, what is stored for it, what that is good for, and who fetches it else."""
from libc.stdint cimport uint32_t
from proxyd_ext.cache.object cimport Object
from proxyd_ext.conn.model cimport CacheUse, Exchange
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport Head


cdef enum:
    LOOKUP_PASS = 0           # the cache has no answer: on to the servers
    LOOKUP_SERVE = 1          # `object` answers
    LOOKUP_BEHIND = 2         # it answers, and is to be fetched anew behind it
    LOOKUP_WAIT = 3           # another fetches it: wait (at most rules.collapse_ms)
    LOOKUP_TIER = 4           # ask the second tier first, as the leader
    LOOKUP_ONLY = 5           # the client wants nothing that is not stored (only-if-cached)


# Phase CACHE_LOOKUP, while the request's head stands in Context.head.  LOOKUP_*.
cdef int cached_lookup(Exchange* exchange, Head* head, uint32_t size) noexcept nogil
# Bytes that an exchange's buffer must have beside its own for what is kept here.
cdef size_t cached_need(const Exchange* exchange, const Head* head, uint32_t size) noexcept nogil
# For a stored answer that is fetched anew: a use for the exchange that does it.  False: another does so already, or no memory.
cdef bint cached_behind(Exchange* asker, Exchange* behind, Head* head, uint32_t size) noexcept nogil

# What to do about an object that was found (pinned), or none; takes the pin over.  LOOKUP_*.
cdef int cached_weigh(CacheUse* use, Object* object) noexcept nogil
# By these names (of Vary), which variant the head asks for: into the use.  False: it says more of them than fits.
cdef bint cached_name_variant(CacheUse* use, Slice names, const Head* head) noexcept nogil
