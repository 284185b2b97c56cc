"""Stub: owner gate."""

cdef struct InflightTable:
    int nothing

cdef int inflight_take(InflightTable* table, uint64_t hash, int64_t most) noexcept nogil:
    return INFLIGHT_TAKEN

cdef void inflight_give(InflightTable* table, uint64_t hash) noexcept nogil:
    pass

cdef void inflight_count(InflightTable* table, int engine, bint refused, bint dry) noexcept nogil:
    pass


cdef class Inflight:
    def __init__(self, name, **kw):
        self.name = name
