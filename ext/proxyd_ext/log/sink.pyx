"""How each kind of descriptor is kept from blocking.

O_NONBLOCK belongs to the open file, which proxyd's standard output shares with the shell and with whatever else writes there, so it may
not be set on what we were handed.  A pipe or a terminal is therefore opened anew through /proc, which gives an open file of our own;
a regular file is not, since append mode and offset must stay those we were given.
"""
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t
from libc.stdio cimport snprintf
from posix.fcntl cimport O_NONBLOCK, O_NOCTTY, O_WRONLY, fcntl, open
from posix.stat cimport S_ISFIFO, S_ISSOCK, fstat, struct_stat
from posix.unistd cimport close, isatty, write
from proxyd_ext.log.datagram cimport datagram_peer, datagram_write
from proxyd_ext.log.posix cimport MSG_DONTWAIT, MSG_NOSIGNAL, POLLOUT, poll, pollfd, send


cdef extern from "<fcntl.h>" nogil:
    int F_DUPFD_CLOEXEC
    int O_CLOEXEC


cdef enum:
    FIRST_FD = 3         # never take the place of a standard stream that happens to be closed
    PIPE_BUF = 4096      # POSIX: a pipe that poll() calls writable takes this much without blocking


cdef int _open_again(int fd) noexcept nogil:
    """The pipe or terminal behind `fd` as an open file of our own, or -1 (no /proc, no permission, a pipe that nobody reads)."""
    cdef char[32] path
    snprintf(path, sizeof(path), b"/proc/self/fd/%d", fd)
    return open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)


cdef int sink_open(Sink* sink, int fd) noexcept nogil:
    cdef struct_stat about
    cdef int again, own = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD)
    sink.fd = -1
    sink.kind = SINK_PLAIN
    if own < 0:
        return -errno
    if fstat(own, &about) == 0 and S_ISSOCK(about.st_mode):
        sink.kind = SINK_DATAGRAM if datagram_peer(own, &sink.peer) else SINK_SOCKET
    elif S_ISFIFO(about.st_mode) or isatty(own):
        sink.kind = SINK_GUARDED
        again = _open_again(own)
        if again >= 0:
            close(own)
            own = again
            sink.kind = SINK_NONBLOCK
    sink.fd = own
    return 0


cdef void sink_close(Sink* sink) noexcept nogil:
    if sink.fd >= 0:
        close(sink.fd)
        sink.fd = -1


cdef bint _has_room(int fd) noexcept nogil:
    cdef pollfd p
    p.fd = fd
    p.events = POLLOUT
    p.revents = 0
    return poll(&p, 1, 0) > 0


cdef ssize_t sink_write(Sink* sink, const uint8_t* data, size_t size) noexcept nogil:
    cdef ssize_t n
    if sink.kind == SINK_DATAGRAM:
        return datagram_write(sink.fd, &sink.peer, data, size)
    while True:
        if sink.kind == SINK_SOCKET:
            n = send(sink.fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
        elif sink.kind == SINK_GUARDED:
            if not _has_room(sink.fd):
                return 0
            n = write(sink.fd, data, min(size, <size_t>PIPE_BUF))
        else:
            n = write(sink.fd, data, size)
        if n >= 0:
            return n
        if errno == EAGAIN:
            return 0
        if errno != EINTR:
            return -errno
