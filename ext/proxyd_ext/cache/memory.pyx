# cython: cdivision=True
"""The store and its memory (see memory.pxd)."""
from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from proxyd_ext.cache.arena cimport (
    ARENA_FIXED, ARENA_PAGE, arena_candidates, arena_create, arena_destroy, arena_free, arena_limit, arena_new, arena_over, arena_slot,
)
from proxyd_ext.cache.chain cimport chain_extend, chain_new
from proxyd_ext.cache.curve cimport curve_create, curve_destroy, curve_size
from proxyd_ext.cache.object cimport Object, Piece
from proxyd_ext.cache.pin cimport shard_kill, store_bury, store_kill, store_release
from proxyd_ext.cache.policy cimport PolicyNode, policy_target, policy_victim
from proxyd_ext.cache.shard cimport shard_destroy, shard_init, shard_overhead
from proxyd_ext.cache.zone cimport zone_free
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport cas_int, fetch_add_i64, fetch_add_int, load_acquire_int

cdef enum:
    ROUNDS_MAX = 256          # evictions for one piece of memory
    RECLAIMS_MAX = 8          # pages that are emptied for it, when evictions have freed enough, but nowhere a page


# ---- birth and death ----

cdef StoreData* store_create(uint64_t size, int shards) noexcept nogil:
    cdef StoreData* store = <StoreData*>calloc(1, sizeof(StoreData))
    cdef int i
    if store == NULL:
        return NULL
    store.size = size
    store.shift = 64
    while 1 << (64 - store.shift) < shards:
        store.shift -= 1
    store.shard_count = 1 << (64 - store.shift)
    if store.shift == 64:     # a shift by the width of a word is nothing that C knows
        store.shift = 63
        store.shard_count = 2
    store.arena = arena_create(size)
    store.curve = curve_create(size)
    store.purges = <PurgeLog*>calloc(1, sizeof(PurgeLog))
    store.shards = <Shard*>calloc(store.shard_count, sizeof(Shard))
    if store.arena == NULL or store.curve == NULL or store.purges == NULL or store.shards == NULL:
        return NULL
    for i in range(store.shard_count):
        if not shard_init(&store.shards[i], size // store.shard_count):
            return NULL
    return store


cdef void store_destroy(StoreData* store) noexcept nogil:
    cdef Zone* zone
    cdef int i
    for i in range(store.shard_count):
        while _evict(store, &store.shards[i], KILL_CAPACITY):
            pass
        shard_destroy(&store.shards[i])
    while store.zones != NULL:
        zone = store.zones
        store.zones = zone.next
        zone_free(zone)
    curve_destroy(store.curve)
    arena_destroy(store.arena)
    free(store.purges)
    free(store.shards)
    free(store)


cdef void store_resize(StoreData* store, uint64_t size) noexcept nogil:
    cdef int i
    cdef int idle = 0
    if size != store.size:
        curve_size(store.curve, size)
    store.size = size
    arena_limit(store.arena, size - store_overhead(store))
    for i in range(store.shard_count):
        lock_take(&store.shards[i].lock)
        policy_target(&store.shards[i].policy, size // store.shard_count)
        lock_give(&store.shards[i].lock)
    i = 0
    while arena_over(store.arena) > 0 and idle < store.shard_count:
        idle = 0 if _evict(store, &store.shards[i], KILL_CAPACITY) else idle + 1
        i = (i + 1) % store.shard_count


cdef uint64_t store_overhead(StoreData* store) noexcept nogil:
    """What stands outside of the arena counts into the bound: buckets, and the curve's samples are a constant."""
    cdef uint64_t overhead = 0
    cdef int i
    for i in range(store.shard_count):
        lock_take(&store.shards[i].lock)
        overhead += shard_overhead(&store.shards[i])
        lock_give(&store.shards[i].lock)
    store.overhead = overhead
    return overhead if overhead < store.size // 2 else store.size // 2


cdef uint64_t store_largest(const StoreData* store) noexcept nogil:
    return store.size // 8


# ---- memory ----

cdef bint _evict(StoreData* store, Shard* shard, int why) noexcept nogil:
    """The next victim of a shard; False: it has none."""
    cdef PolicyNode* node
    cdef Object* dead = NULL
    lock_take(&shard.lock)
    node = policy_victim(&shard.policy)
    if node != NULL:
        shard_kill(store, shard, <Object*>node, why, &dead)
    lock_give(&shard.lock)
    store_bury(store, dead)
    return node != NULL


cdef bint _pin_slot(void* slot) noexcept nogil:
    """Called by the arena, under whose lock a slot does not become free: pin the object in it, unless it is not complete or dying."""
    cdef Object* object = <Object*>slot
    cdef int refs = load_acquire_int(&object.refs)
    while refs > 0:
        if cas_int(&object.refs, &refs, refs + 1):
            return True
    return False


cdef void _reclaim(StoreData* store) noexcept nogil:
    """Empty the page that costs least."""
    cdef void* slots[1024]
    cdef int count = arena_candidates(store.arena, slots, 1024, _pin_slot)
    cdef int i
    for i in range(count):
        store_kill(store, <Object*>slots[i], KILL_RECLAIMED)
        store_release(store, <Object*>slots[i])


cdef void* store_room(StoreData* store, uint32_t size, int kind, uint64_t hash) noexcept nogil:
    cdef Shard* home = store_shard(store, hash)
    cdef uint64_t freed = 0
    cdef int rounds = 0, reclaims = 0, idle = 0
    cdef void* slot = arena_new(store.arena, size, kind)
    while slot == NULL and rounds < ROUNDS_MAX:
        rounds += 1
        if freed >= ARENA_PAGE and reclaims < RECLAIMS_MAX:
            # Enough has gone, but it is spread over many pages.
            reclaims += 1
            freed = 0
            _reclaim(store)
        else:
            freed += _evict_fairly(store, home, &idle)
            if idle > store.shard_count:
                break
        slot = arena_new(store.arena, size, kind)
    if slot == NULL:
        fetch_add_i64(&store.counts.no_room, 1)
    return slot


cdef Chain* store_chain(StoreData* store, uint64_t hash) noexcept nogil:
    cdef void* slot = store_room(store, sizeof(Chain), ARENA_FIXED, hash)
    return chain_new(slot) if slot != NULL else NULL


cdef bint store_extend(StoreData* store, Chain* chain, uint64_t left, uint64_t hash) noexcept nogil:
    cdef uint32_t cap = ARENA_PAGE
    cdef Piece* piece
    cdef uint8_t* data
    if left <= ARENA_PAGE // 2:
        cap = <uint32_t>left
    elif left < ARENA_PAGE:
        cap = ARENA_PAGE // 2            # and the rest in another: a page that is half empty helps nobody
    piece = <Piece*>store_room(store, sizeof(Piece), ARENA_FIXED, hash)
    if piece == NULL:
        return False
    data = <uint8_t*>store_room(store, cap, ARENA_FIXED, hash)
    if data == NULL:
        arena_free(store.arena, piece, sizeof(Piece))
        return False
    chain_extend(chain, piece, data, cap, arena_slot(cap) + arena_slot(sizeof(Piece)))
    return True


cdef uint64_t _evict_fairly(StoreData* store, Shard* home, int* idle) noexcept nogil:
    """From the home shard while it holds its share, else from the others in turn. The bytes that this freed, about."""
    cdef Shard* shard = home
    cdef uint64_t before, after
    if home.policy.small.bytes + home.policy.main.bytes < store.size // store.shard_count - store.size // (8 * store.shard_count):
        shard = &store.shards[fetch_add_int(<int*>&store.next_victim, 1) & (store.shard_count - 1)]
    before = shard.policy.small.bytes + shard.policy.main.bytes
    if not _evict(store, shard, KILL_CAPACITY):
        idle[0] += 1
        return 0
    idle[0] = 0
    after = shard.policy.small.bytes + shard.policy.main.bytes
    return before - after if before > after else 0


# ---- for people ----

cdef void store_totals(StoreData* store, StoreTotals* out) noexcept nogil:
    cdef Shard* shard
    cdef int i
    memset(out, 0, sizeof(StoreTotals))
    for i in range(store.shard_count):
        shard = &store.shards[i]
        lock_take(&shard.lock)
        out.objects += shard.objects
        out.markers += shard.markers
        out.bases += shard.bases.count
        out.tags += shard.tags.count
        out.overhead += shard_overhead(shard)
        lock_give(&shard.lock)
