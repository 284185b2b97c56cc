"""Finding: from a key to its base, and the object of it that answers a request; what a base and an object go by."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from proxyd_ext.cache.memory cimport StoreData
from proxyd_ext.cache.object cimport Base, KEY_MAX, Object, TAGS_MAX, TAG_MAX, VARY_MAX


# Look for the answer to a key.  An object that is found is pinned.  Else the base is pinned (made where there is none; NULL: no room),
# `version`
# tells what stood in it, and, when its answers vary, `vary` (VARY_MAX bytes) gets the names and *vary_size > 0: then go on with
# store_variant.
# `order`: the encodings (FORM_*) that the client likes better than none, the best first, ended by FORM_NONE.
cdef Object* store_find(StoreData* store, uint64_t hash, const uint8_t* key, uint32_t size, const uint8_t* order, Base** base,
                        uint32_t* version, uint8_t* vary, uint32_t* vary_size) noexcept nogil
# The same for a variant of a base that is pinned (and stays so).
cdef Object* store_variant(StoreData* store, Base* base, uint64_t variant, const uint8_t* order, uint32_t* version) noexcept nogil
# Count a look for what this hash stands for, and show it to the curve.
cdef void store_note(StoreData* store, uint64_t hash, const Object* object) noexcept nogil
cdef uint32_t store_vary(StoreData* store, Base* base, uint8_t* out) noexcept nogil   # the names; their size
# The base of an object that is pinned, pinned; NULL: the object is not found any more.
cdef Base* store_base_of(StoreData* store, Object* object, uint32_t* version) noexcept nogil


ctypedef struct ObjectNames:  # what an object goes by, while it is found: with its place in the store it loses key, names and tags
    uint32_t key_size
    uint32_t vary_size
    int tag_count
    uint32_t[TAGS_MAX] tag_sizes
    uint8_t[KEY_MAX] key
    uint8_t[VARY_MAX] vary
    uint8_t[TAGS_MAX * TAG_MAX] tags     # one behind another
# All of them as they were at one moment.  False: nobody finds the object any more, and nothing is written.
cdef bint store_names(StoreData* store, Object* object, ObjectNames* out) noexcept nogil
