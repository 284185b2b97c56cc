"""Making objects (see make.pxd)."""
from libc.stdint cimport uint16_t, uint8_t
from libc.string cimport memcpy, memset
from proxyd_ext.cache.arena cimport ARENA_FIXED, ARENA_OBJECT, ARENA_SLOT_MAX, arena_free, arena_slot
from proxyd_ext.cache.memory cimport store_room
from proxyd_ext.cache.object cimport Tag, TagLink, object_text
from proxyd_ext.cache.pin cimport store_release
from proxyd_ext.core.hash cimport hash_bytes
from proxyd_ext.core.shim cimport store_release_int


cdef inline void _append(uint8_t** at, Slice s) noexcept nogil:
    if s.size:
        memcpy(at[0], s.data, s.size)
        at[0] += s.size


cdef Object* object_new(StoreData* store, uint64_t hash, const ObjectShape* shape) noexcept nogil:
    cdef uint64_t asked = sizeof(Object) + shape.url.size + shape.route.size + shape.variant.size + shape.head_size + shape.inline_size
    cdef Object* object
    cdef Tag* tag
    cdef uint8_t* at
    cdef int i
    if asked > ARENA_SLOT_MAX:
        return NULL
    object = <Object*>store_room(store, <uint32_t>asked, ARENA_OBJECT, hash)
    if object == NULL:
        return NULL
    memset(object, 0, sizeof(Object))
    object.hash = hash
    object.asked = <uint32_t>asked
    object.last_modified_s = -1
    object.url_size = <uint16_t>shape.url.size
    object.route_size = <uint16_t>shape.route.size
    object.variant_size = <uint32_t>shape.variant.size
    object.head_size = shape.head_size
    at = object_text(object)
    _append(&at, shape.url)
    _append(&at, shape.route)
    _append(&at, shape.variant)
    if shape.tag_count:
        object.links = <TagLink*>store_room(store, <uint32_t>(shape.tag_count * sizeof(TagLink)), ARENA_FIXED, hash)
        if object.links == NULL:
            arena_free(store.arena, object, object.asked)
            return NULL
        memset(object.links, 0, shape.tag_count * sizeof(TagLink))
    store_release_int(&object.refs, 1)       # complete enough for whoever looks at its page
    for i in range(shape.tag_count):
        tag = <Tag*>store_room(store, <uint32_t>(sizeof(Tag) + shape.tags[i].size), ARENA_FIXED, hash)
        if tag == NULL:
            object.links = _fewer_links(store, object, shape.tag_count)
            store_release(store, object)
            return NULL
        memset(tag, 0, sizeof(Tag))
        tag.hash = hash_bytes(shape.tags[i].data, shape.tags[i].size)
        tag.size = <uint32_t>shape.tags[i].size
        memcpy(<uint8_t*>tag + sizeof(Tag), shape.tags[i].data, shape.tags[i].size)
        object.links[i].tag = tag
        object.tag_count += 1
    object.node.size = object_weight(object)
    return object


cdef TagLink* _fewer_links(StoreData* store, Object* object, int asked) noexcept nogil:
    """Give back tags and links of an object whose making is given up."""
    cdef int i
    for i in range(object.tag_count):
        arena_free(store.arena, object.links[i].tag, <uint32_t>sizeof(Tag) + object.links[i].tag.size)
    arena_free(store.arena, object.links, <uint32_t>(asked * sizeof(TagLink)))
    object.tag_count = 0
    return NULL


cdef uint64_t object_weight(const Object* object) noexcept nogil:
    cdef uint64_t weight = arena_slot(object.asked)
    if object.chain != NULL:
        weight += object.chain.footprint
    if object.tag_count:
        weight += arena_slot(<uint32_t>(object.tag_count * sizeof(TagLink)))
    return weight
