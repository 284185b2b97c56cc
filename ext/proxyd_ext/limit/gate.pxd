"""Concurrency of routes: how many of their requests may be on servers at a time, with reservations as Lambda's (semantics.md §2.5).

A Gate is the whole: `total` places, of which each Lane (a route's part) has `reserved` for itself; the others are the shared ones. A request
takes a reserved place of its lane while there is one, then, as far as the lane's `max` allows, a shared one. Who gets none may wait: in
order of class, within a class first come, first served; a place that is given up is handed to a waiter directly, so nobody can be
overtaken. The queue sheds as CoDel does (Nichols, Jacobson 2012; the form of Maurer 2015): while it has not been empty for `interval`, a
place is given only to those who have waited less than `target`, the others are shed, and a full queue gives up its lowest class first.
All under one lock for the whole gate, a few instructions long.
"""
from libc.stdint cimport int64_t, uint8_t


cdef enum:
    CLASS_LOW = 0
    CLASS_NORMAL = 1
    CLASS_HIGH = 2
    CLASS_CRITICAL = 3
    CLASSES = 4

    GATE_FULL = 0             # no place, or no room to wait
    GATE_IN = 1               # a place is taken: gate_leave gives it back
    GATE_WAITS = 2            # the waiter's `wake` will be called

    GATE_GRANTED = 1          # GateWaiter.told: it has a place now
    GATE_SHED = 2             # it has none, and does not wait any more


cdef struct LaneData


ctypedef struct GateWaiter:
    # A request that waits; part of what holds it, which outlives the gate's interest.
    GateWaiter* next
    GateWaiter* previous
    void (*wake)(GateWaiter*) noexcept nogil     # from any thread, without the lock, once `told` is set
    LaneData* lane
    int64_t since_us
    uint8_t priority          # CLASS_*
    int queued                # changed under the lock
    int told                  # GATE_GRANTED, GATE_SHED or 0; read it with acquire
    bint shared               # which kind of place it was granted


# A place at once, or GATE_FULL.  `shared` tells which kind it is.
cdef int gate_enter(LaneData* lane, int priority, bint* shared) noexcept nogil
# Wait for one.  GATE_IN: there was one by now (waiter.shared); GATE_WAITS; GATE_FULL: the queue is full.
cdef int gate_wait(LaneData* lane, GateWaiter* waiter, int priority, int64_t now_us) noexcept nogil
# The waiter goes away, whatever it has been told: a place that it was granted is given to the next.
cdef void gate_abandon(LaneData* lane, GateWaiter* waiter, int64_t now_us) noexcept nogil
cdef void gate_leave(LaneData* lane, bint shared, int64_t now_us) noexcept nogil
cdef void lane_count(LaneData* lane, int engine, int result) noexcept nogil       # LANE_*

cdef enum:
    LANE_ADMITTED = 0
    LANE_QUEUED = 1           # admitted after a wait
    LANE_FULL = 2             # refused: queue full, or none allowed
    LANE_TIMEOUT = 3          # refused: waited queue_timeout
    LANE_SHED = 4             # refused by CoDel, or for a higher class
    LANE_RESULTS = 5

cdef int64_t lane_queue_ms(LaneData* lane) noexcept nogil       # how long one may wait; 0: not at all


cdef class Lane:
    cdef LaneData* data
    cdef readonly object gate
    cdef readonly str name
