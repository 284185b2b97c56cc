"""Temporary bans: who is refused too often within a time is refused at once for another."""
from libc.stdint cimport int64_t, uint64_t


cdef struct BanTable


# Microseconds that the key (not 0) is still banned for; 0: it is not.
cdef int64_t ban_left(BanTable* table, uint64_t hash, int64_t now_us) noexcept nogil
# The key was refused once more.  True: from now on it is banned.
cdef bint ban_note(BanTable* table, uint64_t hash, int64_t now_us) noexcept nogil
cdef void ban_count(BanTable* table, int engine) noexcept nogil         # a request of a banned key was refused


cdef class Bans:
    cdef BanTable* table
    cdef readonly str name
