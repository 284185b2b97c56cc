# cython: cdivision=True
"""Building pools and keeping upstreams (see pool.pxd)."""
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memset
from proxyd_ext.balance.heap cimport Tried, heap_add, heap_clear, heap_destroy, heap_reserve, heap_settle
from proxyd_ext.balance.ewma cimport ewma_note
from proxyd_ext.balance.pick cimport PickInput, pick, pick_leave
from proxyd_ext.balance.queue cimport queue_more
from proxyd_ext.balance.server cimport (
    DOWN_OPERATOR, Server, server_clock_ms, server_join, server_usable,
)
from proxyd_ext.balance.tables cimport build_alias, build_maglev, build_ring, build_sequence, level_free, level_strip
from proxyd_ext.core.fault cimport fault_info
from proxyd_ext.core.hash cimport Random, hash_fixed
from proxyd_ext.core.live cimport LIVE_UPSTREAM, live_born, live_died
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport INVARIANT, exchange_ptr, fetch_add_i64, load_acquire_i64, load_u64, store_int, store_release_ptr
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.core.stats cimport BUCKETS, Histogram, count_collect, histogram_dict, histogram_sum

import time

_BALANCE = {
    "round_robin": BALANCE_ROUND_ROBIN, "least_conn": BALANCE_LEAST_CONN, "p2c": BALANCE_P2C, "ewma": BALANCE_EWMA,
    "random": BALANCE_RANDOM, "first": BALANCE_FIRST, "hash": BALANCE_HASH, "maglev": BALANCE_MAGLEV,
}
_CIRCUIT = {"closed": CIRCUIT_CLOSED, "open": CIRCUIT_OPEN, "half_open": CIRCUIT_HALF_OPEN}

RING_WEIGHT_MAX = 100_000     # sixteen million points

cdef enum:
    RAMP_STEPS = 100          # what a weight is multiplied by while some member is in slow start


cdef UpstreamLocal* upstream_join(UpstreamData* upstream, int engine) noexcept nogil:
    cdef UpstreamLocal* local = upstream.local[engine]
    if local == NULL:
        local = <UpstreamLocal*>calloc(1, sizeof(UpstreamLocal))
        if local != NULL:
            store_release_ptr(<void**>&upstream.local[engine], local)
    return local


cdef void upstream_hold(UpstreamData* upstream) noexcept nogil:
    fetch_add_i64(&upstream.refs, 1)


cdef void upstream_drop(UpstreamData* upstream) noexcept nogil:
    cdef int i
    if fetch_add_i64(&upstream.refs, -1) != 1:
        return
    for i in range(ENGINES_MAX):
        free(upstream.local[i])
    heap_destroy(&upstream.heap)
    free(upstream)
    live_died(LIVE_UPSTREAM)


cdef int32_t pool_sticky(const PoolData* pool, Slice value) noexcept nogil:
    cdef uint32_t at
    cdef int32_t number
    if pool.sticky_slots == NULL or value.size == 0 or value.size > STICKY_ID_MAX:
        return -1
    at = <uint32_t>hash_fixed(value.data, value.size, 0) & pool.sticky_mask
    while True:
        number = pool.sticky_slots[at]
        if number < 0:
            return -1
        if (pool.members[number].sticky_id.size == value.size
                and memcmp(pool.members[number].sticky_id.data, value.data, value.size) == 0):
            return number
        at = (at + 1) & pool.sticky_mask


# ---- building ----

