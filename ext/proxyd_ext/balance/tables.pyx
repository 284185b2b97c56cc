# cython: cdivision=True
"""Building the tables of tables.pxd."""
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport calloc, free, malloc, qsort
from libc.string cimport memcmp
from proxyd_ext.core.hash cimport crc32_update, hash_fixed
from proxyd_ext.core.slice cimport slice_of

cdef enum:
    KETAMA_POINTS = 160       # per unit of weight, as nginx's `hash … consistent`
    SMOOTH_WORK = 20000000    # members times entries up to which the smooth sequence is built step by step

# Sizes of Maglev tables: primes a hundred times the members, so that shares differ by at most a hundredth (Eisenbud et al. 2016, §5.3).
cdef uint32_t[4] _PRIMES = [65537, 655373, 1000003, 6553733]


cdef void level_free(Level* level) noexcept nogil:
    free(level.active)
    level_strip(level)


cdef void level_strip(Level* level) noexcept nogil:
    free(level.sequence)
    free(level.alias_below)
    free(level.alias_other)
    free(level.ring)
    free(level.ring_top)
    free(level.maglev)
    level.sequence = level.alias_other = level.maglev = NULL
    level.alias_below = level.ring_top = NULL
    level.ring = NULL


# ---- round robin ----

cdef uint64_t _gcd(uint64_t a, uint64_t b) noexcept nogil:
    cdef uint64_t rest
    while b != 0:
        rest = a % b
        a = b
        b = rest
    return a


cdef void _fill_smooth(const int64_t* weight, int64_t* credit, int64_t total, Level* level) noexcept nogil:
    """Each step adds every weight to its member's credit, takes the member with the most credit (the first of equals) and takes the sum of
    weights from it (nginx, commit 52327e0)."""
    cdef int32_t i, best
    cdef uint32_t step
    for step in range(level.sequence_size):
        best = 0
        for i in range(level.count):
            credit[i] += weight[i]
            if credit[i] > credit[best]:
                best = i
        credit[best] -= total
        level.sequence[step] = level.active[best]


cdef inline bint _due_before(const int64_t* weight, const int64_t* taken, int32_t a, int32_t b) noexcept nogil:
    """Whether the next turn of a comes before that of b: half a turn behind (taken + 1/2) / weight."""
    cdef int64_t left = (2 * taken[a] + 1) * weight[b], right = (2 * taken[b] + 1) * weight[a]
    return left < right if left != right else a < b


cdef void _sink(const int64_t* weight, const int64_t* taken, int32_t* heap, int32_t size, int32_t at) noexcept nogil:
    cdef int32_t held = heap[at], child
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and _due_before(weight, taken, heap[child + 1], heap[child]):
            child += 1
        if not _due_before(weight, taken, heap[child], held):
            break
        heap[at] = heap[child]
        at = child
    heap[at] = held


cdef void _fill_by_deadline(const int64_t* weight, int64_t* taken, int32_t* heap, Level* level) noexcept nogil:
    """Earliest deadline first: as even as the smooth sequence, entry by entry not the same, and made in n log n."""
    cdef int32_t i
    cdef uint32_t step
    for i in range(level.count):
        heap[i] = i
    i = level.count // 2
    while i > 0:
        i -= 1
        _sink(weight, taken, heap, level.count, i)
    for step in range(level.sequence_size):
        level.sequence[step] = level.active[heap[0]]
        taken[heap[0]] += 1
        _sink(weight, taken, heap, level.count, 0)


