"""Stub: owner limit."""

cdef struct RateTable:
    int nothing

cdef int rate_take(RateTable* table, uint64_t hash, int64_t now_us, RateTaken* taken, RateOutcome* out) noexcept nogil:
    return RATE_PASSED

cdef void rate_give_back(const RateTaken* taken) noexcept nogil:
    pass

cdef void rate_count(RateTable* table, int engine, int decision) noexcept nogil:
    pass

cdef void rate_note(RateTable* table, uint64_t hash, Slice text, bint refused) noexcept nogil:
    pass


cdef class RateLimit:
    def __init__(self, name, **kw):
        self.name = name
