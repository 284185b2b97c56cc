# cython: cdivision=True
"""Five miniature caches over one table of sampled keys (see curve.pxd).

A sampled request costs one look into the table whatever the number of simulations, because a record holds the nodes of all of them.
"""
from libc.stdint cimport uintptr_t
from libc.stdlib cimport calloc, free
from proxyd_ext.cache.policy cimport (
    POLICY_NONE, policy_bytes, policy_destroy, policy_hit, policy_init, policy_insert, policy_remove, policy_resized, policy_target,
    policy_victim,
)
from proxyd_ext.core.hash cimport mix64
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport cpu_relax, fetch_add_u64, fetch_or_int, load_int, store_u64

cdef enum:
    RECORDS = 16384
    BUCKETS = 32768
    RATE_ONE_BITS = 32        # the threshold of a rate of 1
    RATE_FIRST_BITS = 29      # a rate of 1/8
    TRIES = 32                # to take the lock: half a microsecond or so, longer than it is held for a sample
    SAMPLES_MAX = 131072      # that count in full: when more were read, old ones weigh half

# Sizes that are simulated, in quarters of the cache's own.
cdef int[CURVE_POINTS] _QUARTERS = [1, 2, 4, 8, 16]


cdef inline double _rate(const Curve* curve) noexcept nogil:
    return <double>curve.threshold / <double>(<uint64_t>1 << RATE_ONE_BITS)


cdef inline uint64_t _size(const Curve* curve, int i) noexcept nogil:
    return curve.size // 4 * <uint64_t>_QUARTERS[i] + curve.size % 4 * <uint64_t>_QUARTERS[i] // 4


cdef inline uint32_t* _find(Curve* curve, uint64_t key) noexcept nogil:
    """Where the number of the key's record stands, or would: 0 there."""
    cdef uint32_t* at = &curve.buckets[key & (BUCKETS - 1)]
    while at[0] != 0 and curve.records[at[0] - 1].key != key:
        at = &curve.records[at[0] - 1].chain
    return at


cdef void _free_record(Curve* curve, CurveRecord* record) noexcept nogil:
    cdef uint32_t* at = _find(curve, record.key)
    cdef uint32_t number = at[0]
    at[0] = record.chain
    record.chain = curve.free
    curve.free = number
    curve.live -= 1


cdef inline void _release(Curve* curve, CurveRecord* record) noexcept nogil:
    """One simulation less holds it."""
    record.held -= 1
    if record.held == 0:
        _free_record(curve, record)


cdef void _fit(Curve* curve, int i, uint64_t more) noexcept nogil:
    """Evict from a simulation until so many more bytes fit."""
    cdef Policy* policy = &curve.simulation[i]
    cdef PolicyNode* node
    while policy_bytes(policy) + more > policy.target:
        node = policy_victim(policy)
        if node == NULL:
            return
        _release(curve, <CurveRecord*>(<uintptr_t>(node - i)))      # the record begins with its nodes


cdef void _retarget(Curve* curve) noexcept nogil:
    cdef int i
    for i in range(CURVE_POINTS):
        policy_target(&curve.simulation[i], <uint64_t>(<double>_size(curve, i) * _rate(curve)))
        _fit(curve, i, 0)


