# cython: cdivision=True
"""The store (see memory.pxd)."""
from libc.stdint cimport uint16_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcmp, memcpy, memset
from proxyd_ext.cache.alarm cimport Alarm, alarm_promise, alarms_ring
from proxyd_ext.cache.arena cimport (
    ARENA_FIXED, ARENA_OBJECT, ARENA_PAGE, ARENA_SLOT_MAX, arena_candidates, arena_create, arena_destroy, arena_free, arena_limit,
    arena_new, arena_over, arena_slot,
)
from proxyd_ext.cache.chain cimport chain_disown, chain_drop, chain_extend, chain_new
from proxyd_ext.cache.curve cimport curve_create, curve_destroy, curve_note, curve_size, curve_wants
from proxyd_ext.cache.key cimport KeyPart
from proxyd_ext.cache.object cimport (
    CHAIN_FILLING, FORM_NONE, FETCH_LEAD, FETCH_PASS, FETCH_STORED, OBJECT_MARKER, OBJECT_SOFT, Piece, Tag, TagLink, base_key, object_text,
)
from proxyd_ext.cache.policy cimport (
    POLICY_NONE, PolicyNode, policy_hit, policy_insert, policy_remove, policy_target, policy_victim,
)
from proxyd_ext.cache.purge cimport PURGED_HARD, PURGED_SOFT, purge_count, purged_since
from proxyd_ext.cache.shard cimport (
    shard_add_base, shard_add_tag, shard_base, shard_destroy, shard_init, shard_overhead, shard_remove_base, shard_remove_tag, shard_tag,
)

from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport (
    INVARIANT, cas_int, fetch_add_i64, fetch_add_int, load_acquire_int, load_i64, store_release_int, store_release_ptr,
)
from proxyd_ext.core.hash cimport hash_bytes
from proxyd_ext.core.slice cimport slice_of

cdef enum:
    OVERHEAD_LOOKS = 1024     # answers stored between two looks at what stands outside of the arena
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


