"""Pins and taking out (see pin.pxd)."""
from libc.stdint cimport uint32_t
from proxyd_ext.cache.arena cimport arena_free
from proxyd_ext.cache.chain cimport chain_disown, chain_drop
from proxyd_ext.cache.memory cimport store_shard
from proxyd_ext.cache.object cimport OBJECT_MARKER, Tag, TagLink
from proxyd_ext.cache.policy cimport POLICY_NONE, policy_remove
from proxyd_ext.cache.shard cimport shard_remove_base, shard_remove_tag
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport INVARIANT, fetch_add_i64, store_release_ptr


# ---- objects ----

cdef void _free_links(StoreData* store, Object* object) noexcept nogil:
    if object.links != NULL:
        arena_free(store.arena, object.links, <uint32_t>(object.tag_count * sizeof(TagLink)))
        object.links = NULL


cdef void store_release(StoreData* store, Object* object) noexcept nogil:
    cdef int i
    if fetch_add_int(&object.refs, -1) != 1:
        return
    INVARIANT(object.base == NULL)
    if object.chain != NULL:
        chain_drop(store.arena, object.chain)
    for i in range(object.tag_count):
        # Tags that never hung in a list: the object was not stored.
        if object.links[i].object == NULL:
            arena_free(store.arena, object.links[i].tag, <uint32_t>sizeof(Tag) + object.links[i].tag.size)
    _free_links(store, object)
    arena_free(store.arena, object, object.asked)


cdef void store_bury(StoreData* store, Object* dead) noexcept nogil:
    """Objects that were taken out, chained by `next`; without the lock."""
    cdef Object* following
    while dead != NULL:
        following = dead.next
        if dead.chain != NULL:
            chain_disown(store.arena, dead.chain)
        store_release(store, dead)
        dead = following


cdef void _unlink_tags(StoreData* store, Shard* shard, Object* object) noexcept nogil:
    cdef TagLink* link
    cdef Tag* tag
    cdef int i
    for i in range(object.tag_count):
        link = &object.links[i]
        tag = link.tag
        if link.previous != NULL:
            link.previous.next = link.next
        else:
            tag.first = link.next
        if link.next != NULL:
            link.next.previous = link.previous
        if tag.first == NULL:
            shard_remove_tag(shard, tag)
            arena_free(store.arena, tag, <uint32_t>sizeof(Tag) + tag.size)
    # Where its tags stood is not looked at again, and says so.
    if object.tag_count:
        _free_links(store, object)
        object.tag_count = 0


cdef void shard_kill(StoreData* store, Shard* shard, Object* object, int why, Object** dead) noexcept nogil:
    """Nobody finds it any more. The base's pin goes over to `dead`, for store_bury. The lock is held."""
    cdef Base* base = object.base
    cdef Object** at = &base.objects
    while at[0] != object:
        at = &at[0].next
    at[0] = object.next
    if object.flags & OBJECT_MARKER:
        shard.markers -= 1
    else:
        base.count -= 1
        shard.objects -= 1
    if object.node.queue != POLICY_NONE:
        policy_remove(&shard.policy, &object.node)
    _unlink_tags(store, shard, object)
    store_release_ptr(<void**>&object.base, NULL)
    object.next = dead[0]
    dead[0] = object
    fetch_add_i64(&store.counts.killed[why], 1)
    shard_tidy(store, shard, base)


cdef void store_kill(StoreData* store, Object* object, int why) noexcept nogil:
    cdef Shard* shard = store_shard(store, object.hash)
    cdef Object* dead = NULL
    lock_take(&shard.lock)
    if object.base != NULL:
        shard_kill(store, shard, object, why, &dead)
    lock_give(&shard.lock)
    store_bury(store, dead)


# ---- bases ----

cdef void shard_tidy(StoreData* store, Shard* shard, Base* base) noexcept nogil:
    if base.objects != NULL or base.pins > 0:
        return
    INVARIANT(base.fetches == NULL)
    shard_remove_base(shard, base)
    if base.vary != NULL:
        arena_free(store.arena, base.vary, base.vary_size)
    arena_free(store.arena, base, <uint32_t>sizeof(Base) + base.key_size)


cdef void store_leave(StoreData* store, Base* base) noexcept nogil:
    cdef Shard* shard = store_shard(store, base.hash)
    lock_take(&shard.lock)
    base.pins -= 1
    shard_tidy(store, shard, base)
    lock_give(&shard.lock)
