# cython: cdivision=True
"""Remembered verdicts (see verdict.pxd). Only the control plane, one thread with the GIL, changes a table; engines look under a shard's
lock, a few instructions long."""
import itertools
import os

from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from proxyd_ext.core.live cimport LIVE_VERDICT, live_born, live_died
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport cas_u64, counter_add, fetch_add_i64, load_int, load_u64, store_int, store_u64
from proxyd_ext.core.slice cimport slice_empty, slice_of

from proxyd_ext.http1.lines import checked_lines

cdef enum:
    SECOND_LOOKS = 32         # entries that are spared in one eviction because they were used

_ids = itertools.count(1)
_RESULTS = ("allowed", "denied", "missing", "asked", "failed")


# ---- for engines ----

cdef inline int* _lock_of(VerdictTable* table, uint64_t bucket) noexcept nogil:
    return &table.locks[bucket % VERDICT_SHARDS]


cdef VerdictData* verdict_find(VerdictTable* table, uint64_t high, uint64_t low, int64_t now_ms) noexcept nogil:
    cdef uint64_t bucket = low & table.mask
    cdef VerdictData* verdict = NULL
    cdef VerdictEntry* entry
    lock_take(_lock_of(table, bucket))
    entry = table.buckets[bucket]
    while entry != NULL and (entry.low != low or entry.high != high):
        entry = entry.chain
    if entry != NULL and now_ms < entry.until_ms:
        verdict = entry.verdict
        verdict_hold(verdict)
        if not load_int(&entry.used):
            store_int(&entry.used, 1)
    lock_give(_lock_of(table, bucket))
    return verdict


cdef void verdict_hold(VerdictData* verdict) noexcept nogil:
    fetch_add_i64(&verdict.refs, 1)


cdef void verdict_drop(VerdictData* verdict) noexcept nogil:
    if fetch_add_i64(&verdict.refs, -1) == 1:
        _consumer_drop(verdict.consumer)
        free(verdict)
        live_died(LIVE_VERDICT)


cdef void _consumer_drop(ConsumerData* consumer) noexcept nogil:
    if consumer != NULL and fetch_add_i64(&consumer.refs, -1) == 1:
        free(consumer)


cdef void verdicts_count(VerdictTable* table, int engine, int result) noexcept nogil:
    counter_add(&table.results[engine][result], 1)


cdef Slice verdict_attribute(const VerdictData* verdict, Slice name) noexcept nogil:
    cdef int i
    for i in range(verdict.attribute_count):
        if verdict.attributes[i].name.size == name.size and memcmp(verdict.attributes[i].name.data, name.data, name.size) == 0:
            return verdict.attributes[i].value
    return slice_empty()


cdef bint consumer_charge(ConsumerData* consumer, uint64_t period, uint64_t most, uint64_t* used) noexcept nogil:
    cdef uint64_t before = load_u64(&consumer.word)
    while True:
        # A period that is over counts from nothing; one that is to come (another engine's clock was read later) counts on.
        used[0] = before & ((<uint64_t>1 << QUOTA_USED_BITS) - 1) if before >> QUOTA_USED_BITS >= period else 0
        if used[0] >= most:
            return False
        used[0] += 1
        if before >> QUOTA_USED_BITS > period:
            period = before >> QUOTA_USED_BITS
        if cas_u64(&consumer.word, &before, period << QUOTA_USED_BITS | used[0]):
            return True


cdef void consumer_give_back(ConsumerData* consumer, uint64_t period) noexcept nogil:
    cdef uint64_t before = load_u64(&consumer.word)
    while before >> QUOTA_USED_BITS == period and before & ((<uint64_t>1 << QUOTA_USED_BITS) - 1) > 0:
        if cas_u64(&consumer.word, &before, before - 1):
            return


# ---- for the control plane ----

cdef int64_t _now_ms() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t>t.tv_sec * 1000 + t.tv_nsec // 1000000


cdef class Consumer:
    """Who has an API key; the registry of the control plane keeps it."""

    def __cinit__(self, str name):
        self.name = name
        self.data = <ConsumerData*>calloc(1, sizeof(ConsumerData))
        if self.data == NULL:
            raise MemoryError
        self.data.refs = 1
        self.data.hash = int.from_bytes(os.urandom(8), "little") | 1

    def __dealloc__(self):
        _consumer_drop(self.data)

    def usage(self) -> tuple[int, int]:
        """(number of the period, requests counted in it)."""
        cdef uint64_t word = load_u64(&self.data.word)
        return word >> QUOTA_USED_BITS, word & ((<uint64_t>1 << QUOTA_USED_BITS) - 1)

    def set_usage(self, period: int, used: int) -> None:
        if not 0 <= period < (<uint64_t>1 << (64 - QUOTA_USED_BITS)) or not 0 <= used < (<uint64_t>1 << QUOTA_USED_BITS):
            raise ValueError(f"no usage: {used} in period {period}")
        store_u64(&self.data.word, <uint64_t>period << QUOTA_USED_BITS | <uint64_t>used)

    @property
    def hash(self) -> int:
        """Its key in the tables of limits."""
        return self.data.hash


