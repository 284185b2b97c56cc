# cython: cdivision=True
"""Fingerprints in buckets of a cache line (see ghost.pxd)."""
from libc.stdlib cimport free
from libc.string cimport memset
from posix.stdlib cimport posix_memalign

cdef enum:
    WAYS = 8                  # entries of a bucket: 64 bytes
    FILL = 6                  # of them used on average when the table is full
    ROOM_MIN = 48             # entries
    LIMIT_MAX = 0x40000000    # stamps are compared modulo 2^32


cdef inline uint32_t _age(const Ghost* ghost, uint64_t slot) noexcept nogil:
    """Entries that were put in since. What was never used is as old as can be."""
    return ghost.clock - <uint32_t>slot if slot != 0 else <uint32_t>0xFFFFFFFF


cdef inline uint64_t* _bucket(const Ghost* ghost, uint32_t fingerprint) noexcept nogil:
    return ghost.slots + WAYS * ((<uint64_t>fingerprint * ghost.buckets) >> 32)


cdef bint _make(Ghost* ghost, uint64_t room) noexcept nogil:
    """An empty table for so many entries; the clock stays."""
    cdef uint64_t buckets = (room + FILL - 1) // FILL
    cdef void* slots = NULL
    if posix_memalign(&slots, 64, buckets * WAYS * sizeof(uint64_t)) != 0:
        return False
    memset(slots, 0, buckets * WAYS * sizeof(uint64_t))
    ghost.slots = <uint64_t*>slots
    ghost.buckets = <uint32_t>buckets
    ghost.room = room
    return True


cdef void _write(Ghost* ghost, uint64_t slot) noexcept nogil:
    """Into its bucket: over its own older entry, else over the oldest."""
    cdef uint64_t* bucket = _bucket(ghost, <uint32_t>(slot >> 32))
    cdef int i, oldest = 0
    for i in range(WAYS):
        if bucket[i] != 0 and bucket[i] >> 32 == slot >> 32:
            bucket[i] = slot
            return
        if _age(ghost, bucket[i]) > _age(ghost, bucket[oldest]):
            oldest = i
    if _age(ghost, slot) < _age(ghost, bucket[oldest]):
        bucket[oldest] = slot


cdef void _refit(Ghost* ghost, uint64_t room, uint64_t limit) noexcept nogil:
    """Another table with those entries of this one that still count."""
    cdef Ghost old = ghost[0]
    cdef uint64_t i
    if not _make(ghost, room):
        return
    for i in range(<uint64_t>old.buckets * WAYS):
        if _age(&old, old.slots[i]) < limit:
            _write(ghost, old.slots[i])
    free(old.slots)


cdef bint ghost_init(Ghost* ghost) noexcept nogil:
    ghost.clock = 0
    return _make(ghost, ROOM_MIN)


cdef void ghost_destroy(Ghost* ghost) noexcept nogil:
    free(ghost.slots)
    ghost.slots = NULL


cdef void ghost_put(Ghost* ghost, uint32_t fingerprint, uint64_t limit) noexcept nogil:
    limit = min(limit, <uint64_t>LIMIT_MAX)
    if limit > ghost.room or (ghost.room > ROOM_MIN and limit < ghost.room // 4):
        _refit(ghost, max(limit + limit // 4, <uint64_t>ROOM_MIN), limit)
    ghost.clock += 1
    _write(ghost, <uint64_t>fingerprint << 32 | ghost.clock)


cdef bint ghost_take(Ghost* ghost, uint32_t fingerprint, uint64_t limit) noexcept nogil:
    cdef uint64_t* bucket = _bucket(ghost, fingerprint)
    cdef bint known
    cdef int i
    for i in range(WAYS):
        if bucket[i] != 0 and <uint32_t>(bucket[i] >> 32) == fingerprint:
            known = _age(ghost, bucket[i]) < min(limit, <uint64_t>LIMIT_MAX)
            bucket[i] = 0
            return known
    return False


cdef uint64_t ghost_bytes(const Ghost* ghost) noexcept nogil:
    return <uint64_t>ghost.buckets * WAYS * sizeof(uint64_t)
