"""The store: shards, the arena under them, fetches under way, purges. Shared by all engines; it outlives snapshots.

The shard's lock is held to probe and pin, to hang in and to take out; nothing is copied, sent, allocated or freed under it but a few words.
An object that was pinned stays whole until it is released, whatever becomes of it meanwhile.

Here stand its birth and death, its size, and who goes when memory is needed. What is done with it stands beside: `find` (probe and pin),
`pin` (release, take out), `make` and `insert` (new objects), `fetch` (who fetches, who waits), `zone` (keys of routes), `sweep` (purges).
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from proxyd_ext.cache.arena cimport Arena
from proxyd_ext.cache.curve cimport Curve
from proxyd_ext.cache.key cimport KeyRecipe
from proxyd_ext.cache.object cimport Chain
from proxyd_ext.cache.purge cimport PurgeLog
from proxyd_ext.cache.shard cimport Shard
from proxyd_ext.core.slice cimport Slice


cdef enum:
    SHARDS_MAX = 64

    KILL_CAPACITY = 0         # why an object was taken out
    KILL_REPLACED = 1
    KILL_PURGED = 2
    KILL_RECLAIMED = 3        # its page was needed
    KILL_FAILED = 4           # its body broke off
    KILL_VARIANTS = 5         # too many for its key
    KILL_REASONS = 6


ctypedef struct Zone:
    Zone* next
    Slice name
    KeyRecipe recipe


ctypedef struct StoreCounts:
    int64_t inserted
    int64_t markers
    int64_t[KILL_REASONS] killed
    int64_t too_large
    int64_t no_room
    int64_t late              # answers that a purge had overtaken
    int64_t collapsed         # requests that waited for another's fetch
    int64_t handed_over
    int64_t lookups
    int64_t[5] purges         # by url, prefix, host, tag, all
    int64_t purged            # objects


cdef struct StoreData:
    Arena* arena
    Curve* curve
    uint64_t size             # as configured
    uint64_t overhead         # of it, bytes that stand outside of the arena
    int shift                 # the top bits of a hash name its shard
    int shard_count
    Shard* shards
    PurgeLog* purges
    Zone* zones               # first; only ever added to
    int zone_lock
    uint32_t next_victim      # shard that gives next when the home shard has nothing
    StoreCounts counts


cdef inline Shard* store_shard(StoreData* store, uint64_t hash) noexcept nogil:
    return &store.shards[hash >> store.shift]


cdef StoreData* store_create(uint64_t size, int shards) noexcept nogil       # `shards`: a power of two up to SHARDS_MAX.  NULL: no memory
cdef void store_destroy(StoreData* store) noexcept nogil
cdef void store_resize(StoreData* store, uint64_t size) noexcept nogil
cdef uint64_t store_largest(const StoreData* store) noexcept nogil           # bytes of a body that is stored at most
# Bytes that stand outside of the arena, counted anew: what the arena's bound is less by (at most half of the size).
cdef uint64_t store_overhead(StoreData* store) noexcept nogil

# Memory from the arena; what it takes is evicted, first from the shard of that hash.  NULL: no room (counted).
cdef void* store_room(StoreData* store, uint32_t size, int kind, uint64_t hash) noexcept nogil

cdef Chain* store_chain(StoreData* store, uint64_t hash) noexcept nogil      # an empty one.  NULL: no room
# Another piece for a chain whose source has `left` more bytes to write (at least 1), or does not know how many.  False: no room.
cdef bint store_extend(StoreData* store, Chain* chain, uint64_t left, uint64_t hash) noexcept nogil


ctypedef struct StoreTotals:
    uint64_t objects
    uint64_t markers
    uint64_t bases
    uint64_t tags
    uint64_t overhead         # bytes outside of the arena
cdef void store_totals(StoreData* store, StoreTotals* out) noexcept nogil
