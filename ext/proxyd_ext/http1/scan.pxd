"""What scan.h offers: byte classes, scans, comparing words."""
from libc.stdint cimport uint8_t


cdef extern from "proxyd_ext/http1/scan.h" nogil:
    enum:
        PXD_TOKEN
        PXD_VALUE
        PXD_TARGET
        PXD_HOST
        PXD_PATH
        PXD_UNRESERVED
        PXD_ESCAPE

    const uint8_t* pxd_class
    # The first byte of [p, end) outside the class, or `end`; bytes from `base` on must be readable.
    const uint8_t* span_value "pxd_span_value"(const uint8_t* base, const uint8_t* p, const uint8_t* end)
    const uint8_t* span_target "pxd_span_target"(const uint8_t* base, const uint8_t* p, const uint8_t* end)
    # p[0:n], without controls, against a lower-case literal of letters, digits, '-' with 1 <= n <= 24.
    bint word_is "pxd_word_is"(const uint8_t* p, const char* low, size_t n)


cdef inline bint is_blank(uint8_t c) noexcept nogil:
    """OWS of RFC 9110 §5.6.3."""
    return c == c' ' or c == c'\t'
