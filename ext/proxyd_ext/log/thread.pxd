"""The native thread that renders access records and writes them, and what the Python side may ask of it."""
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from proxyd_ext.log.ring cimport LogRing
from proxyd_ext.log.rules cimport LogRules


cdef struct LogWriter


# A writer with one ring per engine, `format` (LOG_*) and a duplicate of `fd` (-1: no sink, records are for the tap alone).  `rules` outlive
# it.  0, or an errno.
cdef int log_writer_new(LogWriter** out, int fd, int engines, int format, bint color, const LogRules* rules) noexcept nogil
cdef void log_writer_free(LogWriter* w) noexcept nogil    # its thread must have ended, or never begun

cdef LogRing* log_writer_ring(LogWriter* w, int engine) noexcept nogil    # NULL: there is no such engine

cdef int log_writer_start(LogWriter* w) noexcept nogil               # 0, or an errno
cdef int log_writer_stop(LogWriter* w) noexcept nogil                # 0, or an errno: the thread is stuck; then never free the writer
cdef int log_writer_reopen(LogWriter* w, int fd) noexcept nogil      # 0, or an errno; done at the top of the next round
cdef void log_writer_flush(LogWriter* w) noexcept nogil              # waits, for a bounded time

# The tap (tap.pxd), whose lines are JSON whatever the format of the sink is.
cdef void log_writer_follow(LogWriter* w, bint everything) noexcept nogil                     # whether it takes everything
cdef void log_writer_want(LogWriter* w, uint32_t slow_us, uint64_t few) noexcept nogil        # what it takes else: LogWants
cdef int log_writer_tap_fd(const LogWriter* w) noexcept nogil
cdef size_t log_writer_tap(LogWriter* w, const uint8_t** out) noexcept nogil
cdef uint64_t log_writer_tap_dropped(const LogWriter* w) noexcept nogil
cdef uint64_t log_writer_tap_held(const LogWriter* w, int of) noexcept nogil     # of a class (BUDGET_*)

cdef uint64_t log_writer_written(const LogWriter* w) noexcept nogil    # records that the sink took
cdef uint64_t log_writer_dropped(const LogWriter* w) noexcept nogil    # records refused by a full ring or lost by a failing sink
cdef uint64_t log_writer_sampled_out(const LogWriter* w) noexcept nogil    # records that the rules leave out
cdef bint log_writer_sleeps(const LogWriter* w) noexcept nogil         # whether it waits for a record without looking by itself
