# cython: cdivision=True
"""The balancers (see pick.pxd), and passive ejection.

A draw that falls on a member that cannot be used moves on to the next one in the same table, so a pick never scans more than the table's
members.
`round_robin` keeps its place in one word for the whole upstream: with several engines each pick still takes the next entry of the one
sequence.
"""
from libc.stdint cimport uint32_t
from proxyd_ext.balance.server cimport ServerData, server_usable
from proxyd_ext.balance.upstream cimport (
    BALANCE_HASH, BALANCE_LEAST_CONN, BALANCE_P2C, BALANCE_RANDOM, BALANCE_ROUND_ROBIN, Tier,
)
from proxyd_ext.core.hash cimport random_below, random_next
from proxyd_ext.core.shim cimport INVARIANT, cas_i64, fetch_add_int, fetch_add_u64, load_i64, load_int, store_i64, store_int


cdef inline bint _fits(const Upstream* upstream, int32_t member, const Tried* tried, int64_t now_ms) noexcept nogil:
    cdef int i
    if not server_usable(upstream.members[member].server, now_ms):
        return False
    for i in range(tried.count):
        if tried.member[i] == member:
            return False
    return True


cdef int32_t _round_robin(const Upstream* upstream, const Tier* tier, const Tried* tried, uint64_t at, int64_t now_ms) noexcept nogil:
    cdef uint32_t step
    cdef int32_t member
    for step in range(tier.sequence_size):
        member = tier.sequence[(at + step) % tier.sequence_size]
        if _fits(upstream, member, tried, now_ms):
            return member
    return -1


cdef int32_t _least_conn(const Upstream* upstream, const Tier* tier, const Tried* tried, uint64_t at, int64_t now_ms) noexcept nogil:
    """The fewest exchanges in flight for its weight. The search begins where round robin would go, and the first of equals wins: ties are
    shared out by weight."""
    cdef int32_t start = tier.sequence[<uint32_t>(at % tier.sequence_size)] - tier.first
    cdef int32_t i, member, best = -1
    cdef int64_t load, best_load = 0
    for i in range(tier.count):
        member = tier.first + (start + i) % tier.count
        if not _fits(upstream, member, tried, now_ms):
            continue
        load = load_i64(&upstream.members[member].server.in_flight)
        if best < 0 or load * upstream.members[best].weight < best_load * upstream.members[member].weight:
            best = member
            best_load = load
    return best


cdef inline int32_t _draw(const Upstream* upstream, const Tier* tier, Random* random) noexcept nogil:
    cdef uint64_t bits = random_next(random)
    cdef int32_t member = tier.first + <int32_t>(((bits >> 32) * <uint64_t>tier.count) >> 32)
    if <uint32_t>bits <= upstream.members[member].alias_below:
        return member
    return upstream.members[member].alias_other


cdef int32_t _next_fit(const Upstream* upstream, const Tier* tier, const Tried* tried, int32_t member, int64_t now_ms) noexcept nogil:
    """The first member from `member` on, round the tier, that can be used."""
    cdef int32_t i, candidate
    for i in range(tier.count):
        candidate = tier.first + (member - tier.first + i) % tier.count
        if _fits(upstream, candidate, tried, now_ms):
            return candidate
    return -1


cdef int32_t _random(const Upstream* upstream, const Tier* tier, const Tried* tried, Random* random, int64_t now_ms) noexcept nogil:
    cdef int _i
    cdef int32_t member
    for _i in range(4):
        member = _draw(upstream, tier, random)
        if _fits(upstream, member, tried, now_ms):
            return member
    return _next_fit(upstream, tier, tried, tier.first + <int32_t>random_below(random, tier.count), now_ms)


