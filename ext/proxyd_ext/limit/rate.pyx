# cython: cdivision=True
"""Taking from a limit and giving back (see rate.pxd); what Python sees of it.

A request that finds its key takes no lock: read the rule, find the key, read its word, look at the rule again (leases and their local
share keep different words in one table), compute, swap. Who loses the swap begins anew.
"""
from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from proxyd_ext.core.hash cimport mix64
from proxyd_ext.core.shim cimport PXD_LIKELY, cas_u64, load_acquire_ptr, load_i64, load_u64, store_i64, store_release_ptr
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.core.stats cimport ENGINES_MAX
from proxyd_ext.limit.gcra cimport (
    GCRA_ROOM_BITS, GCRA_UNITS_MAX, GcraRule, gcra_left, gcra_take, gcra_tell, gcra_undo
)
from proxyd_ext.limit.leaky cimport LEAKY_ONE, LeakyRule, leaky_left, leaky_take, leaky_tell, leaky_undo
from proxyd_ext.limit.lease cimport (
    LEASE_MOST, LeaseRule, lease_asks, lease_grant, lease_left, lease_take, lease_tell, lease_undo, lease_unwant
)
from proxyd_ext.limit.sketch cimport Sketch, sketch_copy, sketch_forget, sketch_note
from proxyd_ext.limit.table cimport (
    MARK, STATE_SHIFT, VERSION_MASK, Slot, TableCount, table_bytes, table_destroy, table_enter, table_find, table_forget, table_init,
    table_read, table_redefine, table_remove, table_walk
)
from proxyd_ext.limit.wants cimport wants_destroy, wants_hush, wants_init, wants_pop, wants_push

from collections.abc import Callable
from fractions import Fraction

cdef enum:
    IDLE_US = 60_000_000      # what has been drained for so long is removed when keys are counted, as nginx does
    WANTS = 16_384
    LEAKY_BITS_MAX = 30       # of the excess


ctypedef struct RateRule:
    RateRule* next            # of this table
    int algorithm             # RATE_GCRA, RATE_LEAKY, RATE_LEASED
    GcraRule gcra
    LeakyRule leaky
    LeaseRule lease


# ---- the data plane ----

cdef int _decide_rarely(
    const RateTable* table, const RateRule* rule, uint64_t word, int64_t now_us, uint64_t* state, bint* want
) noexcept nogil:
    if rule.algorithm == RATE_LEAKY:
        return leaky_take(&rule.leaky, word, now_us, state)
    return lease_take(load_i64(&table.lease), word, now_us, state, want)


cdef inline int _decide(
    const RateTable* table, const RateRule* rule, uint64_t word, int64_t now_us, uint64_t* state, bint* want
) noexcept nogil:
    want[0] = False
    if PXD_LIKELY(rule.algorithm == RATE_GCRA):
        return gcra_take(&rule.gcra, word, now_us, state)
    return _decide_rarely(table, rule, word, now_us, state, want)


cdef void _tell(const RateTable* table, const RateRule* rule, uint64_t word, int64_t now_us, bint delayed, RateOutcome* out) noexcept nogil:
    if rule.algorithm == RATE_GCRA:
        gcra_tell(&rule.gcra, word, now_us, delayed, out)
    elif rule.algorithm == RATE_LEAKY:
        leaky_tell(&rule.leaky, word, now_us, delayed, out)
    else:
        lease_tell(&rule.lease, load_i64(&table.lease), word, now_us, out)


cdef int64_t _left(const void* rule, uint64_t word, int64_t now_us) noexcept nogil:
    cdef const RateRule* known = <const RateRule*>rule
    if known.algorithm == RATE_GCRA:
        return gcra_left(&known.gcra, word, now_us)
    if known.algorithm == RATE_LEAKY:
        return leaky_left(&known.leaky, word, now_us)
    return lease_left(word, now_us)


