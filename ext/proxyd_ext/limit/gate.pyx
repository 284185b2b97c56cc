"""The places of routes (see gate.pxd).

Who may be served next is never searched for: a lane with waiters stands in a ring for each class that could get a shared place, or in the
ring of those that are owed a reserved one, or, while it has its `max`, in neither. `_settle` puts it there after each change of the lane.
Whatever frees places ends with `_grant`, which leaves no waiter behind that could have one; therefore whoever comes overtakes nobody when
the counts say that there is a place (`_has_place` looks at the rings only because grants are made in portions).

Waking is done without the lock, since it may be a system call, for at most TOLD_MOST waiters at a time.
"""
cimport cython
from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport (
    INVARIANT, counter_add, load_acquire_ptr, load_i64, load_int, load_u64, store_i64, store_release_int, store_release_ptr,
)
from proxyd_ext.core.stats cimport ENGINES_MAX

cdef enum:
    RING_OWED = CLASSES       # has waiters, and less than it reserved; the rings before it: waiters of that class, may take shared places
    RING_WAITING = CLASSES + 1    # has waiters
    RINGS = CLASSES + 2

    TOLD_MOST = 32


cdef struct LaneLink:
    LaneData* next
    LaneData* previous

cdef struct Ring:
    LaneData* first           # the next in turn
    LaneData* last

cdef struct Fifo:
    GateWaiter* first
    GateWaiter* last
    int64_t above_us          # since when everybody who got a place had waited for the target or longer; 0: not so
    bint standing

cdef struct LaneCounts:
    # One engine's.
    uint64_t[LANE_RESULTS] count
    uint64_t[3] alone         # on a cache line of its own

cdef struct LaneData:
    GateData* gate
    LaneData* next            # of all lanes
    LaneData* previous
    int64_t in_use
    int64_t reserved
    int64_t most              # INT64_MAX: as many as there are
    int64_t waiting
    int64_t max_pending       # most that may wait
    int64_t queue_ms
    uint32_t in_rings         # bit n: it stands in ring n
    LaneLink[RINGS] links
    Fifo[CLASSES] queues
    LaneCounts* local[ENGINES_MAX]      # NULL: nothing counted yet

cdef struct GateData:
    int lock
    int64_t total             # INT64_MAX: no bound
    int64_t shared            # of them, those that nobody reserved
    int64_t in_use
    int64_t shared_in_use     # over all lanes, what exceeds `reserved`
    int64_t waiting
    int64_t target_us         # 0: nothing is shed
    int64_t interval_us
    LaneData* lanes
    Ring[RINGS] rings

cdef struct Told:
    # Whom to wake when the lock is given back.
    GateWaiter* waiters[TOLD_MOST]
    int count


# ---- rings and queues ----

cdef void _ring(LaneData* lane, int number, bint wanted) noexcept nogil:
    """In, at the end, or out."""
    cdef Ring* ring = &lane.gate.rings[number]
    cdef LaneLink* link = &lane.links[number]
    if <bint>((lane.in_rings >> number) & 1) == wanted:
        return
    lane.in_rings ^= <uint32_t>1 << number
    if wanted:
        link.next = NULL
        link.previous = ring.last
        if link.previous != NULL:
            link.previous.links[number].next = lane
        else:
            ring.first = lane
        ring.last = lane
        return
    if link.previous != NULL:
        link.previous.links[number].next = link.next
    else:
        ring.first = link.next
    if link.next != NULL:
        link.next.links[number].previous = link.previous
    else:
        ring.last = link.previous


cdef void _settle(LaneData* lane) noexcept nogil:
    """Into the rings where it belongs now. What it stays in keeps its turn."""
    cdef bint open = lane.waiting > 0 and lane.in_use < lane.most
    cdef bint owed = open and lane.in_use < lane.reserved
    cdef int number
    if lane.waiting == 0 and lane.in_rings == 0:
        return
    for number in range(CLASSES):
        _ring(lane, number, open and not owed and lane.queues[number].first != NULL)
    _ring(lane, RING_OWED, owed)
    _ring(lane, RING_WAITING, lane.waiting > 0)


