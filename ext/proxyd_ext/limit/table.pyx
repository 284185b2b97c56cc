# cython: cdivision=True
"""Entering, removing and counting entries (see table.pxd): what happens under a group's lock."""
from libc.stdint cimport INT64_MAX, INT64_MIN
from libc.stdlib cimport calloc, free
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport (
    INVARIANT, cas_u64, fetch_add_i64, fetch_add_u64, load_acquire_ptr, load_int, load_u64, store_int, store_release_ptr, store_release_u64
)

cdef enum:
    FREE_ENOUGH = 3           # places of the first bucket


cdef Slot* table_find_second(const Table* table, uint64_t hash) noexcept nogil:
    cdef Slot* bucket = table_place(table, hash).second
    cdef int i
    for i in range(WAYS):
        if load_acquire_u64(&bucket[i].hash) == hash:
            return &bucket[i]
    return NULL


cdef bint table_init(Table* table, uint64_t capacity, void* rule, Left left) noexcept nogil:
    """Fifteen places for eight keys. Pages that nobody touches cost nothing."""
    cdef void* slots
    table.count = (capacity * 15 // 8 + GROUP_SLOTS - 1) // GROUP_SLOTS
    table.groups = <Group*>calloc(table.count, sizeof(Group))
    if table.groups == NULL:
        return False
    slots = mmap(NULL, table.count * GROUP_SLOTS * sizeof(Slot), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if slots == MAP_FAILED:
        free(table.groups)
        table.groups = NULL
        return False
    table.slots = <Slot*>slots
    table.rule = rule
    table.left = left
    table.capacity = capacity
    table.evictions = 0
    table.held = 0
    return True


cdef void table_destroy(Table* table) noexcept nogil:
    if table.slots != NULL:
        munmap(table.slots, table.count * GROUP_SLOTS * sizeof(Slot))
    free(table.groups)
    table.slots = NULL
    table.groups = NULL


cdef uint64_t table_bytes(const Table* table) noexcept nogil:
    return table.count * (GROUP_SLOTS * sizeof(Slot) + sizeof(Group))


cdef void _used(Table* table, Group* group, int n) noexcept nogil:
    store_int(&group.used, group.used + n)
    fetch_add_i64(&table.held, n)


cdef bint _empty(Table* table, Group* group, Slot* slot, uint64_t word) noexcept nogil:
    """Free a place whose word is still this one; under the lock."""
    cdef uint64_t expected = word
    if not cas_u64(&slot.word, &expected, (word + 1) & VERSION_MASK):
        return False
    store_release_u64(&slot.hash, 0)
    _used(table, group, -1)
    return True


ctypedef struct Look:
    Slot* best                # the place of a bucket that is given up first: a free one, else the one with the least left
    int64_t left              # of it
    int free                  # places that are free, or mean nothing


cdef Look _look(const Table* table, const void* rule, Slot* bucket, int64_t now_us) noexcept nogil:
    cdef Look look
    cdef int64_t left
    cdef int i
    look.best = bucket
    look.left = INT64_MAX
    look.free = 0
    for i in range(WAYS):
        left = INT64_MIN if load_u64(&bucket[i].hash) == 0 else table.left(rule, load_u64(&bucket[i].word), now_us)
        look.free += left <= 0
        if left < look.left:
            look.left = left
            look.best = &bucket[i]
    return look


cdef Slot* _make_room(Table* table, const void* rule, Group* group, const Place* place, int64_t now_us) noexcept nogil:
    """A place without a key, in the bucket that suits; under the lock."""
    cdef Look look, other
    cdef uint64_t word
    while True:
        look = _look(table, rule, place.first, now_us)
        if look.free < FREE_ENOUGH:
            other = _look(table, rule, place.second, now_us)
            if other.free > look.free or (look.free == 0 and other.left < look.left):
                look = other
        if load_u64(&look.best.hash) == 0:
            return look.best
        # It may have been charged since it was looked at: then it is no longer what was chosen, and the charge must not get lost.
        word = load_u64(&look.best.word)
        if table.left(rule, word, now_us) <= look.left and _empty(table, group, look.best, word):
            if look.left > 0:
                fetch_add_u64(&table.evictions, 1)
            return look.best


cdef Slot* table_enter(
    Table* table, const void* rule, uint64_t hash, uint64_t state, int64_t now_us, uint64_t* word, bint* fresh
) noexcept nogil:
    cdef Place place = table_place(table, hash)
    cdef Group* group = &table.groups[place.group]
    cdef Slot* slot
    INVARIANT(hash != 0)              # it would be found in every free place
    lock_take(&group.lock)
    if load_acquire_ptr(&table.rule) != rule:
        lock_give(&group.lock)
        return NULL
    slot = table_find(table, hash)
    fresh[0] = slot == NULL
    if slot == NULL:
        slot = _make_room(table, rule, group, &place, now_us)
        word[0] = state << STATE_SHIFT | load_u64(&slot.word) & VERSION_MASK
        store_release_u64(&slot.hash, hash)
        store_release_u64(&slot.word, word[0])
        _used(table, group, 1)
    else:
        word[0] = load_u64(&slot.word)
    lock_give(&group.lock)
    return slot


cdef bint table_remove(Table* table, Slot* slot, uint64_t hash, uint64_t word) noexcept nogil:
    cdef Group* group = &table.groups[(slot - table.slots) // GROUP_SLOTS]
    cdef bint removed
    lock_take(&group.lock)
    removed = load_u64(&slot.hash) == hash and _empty(table, group, slot, word)
    lock_give(&group.lock)
    return removed


cdef void _empty_whatever(Table* table, Group* group, Slot* slot) noexcept nogil:
    while not _empty(table, group, slot, load_u64(&slot.word)):
        pass


cdef int64_t table_forget(Table* table, uint64_t hash) noexcept nogil:
    cdef int64_t removed = 0
    cdef uint64_t group, i
    cdef Slot* slot
    if hash != 0:
        group = table_place(table, hash).group
        lock_take(&table.groups[group].lock)
        slot = table_find(table, hash)
        if slot != NULL:
            _empty_whatever(table, &table.groups[group], slot)
            removed = 1
        lock_give(&table.groups[group].lock)
        return removed
    for group in range(table.count):
        if load_int(&table.groups[group].used) == 0:
            continue
        lock_take(&table.groups[group].lock)
        for i in range(<uint64_t>GROUP_SLOTS):
            slot = &table.slots[group * GROUP_SLOTS + i]
            if load_u64(&slot.hash) != 0:
                _empty_whatever(table, &table.groups[group], slot)
                removed += 1
        lock_give(&table.groups[group].lock)
    return removed


cdef void table_redefine(Table* table, void* rule) noexcept nogil:
    """Whoever enters a key under the old rule holds the group's lock before we do, so that we find it, or sees the new rule. Hence every
    group is locked here, whether it seems empty or not."""
    cdef uint64_t group, i
    cdef Slot* slot
    store_release_ptr(&table.rule, rule)
    for group in range(table.count):
        lock_take(&table.groups[group].lock)
        if table.groups[group].used:
            for i in range(<uint64_t>GROUP_SLOTS):
                slot = &table.slots[group * GROUP_SLOTS + i]
                if load_u64(&slot.hash) != 0:
                    _empty_whatever(table, &table.groups[group], slot)
        lock_give(&table.groups[group].lock)


cdef TableCount table_walk(Table* table, int64_t now_us, int64_t idle_us) noexcept nogil:
    cdef TableCount count
    cdef uint64_t group, i, word
    cdef int64_t left
    cdef Slot* slot
    count.keys = 0
    count.removed = 0
    for group in range(table.count):
        if load_int(&table.groups[group].used) == 0:
            continue
        lock_take(&table.groups[group].lock)
        for i in range(<uint64_t>GROUP_SLOTS):
            slot = &table.slots[group * GROUP_SLOTS + i]
            if load_u64(&slot.hash) == 0:
                continue
            word = load_u64(&slot.word)
            left = table.left(load_acquire_ptr(&table.rule), word, now_us)
            if left > 0:
                count.keys += 1
            elif left < -idle_us and _empty(table, &table.groups[group], slot, word):
                count.removed += 1
        lock_give(&table.groups[group].lock)
    return count
