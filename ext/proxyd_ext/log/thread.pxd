"""The native thread that renders access records and writes them, and what the Python side may ask of it."""
from libc.stdint cimport uint64_t
from proxyd_ext.log.ring cimport LogRing


cdef struct LogWriter


# A writer with one ring per engine, `format` (LOG_*) and a duplicate of `fd`.  0, or an errno.
cdef int log_writer_new(LogWriter** out, int fd, int engines, int format, bint color) noexcept nogil
cdef void log_writer_free(LogWriter* w) noexcept nogil    # its thread must have ended, or never begun

cdef LogRing* log_writer_ring(LogWriter* w, int engine) noexcept nogil    # NULL: there is no such engine

cdef int log_writer_start(LogWriter* w) noexcept nogil               # 0, or an errno
cdef int log_writer_stop(LogWriter* w) noexcept nogil                # 0, or an errno: the thread is stuck; then never free the writer
cdef int log_writer_reopen(LogWriter* w, int fd) noexcept nogil      # 0, or an errno; done at the top of the next round
cdef void log_writer_flush(LogWriter* w) noexcept nogil              # waits, for a bounded time

cdef uint64_t log_writer_written(const LogWriter* w) noexcept nogil    # records that the sink took
cdef uint64_t log_writer_dropped(const LogWriter* w) noexcept nogil    # records refused by a full ring or lost by a failing sink
cdef bint log_writer_sleeps(const LogWriter* w) noexcept nogil         # whether it waits for a record without looking by itself
