"""Calendar periods of quotas, in UTC: their numbers, and when they end."""
from libc.stdint cimport int64_t, uint64_t

# day: days since 1970-01-01; week: ISO weeks (from Monday) since that of 1970-01-01; month: year * 12 + month - 1
cdef uint64_t period_of(int period, int64_t wall_s) noexcept nogil
# The second at which the next one begins.
cdef int64_t period_end_s(int period, int64_t wall_s) noexcept nogil
