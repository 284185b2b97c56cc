"""Finding (see find.pxd)."""
from libc.string cimport memcpy, memset
from proxyd_ext.cache.arena cimport ARENA_FIXED, arena_free
from proxyd_ext.cache.curve cimport curve_note, curve_wants
from proxyd_ext.cache.memory cimport store_room, store_shard
from proxyd_ext.cache.object cimport FORM_NONE, Tag, base_key
from proxyd_ext.cache.policy cimport policy_hit
from proxyd_ext.cache.shard cimport Shard, shard_add_base, shard_base
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport fetch_add_i64, fetch_add_int


cdef Base* _new_base(StoreData* store, uint64_t hash, const uint8_t* key, uint32_t size) noexcept nogil:
    cdef Base* base = <Base*>store_room(store, <uint32_t>sizeof(Base) + size, ARENA_FIXED, hash)
    cdef const uint8_t* zero
    if base == NULL:
        return NULL
    memset(base, 0, sizeof(Base))
    base.hash = hash
    base.key_size = size
    memcpy(<uint8_t*>base + sizeof(Base), key, size)
    zero = <const uint8_t*>base + sizeof(Base)
    while zero[base.zone_size] != 0:
        base.zone_size += 1
    return base


cdef int _rank(const uint8_t* order, uint8_t encoding) noexcept nogil:
    """How much the client likes an encoding: 0 most; -1: not at all."""
    cdef int i = 0
    while order[i] != FORM_NONE:
        if order[i] == encoding:
            return i
        i += 1
    return i if encoding == FORM_NONE else -1


cdef Object* _choose(Base* base, uint64_t variant, const uint8_t* order) noexcept nogil:
    cdef Object* object = base.objects
    cdef Object* best = NULL
    cdef int rank, least = 255
    while object != NULL:
        if object.variant == variant:
            rank = _rank(order, object.encoding)
            if 0 <= rank < least:
                best = object
                least = rank
        object = object.next
    return best


cdef Object* store_find(StoreData* store, uint64_t hash, const uint8_t* key, uint32_t size, const uint8_t* order, Base** out,
                        uint32_t* version, uint8_t* vary, uint32_t* vary_size) noexcept nogil:
    cdef Shard* shard = store_shard(store, hash)
    cdef Base* base
    cdef Base* fresh = NULL
    cdef Object* object = NULL
    vary_size[0] = 0
    while True:
        lock_take(&shard.lock)
        base = shard_base(shard, hash, key, size)
        if base != NULL or fresh != NULL:
            break
        lock_give(&shard.lock)
        fresh = _new_base(store, hash, key, size)
        if fresh == NULL:
            out[0] = NULL
            return NULL
    if base == NULL:
        base = fresh
        fresh = NULL
        shard_add_base(shard, base)
    if base.vary != NULL:
        memcpy(vary, base.vary, base.vary_size)
        vary_size[0] = base.vary_size
    else:
        object = _choose(base, 0, order)
        if object != NULL:
            fetch_add_int(&object.refs, 1)
            policy_hit(&object.node)
    base.pins += 1
    version[0] = base.version
    lock_give(&shard.lock)
    if fresh != NULL:
        arena_free(store.arena, fresh, <uint32_t>sizeof(Base) + size)
    out[0] = base
    if object != NULL:
        store_note(store, hash, object)
    return object


cdef void store_note(StoreData* store, uint64_t hash, const Object* object) noexcept nogil:
    fetch_add_i64(&store.counts.lookups, 1)
    if curve_wants(store.curve, hash):
        curve_note(store.curve, hash, object.node.size)


cdef Object* store_variant(StoreData* store, Base* base, uint64_t variant, const uint8_t* order, uint32_t* version) noexcept nogil:
    cdef Shard* shard = store_shard(store, base.hash)
    cdef Object* object
    lock_take(&shard.lock)
    object = _choose(base, variant, order)
    if object != NULL:
        fetch_add_int(&object.refs, 1)
        policy_hit(&object.node)
    version[0] = base.version
    lock_give(&shard.lock)
    if object != NULL:
        store_note(store, base.hash ^ variant, object)
    return object


cdef uint32_t store_vary(StoreData* store, Base* base, uint8_t* out) noexcept nogil:
    cdef Shard* shard = store_shard(store, base.hash)
    cdef uint32_t size = 0
    lock_take(&shard.lock)
    if base.vary != NULL:
        size = base.vary_size
        memcpy(out, base.vary, size)
    lock_give(&shard.lock)
    return size


cdef Base* store_base_of(StoreData* store, Object* object, uint32_t* version) noexcept nogil:
    cdef Shard* shard = store_shard(store, object.hash)
    cdef Base* base
    lock_take(&shard.lock)
    base = object.base
    if base != NULL:
        base.pins += 1
        version[0] = base.version
    lock_give(&shard.lock)
    return base


cdef bint store_names(StoreData* store, Object* object, ObjectNames* out) noexcept nogil:
    cdef Shard* shard = store_shard(store, object.hash)
    cdef Base* base
    cdef const Tag* tag
    cdef uint8_t* at = out.tags
    cdef int i
    lock_take(&shard.lock)
    base = object.base
    if base != NULL:
        out.key_size = base.key_size
        memcpy(out.key, base_key(base).data, base.key_size)
        out.vary_size = base.vary_size
        if base.vary_size:
            memcpy(out.vary, base.vary, base.vary_size)
        out.tag_count = object.tag_count
        for i in range(object.tag_count):
            tag = object.links[i].tag
            out.tag_sizes[i] = tag.size
            memcpy(at, <const uint8_t*>tag + sizeof(Tag), tag.size)
            at += tag.size
    lock_give(&shard.lock)
    return base != NULL