cdef void _tell_want(RateTable* table, Slot* slot, uint64_t hash) noexcept nogil:
    """The word says that a want is under way; where there is no room for it, the next request of the key tries again."""
    cdef uint64_t word
    if wants_push(&table.wants, hash):
        return
    word = table_read(slot, hash)
    while word != 0 and not cas_u64(&slot.word, &word, lease_unwant(word)):
        word = table_read(slot, hash)


cdef int _take_any(RateTable* table, uint64_t hash, int64_t now_us, RateTaken* taken, RateOutcome* out) noexcept nogil:
    cdef RateRule* rule
    cdef Slot* slot
    cdef uint64_t word, state
    cdef bint want, fresh
    cdef int decision
    while True:
        rule = <RateRule*>load_acquire_ptr(&table.keys.rule)
        slot = table_find(&table.keys, hash)
        word = table_read(slot, hash) if slot != NULL else 0
        if load_acquire_ptr(&table.keys.rule) != rule:
            continue
        decision = _decide(table, rule, word, now_us, &state, &want)
        if decision == RATE_REFUSED:
            _tell(table, rule, word, now_us, False, out)
            return decision
        taken.before = word
        if PXD_LIKELY(word != 0):
            taken.after = state << STATE_SHIFT | word & (MARK | VERSION_MASK)
            if not cas_u64(&slot.word, &word, taken.after):
                continue
        else:
            slot = table_enter(&table.keys, rule, hash, state, now_us, &taken.after, &fresh)
            if slot == NULL or not fresh:
                continue
        taken.table = table
        taken.rule = rule
        taken.slot = slot
        taken.hash = hash
        taken.at_us = now_us
        if decision == RATE_DELAYED:
            _tell(table, rule, taken.after, now_us, True, out)
        if want:
            _tell_want(table, slot, hash)
        return decision


cdef int rate_take(RateTable* table, uint64_t hash, int64_t now_us, RateTaken* taken, RateOutcome* out) noexcept nogil:
    """What most requests come to, written out: a token bucket knows the key and lets it pass. Everything else, a swap that was lost
    included, begins anew in _take_any."""
    cdef RateRule* rule = <RateRule*>load_acquire_ptr(&table.keys.rule)
    cdef Slot* slot = table_find(&table.keys, hash)
    cdef uint64_t word, state
    if PXD_LIKELY(slot != NULL and rule.algorithm == RATE_GCRA):
        word = table_read(slot, hash)
        if PXD_LIKELY(word != 0 and load_acquire_ptr(&table.keys.rule) == rule
                      and gcra_take(&rule.gcra, word, now_us, &state) == RATE_PASSED):
            taken.before = word
            taken.after = state << STATE_SHIFT | word & (MARK | VERSION_MASK)
            if PXD_LIKELY(cas_u64(&slot.word, &word, taken.after)):
                taken.table = table
                taken.rule = rule
                taken.slot = slot
                taken.hash = hash
                taken.at_us = now_us
                return RATE_PASSED
    return _take_any(table, hash, now_us, taken, out)


cdef void rate_tell(const RateTaken* taken, RateOutcome* out) noexcept nogil:
    _tell(taken.table, <const RateRule*>taken.rule, taken.after, taken.at_us, False, out)


