"""UDP flows: the datagrams of one client address and port on one listener go to one server, and its answers back."""
from proxyd_ext.conn.model cimport Context
from proxyd_ext.io.listener cimport ListenerLocal


# Begin to serve a listener's socket on this engine.  0 or -errno.
cdef int udp_listen(Context* context, ListenerLocal* local, int fd) noexcept nogil
# Take what waits in the socket, then read it no more; flows go on, and answer through it.  The last one lets it go.
cdef void udp_leave(Context* context, ListenerLocal* local) noexcept nogil
cdef void udp_review(Context* context) noexcept nogil
cdef void udp_abort(Context* context) noexcept nogil
