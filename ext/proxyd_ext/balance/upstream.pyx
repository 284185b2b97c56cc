# cython: cdivision=True
"""Building what the balancers draw from: the smooth round-robin sequence, alias tables, and the ketama ring.

All of it is made once, off the engines, so that a pick is a table look-up however many servers there are.
"""
from libc.stdlib cimport calloc, free, malloc, qsort
from proxyd_ext.core.hash cimport crc32_update
from proxyd_ext.core.slice cimport Slice

cdef enum:
    KETAMA_POINTS = 160       # per unit of weight, as nginx's `hash … consistent`


cdef Upstream* upstream_new(int32_t count) noexcept nogil:
    cdef Upstream* upstream = <Upstream*>calloc(1, sizeof(Upstream))
    if upstream == NULL:
        return NULL
    upstream.members = <Member*>calloc(count if count > 0 else 1, sizeof(Member))
    if upstream.members == NULL:
        free(upstream)
        return NULL
    upstream.count = count
    return upstream


cdef void upstream_free(Upstream* upstream) noexcept nogil:
    cdef int i
    if upstream == NULL:
        return
    for i in range(2):
        free(upstream.tiers[i].sequence)
        free(upstream.tiers[i].ring)
    free(upstream.members)
    free(upstream)


cdef uint64_t _gcd(uint64_t a, uint64_t b) noexcept nogil:
    cdef uint64_t rest
    while b != 0:
        rest = a % b
        a = b
        b = rest
    return a


cdef bint _build_sequence(Upstream* upstream, Tier* tier) noexcept nogil:
    """One period of smooth weighted round robin: each step adds every weight to its member's credit, takes the member with the most credit
    (the first of equals) and takes the sum of weights from it (nginx, commit 52327e0). The period is the sum of weights over their gcd."""
    cdef Member* members = upstream.members + tier.first
    cdef uint64_t divisor = 0, total = 0, scale = 1
    cdef int64_t* credit
    cdef int64_t* weight
    cdef int64_t sum_weights = 0
    cdef int32_t i, best
    cdef uint32_t step
    if tier.count == 0:
        return True
    for i in range(tier.count):
        divisor = _gcd(members[i].weight, divisor)
        total += members[i].weight
    if total // divisor > SEQUENCE_MAX:
        scale = (total // divisor + SEQUENCE_MAX - 1) // SEQUENCE_MAX
    credit = <int64_t*>calloc(tier.count, sizeof(int64_t))
    weight = <int64_t*>calloc(tier.count, sizeof(int64_t))
    if credit == NULL or weight == NULL:
        free(credit)
        free(weight)
        return False
    for i in range(tier.count):
        weight[i] = <int64_t>(members[i].weight // divisor // scale)
        if weight[i] == 0:
            weight[i] = 1
        sum_weights += weight[i]
    tier.sequence = <int32_t*>malloc(sum_weights * sizeof(int32_t))
    if tier.sequence != NULL:
        tier.sequence_size = <uint32_t>sum_weights
        for step in range(tier.sequence_size):
            best = 0
            for i in range(tier.count):
                credit[i] += weight[i]
                if credit[i] > credit[best]:
                    best = i
            credit[best] -= sum_weights
            tier.sequence[step] = tier.first + best
    free(credit)
    free(weight)
    return tier.sequence != NULL


cdef bint _build_alias(Upstream* upstream, Tier* tier) noexcept nogil:
    """Walker's alias method in Vose's form (1991): a weighted draw in one look-up."""
    cdef Member* members = upstream.members + tier.first
    cdef double* share
    cdef int32_t* small
    cdef int32_t* large
    cdef int32_t smalls = 0, larges = 0, i, low, high
    cdef double total = 0
    if tier.count == 0:
        return True
    share = <double*>malloc(tier.count * sizeof(double))
    small = <int32_t*>malloc(2 * tier.count * sizeof(int32_t))
    if share == NULL or small == NULL:
        free(share)
        free(small)
        return False
    large = small + tier.count
    for i in range(tier.count):
        total += members[i].weight
    for i in range(tier.count):
        share[i] = members[i].weight * tier.count / total
        members[i].alias_below = 0xFFFFFFFF
        members[i].alias_other = tier.first + i
        if share[i] < 1.0:
            small[smalls] = i
            smalls += 1
        else:
            large[larges] = i
            larges += 1
    while smalls > 0 and larges > 0:
        smalls -= 1
        low = small[smalls]
        high = large[larges - 1]
        members[low].alias_below = <uint32_t>(share[low] * 4294967295.0)
        members[low].alias_other = tier.first + high
        share[high] -= 1.0 - share[low]
        if share[high] < 1.0:
            larges -= 1
            small[smalls] = high
            smalls += 1
    free(share)
    free(small)
    return True


cdef int _by_hash(const void* a, const void* b) noexcept nogil:
    cdef const RingPoint* x = <const RingPoint*>a
    cdef const RingPoint* y = <const RingPoint*>b
    if x.hash != y.hash:
        return -1 if x.hash < y.hash else 1
    return x.member - y.member


cdef bint _build_ring(Upstream* upstream, Tier* tier) noexcept nogil:
    """Ketama as nginx and Cache::Memcached::Fast do it: a member's points are a chain of CRC-32 over its host, a zero byte, its port, and
    the point before."""
    cdef Member* member
    cdef uint32_t i, n, point, _point, base, previous, at = 0
    cdef uint64_t points = 0
    cdef Slice label
    cdef size_t host
    for i in range(<uint32_t>tier.count):
        points += <uint64_t>upstream.members[tier.first + i].weight * KETAMA_POINTS
    if points == 0:
        return True
    tier.ring = <RingPoint*>malloc(points * sizeof(RingPoint))
    if tier.ring == NULL:
        return False
    for i in range(<uint32_t>tier.count):
        member = &upstream.members[tier.first + i]
        label = member.server.label
        host = label.size
        if not (label.size > 5 and label.data[0] == c'u' and label.data[4] == c':'):
            while host > 0 and label.data[host - 1] != c':':
                host -= 1
        if host == 0 or host == label.size:
            host = label.size
            base = crc32_update(0, label.data, host)
            base = crc32_update(base, <const unsigned char*>b"\0", 1)
        else:
            base = crc32_update(0, label.data, host - 1)
            base = crc32_update(base, <const unsigned char*>b"\0", 1)
            base = crc32_update(base, label.data + host, label.size - host)
        previous = 0
        n = member.weight * KETAMA_POINTS
        for _point in range(n):
            previous = crc32_update(base, <const unsigned char*>&previous, 4)
            tier.ring[at].hash = previous
            tier.ring[at].member = tier.first + <int32_t>i
            at += 1
    qsort(tier.ring, at, sizeof(RingPoint), _by_hash)
    n = 0
    for point in range(1, at):
        if tier.ring[point].hash != tier.ring[n].hash:
            n += 1
            tier.ring[n] = tier.ring[point]
    tier.ring_size = n + 1
    return True


cdef bint upstream_seal(Upstream* upstream) noexcept nogil:
    cdef int32_t i, primaries = 0
    cdef int k
    for i in range(upstream.count):
        if not upstream.members[i].backup:
            primaries += 1
    upstream.tiers[0].first = 0
    upstream.tiers[0].count = primaries
    upstream.tiers[1].first = primaries
    upstream.tiers[1].count = upstream.count - primaries
    for k in range(2):
        if not _build_sequence(upstream, &upstream.tiers[k]) or not _build_alias(upstream, &upstream.tiers[k]):
            return False
        if upstream.balance == BALANCE_HASH and not _build_ring(upstream, &upstream.tiers[k]):
            return False
    return True
