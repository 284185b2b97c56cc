"""The gate and the table of requests in flight in the hands of tests: one request at a time, or threads of them (see probe.pyi)."""
cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from proxyd_ext.core.hash cimport Random, random_below
from proxyd_ext.core.priority cimport CLASSES
from proxyd_ext.core.shim cimport cpu_relax, fetch_add_i64, fetch_add_int, load_i64, load_int
from proxyd_ext.limit.gate cimport (
    GATE_FULL, GATE_GRANTED, GATE_IN, GATE_SHED, GATE_WAITS, GateWaiter, Lane, LaneData, gate_abandon, gate_enter, gate_leave, gate_told,
    gate_wait,
)
from proxyd_ext.limit.inflight cimport INFLIGHT_TAKEN, Inflight, inflight_give, inflight_take

cdef enum:
    TRIALS = 24               # requests of one worker
    LANES_MAX = 8
    WORKERS_MAX = 8
    KEYS_MAX = 64
    PATIENCE_S = 20           # a wake-up that has not come by then is lost


cdef struct Trial:
    GateWaiter waiter         # first: `wake` gets its address
    int woken                 # times
    int lane                  # where it waits, or is; -1: it rests
    bint inside
    LaneData* intrudes        # when it is woken, another tries to enter there; NULL: nobody does
    int intruded              # it did


ctypedef struct Counts:
    int64_t entered           # at once
    int64_t granted
    int64_t shed
    int64_t full
    int64_t gave_up           # before anything was told
    int64_t too_late          # after


ctypedef struct Worker:
    Random random
    Counts counts
    Trial[TRIALS] trials


cdef void _wake(GateWaiter* waiter) noexcept nogil:
    cdef Trial* trial = <Trial*>waiter
    fetch_add_int(&trial.woken, 1)
    if trial.intrudes != NULL and gate_enter(trial.intrudes) == GATE_IN:
        trial.intruded += 1


cdef int64_t _now_us() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000000 + now.tv_nsec // 1000


@cython.no_gc_clear              # __dealloc__ needs the lane
cdef class GateProbe:
    cdef Trial trial
    cdef Lane lane

    def __cinit__(self, Lane lane not None, *, bint intruder = False):
        self.lane = lane
        self.trial.intrudes = lane.data if intruder else NULL
        self.trial.waiter.wake = _wake

    def __dealloc__(self):
        if self.lane is None:
            return
        gate_abandon(&self.trial.waiter, 1)
        while self.trial.inside or self.trial.intruded > 0:
            gate_leave(self.lane.data, 1)
            self.trial.intruded -= not self.trial.inside
            self.trial.inside = False

    def enter(self) -> bool:
        self._check(self.trial.inside or self.trial.waiter.lane != NULL)
        self.trial.inside = gate_enter(self.lane.data) == GATE_IN
        return self.trial.inside

    def wait(self, priority: int, now_us: int) -> str:
        cdef int result
        self._check(self.trial.inside or self.trial.waiter.lane != NULL)
        self._check(not 0 <= priority < CLASSES)
        result = gate_wait(self.lane.data, &self.trial.waiter, priority, now_us)
        self.trial.inside = result == GATE_IN
        return "in" if result == GATE_IN else "waits" if result == GATE_WAITS else "full"

    def told(self) -> str:
        cdef int told = gate_told(&self.trial.waiter)
        if told == GATE_GRANTED:
            self.trial.inside = True
        return "granted" if told == GATE_GRANTED else "shed" if told == GATE_SHED else ""

    def abandon(self, now_us: int) -> None:
        gate_abandon(&self.trial.waiter, now_us)

    def leave(self, now_us: int) -> None:
        self._check(not self.trial.inside)
        self.trial.inside = False
        gate_leave(self.lane.data, now_us)

    @property
    def woken(self) -> int:
        return load_int(&self.trial.woken)

    @property
    def intruded(self) -> int:
        return self.trial.intruded

    cdef int _check(self, bint wrong) except -1:
        if wrong:
            raise ValueError("a request cannot do that now")
        return 0