cdef void _lower_rate(Curve* curve) noexcept nogil:
    """A quarter of the keys leaves the sample; counts go by the new rate as if it had always been so (SHARDS §3.2)."""
    cdef uint64_t threshold = max(curve.threshold - curve.threshold // 4, <uint64_t>1)
    cdef double part = <double>threshold / <double>curve.threshold
    cdef CurveRecord* record
    cdef uint32_t k
    cdef int i
    store_u64(&curve.threshold, threshold)
    curve.sampled *= part
    curve.lost *= part
    for i in range(CURVE_POINTS):
        curve.hits[i] *= part
    for k in range(<uint32_t>RECORDS):
        record = &curve.records[k]
        if record.held > 0 and record.drawn >= threshold:
            for i in range(CURVE_POINTS):
                policy_remove(&curve.simulation[i], &record.node[i])
            record.held = 0
            _free_record(curve, record)
    _retarget(curve)


cdef Curve* curve_create(uint64_t size) noexcept nogil:
    cdef Curve* curve = <Curve*>calloc(1, sizeof(Curve))
    cdef bint made
    cdef uint32_t k
    cdef int i
    if curve == NULL:
        return NULL
    curve.size = size
    curve.threshold = <uint64_t>1 << RATE_FIRST_BITS
    curve.records = <CurveRecord*>calloc(RECORDS, sizeof(CurveRecord))
    curve.buckets = <uint32_t*>calloc(BUCKETS, sizeof(uint32_t))
    made = curve.records != NULL and curve.buckets != NULL
    for i in range(CURVE_POINTS):
        made = policy_init(&curve.simulation[i], 0) and made
    if not made:
        curve_destroy(curve)
        return NULL
    for k in range(<uint32_t>RECORDS):
        curve.records[k].chain = k + 2 if k + 1 < RECORDS else 0
    curve.free = 1
    _retarget(curve)
    return curve


cdef void curve_destroy(Curve* curve) noexcept nogil:
    cdef int i
    for i in range(CURVE_POINTS):
        policy_destroy(&curve.simulation[i])
    free(curve.records)
    free(curve.buckets)
    free(curve)


cdef void curve_size(Curve* curve, uint64_t size) noexcept nogil:
    lock_take(&curve.lock)
    if size < curve.size:
        # Fewer objects fit: more keys may be looked at. If they are too many, the rate comes down again.
        store_u64(&curve.threshold, <uint64_t>1 << RATE_FIRST_BITS)
    curve.size = size
    curve.anew = True
    _retarget(curve)
    lock_give(&curve.lock)


cdef CurveRecord* _new_record(Curve* curve, uint64_t key, uint32_t drawn) noexcept nogil:
    """NULL: there was no room, and with the rate that makes some the key is no longer in the sample."""
    cdef CurveRecord* record
    cdef uint32_t* at
    cdef uint32_t number
    while curve.free == 0:
        _lower_rate(curve)
        if drawn >= curve.threshold:
            return NULL
    number = curve.free
    record = &curve.records[number - 1]
    at = _find(curve, key)
    curve.free = record.chain
    curve.live += 1
    record.key = key
    record.drawn = drawn
    record.chain = 0
    record.held = 0
    at[0] = number
    return record


cdef void _note(Curve* curve, uint64_t key, uint32_t drawn, uint64_t size) noexcept nogil:
    cdef uint32_t number = _find(curve, key)[0]
    cdef CurveRecord* record = &curve.records[number - 1] if number != 0 else NULL
    cdef PolicyNode* node
    cdef int i
    curve.sampled += 1
    if record != NULL:
        record.held += 1      # so that it stays while simulations evict
    for i in range(CURVE_POINTS):
        if record != NULL and record.node[i].queue != POLICY_NONE:
            curve.hits[i] += 1
            node = &record.node[i]
            policy_hit(node)
            if node.size != size:
                policy_resized(&curve.simulation[i], node, size)
                _fit(curve, i, 0)
        elif size <= curve.simulation[i].target:
            if record == NULL:
                record = _new_record(curve, key, drawn)
                if record == NULL:
                    return
                record.held = 1
            _fit(curve, i, size)
            record.node[i].size = size
            policy_insert(&curve.simulation[i], &record.node[i], key)
            record.held += 1
    if record != NULL:
        _release(curve, record)


cdef void curve_note(Curve* curve, uint64_t key_hash, uint64_t size) noexcept nogil:
    cdef int tries = 0
    while load_int(&curve.lock) or fetch_or_int(&curve.lock, 1):
        tries += 1
        if tries == TRIES:    # who holds it has lost its CPU, or lowers the rate
            fetch_add_u64(&curve.missed, 1)
            return
        cpu_relax()
    if curve_wants(curve, key_hash):          # still
        # Sampled keys are alike in the bits that decided it: the rest goes by all of them, mixed.
        _note(curve, mix64(key_hash), <uint32_t>(key_hash >> 24), max(size, <uint64_t>1))
    lock_give(&curve.lock)


cdef int curve_read(Curve* curve, uint64_t requests, CurvePoint* out) noexcept nogil:
    cdef double expected = 0, known
    cdef uint64_t missed
    cdef int i
    lock_take(&curve.lock)
    missed = load_u64(&curve.missed)
    fetch_add_u64(&curve.missed, 0 - missed)
    curve.lost += <double>missed
    if curve.anew:
        curve.requests = curve.sampled = curve.lost = 0
        for i in range(CURVE_POINTS):
            curve.hits[i] = 0
        curve.shown = max(requests, curve.shown)
        curve.anew = False
    elif requests > curve.shown:
        curve.requests += <double>(requests - curve.shown)
        curve.shown = requests
    if curve.sampled > 0:
        # Of a sample of which a part was missed, all requests have to miss the same part.
        expected = curve.requests * _rate(curve) * curve.sampled / (curve.sampled + curve.lost)
    for i in range(CURVE_POINTS):
        known = min(max(curve.hits[i] + expected - curve.sampled, 0.0), expected)
        out[i].size = _size(curve, i)
        out[i].requests = <uint64_t>expected
        out[i].hits = <uint64_t>known
    while curve.sampled > SAMPLES_MAX:
        curve.sampled /= 2
        curve.requests /= 2
        curve.lost /= 2
        for i in range(CURVE_POINTS):
            curve.hits[i] /= 2
    lock_give(&curve.lock)
    return CURVE_POINTS
