"""An upstream: what of it lasts (UpstreamData), and the pool of members that picks draw from now (PoolData).

A pool is immutable: its tables hold the servers that could be used when it was built, at the weights that they had then. When health, a
weight or the membership changes, the control plane builds another off the engines and swaps the pointer; a pick that draws a server which
became unusable since then draws on. An exchange pins the pool of its last pick, so the old one lives until nobody uses it.

Pinning costs nothing in steady state: each engine keeps in `UpstreamLocal.hazard` the pool that it looked at last (Michael, Hazard
Pointers, 2004). While that is the current one, no fence is needed; the control plane frees no pool that some engine's hazard names, or that
counts a user.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from proxyd_ext.balance.heap cimport Heap
from proxyd_ext.balance.server cimport ServerData
from proxyd_ext.balance.tables cimport Level, Member
from proxyd_ext.core.priority cimport CLASSES
from proxyd_ext.core.shim cimport load_acquire_ptr, load_fenced_ptr, load_i64, load_int, store_fenced_ptr, store_i64, store_release_i64
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.core.stats cimport CountTable, ENGINES_MAX, Histogram


cdef enum:
    BALANCE_ROUND_ROBIN = 0
    BALANCE_LEAST_CONN = 1
    BALANCE_P2C = 2
    BALANCE_EWMA = 3
    BALANCE_RANDOM = 4
    BALANCE_FIRST = 5
    BALANCE_HASH = 6
    BALANCE_MAGLEV = 7

    CIRCUIT_CLOSED = 0
    CIRCUIT_OPEN = 1
    CIRCUIT_HALF_OPEN = 2     # a few probes pass

    TIERS_MAX = 16
    STICKY_ID_MAX = 64        # bytes of a sticky id


ctypedef struct MirrorCounts:
    # Copies of requests that were made for this upstream (conn/mirror).
    int64_t in_flight
    uint64_t sent             # given to a server
    uint64_t answered
    uint64_t failed           # no server, or no whole answer in time
    uint64_t skipped_in_flight    # not made: too many under way
    uint64_t skipped_body     # not made: not every byte of the request was at hand


ctypedef struct UpstreamLocal:
    # One engine's part.
    void* hazard              # the pool that this engine looked at last; see above
    Histogram response        # from sending the request to the first byte of the answer
    Histogram connect
    CountTable retries        # by the FAULT_* (or the status) that caused them
    CountTable refused        # by FAULT_*: circuit open, queue full, queue timeout, retry budget
    uint64_t finished         # tries that ended
    uint64_t failed           # of them, with a 5xx or a fault
    uint64_t hedged           # second tries beside a first
    uint64_t hedges_won       # that answered first
    MirrorCounts mirror


ctypedef struct Waiter:
    # An exchange that waits for room; part of what holds it, which outlives the queue's interest.
    Waiter* next
    Waiter* previous
    void (*wake)(Waiter*) noexcept nogil     # from any thread, without the lock
    int64_t since_us          # when it came
    int queued                # in the queue; changed under the lock
    int granted               # taken from the queue and woken; what it was given is passed on if it does not use it
    int shed                  # taken from the queue and woken: somebody of a higher class stands in its place
    uint8_t priority          # CLASS_*


ctypedef struct WaiterList:
    # Those of one class.
    Waiter* first
    Waiter* last
    int64_t above_us          # since when everybody who found room had waited for the target or longer; 0: not so
    bint standing


ctypedef struct UpstreamData:
    # What of an upstream outlives snapshots.
    int64_t refs              # the Python handle and every flow (l4) on it hold one
    void* pool                # PoolData*: current
    uint64_t position         # of the round-robin sequence, over all engines
    int64_t in_flight         # exchanges on its servers, over all engines
    int64_t retrying          # of them, tries after the first
    int64_t limit             # most in_flight; 0: none
    int64_t hedge_ms          # when a second try begins, where the config asks for a percentile; 0: not known yet
    int64_t probes            # of the current trial
    int64_t probes_left       # of them, that a half-open circuit still admits
    int64_t probes_ok
    int64_t probes_failed
    int circuit               # CIRCUIT_*
    int lock                  # of the heap and of the queue
    int ordered               # the heap is in use
    int on_down_close         # flows (l4) on a server that is taken out end at once
    Heap heap
    WaiterList[CLASSES] waiters
    int64_t waiting
    int64_t target_us         # of the queue (see balance/queue); 0: nobody is shed for having waited
    int64_t interval_us
    int more                  # there may be more room than those who left have told of: who finds some wakes the next
    UpstreamLocal* local[ENGINES_MAX]


ctypedef struct PoolUsers:
    int64_t count             # exchanges of one engine that pin the pool; the engine's own
    int64_t[7] alone          # on a cache line of its own


ctypedef struct PoolData:
    UpstreamData* state
    Member* members           # in the order of the spec, usable or not
    int32_t count
    Level* levels             # the first with a server that fits gives it
    int level_count
    int balance               # BALANCE_*
    bint ignore_health        # panic, or fail_open with all down
    bint panic
    bint stripped             # its tables were freed, because nobody could pick from it any more
    bint ramping              # some member is in slow start
    bint limited              # some member has max_requests
    int64_t bounded_load      # percent; 0: no bound
    int32_t* sticky_slots     # member by its sticky id: open addressing; -1: free
    uint32_t sticky_mask
    int64_t pool_idle_ms
    int64_t pool_max
    int32_t passive_failures
    int64_t eject_ms
    int64_t eject_max_ms
    int32_t max_ejected       # servers that may be out by ejection at one time
    PoolUsers[ENGINES_MAX] users


cdef UpstreamLocal* upstream_join(UpstreamData* upstream, int engine) noexcept nogil
# For who may outlive the snapshots that name it.
cdef void upstream_hold(UpstreamData* upstream) noexcept nogil
cdef void upstream_drop(UpstreamData* upstream) noexcept nogil
# The member that a sticky cookie's value stands for, -1: none.
cdef int32_t pool_sticky(const PoolData* pool, Slice value) noexcept nogil


cdef inline PoolData* pool_pin(UpstreamData* state, int engine) noexcept nogil:
    """The current pool, which stays until pool_unpin."""
    cdef UpstreamLocal* local = state.local[engine]
    cdef void* pool = load_acquire_ptr(&state.pool)
    while local.hazard != pool:
        store_fenced_ptr(&local.hazard, pool)
        pool = load_fenced_ptr(&state.pool)
    store_i64(&(<PoolData*>pool).users[engine].count, (<PoolData*>pool).users[engine].count + 1)
    return <PoolData*>pool


cdef inline PoolData* pool_pin_again(PoolData* pool, int engine) noexcept nogil:
    """For a second holder of a pool that is pinned."""
    store_i64(&pool.users[engine].count, pool.users[engine].count + 1)
    return pool


cdef inline void pool_unpin(PoolData* pool, int engine) noexcept nogil:
    store_release_i64(&pool.users[engine].count, pool.users[engine].count - 1)    # behind all that was read of the pool


cdef class Pool:
    cdef PoolData* data
    cdef readonly object spec
    cdef list _servers        # handles, which keep the servers alive
    cdef int _add_levels(self, int64_t now_ms) except -1
    cdef Level* _new_level(self) except NULL
    cdef int _build(self) except -1


cdef class UpstreamState:
    cdef UpstreamData* data
    cdef readonly str name
    cdef readonly Pool pool   # current; None before the first
    cdef list _retired        # pools that some engine may still use
    cdef long long _most      # of the config
    cdef long long _adaptive
    cdef void _apply_limits(self) noexcept
    cdef int _swap(self, PoolData* pool) except -1
    cdef void _look_for_room(self) noexcept
