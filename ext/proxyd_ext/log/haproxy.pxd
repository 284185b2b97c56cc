"""The record of an exchange, or of a flow, as HAProxy's lines; bytes written, or 0 when the line does not fit, as render.pxd has it."""
from libc.stdint cimport uint8_t
from proxyd_ext.log.record cimport AccessRecord


cdef size_t render_haproxy(const AccessRecord* record, uint8_t* out, size_t cap) noexcept nogil
cdef size_t flow_haproxy(const AccessRecord* record, uint8_t* out, size_t cap) noexcept nogil
