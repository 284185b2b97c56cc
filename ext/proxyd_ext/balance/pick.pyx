# cython: cdivision=True
"""The balancers (see pick.pxd).

Each draws from tables that hold usable servers only, so the first draw fits but for what changed since the tables were built. A draw that
does not fit (out since then, tried, at max_requests) is repeated a few times and then becomes a walk over the level, so no pick is lost
while some server has room. `round_robin` keeps its place in one word for the whole upstream: with several engines each pick still takes
the next entry of the one sequence. `least_conn` and `first` take the best from a heap under the upstream's lock; the others hold none.
"""
from libc.stdint cimport uint32_t
from proxyd_ext.balance.ewma cimport EWMA_PENALTY_US, ewma_estimate
from proxyd_ext.balance.heap cimport heap_best, heap_count, was_tried
from proxyd_ext.balance.pool cimport (
    BALANCE_EWMA, BALANCE_FIRST, BALANCE_HASH, BALANCE_LEAST_CONN, BALANCE_MAGLEV, BALANCE_P2C, BALANCE_RANDOM, BALANCE_ROUND_ROBIN,
)
from proxyd_ext.balance.queue cimport queue_next
from proxyd_ext.balance.server cimport DOWN_OPERATOR, server_usable
from proxyd_ext.balance.tables cimport Level, Member, ring_find
from proxyd_ext.core.hash cimport mix64, random_below, random_next
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport INVARIANT, fetch_add_i64, fetch_add_u64, load_i64, load_int

cdef enum:
    DRAWS = 8                 # before a walk
    RING_STEPS = 64           # and one for each member: points that are looked at before a walk


ctypedef struct Search:
    const PoolData* pool
    const Level* level
    const PickInput* input
    bint full                 # a server was passed over because it has max_requests
    int64_t allowed           # bounded load: exchanges that a share of 1 may have, times 2^20; 0: no bound


cdef bint _fits(Search* search, int32_t number) noexcept nogil:
    cdef const Member* member = &search.pool.members[number]
    cdef const ServerData* server = member.server
    if search.pool.ignore_health:
        if load_int(&server.down) & DOWN_OPERATOR:
            return False
    elif not server_usable(server, search.input.now_ms):
        return False
    if was_tried(search.input.tried, server):
        return False
    if member.max_requests > 0 and load_i64(&server.in_flight) >= member.max_requests:
        search.full = True
        return False
    return True


cdef int32_t _any_but(Search* search, uint32_t start, int32_t but) noexcept nogil:
    """The first that fits and is not `but`, round the level."""
    cdef int32_t i, number
    for i in range(search.level.count):
        number = search.level.active[(start + i) % search.level.count]
        if number != but and _fits(search, number):
            return number
    return -1


cdef inline int32_t _any(Search* search, uint32_t start) noexcept nogil:
    return _any_but(search, start, -1)


# ---- in turn ----

cdef int32_t _round_robin(Search* search, uint64_t at) noexcept nogil:
    cdef const Level* level = search.level
    cdef uint32_t step
    cdef int32_t number
    for step in range(min(<uint32_t>DRAWS, level.sequence_size)):
        number = level.sequence[(at + step) % level.sequence_size]
        if _fits(search, number):
            return number
    return _any(search, <uint32_t>(at % <uint64_t>level.count))


# ---- by chance ----

cdef inline int32_t _draw(const Level* level, Random* random) noexcept nogil:
    """A place of the level, by weight."""
    cdef uint64_t bits = random_next(random)
    cdef int32_t place = <int32_t>(((bits >> 32) * <uint64_t>level.count) >> 32)
    return place if <uint32_t>bits <= level.alias_below[place] else level.alias_other[place]


cdef int32_t _random(Search* search, int32_t but) noexcept nogil:
    """A weighted draw that fits and is not `but`."""
    cdef int _i
    cdef int32_t number
    for _i in range(DRAWS):
        number = search.level.active[_draw(search.level, search.input.random)]
        if number != but and _fits(search, number):
            return number
    return -1


cdef inline bint _less_loaded(Search* search, int32_t a, int32_t b) noexcept nogil:
    """p2c: fewer exchanges in flight for its weight. ewma: a smaller cost, which is latency times what stands before it."""
    cdef const Member* x = &search.pool.members[a]
    cdef const Member* y = &search.pool.members[b]
    cdef int64_t load_x = load_i64(&x.server.in_flight), load_y = load_i64(&y.server.in_flight)
    if search.pool.balance == BALANCE_P2C:
        return load_x * y.share < load_y * x.share
    return _cost(x.server, load_x, search.input.now_ms) * y.share < _cost(y.server, load_y, search.input.now_ms) * x.share


