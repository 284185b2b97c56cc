"""One shard of the store: an index of bases, the lists of tags, the policy, and the lock over all of them.

Everything here is called with the shard's lock held, and allocates nothing from the arena but what it says.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from proxyd_ext.cache.object cimport Base, Object, Tag, TagLink
from proxyd_ext.cache.policy cimport Policy


ctypedef struct Index:        # of chains; grows by moving a few buckets with every insertion, so that nobody waits for all of it
    void** buckets
    uint64_t mask
    void** old                # being emptied; NULL: none
    uint64_t old_mask
    uint64_t moved            # buckets of it that are empty
    uint64_t count
    int frozen                # walks under way: it does not grow


cdef struct Shard:
    int lock
    Index bases
    Index tags
    Policy policy
    uint64_t objects          # without markers
    uint64_t markers


cdef bint shard_init(Shard* shard, uint64_t target) noexcept nogil       # False: no memory
cdef void shard_destroy(Shard* shard) noexcept nogil
cdef uint64_t shard_overhead(const Shard* shard) noexcept nogil          # bytes of buckets

cdef Base* shard_base(Shard* shard, uint64_t hash, const uint8_t* key, uint32_t size) noexcept nogil    # NULL: none
cdef void shard_add_base(Shard* shard, Base* base) noexcept nogil
cdef void shard_remove_base(Shard* shard, Base* base) noexcept nogil
# The n-th bucket of all (0 <= n < shard_buckets), for walks.
cdef uint64_t shard_buckets(const Shard* shard) noexcept nogil
cdef Base* shard_bucket(Shard* shard, uint64_t n) noexcept nogil

cdef Tag* shard_tag(Shard* shard, uint64_t hash, const uint8_t* text, uint32_t size) noexcept nogil     # NULL: none
cdef void shard_add_tag(Shard* shard, Tag* tag) noexcept nogil
cdef void shard_remove_tag(Shard* shard, Tag* tag) noexcept nogil
# For a walk over all buckets that misses nobody: from now on no bucket moves.  False: some still have to: give the lock, take it, call
# again.
cdef bint shard_freeze(Shard* shard) noexcept nogil
cdef void shard_thaw(Shard* shard) noexcept nogil
