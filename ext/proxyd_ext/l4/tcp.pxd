"""TCP flows: a client's connection and one to a server, and the bytes between them."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from proxyd_ext.conn.model cimport Context
from proxyd_ext.io.sys cimport sockaddr_storage, socklen_t


# The accept handler of "tcp" and "tls" listeners; `owner` is the ListenerLocal.
cdef void tcp_accept(void* owner, int fd, const sockaddr_storage* peer, socklen_t size) noexcept nogil
# Servers, or listeners, have changed: end what must end, set deadlines.
cdef void tcp_review(Context* context) noexcept nogil
cdef void tcp_abort(Context* context) noexcept nogil
