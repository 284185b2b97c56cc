"""The table of requests in flight by key (see inflight.pxd)."""
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from posix.stdlib cimport posix_memalign
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport (
    INVARIANT, counter_add, fetch_add_u64, load_acquire_ptr, load_u64, store_release_ptr,
)
from proxyd_ext.core.stats cimport ENGINES_MAX

cdef enum:
    SLOTS = 4
    LINE = 64                 # bytes of a cache line
    CAPACITY_MAX = 1 << 28


cdef struct Node:
    uint64_t hash
    int32_t count
    uint32_t next             # number + 1; 0: none

cdef struct Bucket:
    # One cache line.
    int lock
    uint32_t chain            # first node: number + 1; 0: none
    uint64_t[SLOTS] hash      # 0: free
    int32_t[SLOTS] count
    uint64_t alone

cdef struct InflightCounts:
    # One engine's.
    uint64_t passed
    uint64_t refused
    uint64_t refused_dry
    uint64_t[5] alone

cdef struct InflightTable:
    Bucket* buckets
    uint64_t mask
    int64_t capacity
    InflightCounts* local[ENGINES_MAX]      # NULL: nothing counted yet
    uint64_t full             # keys that found no room
    Node* nodes
    uint32_t node_count
    uint64_t[7] alone
    int stock_lock            # taken under a bucket's lock
    uint32_t stock            # first free node: number + 1


cdef uint32_t _new_node(InflightTable* table) noexcept nogil:
    cdef uint32_t number
    lock_take(&table.stock_lock)
    number = table.stock
    if number:
        table.stock = table.nodes[number - 1].next
    lock_give(&table.stock_lock)
    return number


cdef void _free_node(InflightTable* table, uint32_t number) noexcept nogil:
    lock_take(&table.stock_lock)
    table.nodes[number - 1].next = table.stock
    table.stock = number
    lock_give(&table.stock_lock)


cdef int32_t* _find(InflightTable* table, Bucket* bucket, uint64_t hash) noexcept nogil:
    """The key's count, under the bucket's lock; NULL: it has no entry."""
    cdef uint32_t number = bucket.chain
    cdef int i
    for i in range(SLOTS):
        if bucket.hash[i] == hash:
            return &bucket.count[i]
    while number:
        if table.nodes[number - 1].hash == hash:
            return &table.nodes[number - 1].count
        number = table.nodes[number - 1].next
    return NULL


cdef int32_t* _insert(InflightTable* table, Bucket* bucket, uint64_t hash) noexcept nogil:
    """A new key's count, 0; NULL: no room."""
    cdef uint32_t number
    cdef Node* node
    cdef int i
    for i in range(SLOTS):
        if bucket.hash[i] == 0:
            bucket.hash[i] = hash
            bucket.count[i] = 0
            return &bucket.count[i]
    number = _new_node(table)
    if number == 0:
        return NULL
    node = &table.nodes[number - 1]
    node.hash = hash
    node.count = 0
    node.next = bucket.chain
    bucket.chain = number
    return &node.count


cdef void _drop(InflightTable* table, Bucket* bucket, uint64_t hash) noexcept nogil:
    """Forget a key of which nothing is in flight."""
    cdef uint32_t* link = &bucket.chain
    cdef uint32_t number = bucket.chain
    cdef int i
    for i in range(SLOTS):
        if bucket.hash[i] == hash:
            bucket.hash[i] = 0
            if number:           # slots first: they cost no further cache line
                bucket.hash[i] = table.nodes[number - 1].hash
                bucket.count[i] = table.nodes[number - 1].count
                bucket.chain = table.nodes[number - 1].next
                _free_node(table, number)
            return
    while table.nodes[number - 1].hash != hash:
        link = &table.nodes[number - 1].next
        number = link[0]
    link[0] = table.nodes[number - 1].next
    _free_node(table, number)


cdef int inflight_take(InflightTable* table, uint64_t hash, int64_t most) noexcept nogil:
    cdef Bucket* bucket = &table.buckets[hash & table.mask]
    cdef int32_t* count
    cdef int result = INFLIGHT_TAKEN
    if most <= 0:
        return INFLIGHT_OVER
    lock_take(&bucket.lock)
    count = _find(table, bucket, hash)
    if count == NULL:
        count = _insert(table, bucket, hash)
    if count == NULL:
        result = INFLIGHT_FULL
    elif count[0] >= most:
        result = INFLIGHT_OVER
    else:
        count[0] += 1
    lock_give(&bucket.lock)
    if result == INFLIGHT_FULL:
        fetch_add_u64(&table.full, 1)
    return result


cdef void inflight_give(InflightTable* table, uint64_t hash) noexcept nogil:
    cdef Bucket* bucket = &table.buckets[hash & table.mask]
    cdef int32_t* count
    lock_take(&bucket.lock)
    count = _find(table, bucket, hash)
    INVARIANT(count != NULL)     # given twice: the next key's count would be wrong
    count[0] -= 1
    if count[0] == 0:
        _drop(table, bucket, hash)
    lock_give(&bucket.lock)


