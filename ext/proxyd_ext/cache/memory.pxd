"""The store: shards, the arena under them, fetches under way, purges. Shared by all engines; it outlives snapshots.

The shard's lock is held to probe and pin, to hang in and to take out; nothing is copied, sent, allocated or freed under it but a few words.
An object that was pinned stays whole until it is released, whatever becomes of it meanwhile.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from proxyd_ext.cache.arena cimport Arena
from proxyd_ext.cache.curve cimport Curve
from proxyd_ext.cache.key cimport KeyRecipe
from proxyd_ext.cache.object cimport Base, Chain, Fetch, FetchWaiter, KEY_MAX, Object, TAGS_MAX, TAG_MAX, VARY_MAX
from proxyd_ext.cache.purge cimport PurgeLog
from proxyd_ext.cache.shard cimport Shard
from proxyd_ext.core.shim cimport fetch_add_int, load_acquire_ptr
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

    LEAD_YOURS = 0            # fetch it; others may wait for you
    LEAD_ALONE = 1            # fetch it; another does so too, and whoever waits waits for that one
    LEAD_WAIT = 2             # wait for the other's
    LEAD_AGAIN = 3            # something has been stored meanwhile: look again


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

# Memory from the arena; what it takes is evicted, first from the shard of that hash.  NULL: no room (counted).
cdef void* store_room(StoreData* store, uint32_t size, int kind, uint64_t hash) noexcept nogil

cdef Chain* store_chain(StoreData* store, uint64_t hash) noexcept nogil      # an empty one.  NULL: no room
# Another piece for a chain whose source has `left` more bytes to write (at least 1), or does not know how many.  False: no room.
cdef bint store_extend(StoreData* store, Chain* chain, uint64_t left, uint64_t hash) noexcept nogil

# Look for the answer to a key.  An object that is found is pinned.  Else the base is pinned (made where there is none; NULL: no room),
# `version`
# tells what stood in it, and, when its answers vary, `vary` (VARY_MAX bytes) gets the names and *vary_size > 0: then go on with
# store_variant.
# `order`: the encodings (FORM_*) that the client likes better than none, the best first, ended by FORM_NONE.
cdef Object* store_find(StoreData* store, uint64_t hash, const uint8_t* key, uint32_t size, const uint8_t* order, Base** base,
                        uint32_t* version, uint8_t* vary, uint32_t* vary_size) noexcept nogil
# The same for a variant of a base that is pinned (and stays so).
cdef Object* store_variant(StoreData* store, Base* base, uint64_t variant, const uint8_t* order, uint32_t* version) noexcept nogil
cdef void store_leave(StoreData* store, Base* base) noexcept nogil           # unpin a base
cdef inline void store_hold(Object* object) noexcept nogil:
    """For a second holder of an object that is pinned."""
    fetch_add_int(&object.refs, 1)


cdef inline bint object_is_found(Object* object) noexcept nogil:
    """Whether an object that is pinned still stands in the store."""
    return load_acquire_ptr(<void**>&object.base) != NULL


cdef void store_release(StoreData* store, Object* object) noexcept nogil     # unpin an object
cdef uint32_t store_vary(StoreData* store, Base* base, uint8_t* out) noexcept nogil   # the names; their size

# Fetches.
cdef int store_lead(StoreData* store, Base* base, uint64_t variant, uint32_t version, Fetch* fetch, FetchWaiter* waiter,
                    bint may_wait) noexcept nogil
cdef void store_resolve(StoreData* store, Fetch* fetch, int outcome, Object* object, int fault) noexcept nogil   # FETCH_*
cdef void store_hand_over(StoreData* store, Fetch* fetch) noexcept nogil     # the leader goes without an outcome: one who waits leads
# wait no more; what was given meanwhile is given back
cdef void store_quit(StoreData* store, Base* base, FetchWaiter* waiter) noexcept nogil

# Hang in an object (see object_new) as the answer of its base and variant; it keeps the caller's pin beside the base's.  `names`: by what
# the answers of the base vary from now on (canonical); `known`: what they varied by when the caller looked (store_vary), and the variant
# was made.  INSERT_RETRY: that has changed: make the variant anew.  INSERT_PURGED: not stored.  `most`: variants of one key.
cdef int store_insert(StoreData* store, Base* base, Object* object, Slice known, Slice names, int most) noexcept nogil
# A compressed form beside its source, which must still stand.
cdef bint store_insert_beside(StoreData* store, Object* source, Object* object) noexcept nogil
# The body is whole, or broke off: from now on it may be evicted, or is no longer found.
cdef void store_filled(StoreData* store, Object* object, bint whole) noexcept nogil
# pinned by the caller; nothing happens when it has gone already
cdef void store_kill(StoreData* store, Object* object, int why) noexcept nogil
# keys of a zone: for purges and questions by URL
cdef void store_learn(StoreData* store, Slice name, const KeyRecipe* recipe) noexcept nogil


cdef enum:
    INSERT_STORED = 0
    INSERT_RETRY = 1
    INSERT_PURGED = 2
    INSERT_NO_ROOM = 3

cdef uint64_t object_weight(const Object* object) noexcept nogil             # bytes that it takes of the arena, links and body too
# Both lists of names (canonical: lower case, sorted, each once, commas between) as one; its size, or -1: more than cap.
cdef int vary_union(Slice a, Slice b, uint8_t* out, size_t cap) noexcept nogil


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

# The base of an object that is pinned, pinned; NULL: the object is not found any more.
cdef Base* store_base_of(StoreData* store, Object* object, uint32_t* version) noexcept nogil
cdef int store_outcome(StoreData* store, Base* base, FetchWaiter* waiter) noexcept nogil      # FETCH_*; 0: still waiting

# For who holds the shard's lock: take an object out, chained to *dead, which store_bury gets after the lock is given back.
cdef void shard_kill(StoreData* store, Shard* shard, Object* object, int why, Object** dead) noexcept nogil
cdef void shard_tidy(StoreData* store, Shard* shard, Base* base) noexcept nogil      # a base that nobody needs any more goes
cdef void store_bury(StoreData* store, Object* dead) noexcept nogil


ctypedef struct StoreTotals:
    uint64_t objects
    uint64_t markers
    uint64_t bases
    uint64_t tags
    uint64_t overhead         # bytes outside of the arena
cdef void store_totals(StoreData* store, StoreTotals* out) noexcept nogil


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
