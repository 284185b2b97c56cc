# cython: cdivision=True
"""Counting refusals and banning for them (see ban.pxd)."""
from libc.stdint cimport INT64_MAX
from libc.stdlib cimport calloc, free
from proxyd_ext.core.shim cimport PXD_LIKELY, cas_u64, counter_add, fetch_add_u64, load_acquire_ptr, load_i64, load_u64, store_release_ptr
from proxyd_ext.core.stats cimport ENGINES_MAX
from proxyd_ext.limit.table cimport (
    GROUP_SLOTS, STATE_SHIFT, VERSION_MASK, Slot, Table, table_bytes, table_destroy, table_enter, table_find, table_forget, table_init,
    table_read, table_walk
)

cdef enum:
    UNTIL_SHIFT = 23          # within the word: version, ban, count
    COUNT_SHIFT = 7
    COUNT_MOST = 0xffff
    TIME_MOST_DAYS = 366


ctypedef struct BanRule:
    int64_t after             # refusals
    int64_t within_ms
    int64_t for_ms


ctypedef struct BanState:
    int64_t left_ms           # until the count or the ban ends
    int64_t count             # refusals
    bint banned


cdef struct BanTable:
    Table keys
    BanRule rule
    uint64_t bans             # since the start
    uint64_t* refused[ENGINES_MAX]     # requests of banned keys, one counter an engine