cdef void _append(LaneData* lane, GateWaiter* waiter) noexcept nogil:
    cdef Fifo* queue = &lane.queues[waiter.priority]
    waiter.next = NULL
    waiter.previous = queue.last
    if waiter.previous != NULL:
        waiter.previous.next = waiter
    else:
        queue.first = waiter
    queue.last = waiter
    waiter.queued = 1
    lane.waiting += 1
    lane.gate.waiting += 1


cdef void _remove(LaneData* lane, GateWaiter* waiter) noexcept nogil:
    cdef Fifo* queue = &lane.queues[waiter.priority]
    if waiter.previous != NULL:
        waiter.previous.next = waiter.next
    else:
        queue.first = waiter.next
    if waiter.next != NULL:
        waiter.next.previous = waiter.previous
    else:
        queue.last = waiter.previous
    waiter.next = waiter.previous = NULL
    waiter.queued = 0
    lane.waiting -= 1
    lane.gate.waiting -= 1
    if queue.first == NULL:
        queue.standing = False
        queue.above_us = 0


cdef void _tell(Told* told, GateWaiter* waiter, int what) noexcept nogil:
    """To a waiter that was removed; from here on it is its owner's."""
    told.waiters[told.count] = waiter
    told.count += 1
    store_release_int(&waiter.told, what)


cdef void _wake(Told* told) noexcept nogil:
    cdef int i
    for i in range(told.count):
        told.waiters[i].wake(told.waiters[i])


# ---- places ----

cdef void _take(LaneData* lane) noexcept nogil:
    if lane.in_use >= lane.reserved:
        lane.gate.shared_in_use += 1
    lane.in_use += 1
    lane.gate.in_use += 1


cdef void _give(LaneData* lane) noexcept nogil:
    INVARIANT(lane.in_use > 0)
    lane.in_use -= 1
    lane.gate.in_use -= 1
    if lane.in_use >= lane.reserved:
        lane.gate.shared_in_use -= 1


cdef int _turn(GateData* gate) noexcept nogil:
    """The highest class of which somebody waits for a shared place; -1: nobody does."""
    cdef int number = CLASSES - 1
    while number >= 0 and gate.rings[number].first == NULL:
        number -= 1
    return number


cdef bint _has_place(LaneData* lane) noexcept nogil:
    """For somebody who comes. Past new bounds that are lower than what is in use, `total` holds before a reservation does."""
    cdef GateData* gate = lane.gate
    if lane.in_use >= lane.most or gate.in_use >= gate.total or gate.rings[RING_OWED].first != NULL:
        return False
    return lane.in_use < lane.reserved or (gate.shared_in_use < gate.shared and _turn(gate) < 0)


cdef bint _is_stale(GateData* gate, Fifo* queue, int64_t now_us) noexcept nogil:
    """The first is shed for somebody behind it."""
    return queue.standing and queue.first != queue.last and now_us - queue.first.since_us >= gate.target_us


cdef void _judge(GateData* gate, Fifo* queue, int64_t now_us) noexcept nogil:
    """A place came for the first of the queue: does it stand?"""
    if queue.standing or gate.target_us == 0:
        return
    if now_us - queue.first.since_us < gate.target_us:
        queue.above_us = 0
    elif queue.above_us == 0:
        queue.above_us = now_us
    else:
        queue.standing = now_us - queue.above_us >= gate.interval_us


cdef void _serve(LaneData* lane, int priority, int64_t now_us, Told* told) noexcept nogil:
    """Give a place to the lane's first of that class who is not to be shed."""
    cdef GateData* gate = lane.gate
    cdef Fifo* queue = &lane.queues[priority]
    cdef GateWaiter* waiter
    _judge(gate, queue, now_us)
    while _is_stale(gate, queue, now_us):
        waiter = queue.first
        _remove(lane, waiter)
        _tell(told, waiter, GATE_SHED)
        if told.count == TOLD_MOST:
            return               # somebody is left who gets the place in the next portion
    waiter = queue.first
    _remove(lane, waiter)
    _take(lane)
    _ring(lane, priority, False)     # the next lane's turn
    _settle(lane)
    _tell(told, waiter, GATE_GRANTED)