cdef class Verdict:
    """What becomes of a credential; see verdict.pyi."""

    def __cinit__(self, *, bint allow, str user="", bytes lines=b"", attributes=None, int plan=-1, Consumer consumer=None, int status=401,
                  bytes head=b"", bytes body=b""):
        cdef list texts = [user.encode(), lines, head, body]
        cdef char* at
        cdef int i
        if len(lines) > VERDICT_LINES_MAX or len(head) > VERDICT_LINES_MAX:
            raise ValueError(f"the fields of a verdict have at most {VERDICT_LINES_MAX} bytes")
        if attributes and len(attributes) > ATTRIBUTES_MAX:
            raise ValueError(f"a verdict has at most {ATTRIBUTES_MAX} attributes")
        if not 300 <= status <= 599:
            raise ValueError(f"{status} refuses nothing")
        for block in (lines, head):
            checked_lines(block)
        if any(c in user for c in "\r\n\0"):
            raise ValueError("the name of a user is one line")
        for name, value in (attributes or {}).items():
            texts += [name.encode(), value.encode()]
        self.data = <VerdictData*>malloc(sizeof(VerdictData) + sum(map(len, texts)))
        if self.data == NULL:
            raise MemoryError
        live_born(LIVE_VERDICT)
        self.data.refs = 1
        self.data.allow = allow
        self.data.status = status
        self.data.plan = plan
        self.data.consumer = NULL
        if consumer is not None:
            self.data.consumer = consumer.data
            fetch_add_i64(&consumer.data.refs, 1)
        at = <char*>(self.data + 1)
        self.data.user = _put(&at, texts[0])
        self.data.lines = _put(&at, texts[1])
        self.data.head = _put(&at, texts[2])
        self.data.body = _put(&at, texts[3])
        self.data.attribute_count = (len(texts) - 4) // 2
        for i in range(self.data.attribute_count):
            self.data.attributes[i].name = _put(&at, texts[4 + 2 * i])
            self.data.attributes[i].value = _put(&at, texts[5 + 2 * i])

    def __dealloc__(self):
        if self.data != NULL:
            verdict_drop(self.data)

    @property
    def allow(self) -> bool:
        return self.data.allow

    @property
    def user(self) -> str:
        return _bytes(self.data.user).decode()

    @property
    def lines(self) -> bytes:
        return _bytes(self.data.lines)

    @property
    def attributes(self) -> dict:
        return {_bytes(self.data.attributes[i].name).decode(): _bytes(self.data.attributes[i].value).decode()
                for i in range(self.data.attribute_count)}

    @property
    def plan(self) -> int:
        return self.data.plan

    @property
    def status(self) -> int:
        return self.data.status

    @property
    def head(self) -> bytes:
        return _bytes(self.data.head)

    @property
    def body(self) -> bytes:
        return _bytes(self.data.body)


cdef Slice _put(char** at, bytes text):
    cdef size_t size = len(text)
    cdef char* start = at[0]
    memcpy(start, <const char*>text, size)
    at[0] = start + size
    return slice_of(<const uint8_t*>start, size)


cdef bytes _bytes(Slice text):
    return (<const char*>text.data)[:text.size]


