"""The body of an answer on its way into the cache, once its head has been stored: from the server's connection into the object's chain.

A fill has no client. Whoever wants the answer reads the chain (conn/deliver), the one that asked first among them; so a client that is slow
or goes away stops nobody. An object that nobody can find any more (it grew too large, was purged, or its memory was needed) is filled
only for those who read it already, at their pace, and given up when the last of them has gone.
"""
from proxyd_ext.conn.model cimport Context, Exchange, Fill
from proxyd_ext.http1.head cimport Head


# Take the server's connection over from the exchange, whose use holds the object.  The answer's head (`size` bytes) is consumed here.
# False: no memory; nothing has happened.
cdef bint fill_begin(Exchange* exchange, const Head* head, int size) noexcept nogil
cdef void fill_woken(Fill* fill) noexcept nogil      # its readers have made room, or have gone
cdef void fills_abort(Context* context) noexcept nogil