cdef void _grant(GateData* gate, int64_t now_us, Told* told) noexcept nogil:
    """Hand free places to waiters, until there are no more of either, or `told` is full: then it is to be called again."""
    cdef LaneData* lane
    cdef int priority
    told.count = 0
    while told.count < TOLD_MOST and gate.waiting > 0 and gate.in_use < gate.total:
        lane = gate.rings[RING_OWED].first
        if lane != NULL:
            priority = CLASSES - 1
            while lane.queues[priority].first == NULL:
                priority -= 1
        else:
            priority = _turn(gate)
            if priority < 0 or gate.shared_in_use >= gate.shared:
                return
            lane = gate.rings[priority].first
        _serve(lane, priority, now_us, told)


cdef void _give_lock(GateData* gate, int64_t now_us) noexcept nogil:
    """Grant what there is to grant, give the lock back, and wake."""
    cdef Told told
    _grant(gate, now_us, &told)
    lock_give(&gate.lock)
    _wake(&told)
    while told.count == TOLD_MOST:
        lock_take(&gate.lock)
        _grant(gate, now_us, &told)
        lock_give(&gate.lock)
        _wake(&told)


# ---- what exchanges call ----

cdef int gate_enter(LaneData* lane) noexcept nogil:
    cdef GateData* gate = lane.gate
    cdef int result = GATE_FULL
    lock_take(&gate.lock)
    if _has_place(lane):
        _take(lane)
        result = GATE_IN
    lock_give(&gate.lock)
    return result


cdef GateWaiter* _youngest_below(LaneData* lane, int priority) noexcept nogil:
    """Of the lowest class that waits, if it is lower than `priority`."""
    cdef int lower
    for lower in range(priority):
        if lane.queues[lower].last != NULL:
            return lane.queues[lower].last
    return NULL


cdef int gate_wait(LaneData* lane, GateWaiter* waiter, int priority, int64_t now_us) noexcept nogil:
    cdef GateData* gate = lane.gate
    cdef GateWaiter* other
    cdef Told told
    cdef int result = GATE_WAITS
    INVARIANT(0 <= priority < CLASSES and waiter.lane == NULL)
    told.count = 0
    lock_take(&gate.lock)
    if _has_place(lane):
        _take(lane)
        result = GATE_IN
    elif lane.waiting >= lane.max_pending:
        other = _youngest_below(lane, priority) if lane.max_pending > 0 else NULL
        if other != NULL:
            _remove(lane, other)
            _tell(&told, other, GATE_SHED)
        else:
            result = GATE_FULL
    if result == GATE_WAITS:
        waiter.lane = lane
        waiter.priority = <uint8_t>priority
        waiter.since_us = now_us
        store_int(&waiter.told, 0)
        _append(lane, waiter)
        _settle(lane)
    lock_give(&gate.lock)
    _wake(&told)
    return result


cdef int gate_abandon(GateWaiter* waiter, int64_t now_us) noexcept nogil:
    cdef LaneData* lane = waiter.lane
    cdef GateData* gate
    cdef int told
    if lane == NULL:
        return 0
    gate = lane.gate
    lock_take(&gate.lock)
    told = load_int(&waiter.told)
    if waiter.queued:
        _remove(lane, waiter)
    elif told == GATE_GRANTED:
        _give(lane)
    store_int(&waiter.told, 0)
    waiter.lane = NULL
    _settle(lane)
    _give_lock(gate, now_us)
    return told


cdef void gate_leave(LaneData* lane, int64_t now_us) noexcept nogil:
    lock_take(&lane.gate.lock)
    _give(lane)
    _settle(lane)
    _give_lock(lane.gate, now_us)


cdef int64_t lane_queue_ms(LaneData* lane) noexcept nogil:
    return load_i64(&lane.queue_ms)


cdef void lane_count(LaneData* lane, int engine, int result) noexcept nogil:
    if lane.local[engine] == NULL:
        # Once for a lane and an engine, not for each request; without memory nothing is counted.
        store_release_ptr(<void**>&lane.local[engine], calloc(1, sizeof(LaneCounts)))
        if lane.local[engine] == NULL:
            return
    counter_add(&lane.local[engine].count[result], 1)


# ---- what the control plane calls ----

cdef struct Bounds:
    LaneData* lane
    int64_t reserved
    int64_t most
    int64_t max_pending
    int64_t queue_ms