cdef void inflight_count(InflightTable* table, int engine, bint refused, bint dry) noexcept nogil:
    cdef InflightCounts* local = table.local[engine]
    if local == NULL:
        # Once for a table and an engine, not for each request; without memory nothing is counted.
        local = <InflightCounts*>calloc(1, sizeof(InflightCounts))
        if local == NULL:
            return
        store_release_ptr(<void**>&table.local[engine], local)
    if not refused:
        counter_add(&local.passed, 1)
    elif dry:
        counter_add(&local.refused_dry, 1)
    else:
        counter_add(&local.refused, 1)


cdef int64_t _peek(InflightTable* table, uint64_t hash) noexcept nogil:
    cdef Bucket* bucket = &table.buckets[hash & table.mask]
    cdef int32_t* count
    cdef int64_t found = 0
    lock_take(&bucket.lock)
    count = _find(table, bucket, hash)
    if count != NULL:
        found = count[0]
    lock_give(&bucket.lock)
    return found


cdef void _sum(InflightTable* table, int64_t* keys, int64_t* in_flight) noexcept nogil:
    """A walk over all buckets, each for itself as it is at its moment."""
    cdef Bucket* bucket
    cdef uint32_t number
    cdef uint64_t i
    cdef int k
    keys[0] = in_flight[0] = 0
    for i in range(table.mask + 1):
        bucket = &table.buckets[i]
        lock_take(&bucket.lock)
        for k in range(SLOTS):
            if bucket.hash[k]:
                keys[0] += 1
                in_flight[0] += bucket.count[k]
        number = bucket.chain
        while number:
            keys[0] += 1
            in_flight[0] += table.nodes[number - 1].count
            number = table.nodes[number - 1].next
        lock_give(&bucket.lock)


cdef class Inflight:
    def __cinit__(self, str name not None, *, capacity: int = 65_536):
        cdef InflightTable* table
        cdef uint64_t buckets = 1
        cdef uint32_t i
        if not 1 <= capacity <= CAPACITY_MAX:
            raise ValueError(f"capacity is 1 to {CAPACITY_MAX}")
        self.name = name
        self.table = table = <InflightTable*>calloc(1, sizeof(InflightTable))
        if table == NULL:
            raise MemoryError
        table.capacity = capacity
        while buckets * 2 < <uint64_t>table.capacity:
            buckets *= 2
        table.mask = buckets - 1
        table.node_count = <uint32_t>(capacity // 16 + 32)
        table.nodes = <Node*>calloc(table.node_count, sizeof(Node))
        if table.nodes == NULL or posix_memalign(<void**>&table.buckets, LINE, buckets * sizeof(Bucket)) != 0:
            raise MemoryError
        memset(table.buckets, 0, buckets * sizeof(Bucket))
        for i in range(table.node_count):
            table.nodes[i].next = i + 2 if i + 1 < table.node_count else 0
        table.stock = 1

    def __dealloc__(self):
        cdef int i
        if self.table == NULL:
            return
        for i in range(ENGINES_MAX):
            free(self.table.local[i])
        free(self.table.nodes)
        free(self.table.buckets)
        free(self.table)

    def take(self, hash: int, most: int) -> bool:
        return inflight_take(self.table, _checked(hash), most) == INFLIGHT_TAKEN

    def give(self, hash: int) -> None:
        if _peek(self.table, _checked(hash)) == 0:
            raise KeyError(hash)
        inflight_give(self.table, hash)

    def count(self, hash: int) -> int:
        return _peek(self.table, _checked(hash))

    def stats(self) -> dict:
        cdef InflightTable* table = self.table
        cdef InflightCounts* local
        cdef uint64_t passed = 0, refused = 0, refused_dry = 0
        cdef int64_t keys, in_flight
        cdef int i
        for i in range(ENGINES_MAX):
            local = <InflightCounts*>load_acquire_ptr(<void**>&table.local[i])
            if local != NULL:
                passed += load_u64(&local.passed)
                refused += load_u64(&local.refused)
                refused_dry += load_u64(&local.refused_dry)
        with nogil:
            _sum(table, &keys, &in_flight)
        return {
            "keys": keys, "in_flight": in_flight, "capacity": table.capacity,
            "memory_bytes": (table.mask + 1) * sizeof(Bucket) + table.node_count * sizeof(Node),
            "table_full": load_u64(&table.full), "passed": passed, "refused": refused, "refused_dry_run": refused_dry,
        }


cdef uint64_t _checked(hash) except 0:
    cdef uint64_t value = hash
    if value == 0:
        raise ValueError("0 is no key")
    return value


def count(Inflight inflight not None, engine: int, refused: bool, dry: bool) -> None:
    """inflight_count. For tests and tools."""
    if not 0 <= engine < ENGINES_MAX:
        raise ValueError("no such engine")
    inflight_count(inflight.table, engine, refused, dry)
