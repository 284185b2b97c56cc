"""Phase CACHE_STORE: a server has answered, and its answer is stored, or not, or something stored answers in its place."""
from libc.stdint cimport uint32_t
from proxyd_ext.conn.model cimport Exchange
from proxyd_ext.http1.head cimport Head


cdef enum:
    STORE_RELAY = 0           # the answer goes to this client only
    STORE_SERVE = 1           # `object` answers; nothing more of the server's answer is needed (its body, if any, is stored or of no use)
    STORE_AGAIN = 3           # a 304 for something that we do not have: ask once more, without a condition
    STORE_FILL = 2            # `object` answers, and its body is still to come (conn/fill)


# Phase CACHE_STORE: a server has answered.  STORE_*.  The body's first bytes stand behind the head (`size` bytes) in the origin's buffer.
cdef int cached_answer(Exchange* exchange, Head* head, uint32_t size) noexcept nogil