cdef class Verdicts:
    """The verdicts of one auth policy; see verdict.pyi."""

    def __cinit__(self, str name, *, capacity: int = 100_000):
        cdef uint64_t buckets = 1
        if capacity < 1:
            raise ValueError("a table of verdicts has room for one at least")
        while buckets < <uint64_t>capacity:
            buckets *= 2
        self.name = name
        self.table = <VerdictTable*>calloc(1, sizeof(VerdictTable))
        if self.table == NULL:
            raise MemoryError
        self.table.buckets = <VerdictEntry**>calloc(buckets, sizeof(VerdictEntry*))
        if self.table.buckets == NULL:
            raise MemoryError
        self.table.mask = buckets - 1
        self.table.capacity = capacity
        self.table.id = next(_ids) & 0x3FFFFFFF

    def __dealloc__(self):
        if self.table == NULL:
            return
        while self.table.oldest != NULL:
            _take_out(self.table, self.table.oldest)
        free(self.table.buckets)
        free(self.table)

    @property
    def id(self) -> int:
        return self.table.id

    def put(self, bytes digest, Verdict verdict not None, long long ttl_ms) -> None:
        """Remember; in effect when it returns."""
        cdef uint64_t high, low, bucket
        cdef VerdictEntry* entry
        _digest(digest, &high, &low)
        self.forget(digest)
        if ttl_ms <= 0:
            return
        while self.table.count >= self.table.capacity:
            _evict(self.table)
        entry = <VerdictEntry*>calloc(1, sizeof(VerdictEntry))
        if entry == NULL:
            raise MemoryError
        entry.high, entry.low = high, low
        entry.until_ms = _now_ms() + ttl_ms
        entry.verdict = verdict.data
        verdict_hold(verdict.data)
        _append(self.table, entry)
        self.table.count += 1
        bucket = low & self.table.mask
        lock_take(_lock_of(self.table, bucket))
        entry.chain = self.table.buckets[bucket]
        self.table.buckets[bucket] = entry
        lock_give(_lock_of(self.table, bucket))

    def forget(self, bytes digest) -> bool:
        cdef uint64_t high, low
        cdef VerdictEntry* entry
        _digest(digest, &high, &low)
        entry = self.table.buckets[low & self.table.mask]      # nobody else changes chains
        while entry != NULL and (entry.low != low or entry.high != high):
            entry = entry.chain
        if entry == NULL:
            return False
        _take_out(self.table, entry)
        return True

    def forget_user(self, user: str) -> int:
        """Every verdict that names the user; how many. A walk."""
        cdef VerdictEntry* entry = self.table.oldest
        cdef VerdictEntry* newer
        cdef int found = 0
        wanted = user.encode()
        while entry != NULL:
            newer = entry.newer
            if _bytes(entry.verdict.user) == wanted:
                _take_out(self.table, entry)
                found += 1
            entry = newer
        return found

    def clear(self) -> int:
        cdef int64_t count = self.table.count
        while self.table.oldest != NULL:
            _take_out(self.table, self.table.oldest)
        return count

    def find(self, bytes digest) -> Verdict | None:
        """What engines would be told now."""
        cdef uint64_t high, low
        cdef Verdict verdict
        cdef VerdictData* found
        _digest(digest, &high, &low)
        found = verdict_find(self.table, high, low, _now_ms())
        if found == NULL:
            return None
        verdict = Verdict.__new__(Verdict, allow=False)
        verdict_drop(verdict.data)
        verdict.data = found
        return verdict

    def count(self, result: str) -> None:
        """Count a result on behalf of engine 0; for tests and tools."""
        verdicts_count(self.table, 0, _RESULTS.index(result))

    def stats(self) -> dict:
        cdef int engine, i
        cdef uint64_t[VERDICT_RESULTS] sums
        for i in range(VERDICT_RESULTS):
            sums[i] = 0
            for engine in range(ENGINES_MAX):
                sums[i] += load_u64(&self.table.results[engine][i])
        return {"entries": self.table.count, "capacity": self.table.capacity, "evictions": self.table.evictions,
                **{_RESULTS[i]: sums[i] for i in range(VERDICT_RESULTS)}}


cdef int _digest(bytes digest, uint64_t* high, uint64_t* low) except -1:
    if len(digest) != 16:
        raise ValueError("a digest has 16 bytes")
    memcpy(high, <const char*>digest, 8)
    memcpy(low, <const char*>digest + 8, 8)
    return 0


cdef void _append(VerdictTable* table, VerdictEntry* entry) noexcept:
    entry.older = table.newest
    entry.newer = NULL
    if table.newest != NULL:
        table.newest.newer = entry
    else:
        table.oldest = entry
    table.newest = entry


cdef void _unlink(VerdictTable* table, VerdictEntry* entry) noexcept:
    if entry.older != NULL:
        entry.older.newer = entry.newer
    else:
        table.oldest = entry.newer
    if entry.newer != NULL:
        entry.newer.older = entry.older
    else:
        table.newest = entry.older


cdef void _take_out(VerdictTable* table, VerdictEntry* entry) noexcept:
    cdef uint64_t bucket = entry.low & table.mask
    cdef VerdictEntry** at = &table.buckets[bucket]
    lock_take(_lock_of(table, bucket))
    while at[0] != entry:
        at = &at[0].chain
    at[0] = entry.chain
    lock_give(_lock_of(table, bucket))
    _unlink(table, entry)
    table.count -= 1
    verdict_drop(entry.verdict)
    free(entry)


cdef void _evict(VerdictTable* table) noexcept:
    """The oldest goes, unless it was used since it was last looked at (a second chance, as CLOCK gives)."""
    cdef VerdictEntry* entry = table.oldest
    cdef int64_t now_ms = _now_ms()
    cdef int looks = 0
    while looks < SECOND_LOOKS and load_int(&entry.used) and entry.until_ms > now_ms:
        store_int(&entry.used, 0)
        _unlink(table, entry)
        _append(table, entry)
        entry = table.oldest
        looks += 1
    if entry.until_ms > now_ms:
        table.evictions += 1
    _take_out(table, entry)
