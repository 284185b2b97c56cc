"""One reading of the clock a turn, used by everything in it. A fake clock stands still until a test moves it."""
from libc.stdint cimport int64_t


ctypedef struct Clock:
    int64_t now_us        # monotonic, microseconds
    int64_t now_ms        # the same, milliseconds
    int64_t wall_us       # POSIX time, microseconds
    bint fake


cdef void clock_init(Clock* clock, bint fake) noexcept nogil
cdef void clock_read(Clock* clock) noexcept nogil                 # at the top of a turn; nothing for a fake clock
cdef void clock_advance(Clock* clock, int64_t ms) noexcept nogil  # fake clocks only
