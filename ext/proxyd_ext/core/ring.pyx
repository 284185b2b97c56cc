"""Rings (see ring.pxd)."""
from libc.stdlib cimport calloc, free
from proxyd_ext.core.shim cimport counter_add, load_acquire_u64, load_u64, store_release_u64


cdef bint ring_init(Ring* ring, uint32_t capacity) noexcept nogil:
    ring.items = <RingItem*>calloc(capacity, sizeof(RingItem))
    ring.mask = capacity - 1
    ring.head = 0
    ring.tail = 0
    ring.refused = 0
    return ring.items != NULL


cdef void ring_destroy(Ring* ring) noexcept nogil:
    free(ring.items)
    ring.items = NULL


cdef bint ring_push(Ring* ring, const RingItem* item) noexcept nogil:
    cdef uint64_t head = load_u64(&ring.head)
    if head - load_acquire_u64(&ring.tail) > ring.mask:
        counter_add(&ring.refused, 1)
        return False
    ring.items[head & ring.mask] = item[0]
    store_release_u64(&ring.head, head + 1)
    return True


cdef bint ring_pop(Ring* ring, RingItem* item) noexcept nogil:
    cdef uint64_t tail = load_u64(&ring.tail)
    if tail == load_acquire_u64(&ring.head):
        return False
    item[0] = ring.items[tail & ring.mask]
    store_release_u64(&ring.tail, tail + 1)
    return True
