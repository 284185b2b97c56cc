"""The form `logfmt`: `time=2026-11-21T14:02:11.000123Z id=… host="a b" …`."""
from libc.stdint cimport uint8_t


# A line of JSON as pairs with blanks between; bytes written, or 0 when it does not fit.  json: one flat object, as render.pyx writes it.
cdef size_t logfmt_of(const uint8_t* json, size_t size, uint8_t* out, size_t cap) noexcept nogil
