"""Answering from the cache: the stored head with what belongs to this request, and the stored body, or parts of it.

Small answers leave in one send. Of a large body nothing is copied: full pieces go from the arena's file to the socket by sendfile(2), at
the
client's pace; only what the client has not yet taken stays pinned when the object is gone meanwhile.
"""
from proxyd_ext.conn.model cimport Exchange
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport Head


cdef enum:
    DELIVER_DONE = 0          # all has been given to the client's stream
    DELIVER_BLOCKED = 1       # the client takes no more now: STREAM_DRAINED follows
    DELIVER_WAITS = 2         # for the fill: a wake-up follows
    DELIVER_FAILED = 3        # the body broke off
    DELIVER_LATER = 4         # enough for one turn


# Write the head of the answer from `cached.object`, and what can go of its body.  `asked`: the client's head, for its conditions and
# ranges; NULL: they are
# not looked at.  `cookies`: whole Set-Cookie lines of our own.
cdef int deliver_begin(Exchange* exchange, const Head* asked, Slice cookies) noexcept nogil
cdef int deliver_more(Exchange* exchange) noexcept nogil