cdef void rate_give_back(const RateTaken* taken, int64_t now_us) noexcept nogil:
    """A key that has changed hands meanwhile has another version, or another place: what was taken went with it.

    A word that is as it was left may still have come to be so again, by another request and another one that was given back. Hence words
    of which something was given back after others had come are marked: of those it is not believed that nobody came between.
    """
    cdef RateTable* table = taken.table
    cdef Slot* slot = <Slot*>taken.slot
    cdef const RateRule* rule = <const RateRule*>taken.rule
    cdef uint64_t word, state, mark
    while True:
        word = table_read(slot, taken.hash)
        if word == 0 or (word ^ taken.after) & VERSION_MASK or load_acquire_ptr(&table.keys.rule) != rule:
            return
        mark = MARK
        if rule.algorithm == RATE_LEASED:
            state = lease_undo(load_i64(&table.lease), word, now_us)
        elif word == taken.after and not word & MARK:
            if taken.before == 0:
                if table_remove(&table.keys, slot, taken.hash, word):
                    return
                continue
            state = taken.before >> STATE_SHIFT
            mark = 0
        elif rule.algorithm == RATE_GCRA:
            state = gcra_undo(&rule.gcra, word, taken.at_us, now_us)
        else:
            state = leaky_undo(&rule.leaky, word, taken.at_us, now_us)
        if cas_u64(&slot.word, &word, state << STATE_SHIFT | mark | word & VERSION_MASK):
            return


cdef void rate_count_first(RateTable* table, int engine, int decision) noexcept nogil:
    cdef RateLocal* local = <RateLocal*>calloc(1, sizeof(RateLocal))
    if local == NULL:
        return
    local.decisions[decision] = 1
    store_release_ptr(<void**>&table.local[engine], local)


cdef void rate_note(RateTable* table, uint64_t hash, Slice text, bint refused) noexcept nogil:
    sketch_note(&table.sketch, hash, text, refused)


# ---- what Python sees ----

_DECISIONS = ("passed", "delayed", "refused", "delayed_dry_run", "refused_dry_run")
_NGINX_PERIODS_US = (1_000_000, 60_000_000)


cdef int _fill_gcra(GcraRule* rule, requests, per_us, burst, delay) except -1:
    interval = Fraction(per_us, requests).limit_denominator(GCRA_UNITS_MAX)
    room = (burst + 1) * interval.numerator
    if interval == 0 or room >= <int64_t>1 << GCRA_ROOM_BITS:
        raise ValueError(f"{requests} in {per_us} µs with a burst of {burst} cannot be counted: too many, or too slow for that burst")
    rule.units = interval.denominator
    rule.interval = interval.numerator
    rule.room = room
    rule.at_once = room if delay < 0 else min((delay + 1) * interval.numerator, room)
    return 0