cdef void _free_zone(Zone* zone) noexcept nogil:
    cdef int i, k
    for i in range(zone.recipe.count):
        for k in range(zone.recipe.parts[i].name_count):
            free(<void*>zone.recipe.parts[i].names[k].data)
        free(zone.recipe.parts[i].names)
    free(zone.recipe.parts)
    free(<void*>zone.name.data)
    free(zone)


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
        _free_zone(zone)
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
    arena_limit(store.arena, size - _measure_overhead(store))
    for i in range(store.shard_count):
        lock_take(&store.shards[i].lock)
        policy_target(&store.shards[i].policy, size // store.shard_count)
        lock_give(&store.shards[i].lock)
    i = 0
    while arena_over(store.arena) > 0 and idle < store.shard_count:
        idle = 0 if _evict(store, &store.shards[i], KILL_CAPACITY) else idle + 1
        i = (i + 1) % store.shard_count


cdef uint64_t _measure_overhead(StoreData* store) noexcept nogil:
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


cdef void shard_kill(StoreData* store, Shard* shard, Object* object, int why, Object** dead) noexcept nogil:
    """Nobody finds it any more. The base's pin goes over to `dead`, for _bury. The lock is held."""
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
        _note(store, hash, object)
    return object


cdef void _note(StoreData* store, uint64_t hash, const Object* object) noexcept nogil:
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
        _note(store, base.hash ^ variant, object)
    return object


cdef void store_leave(StoreData* store, Base* base) noexcept nogil:
    cdef Shard* shard = store_shard(store, base.hash)
    lock_take(&shard.lock)
    base.pins -= 1
    shard_tidy(store, shard, base)
    lock_give(&shard.lock)


cdef uint32_t store_vary(StoreData* store, Base* base, uint8_t* out) noexcept nogil:
    cdef Shard* shard = store_shard(store, base.hash)
    cdef uint32_t size = 0
    lock_take(&shard.lock)
    if base.vary != NULL:
        size = base.vary_size
        memcpy(out, base.vary, size)
    lock_give(&shard.lock)
    return size


# ---- fetches ----

cdef void _register(StoreData* store, Base* base, uint64_t variant, Fetch* fetch) noexcept nogil:
    fetch.base = base
    fetch.variant = variant
    fetch.first = fetch.last = NULL
    fetch.waiting = 0
    fetch.handed = 0
    fetch.previous = NULL
    fetch.next = base.fetches
    if fetch.next != NULL:
        fetch.next.previous = fetch
    base.fetches = fetch


cdef void _unregister(Fetch* fetch) noexcept nogil:
    if fetch.previous != NULL:
        fetch.previous.next = fetch.next
    else:
        fetch.base.fetches = fetch.next
    if fetch.next != NULL:
        fetch.next.previous = fetch.previous
    fetch.base = NULL


cdef void _enqueue(Fetch* fetch, FetchWaiter* waiter) noexcept nogil:
    waiter.fetch = fetch
    waiter.next = NULL
    waiter.previous = fetch.last
    if fetch.last != NULL:
        fetch.last.next = waiter
    else:
        fetch.first = waiter
    fetch.last = waiter
    fetch.waiting += 1


cdef FetchWaiter* _dequeue(Fetch* fetch, FetchWaiter* waiter) noexcept nogil:
    if waiter.previous != NULL:
        waiter.previous.next = waiter.next
    else:
        fetch.first = waiter.next
    if waiter.next != NULL:
        waiter.next.previous = waiter.previous
    else:
        fetch.last = waiter.previous
    fetch.waiting -= 1
    waiter.fetch = NULL
    return waiter


cdef int store_lead(StoreData* store, Base* base, uint64_t variant, uint32_t version, Fetch* fetch, FetchWaiter* waiter,
                    bint may_wait) noexcept nogil:
    cdef Shard* shard = store_shard(store, base.hash)
    cdef Fetch* other
    cdef int result = LEAD_YOURS
    fetch.base = NULL
    lock_take(&shard.lock)
    fetch.epoch = purge_count(store.purges)
    if base.version != version:
        result = LEAD_AGAIN
    else:
        other = base.fetches
        while other != NULL and other.variant != variant:
            other = other.next
        if other == NULL:
            _register(store, base, variant, fetch)
        elif not may_wait:
            result = LEAD_ALONE
        else:
            waiter.outcome = 0
            waiter.object = NULL
            waiter.fault = 0
            _enqueue(other, waiter)
            result = LEAD_WAIT
    lock_give(&shard.lock)
    if result == LEAD_WAIT:
        fetch_add_i64(&store.counts.collapsed, 1)
    return result


cdef void store_resolve(StoreData* store, Fetch* fetch, int outcome, Object* object, int fault) noexcept nogil:
    cdef Shard* shard
    cdef Alarm* todo = NULL
    cdef FetchWaiter* waiter
    if fetch.base == NULL:
        return
    shard = store_shard(store, fetch.base.hash)
    lock_take(&shard.lock)
    if outcome == FETCH_STORED and object.base == NULL:
        outcome = FETCH_PASS      # purged meanwhile: who began to wait after that must not get it
    while fetch.first != NULL:
        waiter = _dequeue(fetch, fetch.first)
        waiter.outcome = outcome
        waiter.fault = fault
        if outcome == FETCH_STORED:
            fetch_add_int(&object.refs, 1)
            waiter.object = object
        alarm_promise(waiter.alarm, &todo)
    _unregister(fetch)
    lock_give(&shard.lock)
    alarms_ring(todo)


cdef void store_hand_over(StoreData* store, Fetch* fetch) noexcept nogil:
    cdef Shard* shard
    cdef Alarm* todo = NULL
    cdef FetchWaiter* waiter
    cdef Fetch* heir
    cdef Base* base = fetch.base
    if base == NULL:
        return
    shard = store_shard(store, base.hash)
    lock_take(&shard.lock)
    _unregister(fetch)
    if fetch.first != NULL:
        waiter = _dequeue(fetch, fetch.first)
        heir = waiter.own
        heir.epoch = purge_count(store.purges)
        _register(store, base, fetch.variant, heir)
        heir.handed = fetch.handed + 1 if fetch.handed < 255 else 255
        while fetch.first != NULL:
            _enqueue(heir, _dequeue(fetch, fetch.first))
        waiter.outcome = FETCH_LEAD
        alarm_promise(waiter.alarm, &todo)
    lock_give(&shard.lock)
    if todo != NULL:
        fetch_add_i64(&store.counts.handed_over, 1)
    alarms_ring(todo)


cdef void store_quit(StoreData* store, Base* base, FetchWaiter* waiter) noexcept nogil:
    cdef Shard* shard = store_shard(store, base.hash)
    cdef bint leads = False
    lock_take(&shard.lock)
    if waiter.fetch != NULL:
        _dequeue(waiter.fetch, waiter)
    leads = waiter.outcome == FETCH_LEAD
    lock_give(&shard.lock)
    if waiter.object != NULL:
        store_release(store, waiter.object)
        waiter.object = NULL
    waiter.outcome = 0
    if leads:
        store_hand_over(store, waiter.own)


cdef int store_outcome(StoreData* store, Base* base, FetchWaiter* waiter) noexcept nogil:
    cdef Shard* shard = store_shard(store, base.hash)
    cdef int outcome
    lock_take(&shard.lock)
    outcome = waiter.outcome
    lock_give(&shard.lock)
    return outcome


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


# ---- storing ----

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
            arena_limit(store.arena, store.size - _measure_overhead(store))
        if not object.flags & OBJECT_MARKER:
            _note(store, base.hash ^ object.variant, object)
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


cdef uint64_t object_weight(const Object* object) noexcept nogil:
    cdef uint64_t weight = arena_slot(object.asked)
    if object.chain != NULL:
        weight += object.chain.footprint
    if object.tag_count:
        weight += arena_slot(<uint32_t>(object.tag_count * sizeof(TagLink)))
    return weight


# ---- zones ----

cdef bint _same_recipe(const KeyRecipe* a, const KeyRecipe* b) noexcept nogil:
    cdef int i, k
    if a.count != b.count:
        return False
    for i in range(a.count):
        if a.parts[i].kind != b.parts[i].kind or a.parts[i].name_count != b.parts[i].name_count:
            return False
        for k in range(a.parts[i].name_count):
            if (a.parts[i].names[k].size != b.parts[i].names[k].size
                    or memcmp(a.parts[i].names[k].data, b.parts[i].names[k].data, a.parts[i].names[k].size) != 0):
                return False
    return True


cdef Slice _copy(Slice s) noexcept nogil:
    cdef uint8_t* copy = <uint8_t*>malloc(s.size + 1)
    if copy == NULL:
        return slice_of(NULL, 0)
    memcpy(copy, s.data, s.size)
    return slice_of(copy, s.size)


cdef void store_learn(StoreData* store, Slice name, const KeyRecipe* recipe) noexcept nogil:
    cdef Zone* zone
    cdef int i, k
    lock_take(&store.zone_lock)
    zone = store.zones
    while zone != NULL:
        if zone.name.size == name.size and memcmp(zone.name.data, name.data, name.size) == 0 and _same_recipe(&zone.recipe, recipe):
            break
        zone = zone.next
    if zone == NULL:
        zone = <Zone*>calloc(1, sizeof(Zone))
        if zone != NULL:
            zone.name = _copy(name)
            zone.recipe = recipe[0]
            zone.recipe.parts = <KeyPart*>calloc(recipe.count if recipe.count else 1, sizeof(KeyPart))
            for i in range(recipe.count):
                zone.recipe.parts[i] = recipe.parts[i]
                zone.recipe.parts[i].names = <Slice*>calloc(recipe.parts[i].name_count + 1, sizeof(Slice))
                for k in range(recipe.parts[i].name_count):
                    zone.recipe.parts[i].names[k] = _copy(recipe.parts[i].names[k])
            zone.next = store.zones
            store_release_ptr(<void**>&store.zones, zone)
    lock_give(&store.zone_lock)


# ---- for people

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
