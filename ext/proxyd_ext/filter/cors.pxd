"""Cross-origin resource sharing (Fetch standard, section 3.2) for one policy.

What is said to a request is lines that were written when the config was loaded, with the request's own origin in front. The lists of a
preflight's answer do not depend on what it asks for, so that the browser may keep them for the next one.
"""
from libc.stdint cimport uint8_t, uint32_t
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport Head


cdef enum:
    CORS_LINES_MAX = 2048     # room that the field lines need at most
    # Bounds of their parts, bytes; together with names and line ends they stay below CORS_LINES_MAX.  proxyd/config/cors.py has them, too.
    CORS_ORIGIN_MAX = 300
    CORS_METHODS_MAX = 256
    CORS_HEADERS_MAX = 1_000  # also of what a preflight asks for and gets told again
    CORS_EXPOSE_MAX = 1_000

    CORS_NONE = 0             # nothing to allow: no origin, or not one of ours (`out` may hold Vary all the same)
    CORS_LINES = 1            # `out` holds field lines for the answer
    CORS_PREFLIGHT = 2        # answer it: 204 with the field lines in `out`


ctypedef struct CorsOrigin:
    Slice text                # the whole origin; of a wildcard what stands before the `*`
    Slice tail                # of a wildcard what stands behind it: ".example.com:8443"
    bint wildcard


ctypedef struct CorsRule:
    CorsOrigin* origins
    int origin_count
    bint any                  # "*": whoever asks, so that no answer depends on Origin
    bint echo                 # a preflight may have every field that it asks for
    Slice lines               # field lines behind Access-Control-Allow-Origin
    Slice preflight           # the same of a preflight's answer


# What a policy says to a request.  Writes at most CORS_LINES_MAX bytes to `out`, their number to `size`.  Vary is among them, whatever is
# returned, where another Origin would get another answer.
cdef int cors_ask(const CorsRule* rule, const Head* head, uint8_t* out, uint32_t* size) noexcept nogil
# Names of fields that the policy alone writes, in the form of FilterStep.response_drop: where a server had written one too, a browser
# would take neither.
cdef Slice cors_drop() noexcept nogil


cdef class Cors:              # compiled from a CorsFilter; the snapshot keeps it
    cdef CorsRule* rule
    cdef list _keep           # the texts that slices point into
