"""Lines as datagrams, to a receiver that may go and return."""
from libc.stdint cimport uint8_t
from proxyd_ext.log.posix cimport sockaddr_storage, socklen_t


ctypedef struct Peer:
    sockaddr_storage address
    socklen_t size
    bint refused          # the last datagram was: so it is worth a look whether the next one is


cdef bint datagram_peer(int fd, Peer* out) noexcept nogil    # whether fd is a connected socket of datagrams, and with whom

# Send the first line of `data`, which ends with a newline, without that.  Bytes dealt with (> 0), 0: it cannot be sent now, or -errno.
cdef ssize_t datagram_write(int fd, Peer* peer, const uint8_t* data, size_t size) noexcept nogil
