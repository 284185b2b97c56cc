"""Asking the server: for the whole answer, whatever the client wants of it, and whether what is stored still holds (RFC 9111 §4.3)."""
from libc.stdint cimport uint8_t
from proxyd_ext.conn.model cimport CacheUse, Exchange
from proxyd_ext.http1.head cimport Head


# What is to be done to the head that goes to the server: fields of `head` that belong to the client's own cache are marked, so that the
# whole answer comes; lines to add are written to `out` (room: CACHED_LINES).  Returns their size.
cdef int cached_edit(Exchange* exchange, Head* head, uint8_t* out) noexcept nogil
cdef enum:
    CACHED_LINES = 1024

# It has answered 304: the stored answer still holds, as a new object with its body and the merged head.  STORE_SERVE or STORE_AGAIN.
cdef int cached_refresh(CacheUse* use, Head* head) noexcept nogil
