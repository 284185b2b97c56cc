# cython: cdivision=True
"""The cached clock (see clock.pxd). Both readings come from the vDSO: no system call."""
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec


cdef void _read_both(Clock* clock) noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    clock.now_us = <int64_t>t.tv_sec * 1000000 + t.tv_nsec // 1000
    clock.now_ms = clock.now_us // 1000
    clock_gettime(CLOCK_REALTIME, &t)
    clock.wall_us = <int64_t>t.tv_sec * 1000000 + t.tv_nsec // 1000


cdef void clock_init(Clock* clock, bint fake) noexcept nogil:
    clock.fake = fake
    _read_both(clock)


cdef void clock_read(Clock* clock) noexcept nogil:
    if not clock.fake:
        _read_both(clock)


cdef void clock_advance(Clock* clock, int64_t ms) noexcept nogil:
    clock.now_us += ms * 1000
    clock.now_ms += ms
    clock.wall_us += ms * 1000
