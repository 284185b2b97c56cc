"""Vary (RFC 9110 §12.5.5, RFC 9111 §4.1): which fields of a request choose among answers, and what they say, in a form to compare."""
from libc.stdint cimport uint8_t
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport Head


cdef enum:
    VARY_STAR = -1             # by what is not in the request, or by what is another for each: no other request can match
    VARY_TOO_MUCH = -2         # malformed, over VARY_NAMES_MAX names, or does not fit: not stored
    VARY_NAMES_MAX = 16
    VARY_NAMES_BYTES = 512     # room that vary_names asks for at most

    ENCODING_BR = 1
    ENCODING_GZIP = 2
    ENCODING_ZSTD = 4


# The names in all Vary fields of an answer: lower case, sorted, each once, with commas between them.
# Returns the size (0: does not vary), VARY_STAR or VARY_TOO_MUCH.  Fields that proxyd writes anew for each request (X-Forwarded-For,
# X-Real-IP, Forwarded, X-Request-ID) count as "*".
cdef int vary_names(const Head* answer, uint8_t* out, size_t cap) noexcept nogil

# Is the name (lower case) among those that vary_names wrote?
cdef bint names_have(Slice names, const char* name, size_t size) noexcept nogil

# What a request says in these fields (as vary_names wrote them): one line a name, LF between them, "-" where it is absent (or belongs to
# the client's connection, so that the server never saw it), else "=" and its values, joined with "," (RFC 9110 §5.3), without blanks
# around commas and with single ones elsewhere, but for what is quoted.  Two requests match when their texts are the same.
#   Accept-Encoding: the codings of ENCODING_* that it accepts, in that order; others make no difference, so that an answer in a coding
#   that is not among them must not be stored (STORE_ENCODING of cache/freshness).
#   Accept-Language: in lower case.
# Returns the size, or VARY_TOO_MUCH when it does not fit.
cdef int vary_text(Slice names, const Head* request, uint8_t* out, size_t cap) noexcept nogil

# ENCODING_* bits of what a request accepts (q above 0, RFC 9110 §12.5.3); -1: it has no Accept-Encoding.
cdef int accepted_encodings(const Head* request) noexcept nogil

# The value of Accept-Encoding that says the same as these bits: at most 12 bytes; returns the size.  Sent to servers in place of what came,
# it makes sure that an answer fits all clients of its variant.
cdef int write_encodings(int encodings, uint8_t* out) noexcept nogil

# The ENCODING_* of all Content-Encoding fields of an answer; 0: none or identity, -1: another one, or several.
cdef int content_encoding(const Head* answer) noexcept nogil
