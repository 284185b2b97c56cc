"""UDP flows: the datagrams of one client address and port on one listener go to one server, and its answers back."""
from proxyd_ext.conn.model cimport Context
from proxyd_ext.io.listener cimport ListenerLocal


# Begin to serve a listener's socket on this engine, unless we do already.  0 or -errno.
cdef int udp_listen(Context* context, ListenerLocal* local, int fd) noexcept nogil
# Take what waits in the socket (but not one that was `handed_over`, which another process reads), then no new clients; flows go on, and
# answer through it.  From here on it is ours to close; False: nobody serves it here.
cdef bint udp_leave(Context* context, int fd, bint handed_over) noexcept nogil
# Once a second: close what was left, when the last flow was another engine's.
cdef void udp_sweep(Context* context) noexcept nogil
cdef void udp_review(Context* context) noexcept nogil
cdef void udp_abort(Context* context) noexcept nogil
