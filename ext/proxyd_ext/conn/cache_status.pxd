"""The field Cache-Status (RFC 9211)."""
from libc.stdint cimport uint8_t
from proxyd_ext.conn.model cimport Exchange


# `Cache-Status: ...` CRLF (RFC 9211) for an answer; its size.  `out` has room for STATUS_LINE bytes.
cdef int cached_status_line(const Exchange* exchange, uint8_t* out) noexcept nogil
cdef enum:
    STATUS_LINE = 256