cdef bint build_sequence(const Member* members, Level* level) noexcept nogil:
    """One period: the sum of weights over their greatest common divisor."""
    cdef uint64_t divisor = 0, total = 0, scale = 1
    cdef int64_t* credit
    cdef int64_t* weight
    cdef int32_t* heap
    cdef int64_t sum_weights = 0
    cdef int32_t i
    for i in range(level.count):
        divisor = _gcd(members[level.active[i]].share, divisor)
        total += members[level.active[i]].share
    if total // divisor > SEQUENCE_MAX:
        scale = (total // divisor + SEQUENCE_MAX - 1) // SEQUENCE_MAX
    credit = <int64_t*>calloc(level.count, sizeof(int64_t))
    weight = <int64_t*>malloc(level.count * sizeof(int64_t))
    heap = <int32_t*>malloc(level.count * sizeof(int32_t))
    if credit != NULL and weight != NULL and heap != NULL:
        for i in range(level.count):
            weight[i] = <int64_t>(members[level.active[i]].share // divisor // scale)
            if weight[i] == 0:
                weight[i] = 1
            sum_weights += weight[i]
        level.sequence = <int32_t*>malloc(sum_weights * sizeof(int32_t))
        if level.sequence != NULL:
            level.sequence_size = <uint32_t>sum_weights
            if sum_weights == level.count:
                for i in range(level.count):
                    level.sequence[i] = level.active[i]       # equal weights: one after the other
            elif sum_weights * level.count <= SMOOTH_WORK:
                _fill_smooth(weight, credit, sum_weights, level)
            else:
                _fill_by_deadline(weight, credit, heap, level)
    free(credit)
    free(weight)
    free(heap)
    return level.sequence != NULL


# ---- weighted draws ----

cdef bint build_alias(const Member* members, Level* level) noexcept nogil:
    """Walker's alias method in Vose's form (1991): a weighted draw in one look-up."""
    cdef int32_t count = level.count, smalls = 0, larges = 0, i, low, high
    cdef double* share = <double*>malloc(count * sizeof(double))
    cdef int32_t* small = <int32_t*>malloc(2 * count * sizeof(int32_t))
    cdef int32_t* large = small + count
    level.alias_below = <uint32_t*>malloc(count * sizeof(uint32_t))
    level.alias_other = <int32_t*>malloc(count * sizeof(int32_t))
    if share == NULL or small == NULL or level.alias_below == NULL or level.alias_other == NULL:
        free(share)
        free(small)
        return False
    for i in range(count):
        share[i] = <double>members[level.active[i]].share * count / level.total_share
        level.alias_below[i] = 0xFFFFFFFF
        level.alias_other[i] = i
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
        level.alias_below[low] = <uint32_t>(share[low] * 4294967295.0)
        level.alias_other[low] = high
        share[high] -= 1.0 - share[low]
        if share[high] < 1.0:
            larges -= 1
            small[smalls] = high
            smalls += 1
    free(share)
    free(small)
    return True


# ---- ketama ----

cdef int _by_hash(const void* a, const void* b) noexcept nogil:
    cdef const RingPoint* x = <const RingPoint*>a
    cdef const RingPoint* y = <const RingPoint*>b
    if x.hash != y.hash:
        return -1 if x.hash < y.hash else 1
    return x.member - y.member


cdef uint32_t _ketama_base(Slice label) noexcept nogil:
    """CRC-32 over the host, a zero byte and the port, as nginx begins a server's points; a unix socket's path is a host without a port."""
    cdef size_t host
    cdef uint32_t base
    if label.size > 5 and memcmp(label.data, <const char*>b"unix:", 5) == 0:
        label = slice_of(label.data + 5, label.size - 5)
        host = label.size
    else:
        host = label.size
        while host > 0 and label.data[host - 1] != c':':
            host -= 1
    if host == 0 or host == label.size:
        base = crc32_update(0, label.data, label.size)
        return crc32_update(base, <const uint8_t*>b"\0", 1)
    base = crc32_update(0, label.data, host - 1)
    base = crc32_update(base, <const uint8_t*>b"\0", 1)
    return crc32_update(base, label.data + host, label.size - host)


cdef bint _index_ring(Level* level) noexcept nogil:
    cdef int bits = 1
    cdef uint32_t slots, slot, point = 0
    while bits < RING_TOP_BITS and (<uint32_t>1 << bits) < level.ring_size:
        bits += 1
    slots = <uint32_t>1 << bits
    level.ring_shift = 32 - bits
    level.ring_top = <uint32_t*>malloc((slots + 1) * sizeof(uint32_t))
    if level.ring_top == NULL:
        return False
    for slot in range(slots):
        while point < level.ring_size and level.ring[point].hash >> level.ring_shift < slot:
            point += 1
        level.ring_top[slot] = point
    level.ring_top[slots] = level.ring_size
    return True


cdef bint build_ring(const Member* members, Level* level) noexcept nogil:
    """Ketama as nginx and Cache::Memcached::Fast do it: each point of a member is the CRC-32 of its base and of the point before. Slow
    start plays no part: a mapping that moved every second would be none."""
    cdef const Member* member
    cdef uint32_t n, point, _point, base, previous, at = 0
    cdef uint64_t points = 0
    cdef int32_t i
    for i in range(level.count):
        points += <uint64_t>members[level.active[i]].weight * KETAMA_POINTS
    if points >= 0x7FFFFFFF:
        return False
    level.ring = <RingPoint*>malloc(points * sizeof(RingPoint))
    if level.ring == NULL:
        return False
    for i in range(level.count):
        member = &members[level.active[i]]
        base = _ketama_base(member.server.label)
        previous = 0
        n = member.weight * KETAMA_POINTS
        for _point in range(n):
            previous = crc32_update(base, <const uint8_t*>&previous, 4)
            level.ring[at].hash = previous
            level.ring[at].member = level.active[i]
            at += 1
    qsort(level.ring, at, sizeof(RingPoint), _by_hash)
    n = 0
    for point in range(1, at):
        if level.ring[point].hash != level.ring[n].hash:
            n += 1
            level.ring[n] = level.ring[point]
    level.ring_size = n + 1
    return _index_ring(level)


# ---- Maglev ----

cdef bint build_maglev(const Member* members, Level* level) noexcept nogil:
    """Eisenbud et al. 2016, §3.4: the members take turns, each claiming the next free entry of its own permutation. A member's turns are as
    its weight against the heaviest (as Envoy does it)."""
    cdef int32_t count = level.count, i
    cdef uint32_t size = _PRIMES[3], filled = 0, at, heaviest = 0
    cdef uint64_t* offset
    cdef uint64_t* skip
    cdef uint64_t* due
    cdef uint64_t turn = 0
    cdef Slice label
    for i in range(4):
        if <uint64_t>count * 100 <= _PRIMES[3 - i]:
            size = _PRIMES[3 - i]
    for i in range(count):
        heaviest = max(heaviest, members[level.active[i]].weight)
    offset = <uint64_t*>malloc(3 * count * sizeof(uint64_t))
    level.maglev = <int32_t*>malloc(size * sizeof(int32_t))
    if offset == NULL or level.maglev == NULL:
        free(offset)
        return False
    level.maglev_size = size
    skip = offset + count
    due = skip + count
    for i in range(count):
        label = members[level.active[i]].server.label
        offset[i] = hash_fixed(label.data, label.size, 1) % size
        skip[i] = hash_fixed(label.data, label.size, 2) % (size - 1) + 1
        due[i] = 0
    for at in range(size):
        level.maglev[at] = -1
    while filled < size:
        turn += 1
        for i in range(count):
            if turn * members[level.active[i]].weight < due[i] + heaviest:
                continue
            due[i] += heaviest
            while level.maglev[offset[i]] >= 0:
                offset[i] = (offset[i] + skip[i]) % size
            level.maglev[offset[i]] = level.active[i]
            offset[i] = (offset[i] + skip[i]) % size
            filled += 1
            if filled == size:
                break
    free(offset)
    return True
