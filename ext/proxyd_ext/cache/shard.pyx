# cython: cdivision=True
"""Shards (see shard.pxd)."""
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp
from proxyd_ext.cache.ghost cimport ghost_bytes
from proxyd_ext.cache.object cimport base_key
from proxyd_ext.cache.policy cimport policy_destroy, policy_init
from proxyd_ext.core.shim cimport INVARIANT

cdef enum:
    FIRST_BUCKETS = 64
    MOVED_AT_ONCE = 4         # old buckets emptied with each insertion: done long before the new ones are full


# Base and Tag both begin with the next of their bucket.
ctypedef struct Chained:
    Chained* next


cdef inline uint64_t _base_hash(const void* item) noexcept nogil:
    return (<const Base*>item).hash


cdef inline uint64_t _tag_hash(const void* item) noexcept nogil:
    return (<const Tag*>item).hash


ctypedef uint64_t (*HashOf)(const void*) noexcept nogil


cdef bint _index_init(Index* index) noexcept nogil:
    index.buckets = <void**>calloc(FIRST_BUCKETS, sizeof(void*))
    index.mask = FIRST_BUCKETS - 1
    index.old = NULL
    index.old_mask = index.moved = index.count = 0
    index.frozen = 0
    return index.buckets != NULL


cdef void _index_free(Index* index) noexcept nogil:
    free(index.buckets)
    free(index.old)
    index.buckets = index.old = NULL


cdef void** _bucket(const Index* index, uint64_t hash) noexcept nogil:
    if index.old != NULL and (hash & index.old_mask) >= index.moved:
        return &index.old[hash & index.old_mask]
    return &index.buckets[hash & index.mask]


cdef void _move(Index* index, HashOf hash_of) noexcept nogil:
    """Empty some more of the old buckets."""
    cdef Chained* item
    cdef Chained* following
    cdef void** bucket
    cdef int _i
    for _i in range(MOVED_AT_ONCE):
        if index.old == NULL:
            return
        item = <Chained*>index.old[index.moved]
        index.old[index.moved] = NULL
        while item != NULL:
            following = item.next
            bucket = &index.buckets[hash_of(item) & index.mask]
            item.next = <Chained*>bucket[0]
            bucket[0] = item
            item = following
        index.moved += 1
        if index.moved > index.old_mask:
            free(index.old)
            index.old = NULL


cdef void _grow(Index* index) noexcept nogil:
    """Twice the buckets. Without memory for them the chains get longer."""
    cdef void** larger
    if index.old != NULL or index.count <= index.mask or index.frozen:
        return
    larger = <void**>calloc(2 * (index.mask + 1), sizeof(void*))
    if larger == NULL:
        return
    index.old = index.buckets
    index.old_mask = index.mask
    index.moved = 0
    index.buckets = larger
    index.mask = 2 * index.mask + 1


cdef void _add(Index* index, void* item, HashOf hash_of) noexcept nogil:
    cdef void** bucket
    _grow(index)
    _move(index, hash_of)
    bucket = _bucket(index, hash_of(item))
    (<Chained*>item).next = <Chained*>bucket[0]
    bucket[0] = item
    index.count += 1


cdef void _remove(Index* index, void* item, uint64_t hash) noexcept nogil:
    cdef void** at = _bucket(index, hash)
    while at[0] != item:
        INVARIANT(at[0] != NULL)
        at = <void**>&(<Chained*>at[0]).next
    at[0] = (<Chained*>item).next
    index.count -= 1


cdef bint shard_init(Shard* shard, uint64_t target) noexcept nogil:
    shard.lock = 0
    shard.objects = shard.markers = 0
    if not _index_init(&shard.bases):
        return False
    if not _index_init(&shard.tags):
        return False
    return policy_init(&shard.policy, target)


cdef void shard_destroy(Shard* shard) noexcept nogil:
    _index_free(&shard.bases)
    _index_free(&shard.tags)
    policy_destroy(&shard.policy)


cdef uint64_t shard_overhead(const Shard* shard) noexcept nogil:
    cdef uint64_t buckets = shard.bases.mask + 1 + shard.tags.mask + 1
    if shard.bases.old != NULL:
        buckets += shard.bases.old_mask + 1
    if shard.tags.old != NULL:
        buckets += shard.tags.old_mask + 1
    return buckets * sizeof(void*) + ghost_bytes(&shard.policy.ghost)


cdef Base* shard_base(Shard* shard, uint64_t hash, const uint8_t* key, uint32_t size) noexcept nogil:
    cdef Base* base = <Base*>_bucket(&shard.bases, hash)[0]
    while base != NULL:
        if base.hash == hash and base.key_size == size and memcmp(base_key(base).data, key, size) == 0:
            return base
        base = base.next
    return NULL


cdef void shard_add_base(Shard* shard, Base* base) noexcept nogil:
    _add(&shard.bases, base, _base_hash)


cdef void shard_remove_base(Shard* shard, Base* base) noexcept nogil:
    _remove(&shard.bases, base, base.hash)


cdef uint64_t shard_buckets(const Shard* shard) noexcept nogil:
    return shard.bases.mask + 1 + (shard.bases.old_mask + 1 if shard.bases.old != NULL else 0)


cdef Base* shard_bucket(Shard* shard, uint64_t n) noexcept nogil:
    if n <= shard.bases.mask:
        return <Base*>shard.bases.buckets[n]
    n -= shard.bases.mask + 1
    if shard.bases.old == NULL or n > shard.bases.old_mask:
        return NULL
    return <Base*>shard.bases.old[n]


cdef bint shard_freeze(Shard* shard) noexcept nogil:
    cdef int _i
    for _i in range(64):
        if shard.bases.old == NULL:
            shard.bases.frozen += 1
            return True
        _move(&shard.bases, _base_hash)
    return False


cdef void shard_thaw(Shard* shard) noexcept nogil:
    shard.bases.frozen -= 1


cdef Tag* shard_tag(Shard* shard, uint64_t hash, const uint8_t* text, uint32_t size) noexcept nogil:
    cdef Tag* tag = <Tag*>_bucket(&shard.tags, hash)[0]
    while tag != NULL:
        if tag.hash == hash and tag.size == size and memcmp(<uint8_t*>tag + sizeof(Tag), text, size) == 0:
            return tag
        tag = tag.next
    return NULL


cdef void shard_add_tag(Shard* shard, Tag* tag) noexcept nogil:
    _add(&shard.tags, tag, _tag_hash)


cdef void shard_remove_tag(Shard* shard, Tag* tag) noexcept nogil:
    _remove(&shard.tags, tag, tag.hash)
