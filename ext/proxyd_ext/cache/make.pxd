"""Making objects: memory for all of one in a slot, its texts copied in; nobody finds it before it is hung in (`insert`)."""
from libc.stdint cimport uint32_t, uint64_t
from proxyd_ext.cache.memory cimport StoreData
from proxyd_ext.cache.object cimport Object
from proxyd_ext.core.slice cimport Slice


ctypedef struct ObjectShape:  # what a new object is made of
    Slice url
    Slice route
    Slice variant             # text
    uint32_t head_size        # room for the head's lines
    uint64_t inline_size      # of a body that stands behind the head; 0 with a chain
    Slice* tags
    int tag_count
# Memory for an object, texts copied in, head and body left to the caller; one pin, and nobody finds it yet.  NULL: no room.
cdef Object* object_new(StoreData* store, uint64_t hash, const ObjectShape* shape) noexcept nogil
cdef uint64_t object_weight(const Object* object) noexcept nogil             # bytes that it takes of the arena, links and body too
