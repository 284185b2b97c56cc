"""Stub: owner limit."""

cdef struct BanTable:
    int nothing

cdef int64_t ban_left(BanTable* table, uint64_t hash, int64_t now_us) noexcept nogil:
    return 0

cdef bint ban_note(BanTable* table, uint64_t hash, int64_t now_us) noexcept nogil:
    return False

cdef void ban_count(BanTable* table, int engine) noexcept nogil:
    pass


cdef class Bans:
    def __init__(self, name, **kw):
        self.name = name
