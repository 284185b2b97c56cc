# cython: cdivision=True
"""Hanging objects in (see insert.pxd)."""
from libc.stdint cimport uint32_t
from libc.string cimport memchr, memcmp, memcpy
from proxyd_ext.cache.arena cimport ARENA_FIXED, arena_free, arena_limit
from proxyd_ext.cache.find cimport store_note
from proxyd_ext.cache.make cimport object_weight
from proxyd_ext.cache.memory cimport KILL_FAILED, KILL_REPLACED, KILL_VARIANTS, store_overhead, store_room, store_shard
from proxyd_ext.cache.object cimport CHAIN_FILLING, OBJECT_MARKER, OBJECT_SOFT, Tag, TagLink, base_key
from proxyd_ext.cache.pin cimport shard_kill, store_bury
from proxyd_ext.cache.policy cimport policy_insert
from proxyd_ext.cache.purge cimport PURGED_HARD, PURGED_SOFT, purged_since
from proxyd_ext.cache.shard cimport Shard, shard_add_tag, shard_tag
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport fetch_add_i64, fetch_add_int, load_acquire_int, load_i64
from proxyd_ext.core.slice cimport slice_of

cdef enum:
    OVERHEAD_LOOKS = 1024     # answers stored between two looks at what stands outside of the arena


# ---- names of Vary ----

cdef Slice _first_name(Slice names) noexcept nogil:
    cdef const uint8_t* comma = <const uint8_t*>memchr(names.data, c',', names.size) if names.size else NULL
    return slice_of(names.data, comma - names.data if comma != NULL else names.size)


cdef Slice _other_names(Slice names, Slice first) noexcept nogil:
    return slice_of(names.data + first.size + 1, names.size - first.size - 1) if names.size > first.size else slice_of(NULL, 0)


cdef int vary_union(Slice a, Slice b, uint8_t* out, size_t cap) noexcept nogil:
    cdef Slice x, y, least
    cdef size_t at = 0
    cdef int order
    while a.size or b.size:
        x = _first_name(a)
        y = _first_name(b)
        order = memcmp(x.data, y.data, x.size if x.size < y.size else y.size) if a.size and b.size else (-1 if a.size else 1)
        if order == 0 and x.size != y.size:
            order = -1 if x.size < y.size else 1
        least = x if order <= 0 else y
        if at + least.size + 1 > cap:
            return -1
        if at:
            out[at] = c','
            at += 1
        memcpy(out + at, least.data, least.size)
        at += least.size
        if order <= 0:
            a = _other_names(a, x)
        if order >= 0:
            b = _other_names(b, y)
    return <int>at


# ---- hanging in ----

cdef inline bint _same(Slice a, Slice b) noexcept nogil:
    return a.size == b.size and (a.size == 0 or memcmp(a.data, b.data, a.size) == 0)


cdef void _set_vary(StoreData* store, Shard* shard, Base* base, Slice names, uint8_t* copy, Object** dead) noexcept nogil:
    """What its answers vary by from now on; `copy`: memory for it. Those that were stored under other names would not be found any more:
    they go. The lock is held."""
    if names.size:
        memcpy(copy, names.data, names.size)
    if base.vary != NULL:
        arena_free(store.arena, base.vary, base.vary_size)
    base.vary = copy
    base.vary_size = <uint32_t>names.size
    while base.objects != NULL:
        shard_kill(store, shard, base.objects, KILL_REPLACED, dead)


cdef void _make_way(StoreData* store, Shard* shard, Base* base, Object* object, int most, Object** dead) noexcept nogil:
    """Take out what the object replaces, and the oldest variants above the bound."""
    cdef Object* other = base.objects
    cdef Object* following
    cdef Object* oldest = NULL
    while other != NULL:
        following = other.next
        if other.variant == object.variant:
            shard_kill(store, shard, other, KILL_REPLACED, dead)
        other = following
    while _count_like(base, object, &oldest) >= most:
        shard_kill(store, shard, oldest, KILL_VARIANTS, dead)


cdef int _count_like(Base* base, const Object* object, Object** oldest) noexcept nogil:
    """Objects of the base that are markers as well, or as little."""
    cdef Object* other = base.objects
    cdef int count = 0
    while other != NULL:
        if (other.flags ^ object.flags) & OBJECT_MARKER == 0:
            oldest[0] = other
            count += 1
        other = other.next
    return count