cdef int64_t _now_us() noexcept nogil:
    """Of the engines' clock (core/clock)."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000000 + now.tv_nsec // 1000


cdef void _bind(LaneData* lane, const Bounds* bounds) noexcept nogil:
    lane.reserved = bounds.reserved
    lane.most = bounds.most if bounds.most > 0 else INT64_MAX
    lane.max_pending = bounds.max_pending
    store_i64(&lane.queue_ms, bounds.queue_ms)


cdef class Gate:
    def __cinit__(self):
        self.data = <GateData*>calloc(1, sizeof(GateData))
        if self.data == NULL:
            raise MemoryError
        self.data.total = self.data.shared = INT64_MAX
        self.data.target_us = 20_000
        self.data.interval_us = 100_000

    def __dealloc__(self):
        free(self.data)          # lanes hold their gate: there are none any more

    def configure(self, total: int, lanes, *, target_us: int = 20_000, interval_us: int = 100_000, now_us: int | None = None) -> None:
        cdef GateData* gate = self.data
        cdef Bounds none = Bounds(NULL, 0, 0, 0, 0)
        cdef Bounds* bounds
        cdef LaneData* lane
        cdef int64_t places = total, target = target_us, interval = interval_us, reserved = 0, now = _now_us() if now_us is None else now_us
        cdef Py_ssize_t i, count
        lanes = list(lanes)
        count = len(lanes)
        if places < 0 or target < 0 or interval < 0:
            raise ValueError("total, target_us and interval_us are not negative")
        bounds = <Bounds*>malloc(max(1, count) * sizeof(Bounds))
        if bounds == NULL:
            raise MemoryError
        try:
            for i in range(count):
                _parse_bounds(self, lanes[i], &bounds[i])
                reserved += bounds[i].reserved
            if places > 0 and reserved > places:
                raise ValueError(f"{reserved} places are reserved, but there are {places}")
            with nogil:
                lock_take(&gate.lock)
                gate.total = places if places > 0 else INT64_MAX
                gate.shared = places - reserved if places > 0 else INT64_MAX
                gate.target_us = target
                gate.interval_us = interval
                gate.shared_in_use = 0
                lane = gate.lanes
                while lane != NULL:
                    _bind(lane, &none)
                    lane = lane.next
                for i in range(count):
                    _bind(bounds[i].lane, &bounds[i])
                lane = gate.lanes
                while lane != NULL:
                    gate.shared_in_use += max(lane.in_use - lane.reserved, <int64_t>0)
                    _settle(lane)
                    lane = lane.next
                _give_lock(gate, now)
        finally:
            free(bounds)

    def stats(self, now_us: int | None = None) -> dict:
        cdef GateData* gate = self.data
        cdef LaneData* lane
        cdef Fifo* queue
        cdef GateData seen
        cdef int64_t now = _now_us() if now_us is None else now_us
        cdef int64_t oldest = now
        cdef bint standing = False
        cdef int i
        with nogil:
            lock_take(&gate.lock)
            seen = gate[0]
            lane = gate.rings[RING_WAITING].first
            while lane != NULL:
                for i in range(CLASSES):
                    queue = &lane.queues[i]
                    standing |= queue.standing
                    if queue.first != NULL:
                        oldest = min(oldest, queue.first.since_us)
                lane = lane.links[RING_WAITING].next
            lock_give(&gate.lock)
        if seen.total == INT64_MAX:
            seen.total = seen.shared = 0
        return {
            "total": seen.total, "reserved": seen.total - seen.shared, "shared": seen.shared,
            "shared_in_use": seen.shared_in_use, "in_use": seen.in_use, "waiting": seen.waiting, "oldest_wait_us": now - oldest,
            "standing": int(standing),
        }


cdef int _parse_bounds(Gate gate, item, Bounds* into) except -1:
    cdef Lane lane
    lane, into.reserved, into.most, into.max_pending, into.queue_ms = item
    if lane.gate is not gate:
        raise ValueError(f"{lane.name} is a lane of another gate")
    if into.reserved < 0 or into.most < 0 or into.max_pending < 0 or into.queue_ms < 0:
        raise ValueError(f"{lane.name}: a bound is negative")
    if 0 < into.most < into.reserved:
        raise ValueError(f"{lane.name}: {into.reserved} places are reserved, but it may have {into.most} at most")
    into.lane = lane.data
    return 0


@cython.no_gc_clear              # __dealloc__ needs the gate
cdef class Lane:
    def __cinit__(self, Gate gate not None, str name not None):
        cdef LaneData* lane = <LaneData*>calloc(1, sizeof(LaneData))
        if lane == NULL:
            raise MemoryError
        self.data = lane
        self.gate = gate
        self.name = name
        lane.gate = gate.data
        lane.most = INT64_MAX
        lock_take(&gate.data.lock)
        lane.next = gate.data.lanes
        if lane.next != NULL:
            lane.next.previous = lane
        gate.data.lanes = lane
        lock_give(&gate.data.lock)

    def __dealloc__(self):
        cdef LaneData* lane = self.data
        cdef int i
        if lane == NULL:
            return
        lock_take(&lane.gate.lock)
        INVARIANT(lane.in_use == 0 and lane.waiting == 0)      # an exchange holds the snapshot, which holds the lane
        if lane.previous != NULL:
            lane.previous.next = lane.next
        else:
            lane.gate.lanes = lane.next
        if lane.next != NULL:
            lane.next.previous = lane.previous
        lock_give(&lane.gate.lock)
        for i in range(ENGINES_MAX):
            free(lane.local[i])
        free(lane)

    def stats(self) -> dict:
        cdef LaneData* lane = self.data
        cdef LaneCounts* local
        cdef uint64_t[LANE_RESULTS] count
        cdef int64_t in_use, reserved, most, waiting
        cdef int i, k
        for k in range(LANE_RESULTS):
            count[k] = 0
        for i in range(ENGINES_MAX):
            local = <LaneCounts*>load_acquire_ptr(<void**>&lane.local[i])
            if local != NULL:
                for k in range(LANE_RESULTS):
                    count[k] += load_u64(&local.count[k])
        lock_take(&lane.gate.lock)
        in_use, reserved, most, waiting = lane.in_use, lane.reserved, lane.most, lane.waiting
        lock_give(&lane.gate.lock)
        return {
            "reserved": reserved, "max": most if most != INT64_MAX else 0, "in_use": in_use, "shared_in_use": max(in_use - reserved, 0),
            "waiting": waiting, "admitted": count[LANE_ADMITTED], "queued": count[LANE_QUEUED], "full": count[LANE_FULL],
            "timeout": count[LANE_TIMEOUT], "shed": count[LANE_SHED],
        }


# ---- for tests and tools ----

cdef str _audit(GateData* gate):
    """What is wrong with the counts, the rings and the queues; "": nothing."""
    cdef LaneData* lane
    cdef GateWaiter* waiter
    cdef int64_t in_use = 0, shared = 0, waiting = 0, queued
    cdef int i
    lock_take(&gate.lock)
    try:
        lane = gate.lanes
        while lane != NULL:
            in_use += lane.in_use
            shared += max(lane.in_use - lane.reserved, <int64_t>0)
            waiting += lane.waiting
            queued = 0
            for i in range(CLASSES):
                waiter = lane.queues[i].first
                while waiter != NULL:
                    if not waiter.queued or waiter.lane != lane or waiter.priority != i or waiter.told:
                        return "a waiter stands in the wrong queue"
                    if waiter.next == NULL and lane.queues[i].last != waiter:
                        return "a queue's end is not its end"
                    queued += 1
                    waiter = waiter.next
                if lane.queues[i].first == NULL and (lane.queues[i].standing or lane.queues[i].above_us):
                    return "an empty queue stands"
            if queued != lane.waiting:
                return f"{queued} wait, counted as {lane.waiting}"
            if ((lane.in_rings >> RING_WAITING) & 1) != (lane.waiting > 0):
                return "a lane with waiters is in no ring"
            if lane.waiting > 0 and lane.in_use < lane.most and gate.in_use < gate.total:
                if lane.in_use < lane.reserved or gate.shared_in_use < gate.shared:
                    return "somebody waits who could have a place"
            lane = lane.next
        if (in_use, shared, waiting) != (gate.in_use, gate.shared_in_use, gate.waiting):
            return f"not {gate.in_use} in use, {gate.shared_in_use} shared, {gate.waiting} waiting: {in_use}, {shared}, {waiting}"
        return ""
    finally:
        lock_give(&gate.lock)


def audit(Gate gate not None) -> str:
    return _audit(gate.data)


def count(Lane lane not None, engine: int, result: int) -> None:
    if not (0 <= engine < ENGINES_MAX and 0 <= result < LANE_RESULTS):
        raise ValueError("no such engine or result")
    lane_count(lane.data, engine, result)
