"""An access record from plain Python values and back, for tests and tools; engines fill the C struct themselves."""
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.log.record cimport AccessRecord


cdef class RecordFields:
    cdef AccessRecord record     # its slices point into bytes that _kept holds
    cdef list _kept
    cdef Slice _text(self, dict rest, str name)


cdef dict record_to_dict(const AccessRecord* record)
