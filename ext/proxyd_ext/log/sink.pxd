"""A descriptor that the log thread writes to and that must never hold it for long, whatever stands behind it."""
from libc.stdint cimport uint8_t
from proxyd_ext.log.datagram cimport Peer


cdef enum:
    SINK_PLAIN = 0       # regular file or device: write() does not wait for anybody
    SINK_NONBLOCK = 1    # pipe or terminal, opened anew for ourselves without blocking
    SINK_SOCKET = 2      # MSG_DONTWAIT
    SINK_GUARDED = 3     # pipe or terminal that could not be opened anew: only after poll(), only as much as then fits
    SINK_DATAGRAM = 4    # connected socket of datagrams: a line is one


ctypedef struct Sink:
    int fd               # ours; -1: closed
    int kind             # SINK_*
    Peer peer            # SINK_DATAGRAM: whom it is connected to


# Take a duplicate of `fd`, close-on-exec.  0, or -errno.
cdef int sink_open(Sink* sink, int fd) noexcept nogil
cdef void sink_close(Sink* sink) noexcept nogil

# Write what can be written now.  Bytes (> 0), 0: nothing can be written now, or -errno.
cdef ssize_t sink_write(Sink* sink, const uint8_t* data, size_t size) noexcept nogil