cdef inline BanState _read(uint64_t word, int64_t now_us) noexcept nogil:
    cdef BanState state
    cdef uint64_t now = <uint64_t>(now_us // 1000) << UNTIL_SHIFT
    state.left_ms = <int64_t>((word >> UNTIL_SHIFT << UNTIL_SHIFT) - now) >> UNTIL_SHIFT
    state.count = word >> COUNT_SHIFT & COUNT_MOST
    state.banned = word >> STATE_SHIFT & 1
    return state


cdef inline uint64_t _state(const BanState* state, int64_t now_us) noexcept nogil:
    cdef uint64_t word = <uint64_t>(now_us // 1000 + state.left_ms) << UNTIL_SHIFT
    return (word | <uint64_t>state.count << COUNT_SHIFT | <uint64_t>state.banned << STATE_SHIFT) >> STATE_SHIFT


cdef int64_t _left(const void* rule, uint64_t word, int64_t now_us) noexcept nogil:
    """Where there is no room, counts are given up before bans: those have half of all numbers for themselves."""
    cdef BanState state = _read(word, now_us)
    if state.left_ms <= 0 or not state.banned:
        return state.left_ms * 1000
    return INT64_MAX // 2 + state.left_ms * 1000


cdef int64_t ban_left(BanTable* table, uint64_t hash, int64_t now_us) noexcept nogil:
    """To the millisecond: never less than one as long as there is a ban."""
    cdef BanState state
    cdef Slot* slot
    cdef uint64_t word
    if PXD_LIKELY(load_i64(&table.keys.held) == 0):
        return 0
    slot = table_find(&table.keys, hash)
    word = table_read(slot, hash) if slot != NULL else 0
    if word == 0:
        return 0
    state = _read(word, now_us)
    return state.left_ms * 1000 if state.banned and state.left_ms > 0 else 0


cdef bint ban_note(BanTable* table, uint64_t hash, int64_t now_us) noexcept nogil:
    cdef const BanRule* rule = &table.rule
    cdef BanState state
    cdef Slot* slot
    cdef uint64_t word, swapped
    cdef bint fresh
    while True:
        slot = table_find(&table.keys, hash)
        word = table_read(slot, hash) if slot != NULL else 0
        state.left_ms, state.count, state.banned = 0, 0, False
        if word != 0:
            state = _read(word, now_us)
        if state.left_ms <= 0:
            state.left_ms, state.count, state.banned = rule.within_ms, 0, False
        if state.banned:
            return False
        state.count += 1
        if state.count >= rule.after:
            state.banned = True
            state.left_ms = rule.for_ms
        if word == 0:
            slot = table_enter(&table.keys, table.keys.rule, hash, _state(&state, now_us), now_us, &word, &fresh)
            if not fresh:
                continue
        else:
            swapped = _state(&state, now_us) << STATE_SHIFT | word & VERSION_MASK
            if not cas_u64(&slot.word, &word, swapped):
                continue
        if state.banned:
            fetch_add_u64(&table.bans, 1)
        return state.banned


cdef void ban_count(BanTable* table, int engine) noexcept nogil:
    cdef uint64_t* local = table.refused[engine]
    if local == NULL:
        local = <uint64_t*>calloc(8, sizeof(uint64_t))        # a cache line of its own
        if local == NULL:
            return
        store_release_ptr(<void**>&table.refused[engine], local)
    counter_add(local, 1)


cdef int64_t _banned(const BanTable* table, int64_t now_us) noexcept nogil:
    cdef uint64_t i
    cdef int64_t found = 0
    cdef BanState state
    if load_i64(&table.keys.held) == 0:
        return 0
    for i in range(table.keys.count * GROUP_SLOTS):
        if load_u64(&table.keys.slots[i].hash) != 0:
            state = _read(load_u64(&table.keys.slots[i].word), now_us)
            found += state.banned and state.left_ms > 0
    return found


cdef uint64_t _key(hash) except 0:
    if not 0 < hash < 1 << 64:
        raise ValueError("a hash has 64 bits, and is not 0")
    return hash


cdef class Bans:
    """Who is banned until when (see ban.pyi)."""

    def __cinit__(self, str name, *, after, within_us, for_us, int64_t capacity=100_000):
        most_us = TIME_MOST_DAYS * 86_400_000_000
        if not 1 <= after <= COUNT_MOST or not 1 <= within_us <= most_us or not 1 <= for_us <= most_us or capacity < 1:
            raise ValueError(f"bans come after 1 to {COUNT_MOST} refusals, within and for up to {TIME_MOST_DAYS} days")
        self.name = name
        self.table = <BanTable*>calloc(1, sizeof(BanTable))
        if self.table == NULL:
            raise MemoryError
        self.table.rule.after = after
        self.table.rule.within_ms = -(-within_us // 1000)
        self.table.rule.for_ms = -(-for_us // 1000)
        if not table_init(&self.table.keys, capacity, &self.table.rule, _left):
            raise MemoryError

    def __dealloc__(self):
        cdef int i
        if self.table == NULL:
            return
        for i in range(ENGINES_MAX):
            free(self.table.refused[i])
        table_destroy(&self.table.keys)
        free(self.table)

    def note(self, hash, int64_t now_us) -> bool:
        return ban_note(self.table, _key(hash), now_us)

    def left_us(self, hash, int64_t now_us) -> int:
        return ban_left(self.table, _key(hash), now_us)

    def reset(self, hash: int | None = None) -> int:
        cdef uint64_t key = 0 if hash is None else _key(hash)
        cdef int64_t removed
        with nogil:
            removed = table_forget(&self.table.keys, key)
        return removed

    def stats(self, int64_t now_us) -> dict[str, int]:
        cdef uint64_t* local
        cdef uint64_t refused = 0
        cdef int64_t banned
        cdef int i
        with nogil:
            table_walk(&self.table.keys, now_us, 0)
            banned = _banned(self.table, now_us)
        for i in range(ENGINES_MAX):
            local = <uint64_t*>load_acquire_ptr(<void**>&self.table.refused[i])
            refused += load_u64(local) if local != NULL else 0
        return {
            "banned": banned, "bans": load_u64(&self.table.bans), "refused": refused, "capacity": self.table.keys.capacity,
            "memory_bytes": table_bytes(&self.table.keys) + sizeof(BanTable), "evictions": load_u64(&self.table.keys.evictions),
        }


def count_refused(Bans bans not None, int engine) -> None:
    """Count a request of a banned key as an engine does, for tests."""
    if not 0 <= engine < ENGINES_MAX:
        raise ValueError(f"there is no engine {engine}")
    ban_count(bans.table, engine)
