"""What stands in front of a record's line, where its reader expects something there."""
from libc.stdint cimport uint8_t
from proxyd_ext.log.record cimport AccessRecord
from proxyd_ext.log.rules cimport LogRules


# Written to `out`, which has room for FRAME_MAX bytes; bytes written.
cdef size_t frame_head(const LogRules* rules, const AccessRecord* record, uint8_t* out) noexcept nogil
