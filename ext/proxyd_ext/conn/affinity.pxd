"""Which server, or which branch of a split, a client belongs to: read from its request, told to it with the answer."""
from libc.stdint cimport uint32_t, uint8_t
from proxyd_ext.conn.model cimport Exchange
from proxyd_ext.http1.head cimport Head
from proxyd_ext.snapshot.compile cimport Target


cdef enum:
    COOKIES_ROOM = 1536       # of the Set-Cookie lines that affinity_lines writes


# The branch of the route's split that the request is pinned to; NULL: none, draw one.
cdef Target* affinity_branch(Exchange* exchange, const Head* head) noexcept nogil
# Note what the request brings for the balancer of its upstream: key, sticky cookie.  Values point into the head.
cdef void affinity_read(Exchange* exchange, const Head* head) noexcept nogil
# The same for another upstream, when the client's own head is long gone: from the head as it is sent.
cdef void affinity_again(Exchange* exchange) noexcept nogil
# The Set-Cookie lines that the answer `head` gets from us, into COOKIES_ROOM bytes; their size.
cdef uint32_t affinity_lines(const Exchange* exchange, const Head* head, uint8_t* out) noexcept nogil
