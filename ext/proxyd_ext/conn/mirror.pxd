"""Mirroring: copies of a route's requests go to another upstream too, and nobody waits for the answers.

A copy begins when its exchange is over. The whole request then stands in the exchange's buffer, which the copy takes over: nothing is copied
and nothing counted on the way of the original. It connects and sends after the turn's answers have left (engine), so even the system calls of
a copy stand behind the original's last byte. The price: the copy of a request whose answer takes long comes that much later, in the order in
which exchanges end; what is mirrored must not depend on being simultaneous. Beginning with the original instead would save that, and cost a
copy of every request, for the exchange needs its buffer for retries.

Nothing of a copy reaches the original: it has a connection of its own, no retry, one deadline (`answer_ms`) for everything, and its failures
are counted, not logged. For the servers that it goes to it is a request like any other: it counts as in flight, in their figures, and for
their passive health. Who mirrors to an upstream that also serves clients should know that.

Bounded by `in_flight` copies of an upstream under way in one engine; each holds its request's buffer only until the kernel has the bytes.
Requests of which not every byte stands in the buffer (bodies larger than what is kept for retries, trailers, bodies that the client or the
server cut short) are not mirrored. Those beyond either bound are counted. Upgrades are not mirrored.
"""
from proxyd_ext.conn.model cimport Context, Exchange


# The exchange is over, and may be mirrored: when it is, its request buffer now belongs to the copy (exchange.request is NULL).
cdef inline void mirror_take(Exchange* exchange) noexcept nogil:
    if exchange.route != NULL and exchange.route.mirror != NULL:
        mirror_request(exchange)


cdef void mirror_request(Exchange* exchange) noexcept nogil
# Send the copies of requests that ended in this turn. To be called after the turn's flush, when there are any (context.new_copies).
cdef void mirrors_begin(Context* context) noexcept nogil
# Give up all copies, and make no more.
cdef void mirrors_abort(Context* context) noexcept nogil
