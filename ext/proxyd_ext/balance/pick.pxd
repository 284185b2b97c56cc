"""Choosing a member of an upstream for one try of one exchange."""
from libc.stdint cimport int32_t, int64_t, uint64_t
from proxyd_ext.balance.upstream cimport Upstream
from proxyd_ext.core.hash cimport Random


cdef enum:
    TRIED_MAX = 16            # members that an exchange remembers having tried; more than retry.attempts can be


ctypedef struct Tried:
    int32_t[TRIED_MAX] member
    int count


# A member index, or -1 when no member is usable and untried.  Backups are asked when no primary member is left.
# `key` is the hash of the request's key, for BALANCE_HASH.
cdef int32_t pick(const Upstream* upstream, const Tried* tried, uint64_t key, Random* random, int64_t now_ms) noexcept nogil

# What came of a try: passive health.  A failure may eject the server; returns True when it did so just now.
cdef bint note_failure(const Upstream* upstream, int32_t member, int64_t now_ms) noexcept nogil
cdef void note_success(const Upstream* upstream, int32_t member) noexcept nogil