cdef void _link_tags(StoreData* store, Shard* shard, Object* object) noexcept nogil:
    """Its own tags become part of the shard's, or give way to those that are there."""
    cdef TagLink* link
    cdef Tag* tag
    cdef int i
    for i in range(object.tag_count):
        link = &object.links[i]
        tag = shard_tag(shard, link.tag.hash, <uint8_t*>link.tag + sizeof(Tag), link.tag.size)
        if tag == NULL:
            shard_add_tag(shard, link.tag)
        else:
            arena_free(store.arena, link.tag, <uint32_t>sizeof(Tag) + link.tag.size)
            link.tag = tag
        link.object = object
        link.previous = NULL
        link.next = link.tag.first
        if link.next != NULL:
            link.next.previous = link
        link.tag.first = link


cdef void _hang_in(Shard* shard, Base* base, Object* object) noexcept nogil:
    object.base = base
    object.next = base.objects
    base.objects = object
    base.version += 1
    fetch_add_int(&object.refs, 1)
    if object.flags & OBJECT_MARKER:
        shard.markers += 1
    else:
        base.count += 1
        shard.objects += 1
    if object.chain == NULL or load_acquire_int(&object.chain.state) != CHAIN_FILLING:
        policy_insert(&shard.policy, &object.node, base.hash ^ object.variant)


cdef int store_insert(StoreData* store, Base* base, Object* object, Slice known, Slice names, int most) noexcept nogil:
    cdef Shard* shard = store_shard(store, base.hash)
    cdef Object* dead = NULL
    cdef uint8_t* copy = NULL
    cdef int result = INSERT_STORED, purged
    cdef bint differs = not _same(known, names)
    if differs and names.size:
        copy = <uint8_t*>store_room(store, <uint32_t>names.size, ARENA_FIXED, base.hash)
        if copy == NULL:
            return INSERT_NO_ROOM
    lock_take(&shard.lock)
    purged = purged_since(store.purges, object.epoch, base_key(base), object)
    if not _same(slice_of(base.vary, base.vary_size), known):
        result = INSERT_RETRY
    elif purged == PURGED_HARD:
        result = INSERT_PURGED
    else:
        base.pins += 1        # it must not go with the last of what is replaced
        if differs:
            _set_vary(store, shard, base, names, copy, &dead)
            copy = NULL
        if purged == PURGED_SOFT:
            object.flags |= OBJECT_SOFT
        _make_way(store, shard, base, object, most, &dead)
        _hang_in(shard, base, object)
        _link_tags(store, shard, object)
        base.pins -= 1
    lock_give(&shard.lock)
    if copy != NULL:
        arena_free(store.arena, copy, <uint32_t>names.size)
    store_bury(store, dead)
    if result == INSERT_STORED:
        fetch_add_i64(&store.counts.markers if object.flags & OBJECT_MARKER else &store.counts.inserted, 1)
        if load_i64(&store.counts.inserted) % OVERHEAD_LOOKS == 0:
            arena_limit(store.arena, store.size - store_overhead(store))
        if not object.flags & OBJECT_MARKER:
            store_note(store, base.hash ^ object.variant, object)
    elif result == INSERT_PURGED:
        fetch_add_i64(&store.counts.late, 1)
    return result


cdef bint store_insert_beside(StoreData* store, Object* source, Object* object) noexcept nogil:
    cdef Shard* shard = store_shard(store, source.hash)
    cdef Object* other
    cdef bint stored = False
    lock_take(&shard.lock)
    if source.base != NULL:
        other = source.base.objects
        while other != NULL and (other.variant != source.variant or other.encoding != object.encoding):
            other = other.next
        if other == NULL:
            object.flags |= source.flags & OBJECT_SOFT
            _hang_in(shard, source.base, object)
            _link_tags(store, shard, object)
            stored = True
    lock_give(&shard.lock)
    return stored


cdef void store_filled(StoreData* store, Object* object, bint whole) noexcept nogil:
    cdef Shard* shard = store_shard(store, object.hash)
    cdef Object* dead = NULL
    lock_take(&shard.lock)
    if object.base != NULL and not whole:
        shard_kill(store, shard, object, KILL_FAILED, &dead)
    elif object.base != NULL:
        object.node.size = object_weight(object)
        policy_insert(&shard.policy, &object.node, object.hash ^ object.variant)
    lock_give(&shard.lock)
    store_bury(store, dead)
