"""A race on purpose: two threads add to one plain counter. run.py fails unless ThreadSanitizer reports it, so that silence means
something."""
from libc.stdint cimport uint64_t
from proxyd_stress.threads cimport run_both


cdef void* add(void* argument) noexcept nogil:
    cdef uint64_t* counter = <uint64_t*>argument
    cdef uint64_t _
    for _ in range(1000):
        counter[0] += 1
    return NULL


def run(rounds: int) -> dict[str, int]:
    cdef uint64_t counter = 0
    with nogil:
        run_both(add, add, &counter)
    return {"counted": counter}
