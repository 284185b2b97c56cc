"""A lock of one word for sections of a few instructions, never held across I/O (design.md §4)."""
from libc.stdint cimport int32_t
from posix.unistd cimport usleep
from proxyd_ext.core.shim cimport cpu_relax, fetch_or_int, load_int, store_release_int


cdef inline void lock_take(int* word) noexcept nogil:
    """Spin; a holder that lost its CPU is waited for asleep, so that it can get it back."""
    cdef int32_t spins = 0
    while fetch_or_int(word, 1):
        while load_int(word):
            cpu_relax()
            spins += 1
            if spins > 1000:
                usleep(20)


cdef inline void lock_give(int* word) noexcept nogil:
    store_release_int(word, 0)
