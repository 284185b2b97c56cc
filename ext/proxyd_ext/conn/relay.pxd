"""Moving a body from one side of an exchange to the other: bounded in memory, re-framed where the two sides differ."""
from proxyd_ext.conn.model cimport Exchange


cdef enum:
    RELAY_MORE = 0            # all that had come was moved
    RELAY_BLOCKED = 1         # the receiving side is full: the giving side is paused until STREAM_DRAINED
    RELAY_DONE = 2            # the body is complete
    RELAY_SPLICED = 3         # a splice moves the rest; STREAM_SPLICED will be told


# Each returns RELAY_* or -FAULT_*.
cdef int relay_request(Exchange* exchange) noexcept nogil
cdef int relay_response(Exchange* exchange) noexcept nogil
# A body that the origin delimited by closing is complete: say so to the client.
cdef void finish_until_close(Exchange* exchange) noexcept nogil
