"""The queue of waiting exchanges (see queue.pxd)."""
from libc.stdint cimport INT64_MAX, uint8_t
from libc.stdlib cimport calloc, free
from proxyd_ext.balance.pool cimport WaiterList
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.priority cimport CLASS_NORMAL, CLASSES
from proxyd_ext.core.shim cimport INVARIANT, fetch_add_i64, fetch_add_int, load_i64, load_int, store_int


cdef void _link(UpstreamData* state, Waiter* waiter, bint front) noexcept nogil:
    cdef WaiterList* waiters = &state.waiters[waiter.priority]
    waiter.previous = NULL if front else waiters.last
    waiter.next = waiters.first if front else NULL
    if waiter.previous != NULL:
        waiter.previous.next = waiter
    else:
        waiters.first = waiter
    if waiter.next != NULL:
        waiter.next.previous = waiter
    else:
        waiters.last = waiter
    waiter.queued = 1
    fetch_add_i64(&state.waiting, 1)       # a full barrier: what the joiner looks at next is newer than what a leaver saw


cdef void _unlink(UpstreamData* state, Waiter* waiter) noexcept nogil:
    cdef WaiterList* waiters = &state.waiters[waiter.priority]
    if waiter.previous != NULL:
        waiter.previous.next = waiter.next
    else:
        waiters.first = waiter.next
    if waiter.next != NULL:
        waiter.next.previous = waiter.previous
    else:
        waiters.last = waiter.previous
    waiter.next = waiter.previous = NULL
    waiter.queued = 0
    fetch_add_i64(&state.waiting, -1)
    if waiters.first == NULL:
        waiters.above_us = 0
        waiters.standing = False


cdef Waiter* _youngest_below(UpstreamData* state, int priority) noexcept nogil:
    """Of the lowest class that waits, if it is lower than `priority`."""
    cdef int lower
    for lower in range(priority):
        if state.waiters[lower].last != NULL:
            return state.waiters[lower].last
    return NULL


cdef bint queue_wait(UpstreamData* state, Waiter* waiter, int priority, int64_t most, int64_t now_us) noexcept nogil:
    cdef Waiter* other = NULL
    cdef bint joined = True
    INVARIANT(0 <= priority < CLASSES)
    lock_take(&state.lock)
    waiter.granted = 0
    waiter.shed = 0
    if state.waiting >= most:
        other = _youngest_below(state, priority) if most > 0 else NULL
        joined = other != NULL
        if joined:
            _unlink(state, other)
            other.shed = 1
    if joined:
        waiter.priority = <uint8_t>priority
        waiter.since_us = now_us
        _link(state, waiter, False)
    lock_give(&state.lock)
    if other != NULL:
        other.wake(other)
    return joined


cdef bint queue_join(UpstreamData* state, Waiter* waiter, int64_t most, bint front) noexcept nogil:
    if not front:
        return queue_wait(state, waiter, CLASS_NORMAL, most, INT64_MAX)
    lock_take(&state.lock)
    waiter.granted = 0
    _link(state, waiter, True)
    lock_give(&state.lock)
    return True


cdef bint queue_sheds(UpstreamData* state, const Waiter* waiter, int64_t now_us) noexcept nogil:
    cdef WaiterList* waiters = &state.waiters[waiter.priority]
    cdef bint late = now_us - waiter.since_us >= state.target_us
    cdef bint sheds
    if load_i64(&state.target_us) == 0:
        return False
    lock_take(&state.lock)
    if waiters.first == NULL or waiters.standing:
        pass
    elif not late:
        waiters.above_us = 0
    elif waiters.above_us == 0:
        waiters.above_us = now_us
    else:
        waiters.standing = now_us - waiters.above_us >= state.interval_us
    sheds = waiters.standing and late
    lock_give(&state.lock)
    return sheds


cdef void queue_leave(UpstreamData* state, Waiter* waiter, bint served) noexcept nogil:
    cdef bint pass_on
    lock_take(&state.lock)
    if waiter.queued:
        _unlink(state, waiter)
    pass_on = waiter.granted and not served
    waiter.granted = 0
    waiter.shed = 0
    lock_give(&state.lock)
    if pass_on:
        queue_next(state)


cdef void queue_next(UpstreamData* state) noexcept nogil:
    cdef Waiter* waiter
    cdef int priority = CLASSES - 1
    lock_take(&state.lock)
    while priority > 0 and state.waiters[priority].first == NULL:
        priority -= 1
    waiter = state.waiters[priority].first
    if waiter != NULL:
        _unlink(state, waiter)
        waiter.granted = 1
    lock_give(&state.lock)
    if waiter != NULL:
        waiter.wake(waiter)


cdef void queue_more(UpstreamData* state) noexcept nogil:
    if load_i64(&state.waiting) > 0:
        store_int(&state.more, 1)
        queue_next(state)


cdef void queue_found(UpstreamData* state, bint room) noexcept nogil:
    if not load_int(&state.more):
        return
    if not room:
        store_int(&state.more, 0)
    elif load_i64(&state.waiting) > 0:
        queue_next(state)


# ---- for tests and tools ----

cdef enum:
    PROBES = 64

cdef struct Probe:
    Waiter waiter             # first: `wake` gets its address
    int woken                 # times


cdef void _wake_probe(Waiter* waiter) noexcept nogil:
    fetch_add_int(&(<Probe*>waiter).woken, 1)


cdef class QueueProbe:
    cdef UpstreamData* state
    cdef Probe[PROBES] probes
    cdef int used

    def __cinit__(self, *, target_us: int = 0, interval_us: int = 0):
        cdef int i
        self.state = <UpstreamData*>calloc(1, sizeof(UpstreamData))
        if self.state == NULL:
            raise MemoryError
        self.state.target_us, self.state.interval_us = target_us, interval_us
        for i in range(PROBES):
            self.probes[i].waiter.wake = _wake_probe

    def __dealloc__(self):
        free(self.state)

    cdef Waiter* _waiter(self, int number) except NULL:
        if not 0 <= number < self.used:
            raise ValueError(f"there is no waiter {number}")
        return &self.probes[number].waiter

    cdef int _new(self) except -1:
        if self.used == PROBES:
            raise ValueError("too many waiters")
        self.used += 1
        return self.used - 1

    def wait(self, priority: int, most: int, now_us: int) -> int | None:
        cdef int number = self._new()
        if not 0 <= priority < CLASSES:
            raise ValueError("no such class")
        return number if queue_wait(self.state, &self.probes[number].waiter, priority, most, now_us) else None

    def join(self, most: int) -> int | None:
        cdef int number = self._new()
        return number if queue_join(self.state, &self.probes[number].waiter, most, False) else None

    def again(self, number: int) -> None:
        queue_join(self.state, self._waiter(number), 0, True)

    def leave(self, number: int, served: bool = False) -> None:
        queue_leave(self.state, self._waiter(number), served)

    def sheds(self, number: int, now_us: int) -> bool:
        return queue_sheds(self.state, self._waiter(number), now_us)

    def next(self) -> None:
        queue_next(self.state)

    def more(self) -> None:
        queue_more(self.state)

    def found(self, room: bool) -> None:
        queue_found(self.state, room)

    def told(self, number: int) -> str:
        cdef Waiter* waiter = self._waiter(number)
        INVARIANT(not (waiter.granted and waiter.shed))
        return "granted" if waiter.granted else "shed" if waiter.shed else ""

    def woken(self, number: int) -> int:
        self._waiter(number)
        return load_int(&self.probes[number].woken)

    @property
    def waiting(self) -> int:
        return load_i64(&self.state.waiting)
