"""Cross-origin resource sharing (Fetch standard, section 3.2) for one policy."""
from libc.stdint cimport uint8_t, uint32_t
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport Head


cdef struct CorsRule

cdef enum:
    CORS_LINES_MAX = 2048     # room that cors_lines needs at most

    CORS_NONE = 0             # no cross-origin request (but `out` may hold Vary)
    CORS_LINES = 1            # `out` holds field lines for the answer
    CORS_PREFLIGHT = 2        # answer it: 204 with the field lines in `out`


# What a policy says to a request.  Writes at most CORS_LINES_MAX bytes to `out`, their number to `size`.
cdef int cors_ask(const CorsRule* rule, const Head* head, uint8_t* out, uint32_t* size) noexcept nogil


cdef class Cors:              # compiled from a CorsFilter; the snapshot keeps it
    cdef CorsRule* rule
    cdef list _keep
