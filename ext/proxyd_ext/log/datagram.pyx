"""One line, one datagram.

A receiver that has gone is found out by an error: at once on a unix socket; with UDP by the next datagram, if the other machine says so at
all, and the error speaks of the one before.  Then the socket is connected again to where it was, which on a path finds whoever listens
there now, and the line is sent again.  That fails, too, while nobody is there, and the thread gives up its batch (thread.pyx), so that a
dead receiver is asked once a batch.
"""
from libc.errno cimport EAGAIN, ECONNREFUSED, EINTR, ENOBUFS, errno
from libc.stdint cimport uint8_t
from libc.string cimport memchr
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.log.posix cimport (
    MSG_DONTWAIT, MSG_NOSIGNAL, SO_ERROR, SO_TYPE, SOCK_DGRAM, SOL_SOCKET, connect, getpeername, getsockopt, send, sockaddr, socklen_t)


cdef int _option(int fd, int name) noexcept nogil:
    cdef int value = 0
    cdef socklen_t size = sizeof(int)
    return value if getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 else 0


cdef bint datagram_peer(int fd, Peer* out) noexcept nogil:
    out.size = sizeof(out.address)
    out.refused = False
    return _option(fd, SO_TYPE) == SOCK_DGRAM and getpeername(fd, <sockaddr*>&out.address, &out.size) == 0


cdef ssize_t _send(int fd, const uint8_t* data, size_t size) noexcept nogil:
    """Bytes (0 for an empty datagram, too), or -errno."""
    cdef ssize_t n
    while True:
        n = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
        if n >= 0:
            return n
        if errno != EINTR:
            return -errno


cdef ssize_t datagram_write(int fd, Peer* peer, const uint8_t* data, size_t size) noexcept nogil:
    cdef const uint8_t* end = <const uint8_t*>memchr(data, c'\n', size)
    cdef ssize_t n, line = end - data
    INVARIANT(end != NULL)
    n = _send(fd, data, line)
    if n < 0 and n != -EAGAIN and n != -ENOBUFS:
        peer.refused = True
        if connect(fd, <const sockaddr*>&peer.address, peer.size) < 0:
            return -errno
        n = _send(fd, data, line)
    if n >= 0 and peer.refused:
        peer.refused = _option(fd, SO_ERROR) != 0    # on this machine UDP's answer is here already
        if peer.refused:
            return -ECONNREFUSED
    if n == -EAGAIN or n == -ENOBUFS:
        return 0
    return n if n < 0 else line + 1
