"""What an object is told of its answer (URL, tags, times, what is asked of it again and again), and who is told of the object."""
from libc.stdint cimport uint16_t
from proxyd_ext.cache.freshness cimport Freshness
from proxyd_ext.cache.object cimport OBJECT_SOFT, Object
from proxyd_ext.conn.model cimport CacheUse, Context
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport Head


cdef inline bint object_stands(const Object* object) noexcept nogil:
    """For more than this moment."""
    return object.fresh.lifetime_s > object.fresh.initial_age_s and not object.fresh.no_cache and not object.flags & OBJECT_SOFT


cdef Slice cached_url_text(CacheUse* use) noexcept nogil                     # in Context.key
# The tags that a head names, each once: at most TAGS_MAX; -1: more.
cdef int cached_tags(const CacheUse* use, const Head* head, Slice* out) noexcept nogil
# The answer's status, times and flags.
cdef void cached_stamp(CacheUse* use, Object* object, const Freshness* fresh, uint16_t status) noexcept nogil
# What of its head is asked again and again; once the head stands in it and the times are known.
cdef void cached_describe(CacheUse* use, Object* object, const Head* head) noexcept nogil
cdef Slice object_etag(const Object* object) noexcept nogil                  # empty: none
# The value of the first line with that name (lower case); empty: none.
cdef Slice object_field(const Object* object, const char* name, size_t size) noexcept nogil

# Give the object to those who wait for it; else they are told to go on by themselves.
cdef void cached_share(CacheUse* use, bint with_others) noexcept nogil
# Tell the control plane of an answer that is stored and whole, if it has something to do with it.
cdef void cached_tell(Context* context, Object* object) noexcept nogil