cdef void _weigh(PoolData* pool, int64_t slow_start_ms, int64_t now_ms) noexcept nogil:
    """Each member's share: its weight, and in slow start the part of it that the time gone by is of the whole time."""
    cdef Member* member
    cdef int64_t since
    cdef int32_t i
    for i in range(pool.count):
        since = load_i64(&pool.members[i].server.ramp_from_ms)
        if slow_start_ms > 0 and since > 0 and now_ms - since < slow_start_ms:
            pool.ramping = True
    for i in range(pool.count):
        member = &pool.members[i]
        member.share = member.weight
        if not pool.ramping:
            continue
        since = load_i64(&member.server.ramp_from_ms)
        member.share = member.weight * RAMP_STEPS
        if since > 0 and now_ms - since < slow_start_ms:
            member.share = <uint32_t>(member.share * max(now_ms - since, <int64_t>0) // slow_start_ms)
            if member.share == 0:
                member.share = 1


cdef bint _build_level(PoolData* pool, Level* level, bint ring) noexcept nogil:
    cdef int32_t i
    cdef int balance = pool.balance
    INVARIANT(level.count > 0)
    level.total_share = 0
    for i in range(level.count):
        level.total_share += pool.members[level.active[i]].share
    if balance == BALANCE_ROUND_ROBIN and not build_sequence(pool.members, level):
        return False
    if (balance == BALANCE_P2C or balance == BALANCE_EWMA or balance == BALANCE_RANDOM) and not build_alias(pool.members, level):
        return False
    if (balance == BALANCE_HASH or ring) and not build_ring(pool.members, level):
        return False
    return balance != BALANCE_MAGLEV or build_maglev(pool.members, level)


cdef bint _apart(Pool pool, int32_t number):
    """Whether a member stands in another zone, of which none is used: it is there for the numbering only."""
    return pool.spec.zone_only and not pool.data.members[number].local


cdef class Pool:
    """Members of an upstream and the tables that its balancer draws from, as of now: servers that cannot be used are in no table.

    spec: an UpstreamSpec (snapshot/spec.py). engines: make the servers' parts for so many engines, which a pool needs that goes into use
    without a snapshot. Tables are built without the GIL. ValueError: a weight or tier out of bounds; MemoryError.
    """

    def __cinit__(self, spec, int engines = 0):
        cdef PoolData* data
        cdef int64_t now_ms = server_clock_ms(), slow_start_ms = spec.slow_start_ms
        cdef int32_t i, within
        cdef bint ring = spec.sticky is not None and spec.sticky.kind == "key"
        self.spec = spec
        self.data = data = <PoolData*>calloc(1, sizeof(PoolData))
        if data == NULL:
            raise MemoryError
        data.members = <Member*>calloc(max(1, len(spec.members)), sizeof(Member))
        if data.members == NULL:
            raise MemoryError
        data.state = (<UpstreamState?>spec.state).data
        data.count = len(spec.members)
        data.balance = _BALANCE[spec.balance]
        data.bounded_load = spec.bounded_load
        data.pool_idle_ms = spec.pool_idle_ms
        data.pool_max = 0 if spec.proxy else spec.pool_max     # a connection speaks of one client
        data.passive_failures = spec.passive_failures
        data.eject_ms = spec.eject_ms
        data.eject_max_ms = spec.eject_max_ms
        # At least one server may go, and at least one stays: a lone server is never ejected.
        within = sum([member.local or not spec.zone_only for member in spec.members])
        data.max_ejected = max(0, min(max(1, within * spec.max_ejected_percent // 100), within - 1))
        self._servers = []
        for number, member in enumerate(spec.members):
            if not 0 < member.weight < 65536:
                raise ValueError(f"weight of {member.server.label}: {member.weight} is not in 1..65535")
            if not 0 <= member.tier < TIERS_MAX:
                raise ValueError(f"tier of {member.server.label}: {member.tier} is not in 0..{TIERS_MAX - 1}")
            if len(member.sticky_id) > STICKY_ID_MAX:
                raise ValueError(f"the sticky id of {member.server.label} has more than {STICKY_ID_MAX} bytes")
            self._servers.append(member.server)
            i = number
            data.members[i].server = (<Server?>member.server).data
            data.members[i].weight = member.weight
            data.members[i].max_requests = member.max_requests
            data.limited = data.limited or member.max_requests > 0
            data.members[i].tier = member.tier
            data.members[i].local = member.local
            data.members[i].sticky_id.data = <bytes>member.sticky_id
            data.members[i].sticky_id.size = len(member.sticky_id)
            for engine in range(engines):
                if server_join(data.members[i].server, engine) == NULL:
                    raise MemoryError
        if data.balance == BALANCE_HASH or ring:
            whole = sum([member.weight for member in spec.members])
            if whole > RING_WEIGHT_MAX:
                raise ValueError(f"upstream {spec.name}: weights that sum to {whole} make too large a ring; at most {RING_WEIGHT_MAX}")
        self._index_sticky()
        _weigh(data, slow_start_ms, now_ms)
        self._decide(now_ms)
        self._add_levels(now_ms)
        self._build()

    cdef int _build(self) except -1:
        """The tables of every level."""
        cdef PoolData* data = self.data
        cdef bint ring = self.spec.sticky is not None and self.spec.sticky.kind == "key", ok = True
        cdef int32_t i
        with nogil:
            for i in range(data.level_count):
                ok = ok and _build_level(data, &data.levels[i], ring)
        if not ok:
            raise MemoryError
        data.stripped = False
        return 0

    def __dealloc__(self):
        cdef int i
        if self.data == NULL:
            return
        for i in range(self.data.level_count):
            level_free(&self.data.levels[i])
        free(self.data.levels)
        free(self.data.sticky_slots)
        free(self.data.members)
        free(self.data)

    def _index_sticky(self) -> None:
        cdef PoolData* data = self.data
        cdef uint32_t places = 2, at
        cdef int32_t i
        if self.spec.sticky is None or self.spec.sticky.kind == "key":
            return
        while places < 2 * <uint32_t>data.count:
            places *= 2
        data.sticky_slots = <int32_t*>malloc(places * sizeof(int32_t))
        if data.sticky_slots == NULL:
            raise MemoryError
        data.sticky_mask = places - 1
        for at in range(places):
            data.sticky_slots[at] = -1
        for i in range(data.count):
            if data.members[i].sticky_id.size == 0 or _apart(self, i):
                continue
            at = <uint32_t>hash_fixed(data.members[i].sticky_id.data, data.members[i].sticky_id.size, 0) & data.sticky_mask
            while data.sticky_slots[at] >= 0:
                at = (at + 1) & data.sticky_mask
            data.sticky_slots[at] = i

    def _decide(self, int64_t now_ms) -> None:
        """Whether health counts: not in a panic (too little of the weight is usable), nor when all are down and that is to be ignored.
        Members that are apart count for neither.

        Servers are looked at once: engines eject them meanwhile, and two looks could differ.
        """
        cdef PoolData* data = self.data
        cdef uint64_t whole = 0, usable = 0
        cdef int32_t i
        for i in range(data.count):
            data.members[i].usable = server_usable(data.members[i].server, now_ms)
            if load_int(&data.members[i].server.down) & DOWN_OPERATOR or _apart(self, i):
                data.members[i].usable = False
                continue
            whole += data.members[i].weight
            if data.members[i].usable:
                usable += data.members[i].weight
        data.panic = usable * 100 < whole * <uint64_t>self.spec.panic
        data.ignore_health = data.panic or (usable == 0 and self.spec.fail_open)
        if data.ignore_health:
            for i in range(data.count):
                data.members[i].usable = load_int(&data.members[i].server.down) & DOWN_OPERATOR == 0 and not _apart(self, i)

    cdef Level* _new_level(self) except NULL:
        cdef PoolData* data = self.data
        cdef Level* level
        if data.levels == NULL:
            data.levels = <Level*>calloc(2 * TIERS_MAX, sizeof(Level))
        if data.levels == NULL:
            raise MemoryError
        level = &data.levels[data.level_count]
        level.active = <int32_t*>malloc(data.count * sizeof(int32_t))
        if level.active == NULL:
            raise MemoryError
        data.level_count += 1
        return level

    cdef int _add_levels(self, int64_t now_ms) except -1:
        """One level a tier, in their order; two where the local members are preferred, and enough of them are usable."""
        cdef PoolData* data = self.data
        cdef Level* level
        cdef uint64_t local, local_usable
        cdef int32_t i, tier, usable, usable_local
        cdef int k
        for tier in range(TIERS_MAX):
            local = local_usable = 0
            usable = usable_local = 0
            for i in range(data.count):
                if data.members[i].tier != tier:
                    continue
                fits = data.members[i].usable
                usable += fits
                if data.members[i].local:
                    local += data.members[i].weight
                    if fits:
                        local_usable += data.members[i].weight
                        usable_local += 1
            if usable == 0:
                continue
            prefer = self.spec.zone_min > 0 and 0 < usable_local < usable and local_usable * 100 >= local * <uint64_t>self.spec.zone_min
            for k in range(2 if prefer else 1):
                level = self._new_level()
                for i in range(data.count):
                    if data.members[i].tier == tier and (data.members[i].local or k == 1 or not prefer) and data.members[i].usable:
                        level.active[level.count] = i
                        level.count += 1
        return 0

    @property
    def ramping(self) -> bool:
        """Whether some member is in slow start, so that another pool is due within a second."""
        return self.data.ramping

    def describe(self) -> dict:
        """What the balancer weighs: the first level's members with their share (weight, times 100 while some member is in slow start)."""
        cdef PoolData* data = self.data
        cdef Level* level
        cdef int32_t i
        cdef double whole = RAMP_STEPS if data.ramping else 1
        active = []
        tier = -1
        if data.level_count:
            level = &data.levels[0]
            tier = data.members[level.active[0]].tier
            for i in range(level.count):
                active.append((self._servers[level.active[i]].label, data.members[level.active[i]].share / whole))
        return {"balance": self.spec.balance, "panic": data.panic, "ignores_health": data.ignore_health, "tier": tier,
                "levels": data.level_count, "active": active}

    # ---- for tests and benchmarks: the native pickers, by hand ----

    def pick(self, uint32_t key = 0, now_ms = None, tried = (), uint64_t seed = 0, bint by_key = False, int32_t sticky = -1) -> int:
        """A member number (index into spec.members), counted as in flight until `done`; -1: none is usable, -2: all are full."""
        cdef PickInput input
        cdef Tried done
        cdef Random random
        cdef int32_t i
        done.count = 0
        for number in tried:
            i = number
            if done.count < 16 and 0 <= i < self.data.count:
                done.server[done.count] = self.data.members[i].server
                done.count += 1
        random.state = seed or time.monotonic_ns()
        input.tried = &done
        input.key = key
        input.by_key = by_key
        input.sticky = sticky
        input.random = &random
        input.now_ms = server_clock_ms() if now_ms is None else now_ms
        self._enter_heap()
        return pick(self.data, &input)

    def done(self, int32_t number, took_us = None, now_ms = None) -> None:
        """The exchange on this member is over; its answer took so long (None: there was none)."""
        if not 0 <= number < self.data.count:
            raise ValueError(f"no member {number}")
        pick_leave(self.data.state, self.data.members[number].server)
        if took_us is not None:
            ewma_note(&self.data.members[number].server.ewma, took_us, server_clock_ms() if now_ms is None else now_ms)

    def named(self, bytes sticky_id) -> int:
        """The member that a sticky cookie's value stands for; -1: none that may be used."""
        return pool_sticky(self.data, slice_of(<const unsigned char*>sticky_id, len(sticky_id)))

    @property
    def max_ejected(self) -> int:
        """Servers that may be out by ejection at one time."""
        return self.data.max_ejected

    def _enter_heap(self) -> None:
        if (<UpstreamState>self.spec.state).pool is not self:
            (<UpstreamState>self.spec.state).use(self)

    def sequence(self, int count, keys = None, uint64_t seed = 1) -> list:
        """So many picks, one after the other, each over before the next: member numbers. keys: CRC-32 of each pick's key."""
        cdef PickInput input
        cdef Tried none
        cdef Random random
        cdef int i
        cdef int32_t number
        none.count = 0
        random.state = seed
        input.tried = &none
        input.key = 0
        input.by_key = False
        input.sticky = -1
        input.random = &random
        input.now_ms = server_clock_ms()
        self._enter_heap()
        out = []
        for i in range(count):
            if keys is not None:
                input.key = <uint32_t>keys[i]
            number = pick(self.data, &input)
            out.append(number)
            if number >= 0:
                pick_leave(self.data.state, self.data.members[number].server)
        return out

    def cost(self, int count, int busy = 0) -> float:
        """Nanoseconds that a pick and its end take, over `count` of them with keys of a fixed sequence; `busy` picks stay in flight
        before."""
        cdef PickInput input
        cdef Tried none
        cdef Random random
        cdef int i
        cdef int32_t number
        none.count = 0
        random.state = 1
        input.tried = &none
        input.by_key = False
        input.sticky = -1
        input.random = &random
        input.now_ms = server_clock_ms()
        self._enter_heap()
        held = [pick(self.data, &input) for _ in range(busy)]
        begin = time.perf_counter_ns()
        with nogil:
            for i in range(count):
                input.key = <uint32_t>(<uint32_t>i * <uint32_t>2654435761)
                number = pick(self.data, &input)
                if number >= 0:
                    pick_leave(self.data.state, self.data.members[number].server)
        took = time.perf_counter_ns() - begin
        for number in held:
            if number >= 0:
                pick_leave(self.data.state, self.data.members[number].server)
        return took / count


cdef class UpstreamState:
    """What of an upstream outlives snapshots: its current pool, its place in the round-robin sequence, its limits and counters."""

    def __cinit__(self, str name):
        self.name = name
        self._retired = []
        self.data = <UpstreamData*>calloc(1, sizeof(UpstreamData))
        if self.data == NULL:
            raise MemoryError
        live_born(LIVE_UPSTREAM)
        self.data.refs = 1

    def __dealloc__(self):
        if self.data != NULL:
            upstream_drop(self.data)

    def use(self, Pool pool not None) -> None:
        """Every pick from now on draws from this pool. MemoryError: nothing has changed."""
        if pool is self.pool:
            return
        if pool.data.state != self.data:
            raise ValueError(f"a pool of another upstream than {self.name}")
        if pool.data.stripped:        # it was in use before
            pool._build()
        self._retired = [retired for retired in self._retired if retired is not pool]
        self._swap(pool.data)
        if self.pool is not None:
            self._retired.append(self.pool)
        self.pool = pool
        self._let_go()
        self._look_for_room()

    cdef void _look_for_room(self) noexcept:
        """There may be more of it than before: the first who waits looks, and wakes the next when it found some."""
        queue_more(self.data)

    cdef int _swap(self, PoolData* pool) except -1:
        """Fill the heap with the new pool's first level, for the balancers that have one, and make it the current one."""
        cdef UpstreamData* data = self.data
        cdef Level* level
        cdef Member* member
        cdef bint ordered = pool.balance == BALANCE_LEAST_CONN or pool.balance == BALANCE_FIRST
        cdef bint ok = True
        cdef int32_t i
        with nogil:
            lock_take(&data.lock)
            heap_clear(&data.heap)
            if ordered and pool.level_count > 0:
                level = &pool.levels[0]
                ok = heap_reserve(&data.heap, level.count)
                data.heap.by_order = pool.balance == BALANCE_FIRST
                if ok:
                    for i in range(level.count):
                        member = &pool.members[level.active[i]]
                        heap_add(&data.heap, member.server, level.active[i], member.share, member.max_requests)
                    heap_settle(&data.heap)
            store_int(&data.ordered, ordered and ok)
            if ok:
                exchange_ptr(&data.pool, pool)
            lock_give(&data.lock)
        if not ok:
            raise MemoryError
        return 0

    def _let_go(self) -> None:
        """Free the pools that no engine uses any more. The hazards are read before the counts: an engine counts itself out before it
        looks at another pool. One that has users still, but that nobody can pick from again, is left without its tables: a WebSocket
        would keep them for hours."""
        cdef int i
        cdef Pool pool
        cdef bint looked_at, used
        kept = []
        for pool in self._retired:
            looked_at = used = False
            for i in range(ENGINES_MAX):
                if self.data.local[i] != NULL and load_fenced_ptr(&self.data.local[i].hazard) == pool.data:
                    looked_at = True
            for i in range(ENGINES_MAX):
                if load_acquire_i64(&pool.data.users[i].count) != 0:
                    used = True
            if looked_at or used:
                kept.append(pool)
            if not looked_at:
                pool.data.stripped = True
                for i in range(pool.data.level_count):
                    level_strip(&pool.data.levels[i])
        self._retired = kept

    def set_on_down(self, bint close) -> None:
        """Whether flows on a server that checks or operators take out end at once."""
        store_int(&self.data.on_down_close, close)

    def set_max_requests(self, long long most) -> None:
        """Exchanges at a time on the whole upstream, as the config has it; 0: no limit."""
        self._most = most
        self._apply_limits()

    def set_limit(self, long long most) -> None:
        """The same as an adaptive limit finds it: the lower of both holds; 0: there is none."""
        self._adaptive = most
        self._apply_limits()

    cdef void _apply_limits(self) noexcept:
        store_i64(&self.data.limit, min(self._most, self._adaptive) if self._most and self._adaptive else self._most or self._adaptive)
        self._look_for_room()

    def set_circuit(self, str circuit, long long probes = 0) -> None:
        """"closed": everything passes; "open": nothing does; "half_open": so many probes do, and are counted."""
        store_i64(&self.data.probes_ok, 0)
        store_i64(&self.data.probes_failed, 0)
        store_i64(&self.data.probes, probes)
        store_i64(&self.data.probes_left, probes)
        store_int(&self.data.circuit, _CIRCUIT[circuit])

    def set_hedge_ms(self, long long ms) -> None:
        """When a try has taken so long, a second one begins beside it, on routes that hedge by a percentile; 0: not known yet."""
        store_i64(&self.data.hedge_ms, ms)

    def set_shedding(self, long long target_us, long long interval_us) -> None:
        """When the queue for room sheds those who have waited (see queue.pxd); target_us 0: never."""
        if target_us < 0 or interval_us < 0:
            raise ValueError("times are not negative")
        store_i64(&self.data.interval_us, interval_us)
        store_i64(&self.data.target_us, target_us)

    @property
    def shedding(self) -> tuple[int, int]:
        """(target_us, interval_us)"""
        return load_i64(&self.data.target_us), load_i64(&self.data.interval_us)

    def stats(self) -> dict:
        cdef UpstreamLocal* local
        cdef UpstreamLocal total
        cdef int i, k
        cdef uint64_t finished = 0, failed = 0, hedged = 0, hedges_won = 0
        cdef int64_t copies = 0
        retries = {}
        refused = {}
        mirror = {"sent": 0, "answered": 0, "failed": 0, "skipped": {"in_flight": 0, "body": 0}}
        total.response.sum_us = 0
        total.connect.sum_us = 0
        for k in range(17):
            total.response.count[k] = 0
            total.connect.count[k] = 0
        for i in range(ENGINES_MAX):
            local = <UpstreamLocal*>load_acquire_ptr(<void**>&self.data.local[i])
            if local == NULL:
                continue
            histogram_sum(&local.response, &total.response)
            histogram_sum(&local.connect, &total.connect)
            count_collect(&local.retries, retries)
            count_collect(&local.refused, refused)
            finished += load_u64(&local.finished)
            failed += load_u64(&local.failed)
            hedged += load_u64(&local.hedged)
            hedges_won += load_u64(&local.hedges_won)
            _add_mirror(&local.mirror, mirror)
            copies += load_i64(&local.mirror.in_flight)
        self._let_go()
        return {
            "response_seconds": histogram_dict(&total.response), "connect_seconds": histogram_dict(&total.connect),
            "retries": _reasons(retries), "refused": _reasons(refused), "finished": finished, "failed": failed,
            "hedges": {"begun": hedged, "won": hedges_won},
            "in_flight": load_i64(&self.data.in_flight), "retries_in_flight": load_i64(&self.data.retrying),
            "pending": load_i64(&self.data.waiting), "limit": load_i64(&self.data.limit), "hedge_ms": load_i64(&self.data.hedge_ms),
            "circuit": {number: word for word, number in _CIRCUIT.items()}[load_int(&self.data.circuit)],
            "probes": {"ok": load_i64(&self.data.probes_ok), "failed": load_i64(&self.data.probes_failed)},
            "mirror": mirror, "copies_in_flight": copies,
        }

    def times(self) -> tuple:
        cdef UpstreamLocal* local
        cdef Histogram found
        cdef int i
        memset(&found, 0, sizeof(found))
        for i in range(ENGINES_MAX):
            local = <UpstreamLocal*>load_acquire_ptr(<void**>&self.data.local[i])
            if local != NULL:
                histogram_sum(&local.response, &found)
        return (found.sum_us, *[found.count[i] for i in range(BUCKETS + 1)])


cdef _add_mirror(const MirrorCounts* counts, dict into):
    into["sent"] += load_u64(&counts.sent)
    into["answered"] += load_u64(&counts.answered)
    into["failed"] += load_u64(&counts.failed)
    into["skipped"]["in_flight"] += load_u64(&counts.skipped_in_flight)
    into["skipped"]["body"] += load_u64(&counts.skipped_body)


def _reasons(counts) -> dict:
    """{fault code or status: count} → {word: count}."""
    return {"other" if not code else str(code) if code >= 100 else (<bytes>fault_info(code).word).decode(): n for code, n in counts.items()}
