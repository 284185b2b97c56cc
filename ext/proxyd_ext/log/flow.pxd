"""Flows (record.kind is not RECORD_HTTP) as lines of text; bytes written, or 0 when the line does not fit, as render.pxd has it."""
from libc.stdint cimport uint8_t
from proxyd_ext.log.record cimport AccessRecord


cdef size_t flow_json(const AccessRecord* record, uint8_t* out, size_t cap) noexcept nogil
cdef size_t flow_combined(const AccessRecord* record, uint8_t* out, size_t cap) noexcept nogil
cdef size_t flow_pretty(const AccessRecord* record, uint8_t* out, size_t cap, bint color) noexcept nogil
