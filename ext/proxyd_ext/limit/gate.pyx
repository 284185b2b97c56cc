"""Stub: owner gate."""

cdef struct LaneData:
    int nothing

cdef int gate_enter(LaneData* lane, int priority, bint* shared) noexcept nogil:
    return GATE_IN

cdef int gate_wait(LaneData* lane, GateWaiter* waiter, int priority, int64_t now_us) noexcept nogil:
    return GATE_FULL

cdef void gate_abandon(LaneData* lane, GateWaiter* waiter, int64_t now_us) noexcept nogil:
    pass

cdef void gate_leave(LaneData* lane, bint shared, int64_t now_us) noexcept nogil:
    pass

cdef void lane_count(LaneData* lane, int engine, int result) noexcept nogil:
    pass

cdef int64_t lane_queue_ms(LaneData* lane) noexcept nogil:
    return 0


class Gate:
    def configure(self, total, lanes, *, target_us=20_000, interval_us=100_000):
        pass

    def stats(self):
        return {}


cdef class Lane:
    def __init__(self, gate, str name):
        self.gate = gate
        self.name = name

    def stats(self):
        return {}
