"""Temporary bans: who is refused too often within a time is refused at once for another.

The table of rate limits (limit/table.pxd) with words of another meaning. A key's refusals are counted from the first one on; when
`within` has gone by without a ban, the next refusal is a first one again. So nobody is banned for fewer than `after` refusals within
`within`, and whoever goes on at a higher rate than that, is; only a burst across the end of a count can come to nearly twice `after`
unpunished. (A leaky count, as of a rate limit, would let twice the rate pass for a whole `within`.)

The 58 bits: when the count or the ban ends, in milliseconds modulo 2^41 · the count · whether it is a ban.
"""
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
