"""UDP flows (see udp.pxd)."""


cdef int udp_listen(Context* context, ListenerLocal* local, int fd) noexcept nogil:
    return 0


cdef void udp_leave(Context* context, ListenerLocal* local) noexcept nogil:
    pass


cdef void udp_review(Context* context) noexcept nogil:
    pass


cdef void udp_abort(Context* context) noexcept nogil:
    pass
