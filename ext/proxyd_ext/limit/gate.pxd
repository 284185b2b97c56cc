"""Concurrency of routes: how many of their requests may be on servers at a time, with reservations as Lambda's (semantics.md §2.5).

A Gate is the whole: `total` places, of which each Lane (a route's part) has `reserved` for itself; the others are the shared ones. Places
have no names, they are counted: of what a lane has in use, `reserved` is its own and what exceeds that is shared. So a lane that gives up
any place gives up a shared one as long as it has one, and none lies idle because another kind was promised. A request takes a place when
its lane has less than `max` in use, and either less than `reserved` or there is a shared one.

Who gets none may wait, in a queue for each class of each lane. A place that is given up is handed to a waiter directly, so nobody can be
overtaken: first to a lane that has less than it reserved, then by class, within a class to the lanes in turn, within a lane first come,
first served. A full queue gives up the youngest of its lowest class for somebody of a higher one.

Queues shed as CoDel does (Nichols, Jacobson 2012), in the form for servers (Maurer, "Fail at Scale", 2015): a queue *stands* once all who
were given a place for `interval` had waited for `target` or longer, until it is empty. While it stands, those who have waited so long are
shed, and the place goes to the first who has not, or to the youngest: a place is never left idle to shed somebody. Maurer asks how long
the queue has not been empty instead; that would shed from a burst of slow requests whose places had not come free once.

All under one lock for the whole gate, a few instructions long; nothing here is proportional to the number of lanes or waiters.
"""
from libc.stdint cimport int64_t, uint8_t
from proxyd_ext.core.priority cimport CLASS_CRITICAL, CLASS_HIGH, CLASS_LOW, CLASS_NORMAL, CLASSES
from proxyd_ext.core.shim cimport load_acquire_int, store_int


cdef enum:
    GATE_FULL = 0             # no place, or no room to wait
    GATE_IN = 1               # a place is taken: gate_leave gives it back
    GATE_WAITS = 2            # the waiter's `wake` will be called

    GATE_GRANTED = 1          # gate_told: it has a place now
    GATE_SHED = 2             # it has none, and does not wait any more


cdef struct GateData
cdef struct LaneData


ctypedef struct GateWaiter:
    # A request that waits; part of what holds it, which outlives the gate's interest: `wake` may be called late, when somebody else waits
    # with it, or nobody.  All zeros but for `wake` at first.
    GateWaiter* next
    GateWaiter* previous
    void (*wake)(GateWaiter*) noexcept nogil     # from any thread, without the lock, once `told` is set; never changed
    LaneData* lane            # NULL: it does not wait
    int64_t since_us
    uint8_t priority          # CLASS_*
    int queued                # changed under the lock
    int told                  # see gate_told


# A place at once, or GATE_FULL.
cdef int gate_enter(LaneData* lane) noexcept nogil
# Wait for one.  GATE_IN: there was one by now; GATE_WAITS; GATE_FULL: the queue is full.
cdef int gate_wait(LaneData* lane, GateWaiter* waiter, int priority, int64_t now_us) noexcept nogil
# The waiter goes away, whatever it has been told: a place that it was granted is given to the next.  Returns what it had been told by then:
# GATE_GRANTED, GATE_SHED, or 0.
cdef int gate_abandon(GateWaiter* waiter, int64_t now_us) noexcept nogil
cdef void gate_leave(LaneData* lane, int64_t now_us) noexcept nogil


cdef inline int gate_told(GateWaiter* waiter) noexcept nogil:
    """GATE_GRANTED, GATE_SHED, or 0: nothing yet. Each is told once: from then on the waiter does not wait, and a place that it was granted
    is given back by gate_leave."""
    cdef int told = load_acquire_int(&waiter.told)
    if told:
        store_int(&waiter.told, 0)
        waiter.lane = NULL
    return told


cdef enum:
    LANE_ADMITTED = 0
    LANE_QUEUED = 1           # admitted after a wait
    LANE_FULL = 2             # refused: queue full, or none allowed
    LANE_TIMEOUT = 3          # refused: waited queue_timeout
    LANE_SHED = 4             # refused by CoDel, or for a higher class
    LANE_RESULTS = 5

cdef void lane_count(LaneData* lane, int engine, int result) noexcept nogil       # LANE_*
cdef int64_t lane_queue_ms(LaneData* lane) noexcept nogil       # how long one may wait; 0: not at all


cdef class Gate:
    cdef GateData* data


cdef class Lane:
    cdef LaneData* data
    cdef readonly Gate gate
    cdef readonly str name