cdef int32_t _p2c(const Upstream* upstream, const Tier* tier, const Tried* tried, Random* random, int64_t now_ms) noexcept nogil:
    """The better of two different weighted draws (Mitzenmacher 2001): fewer exchanges in flight for its weight."""
    cdef int32_t a = _random(upstream, tier, tried, random, now_ms)
    cdef int32_t b = a
    cdef int _i
    cdef int64_t load_a, load_b
    if a < 0 or tier.count == 1:
        return a
    for _i in range(4):
        b = _draw(upstream, tier, random)
        if b != a and _fits(upstream, b, tried, now_ms):
            break
        b = a
    if b == a:
        b = tier.first + (a - tier.first + 1) % tier.count
        b = _next_fit(upstream, tier, tried, b, now_ms)
    load_a = load_i64(&upstream.members[a].server.in_flight)
    load_b = load_i64(&upstream.members[b].server.in_flight)
    return b if load_b * upstream.members[a].weight < load_a * upstream.members[b].weight else a


cdef int32_t _ring(const Upstream* upstream, const Tier* tier, const Tried* tried, uint32_t key, int64_t now_ms) noexcept nogil:
    cdef uint32_t low = 0, high = tier.ring_size, middle, step
    cdef int32_t member
    while low < high:
        middle = (low + high) >> 1
        if tier.ring[middle].hash < key:
            low = middle + 1
        else:
            high = middle
    for step in range(tier.ring_size):
        member = tier.ring[(low + step) % tier.ring_size].member
        if _fits(upstream, member, tried, now_ms):
            return member
    return -1


cdef int32_t pick(const Upstream* upstream, const Tried* tried, uint64_t key, Random* random, int64_t now_ms) noexcept nogil:
    cdef const Tier* tier
    cdef int32_t member
    cdef uint64_t at = 0
    cdef int k
    if upstream.balance == BALANCE_ROUND_ROBIN or upstream.balance == BALANCE_LEAST_CONN:
        at = fetch_add_u64(&upstream.state.position, 1)   # one step a pick, whichever tier it ends in
    for k in range(2):
        tier = &upstream.tiers[k]
        if tier.count == 0:
            continue
        if upstream.balance == BALANCE_ROUND_ROBIN:
            member = _round_robin(upstream, tier, tried, at, now_ms)
        elif upstream.balance == BALANCE_LEAST_CONN:
            member = _least_conn(upstream, tier, tried, at, now_ms)
        elif upstream.balance == BALANCE_P2C:
            member = _p2c(upstream, tier, tried, random, now_ms)
        elif upstream.balance == BALANCE_RANDOM:
            member = _random(upstream, tier, tried, random, now_ms)
        else:
            INVARIANT(upstream.balance == BALANCE_HASH)
            member = _ring(upstream, tier, tried, <uint32_t>key, now_ms)
        if member >= 0:
            return member
    return -1


cdef bint note_failure(const Upstream* upstream, int32_t member, int64_t now_ms) noexcept nogil:
    """Count a failure; the passive_failures-th in a row ejects, unless max_ejected servers are out already. A server that comes back from
    ejection keeps its count until it succeeds, so its first failure puts it out again."""
    cdef ServerData* server = upstream.members[member].server
    cdef int failures = fetch_add_int(&server.failures, 1) + 1
    cdef int64_t until = load_i64(&server.ejected_until_ms)
    cdef int32_t i, out = 0
    if upstream.passive_failures == 0 or failures < upstream.passive_failures or until > now_ms:
        return False
    # Claimed first and counted after: of two engines that eject at the same time, both see both, so never more than max_ejected stay out.
    if not cas_i64(&server.ejected_until_ms, &until, now_ms + upstream.eject_ms):
        return False
    for i in range(upstream.count):
        if load_i64(&upstream.members[i].server.ejected_until_ms) > now_ms:
            out += 1
    if out > upstream.max_ejected:
        store_i64(&server.ejected_until_ms, 0)
        return False
    fetch_add_u64(&server.ejections, 1)
    return True


cdef void note_success(const Upstream* upstream, int32_t member) noexcept nogil:
    cdef ServerData* server = upstream.members[member].server
    if load_int(&server.failures) != 0:
        store_int(&server.failures, 0)
