"""A client's connection: how it comes, rests between requests, and ends. What happens during a request is the exchange's business."""
from proxyd_ext.conn.model cimport ClientConn
from proxyd_ext.io.sys cimport sockaddr_storage, socklen_t


cdef enum:
    DRAIN_QUIET_MS = 1000     # a connection that rests while its listener or the engine drains is closed after so long


# An AcceptHandler: owner is the ListenerLocal.
cdef void client_accept(void* owner, int fd, const sockaddr_storage* peer, socklen_t size) noexcept nogil
# Bytes have come while CLIENT_PROXY.  True: the header is whole, the client known, and CLIENT_IDLE.
cdef bint client_read_proxy(ClientConn* client) noexcept nogil
# The exchange is over and the connection stays: wait for the next request, or go on with one that already came.
cdef void client_rest(ClientConn* client) noexcept nogil
# No further request: when everything given to it has left, say FIN, then read what still comes for a moment, then close.
# `quiet`: the client itself said that this was its last request, so nothing more is expected and the wait is spared.
cdef void client_finish(ClientConn* client, bint quiet) noexcept nogil
# The timer of a connection whose last answer has not left yet: go on while the client takes some of it, else cut it off.
cdef void client_check_sending(ClientConn* client) noexcept nogil
# Its last answer is out: the idle time begins, and what was held back may be read (STREAM_DRAINED while CLIENT_IDLE).
cdef void client_rested(ClientConn* client) noexcept nogil
# The bytes are out (STREAM_DRAINED while CLIENT_CLOSING).
cdef void client_finished(ClientConn* client) noexcept nogil
# Throw away what came while lingering; closes when it is too much.
cdef void client_discard(ClientConn* client) noexcept nogil
cdef void client_close(ClientConn* client, bint reset) noexcept nogil

# A stand-in for the client of an exchange that nobody waits for, alike to `like`.  NULL: no memory.
cdef ClientConn* client_behind(ClientConn* like) noexcept nogil
cdef void client_behind_ended(ClientConn* client) noexcept nogil
