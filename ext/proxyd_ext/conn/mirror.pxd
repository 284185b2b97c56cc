"""Mirroring: copies of a route's requests go to another upstream too, and nobody waits for the answers.

A copy begins when its exchange is over. The whole request then stands in the exchange's buffer, which the copy takes over: nothing is
copied, and nothing happens while the original is under way. Copies look for a server, connect and send after the turn's answers have left
(see engine), so that even their system calls stand behind the original's last byte. The price: the copy of a request whose answer takes
long comes that much later, and copies come in the order in which exchanges end. Beginning together with the original would cost a copy of
every request (the exchange needs its buffer for retries) and let the two compete.

Nothing of a copy reaches the original: it has a connection of its own, one deadline (`answer_ms`) for everything, no retry, and its
failures are counted, not logged. For the server that it goes to it is a request like any other: in flight, in its figures, and for its
passive health. Who mirrors to an upstream that serves clients, too, should know that. But it never waits for room there, asks for none
while requests do, and is no probe of a circuit that is not closed.

Bounded by `in_flight` copies of one upstream under way in one engine, which holds over reloads; a copy holds its buffer only until the
kernel has the request. What is not mirrored: upgrades; and, counted, requests beyond that bound, and those of which not every byte stands
in the buffer: bodies larger than what is kept for retries, trailers, bodies that were cut short. When the last client of a draining engine
has gone, its copies are given up: nobody waits for them.
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