cdef class Churn:
    cdef Worker* workers
    cdef list _lanes
    cdef LaneData* lanes[LANES_MAX]
    cdef int64_t[LANES_MAX] most       # 0: no bound is checked
    cdef int64_t[LANES_MAX] inside
    cdef int64_t total
    cdef int64_t all_inside
    cdef int64_t over
    cdef int lane_count
    cdef int workers_count

    def __cinit__(self, lanes, most, total: int, *, workers: int = 4, seed: int = 0):
        cdef int i, k
        if not (1 <= len(lanes) <= LANES_MAX and len(most) == len(lanes) and 1 <= workers <= WORKERS_MAX):
            raise ValueError("too many lanes or workers")
        self.workers = <Worker*>calloc(workers, sizeof(Worker))
        if self.workers == NULL:
            raise MemoryError
        self._lanes = list(lanes)
        self.lane_count, self.workers_count, self.total = len(lanes), workers, total
        for i in range(self.lane_count):
            self.lanes[i] = (<Lane?>lanes[i]).data
            self.most[i] = most[i]
        for i in range(workers):
            self.workers[i].random.state = <uint64_t>(seed * WORKERS_MAX + i)
            for k in range(TRIALS):
                self.workers[i].trials[k].waiter.wake = _wake
                self.workers[i].trials[k].lane = -1

    def __dealloc__(self):
        free(self.workers)

    def run(self, worker: int, rounds: int) -> bool:
        cdef Worker* own
        cdef int _turn, turns = rounds
        cdef bint done
        if not 0 <= worker < self.workers_count:
            raise ValueError("no such worker")
        own = &self.workers[worker]
        with nogil:
            for _turn in range(turns):
                self._step(own, &own.trials[random_below(&own.random, TRIALS)])
            done = self._drain(own)
        return done

    def counts(self) -> dict:
        cdef Counts total = Counts(0, 0, 0, 0, 0, 0)
        cdef Counts* counts
        cdef int64_t woken = 0
        cdef int i, k
        for i in range(self.workers_count):
            counts = &self.workers[i].counts
            total.entered += counts.entered
            total.granted += counts.granted
            total.shed += counts.shed
            total.full += counts.full
            total.gave_up += counts.gave_up
            total.too_late += counts.too_late
            for k in range(TRIALS):
                woken += load_int(&self.workers[i].trials[k].woken)
        return {
            "entered": total.entered, "granted": total.granted, "shed": total.shed, "full": total.full, "gave_up": total.gave_up,
            "too_late": total.too_late, "woken": woken, "over": self.over, "inside": self.all_inside,
        }

    cdef void _enter(self, Trial* trial) noexcept nogil:
        """It has a place, so it counts itself; the gate has counted it before, so that no bound can be passed here."""
        cdef int64_t inside = fetch_add_i64(&self.inside[trial.lane], 1) + 1
        cdef int64_t all_inside = fetch_add_i64(&self.all_inside, 1) + 1
        trial.inside = True
        if 0 < self.most[trial.lane] < inside or 0 < self.total < all_inside:
            fetch_add_i64(&self.over, 1)

    cdef void _leave(self, Trial* trial) noexcept nogil:
        cdef int lane = trial.lane
        fetch_add_i64(&self.inside[lane], -1)
        fetch_add_i64(&self.all_inside, -1)
        trial.inside = False
        trial.lane = -1
        gate_leave(self.lanes[lane], _now_us())

    cdef bint _look(self, Worker* own, Trial* trial) noexcept nogil:
        """Whether a waiter has been told something."""
        cdef int told = gate_told(&trial.waiter)
        if told == GATE_GRANTED:
            own.counts.granted += 1
            self._enter(trial)
        elif told == GATE_SHED:
            own.counts.shed += 1
            trial.lane = -1
        return told != 0

    cdef void _come(self, Worker* own, Trial* trial) noexcept nogil:
        cdef int result
        trial.lane = <int>random_below(&own.random, <uint32_t>self.lane_count)
        result = gate_enter(self.lanes[trial.lane])
        if result == GATE_FULL:
            result = gate_wait(self.lanes[trial.lane], &trial.waiter, <int>random_below(&own.random, CLASSES), _now_us())
        if result == GATE_IN:
            own.counts.entered += 1
            self._enter(trial)
        elif result == GATE_FULL:
            own.counts.full += 1
            trial.lane = -1

    cdef void _step(self, Worker* own, Trial* trial) noexcept nogil:
        cdef int told
        if trial.lane < 0:
            self._come(own, trial)
        elif trial.inside:
            self._leave(trial)
        elif not self._look(own, trial) and random_below(&own.random, 8) == 0:
            told = gate_abandon(&trial.waiter, _now_us())
            own.counts.gave_up += told == 0
            own.counts.too_late += told != 0
            trial.lane = -1

    cdef bint _drain(self, Worker* own) noexcept nogil:
        """Nobody new comes, and nobody gives up: everybody who waits is told something in time. False: not so."""
        cdef int64_t end = _now_us() + PATIENCE_S * <int64_t>1000000
        cdef bint waits = True
        cdef int k
        while waits:
            waits = False
            for k in range(TRIALS):
                if own.trials[k].lane >= 0 and not own.trials[k].inside:
                    waits |= not self._look(own, &own.trials[k])
                if own.trials[k].inside:
                    self._leave(&own.trials[k])
            if waits:
                cpu_relax()
                if _now_us() > end:
                    return False
        return True


cdef class InflightChurn:
    cdef Inflight inflight
    cdef uint64_t[KEYS_MAX] hashes
    cdef int64_t[KEYS_MAX] held       # over all threads
    cdef int64_t over
    cdef int64_t most
    cdef int count

    def __cinit__(self, Inflight inflight not None, keys, most: int):
        cdef int i
        if not 1 <= len(keys) <= KEYS_MAX:
            raise ValueError(f"1 to {KEYS_MAX} keys")
        self.inflight, self.most, self.count = inflight, most, len(keys)
        for i in range(self.count):
            self.hashes[i] = keys[i]

    def run(self, rounds: int, seed: int) -> dict:
        cdef int[KEYS_MAX] own
        cdef Random random
        cdef int64_t taken = 0, refused = 0
        cdef int _turn, turns = rounds, i
        random.state = <uint64_t>seed
        for i in range(self.count):
            own[i] = 0
        with nogil:
            for _turn in range(turns):
                i = <int>random_below(&random, <uint32_t>self.count)
                if own[i] > 0 and random_below(&random, 2):
                    own[i] -= 1
                    self._give(i)
                elif inflight_take(self.inflight.table, self.hashes[i], self.most) == INFLIGHT_TAKEN:
                    own[i] += 1
                    taken += 1
                    # Counted behind the table, and taken off before it: no bound can be passed here.
                    if fetch_add_i64(&self.held[i], 1) >= self.most:
                        fetch_add_i64(&self.over, 1)
                else:
                    refused += 1
            for i in range(self.count):
                while own[i]:
                    own[i] -= 1
                    self._give(i)
        return {"taken": taken, "refused": refused}

    cdef void _give(self, int key) noexcept nogil:
        fetch_add_i64(&self.held[key], -1)
        inflight_give(self.inflight.table, self.hashes[key])

    @property
    def overs(self) -> int:
        return load_i64(&self.over)
