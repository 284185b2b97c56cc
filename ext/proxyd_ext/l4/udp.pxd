"""UDP flows: the datagrams of one client address and port on one listener go to one server, and its answers back."""
from proxyd_ext.conn.model cimport Context
from proxyd_ext.io.listener cimport ListenerLocal


# Begin to serve a listener's socket on this engine.  0 or -errno.
cdef int udp_listen(Context* context, ListenerLocal* local, int fd) noexcept nogil
# Take what waits in the socket, then no new clients; flows go on, and answer through it.  From here on it is ours to close.
cdef void udp_leave(Context* context, ListenerLocal* local) noexcept nogil
# Once a second: close what was left, when the last flow was another engine's.
cdef void udp_sweep(Context* context) noexcept nogil
cdef void udp_review(Context* context) noexcept nogil
cdef void udp_abort(Context* context) noexcept nogil
