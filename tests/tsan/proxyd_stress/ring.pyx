"""core/ring: everything that was pushed comes out once, in order, whole; a small ring, so that it is full and empty all the time."""
from libc.stdint cimport uint64_t
from proxyd_ext.core.ring cimport Ring, RingItem, ring_destroy, ring_init, ring_pop, ring_push
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_stress.threads cimport run_both, sched_yield

cdef enum:
    CAPACITY = 8


ctypedef struct Shared:
    Ring ring
    uint64_t count      # items to pass
    uint64_t refused    # pushes that the writer saw refused


cdef void* write_all(void* argument) noexcept nogil:
    cdef Shared* shared = <Shared*>argument
    cdef RingItem item
    cdef uint64_t i
    cdef int word
    for i in range(shared.count):
        item.kind = i
        for word in range(7):
            item.word[word] = i * 7 + word
        while not ring_push(&shared.ring, &item):
            shared.refused += 1
            sched_yield()
    return NULL


cdef void* read_all(void* argument) noexcept nogil:
    cdef Shared* shared = <Shared*>argument
    cdef RingItem item
    cdef uint64_t i
    cdef int word
    for i in range(shared.count):
        while not ring_pop(&shared.ring, &item):
            sched_yield()
        INVARIANT(item.kind == i)
        for word in range(7):
            INVARIANT(item.word[word] == i * 7 + word)
    return NULL


def run(count: int) -> dict[str, int]:
    cdef Shared shared
    INVARIANT(ring_init(&shared.ring, CAPACITY))
    shared.count, shared.refused = count, 0
    with nogil:
        run_both(write_all, read_all, &shared)
    INVARIANT(shared.ring.refused == shared.refused)
    ring_destroy(&shared.ring)
    return {"passed": count, "refused": shared.refused}
