"""The tap: lines that the log thread sets aside for readers within proxyd itself (the flight recorder, `proxyd logs -f`, traces)."""
from libc.stdint cimport uint64_t, uint8_t
from proxyd_ext.log.posix cimport pthread_mutex_t


cdef enum:
    TAP_BYTES = 1024 * 1024    # of lines that wait to be taken; some 2,000 records


ctypedef struct LogTap:
    pthread_mutex_t lock
    int event_fd               # readable while lines wait
    uint8_t* lines             # under `lock`, as the next
    size_t filled
    uint8_t* spare             # the taker's: what it took last
    uint64_t dropped           # lines that there was no room for


cdef int tap_init(LogTap* tap) noexcept nogil      # 0, or an errno
cdef void tap_free(LogTap* tap) noexcept nogil     # also of one that is all zeros but for event_fd -1

cdef void tap_put(LogTap* tap, const uint8_t* line, size_t size) noexcept nogil    # the log thread; never waits for long
# All that waits; `out` holds until the next call.  One taker.
cdef size_t tap_take(LogTap* tap, const uint8_t** out) noexcept nogil
