"""A bounded ring between two threads (one writer, one reader) with an eventfd: the shape of a door (design.md §2.5).

The writer learns at once when the ring is full, and the refusal is counted; what then happens is the caller's business.
"""
from libc.stdint cimport uint32_t, uint64_t


cdef enum:
    RING_ITEM_BYTES = 64


ctypedef struct RingItem:
    uint64_t kind         # caller's enum
    uint64_t[7] word      # caller's payload


ctypedef struct Ring:
    RingItem* items
    uint64_t mask         # capacity - 1
    uint64_t head         # next to be written; writer's
    uint64_t tail         # next to be read; reader's
    uint64_t refused      # pushes that found the ring full


cdef bint ring_init(Ring* ring, uint32_t capacity) noexcept nogil          # capacity: a power of two; False: out of memory
cdef void ring_destroy(Ring* ring) noexcept nogil
cdef bint ring_push(Ring* ring, const RingItem* item) noexcept nogil       # False: full, counted
cdef bint ring_pop(Ring* ring, RingItem* item) noexcept nogil              # False: empty