cdef int _fill_leaky(LeakyRule* rule, requests, per_us, burst, delay) except -1:
    if per_us in _NGINX_PERIODS_US:
        drained, per_ms = requests * LEAKY_ONE * 1_000_000 // per_us, 1000
    else:
        drained, per_ms = Fraction(requests * LEAKY_ONE * 1000, per_us).as_integer_ratio()
    bits = max((burst * LEAKY_ONE + 1).bit_length(), 10)
    empty_ms = -(-(burst + 2) * LEAKY_ONE * per_ms // drained) + 1
    if bits > LEAKY_BITS_MAX or (burst + 2) * LEAKY_ONE * per_ms >= 1 << 62:
        raise ValueError(f"a leaky bucket with a burst of {burst} cannot be counted: at most {(1 << LEAKY_BITS_MAX) // LEAKY_ONE - 1}")
    if empty_ms >= 1 << (57 - bits):
        raise ValueError(
            f"a leaky bucket with a burst of {burst} must drain within {(1 << (57 - bits)) / 86_400_000:.1f} days: "
            f"{requests} in {per_us} µs take {empty_ms / 86_400_000:.1f}"
        )
    rule.drained, rule.per_ms, rule.empty_ms, rule.bits = drained, per_ms, empty_ms, bits
    rule.burst = burst * LEAKY_ONE
    rule.delay = rule.burst if delay < 0 else min(delay * LEAKY_ONE, rule.burst)
    return 0


cdef tuple _take(RateLimit limit, uint64_t hash, int64_t now_us, RateTaken* taken):
    cdef RateOutcome out
    cdef int decision = rate_take(limit.table, hash, now_us, taken, &out)
    if decision == RATE_PASSED:
        rate_tell(taken, &out)
    told = {"delay_us": out.delay_us, "retry_us": out.retry_us, "reset_us": out.reset_us, "remaining": out.remaining}
    return _DECISIONS[decision], told


cdef RateRule* _rule(RateLimit limit, str algorithm, requests, per_us, burst, delay) except NULL:
    """The rule that says this; there are as many as the shares that it ever had."""
    cdef RateRule new
    cdef RateRule* rule = <RateRule*>limit.table.rules
    memset(&new, 0, sizeof(new))
    if algorithm == "leased":
        new.algorithm = RATE_LEASED
        new.lease.interval_us = max(-(-per_us // requests), 1)
        new.lease.most = burst + 1
    elif algorithm == "leaky_bucket":
        new.algorithm = RATE_LEAKY
        _fill_leaky(&new.leaky, requests, per_us, burst, delay)
    elif algorithm == "token_bucket":
        new.algorithm = RATE_GCRA
        _fill_gcra(&new.gcra, requests, per_us, burst, delay)
    else:
        raise ValueError(f"there is no algorithm {algorithm!r}")
    while rule != NULL:
        new.next = rule.next
        if memcmp(rule, &new, sizeof(new)) == 0:
            return rule
        rule = rule.next
    rule = <RateRule*>malloc(sizeof(RateRule))
    if rule == NULL:
        raise MemoryError
    rule[0] = new
    rule.next = <RateRule*>limit.table.rules
    limit.table.rules = rule
    return rule


cdef int _must_be_leased(RateLimit limit) except -1:
    if limit._leased == NULL:
        raise ValueError(f"{limit.name} is not leased")
    return 0


cdef class RateLimit:
    """One limit and its keys (see rate.pyi)."""

    def __cinit__(
        self, str name, *, requests, per_us, burst, str algorithm="token_bucket", int64_t delay=-1, int64_t capacity=1_000_000,
        bint leased=False,
    ):
        cdef RateRule* rule
        if requests < 1 or per_us < 1 or burst < 0 or capacity < 1:
            raise ValueError("a limit has requests, a time, a burst from 0, and room for keys")
        self.name = name
        self._told = {}
        self._own = (algorithm, delay)
        self.table = <RateTable*>calloc(1, sizeof(RateTable))
        if self.table == NULL:
            raise MemoryError
        self.table.wants.fd = -1
        self.table.lease = 1
        rule = _rule(self, algorithm, requests, per_us, burst, delay)
        if leased:
            self._leased = rule = _rule(self, "leased", requests, per_us, burst, delay)
            if not wants_init(&self.table.wants, WANTS):
                raise MemoryError
        if not table_init(&self.table.keys, capacity, rule, _left):
            raise MemoryError

    def __dealloc__(self):
        cdef int i
        cdef RateRule* rule
        if self.table == NULL:
            return
        while self.table.rules != NULL:
            rule = <RateRule*>self.table.rules
            self.table.rules = rule.next
            free(rule)
        for i in range(ENGINES_MAX):
            free(self.table.local[i])
        wants_destroy(&self.table.wants)
        table_destroy(&self.table.keys)
        free(self.table)

    def try_take(self, hash: int, int64_t now_us) -> tuple[str, dict[str, int]]:
        cdef RateTaken taken
        return _take(self, _key(hash), now_us, &taken)

    def peek(self, hash: int, int64_t now_us) -> dict[str, int] | None:
        cdef const RateRule* rule = <const RateRule*>self.table.keys.rule
        cdef uint64_t key = _key(hash)
        cdef Slot* slot = table_find(&self.table.keys, key)
        cdef uint64_t word = table_read(slot, key) if slot != NULL else 0
        cdef RateOutcome out
        if word == 0 or _left(rule, word, now_us) <= 0:
            return None
        _tell(self.table, rule, word, now_us, False, &out)
        return {"remaining": out.remaining, "reset_us": out.reset_us, "retry_us": out.retry_us}

    def reset(self, hash: int | None = None) -> int:
        cdef uint64_t key = 0 if hash is None else _key(hash)
        cdef int64_t removed
        with nogil:
            removed = table_forget(&self.table.keys, key)
            sketch_forget(&self.table.sketch, key)
        if hash is None:
            self._told.clear()
        else:
            self._told.pop(hash, None)
        return removed

    def top(self, int most=100) -> list[tuple[str, int, int]]:
        cdef Sketch* sketch = <Sketch*>calloc(1, sizeof(Sketch))
        cdef int i
        if sketch == NULL:
            raise MemoryError
        try:
            sketch_copy(&self.table.sketch, sketch)
            found = [(
                sketch.key[i].text[:sketch.key[i].size].decode("utf-8", "replace"),
                sketch.count[i] * RATE_SAMPLE, sketch.key[i].refused * RATE_SAMPLE,
            ) for i in range(sketch.used)]
        finally:
            free(sketch)
        found.sort(key=_by_requests)
        return found[:most]

    def stats(self, now_us: int | None = None) -> dict[str, int]:
        cdef int64_t now = _now_us() if now_us is None else now_us
        cdef TableCount count
        cdef RateLocal* local
        cdef int i, decision
        cdef uint64_t[RATE_DECISIONS] sums
        with nogil:
            count = table_walk(&self.table.keys, now, IDLE_US)
        for decision in range(RATE_DECISIONS):
            sums[decision] = 0
        for i in range(ENGINES_MAX):
            local = <RateLocal*>load_acquire_ptr(<void**>&self.table.local[i])
            if local != NULL:
                for decision in range(RATE_DECISIONS):
                    sums[decision] += load_u64(&local.decisions[decision])
        found = {
            "keys": count.keys, "capacity": self.table.keys.capacity,
            "memory_bytes": table_bytes(&self.table.keys) + sizeof(RateTable), "evictions": load_u64(&self.table.keys.evictions),
        }
        for decision in range(RATE_DECISIONS):
            found[_DECISIONS[decision]] = sums[decision]
        found["lease_wants_lost"] = load_u64(&self.table.wants.lost)
        found["on_local_share"] = int(self._leased != NULL and self.table.keys.rule != self._leased)
        return found

    # ---- leases ----

    def fileno(self) -> int:
        return self.table.wants.fd

    def take_wants(self, now_us: int | None = None) -> list[tuple[int, int, int]]:
        """A want of a key that has had no grant for its last one: that got lost, and whether the store has charged it nobody knows. All
        of it is told again, since refusing too much is the lesser harm."""
        cdef int64_t used, asked
        cdef int64_t now = _now_us() if now_us is None else now_us
        cdef uint64_t hash, word
        cdef Slot* slot
        _must_be_leased(self)
        wants_hush(&self.table.wants)
        wants = {}
        while wants_pop(&self.table.wants, &hash):
            slot = table_find(&self.table.keys, hash)
            word = table_read(slot, hash) if slot != NULL else 0
            if word == 0 or self.table.keys.rule != self._leased:
                continue
            asked = lease_asks(self.table.lease, word, now, &used)
            self._told[hash] = (word & VERSION_MASK, used)
            wants[hash] = (hash, used, asked)
        return list(wants.values())

    def grant(self, hash: int, int64_t tokens, int64_t retry_us, int64_t now_us, int64_t valid_us) -> None:
        cdef uint64_t key = _key(hash)
        cdef uint64_t word, state
        cdef int64_t charged
        cdef bint want
        cdef Slot* slot
        _must_be_leased(self)
        version, told = self._told.pop(hash, (0, 0))
        slot = table_find(&self.table.keys, key)
        if slot == NULL or self.table.keys.rule != self._leased:
            return
        while True:
            word = table_read(slot, key)
            if word == 0:
                return
            charged = told if version == word & VERSION_MASK else 0
            state = lease_grant(word, charged, min(tokens, <int64_t>LEASE_MOST), retry_us, now_us, valid_us, &want)
            if cas_u64(&slot.word, &word, state << STATE_SHIFT | word & (MARK | VERSION_MASK)):
                break
        if want:
            _tell_want(self.table, slot, key)

    def set_lease(self, int64_t tokens) -> None:
        _must_be_leased(self)
        store_i64(&self.table.lease, min(max(tokens, 1), <int64_t>LEASE_MOST))

    def set_local_share(self, bint on, requests=0, per_us=1, burst=0) -> None:
        cdef RateRule* rule
        _must_be_leased(self)
        rule = _rule(self, self._own[0], requests, per_us, burst, self._own[1]) if on else <RateRule*>self._leased
        if rule == self.table.keys.rule:
            return
        with nogil:
            table_redefine(&self.table.keys, rule)
        self._told.clear()


cdef uint64_t _key(hash) except 0:
    if not 0 < hash < 1 << 64:
        raise ValueError("a hash has 64 bits, and is not 0")
    return hash


cdef int64_t _now_us() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t>t.tv_sec * 1_000_000 + t.tv_nsec // 1000


def _by_requests(found: tuple[str, int, int]) -> tuple[int, str]:
    return -found[1], found[0]


def now_us() -> int:
    return _now_us()


# ---- for tests and tools ----

cdef class Taken:
    """What one request took."""

    cdef RateTaken taken
    cdef RateLimit limit

    def give_back(self, int64_t now_us) -> None:
        rate_give_back(&self.taken, now_us)


def take(RateLimit limit not None, uint64_t hash, int64_t now_us) -> tuple[str, dict[str, int], Taken]:
    cdef Taken taken = Taken()
    decision, told = _take(limit, _key(hash), now_us, &taken.taken)
    taken.limit = limit
    return decision, told, taken


def late_swap(RateLimit limit not None, uint64_t hash, int64_t now_us, meanwhile: Callable[[], object]) -> bool:
    """A request of a resident key on a thread that sleeps between reading the word and swapping it. Whether the swap succeeds."""
    cdef const RateRule* rule = <const RateRule*>limit.table.keys.rule
    cdef Slot* slot = table_find(&limit.table.keys, _key(hash))
    cdef uint64_t state, word = table_read(slot, hash) if slot != NULL else 0
    cdef bint want
    if word == 0 or _decide(limit.table, rule, word, now_us, &state, &want) == RATE_REFUSED:
        raise ValueError("the key is not there, or refused")
    meanwhile()
    return cas_u64(&slot.word, &word, state << STATE_SHIFT | word & (MARK | VERSION_MASK))


def hammer(RateLimit limit not None, uint64_t first, uint64_t keys, int64_t count, int64_t now_us, int64_t back_every=0) -> int:
    """So many requests, in turn of `keys` keys, without the GIL; every so many-th that passes is given back. How many passed for good."""
    cdef RateTaken taken
    cdef RateOutcome out
    cdef int64_t i, passed = 0, kept = 0
    with nogil:
        for i in range(count):
            if rate_take(limit.table, mix64(first + <uint64_t>i % keys), now_us, &taken, &out) == RATE_REFUSED:
                continue
            passed += 1
            if back_every and passed % back_every == 0:
                rate_give_back(&taken, now_us)
            else:
                kept += 1
    return kept


def count_decision(RateLimit limit not None, int engine, str decision) -> None:
    """Count a decision as an engine does."""
    if not 0 <= engine < ENGINES_MAX:
        raise ValueError(f"there is no engine {engine}")
    rate_count(limit.table, engine, _DECISIONS.index(decision))


def note(RateLimit limit not None, uint64_t hash, bytes text, bint refused) -> None:
    """Note one sample of a key."""
    cdef const uint8_t* data = text
    rate_note(limit.table, _key(hash), slice_of(data, len(text)), refused)
