"""Keys that were evicted from the small queue a short while ago, as fingerprints: no more than "was it here lately?".

A hash table of buckets of one cache line, eight entries of fingerprint and stamp, as the S3-FIFO paper proposes (§4.2): what was put in
longer ago than the caller's limit is stale by its stamp alone, and its place is taken by the next one that comes to its bucket, so there is
no queue to keep and nothing to sweep. A full bucket gives up its oldest entry: with six of eight places used on average that costs 5 % of
the entries, nearly all of them old. 8 bytes an entry, 10.7 to 13.3 with the places that stay free.
Two keys of one fingerprint are one entry; among n entries a stranger is taken for a known key with a chance of n / 2^32.
"""
from libc.stdint cimport uint32_t, uint64_t


ctypedef struct Ghost:
    uint64_t* slots           # buckets of eight: fingerprint above, stamp below; 0: never used
    uint32_t buckets
    uint32_t clock            # entries that were put in so far: the stamp of the last; wraps
    uint64_t room             # entries it was made for


# False: no memory.
cdef bint ghost_init(Ghost* ghost) noexcept nogil
cdef void ghost_destroy(Ghost* ghost) noexcept nogil
# Note a key; `limit`: how many of the latest entries count. Grows or shrinks the table when that no longer fits; without memory the table
# stays as it is and forgets earlier.
cdef void ghost_put(Ghost* ghost, uint32_t fingerprint, uint64_t limit) noexcept nogil
# Whether the key is among the `limit` entries that were put in last; it is taken out.
cdef bint ghost_take(Ghost* ghost, uint32_t fingerprint, uint64_t limit) noexcept nogil
# Bytes that the table takes.
cdef uint64_t ghost_bytes(const Ghost* ghost) noexcept nogil