cdef inline double _cost(const ServerData* server, int64_t load, int64_t now_ms) noexcept nogil:
    cdef int64_t estimate = ewma_estimate(&server.ewma, now_ms)
    if estimate == 0 and load > 0:
        estimate = EWMA_PENALTY_US
    return <double>estimate * (load + 1)


cdef int32_t _two_choices(Search* search) noexcept nogil:
    """The better of two different weighted draws (Mitzenmacher 2001)."""
    cdef int32_t a = _random(search, -1), b
    if a < 0:
        return _any(search, random_below(search.input.random, <uint32_t>search.level.count))
    b = _random(search, a)
    if b < 0:                 # of two servers one draw in two is the same one again
        b = _any_but(search, random_below(search.input.random, <uint32_t>search.level.count), a)
    return b if b >= 0 and _less_loaded(search, b, a) else a


# ---- by key ----

cdef inline bint _within_bound(Search* search, int32_t number) noexcept nogil:
    """Mirrokni, Thorup, Zadimoghaddam 2018: no member above its share of `bounded_load` times the mean, this exchange counted."""
    cdef int64_t most
    if search.allowed == 0:
        return True
    most = (search.allowed * search.pool.members[number].share + (1 << 20) - 1) >> 20
    return load_i64(&search.pool.members[number].server.in_flight) < (most if most > 0 else 1)


cdef int32_t _walk(Search* search, uint32_t start, int32_t least) noexcept nogil:
    """The last resort of the hashing balancers: the first within the bound, round the level; nobody is, then one that fits."""
    cdef int32_t i, number
    for i in range(search.level.count):
        number = search.level.active[(start + i) % search.level.count]
        if _fits(search, number):
            if _within_bound(search, number):
                return number
            least = number
    return least


cdef int32_t _ring(Search* search) noexcept nogil:
    cdef const Level* level = search.level
    cdef uint32_t at = ring_find(level, <uint32_t>search.input.key), _step
    cdef int32_t number, least = -1
    for _step in range(min(level.ring_size, <uint32_t>(RING_STEPS + level.count))):
        number = level.ring[at].member
        if _fits(search, number):
            if _within_bound(search, number):
                return number
            least = number
        at = at + 1 if at + 1 < level.ring_size else 0
    return _walk(search, <uint32_t>(mix64(search.input.key) % <uint64_t>level.count), least)


cdef int32_t _maglev(Search* search) noexcept nogil:
    """When the entry's member does not fit, the key is hashed on: who shared a server with this key does not share the next one."""
    cdef const Level* level = search.level
    cdef uint64_t hash = mix64(search.input.key)
    cdef int32_t number, least = -1
    cdef int _i
    for _i in range(4 * DRAWS):
        number = level.maglev[hash % level.maglev_size]
        if _fits(search, number):
            if _within_bound(search, number):
                return number
            least = number
        hash = mix64(hash + 0x9E37)
    return _walk(search, <uint32_t>(hash % <uint64_t>level.count), least)


cdef void _set_bound(Search* search) noexcept nogil:
    """What HAProxy's hash-balance-factor grants: ceil((in flight + 1) * factor / 100) places, shared out by weight."""
    cdef int64_t places
    search.allowed = 0
    if search.pool.bounded_load == 0:
        return
    places = (load_i64(&search.pool.state.in_flight) * search.pool.bounded_load + 99) // 100
    search.allowed = (places << 20) // <int64_t>search.level.total_share
    if search.allowed == 0:
        search.allowed = 1


cdef inline bint _by_key(const Search* search) noexcept nogil:
    """Whether the key decides. An exchange may ask so of a pool that came with a later config and has no ring any more."""
    return search.input.by_key and search.level.ring != NULL


cdef int32_t _of_level(Search* search, uint64_t at) noexcept nogil:
    cdef int balance = search.pool.balance
    if _by_key(search):
        search.allowed = 0
        return _ring(search)
    if balance == BALANCE_ROUND_ROBIN:
        return _round_robin(search, at)
    if balance == BALANCE_P2C or balance == BALANCE_EWMA:
        return _two_choices(search)
    if balance == BALANCE_HASH:
        _set_bound(search)
        return _ring(search)
    if balance == BALANCE_MAGLEV:
        _set_bound(search)
        return _maglev(search)
    if balance == BALANCE_RANDOM:
        at = <uint64_t>_random(search, -1)
        return <int32_t>at if <int32_t>at >= 0 else _any(search, random_below(search.input.random, <uint32_t>search.level.count))
    INVARIANT(balance == BALANCE_LEAST_CONN or balance == BALANCE_FIRST)
    return _any(search, 0 if balance == BALANCE_FIRST else <uint32_t>(at % <uint64_t>search.level.count))


