"""Stub: owner access."""

cdef struct CorsRule:
    int nothing

cdef int cors_ask(const CorsRule* rule, const Head* head, uint8_t* out, uint32_t* size) noexcept nogil:
    return CORS_NONE


cdef class Cors:
    def __cinit__(self, spec):
        self._keep = [spec]
