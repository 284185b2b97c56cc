"""Keys of which the control plane shall hear: a bounded ring from any engine to the main thread, with an eventfd."""
from libc.stdint cimport uint32_t, uint64_t


ctypedef struct Wants:
    uint64_t* hashes
    uint64_t mask             # capacity - 1
    uint64_t head             # next to be written; this and the next under the lock
    uint64_t tail             # next to be read
    uint64_t lost             # that found it full
    int lock
    int fd                    # eventfd; readable while there is something


cdef bint wants_init(Wants* wants, uint32_t capacity) noexcept nogil         # capacity: a power of two; False: no memory or descriptor
cdef void wants_destroy(Wants* wants) noexcept nogil
cdef bint wants_push(Wants* wants, uint64_t hash) noexcept nogil             # False: full, counted
# Before the first wants_pop of a round, which goes on until there are no more: the descriptor is not readable any more.
cdef void wants_hush(Wants* wants) noexcept nogil
cdef bint wants_pop(Wants* wants, uint64_t* hash) noexcept nogil             # False: empty