# ---- taking it ----

cdef inline bint _enter(const PoolData* pool, int32_t number) noexcept nogil:
    """Count an exchange in; False: another one took the last place. Refusing too much is possible for a moment, admitting too much
    never."""
    cdef const Member* member = &pool.members[number]
    if fetch_add_i64(&member.server.in_flight, 1) >= member.max_requests and member.max_requests > 0:
        fetch_add_i64(&member.server.in_flight, -1)
        return False
    return True


cdef int32_t _number_of(const PoolData* pool, const ServerData* server) noexcept nogil:
    """The heap knows a server's place among the members of the pool that filled it; a pool that was swapped out just now may differ."""
    cdef int32_t number = server.heap_order
    if 0 <= number < pool.count and pool.members[number].server == server:
        return number
    for number in range(pool.count):
        if pool.members[number].server == server:
            return number
    return -1


cdef int32_t _from_heap(Search* search) noexcept nogil:
    cdef UpstreamData* state = search.pool.state
    cdef ServerData* server
    cdef int32_t number = -1
    lock_take(&state.lock)
    if state.ordered:
        server = heap_best(&state.heap, search.input.tried, search.pool.ignore_health, search.input.now_ms, &search.full)
        if server != NULL:
            number = _number_of(search.pool, server)
            if number >= 0:
                fetch_add_i64(&server.in_flight, 1)
                heap_count(&state.heap, server, 1)
    lock_give(&state.lock)
    return number


cdef int32_t _take(Search* search, int32_t number) noexcept nogil:
    """Enter a member that fitted a moment ago, by the heap's rules where there is one."""
    cdef UpstreamData* state = search.pool.state
    cdef bint entered
    if not load_int(&state.ordered):
        return number if _enter(search.pool, number) else -1
    lock_take(&state.lock)
    entered = _enter(search.pool, number)
    if entered and state.ordered:
        heap_count(&state.heap, search.pool.members[number].server, 1)
    lock_give(&state.lock)
    return number if entered else -1


cdef int32_t _pick(PoolData* pool, Search* search) noexcept nogil:
    cdef uint64_t at = 0
    cdef int32_t number
    cdef int k, _try
    if search.input.sticky >= 0 and _fits(search, search.input.sticky):
        number = _take(search, search.input.sticky)
        if number >= 0:
            return number
    if pool.balance == BALANCE_ROUND_ROBIN or pool.balance == BALANCE_LEAST_CONN:
        at = fetch_add_u64(&pool.state.position, 1)      # one step a pick, whichever level it ends in
    for k in range(pool.level_count):
        search.level = &pool.levels[k]
        if k == 0 and not _by_key(search) and load_int(&pool.state.ordered):
            number = _from_heap(search)
            if number >= 0:
                return number
            if search.full:
                continue
            # Nothing fits, or the heap is that of a pool which was swapped in just now: this pool's own members have the last word.
        for _try in range(DRAWS):
            number = _of_level(search, at)
            if number < 0:
                break
            number = _take(search, number)
            if number >= 0:
                return number
    return PICK_FULL if search.full else PICK_NONE


cdef int32_t pick(PoolData* pool, const PickInput* input) noexcept nogil:
    cdef UpstreamData* state = pool.state
    cdef Search search
    cdef int64_t limit = load_i64(&state.limit)
    cdef int32_t number = PICK_FULL
    search.pool = pool
    search.input = input
    search.full = False
    search.allowed = 0
    search.level = NULL
    if limit > 0 and load_i64(&state.in_flight) >= limit:
        return PICK_FULL
    # Counted before it is compared, so that two engines cannot both take the last place.
    if fetch_add_i64(&state.in_flight, 1) < limit or limit == 0:
        number = _pick(pool, &search)
    if number < 0:
        fetch_add_i64(&state.in_flight, -1)
    return number


cdef void pick_leave(UpstreamData* state, ServerData* server) noexcept nogil:
    if load_int(&state.ordered):
        lock_take(&state.lock)
        fetch_add_i64(&server.in_flight, -1)
        if state.ordered:
            heap_count(&state.heap, server, -1)
        lock_give(&state.lock)
    else:
        fetch_add_i64(&server.in_flight, -1)
    fetch_add_i64(&state.in_flight, -1)
    if load_i64(&state.waiting) > 0:
        queue_next(state)
