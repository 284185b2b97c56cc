"""Access records as lines of text (interface.md §6): pure functions, bytes out, always exactly one line with its "\\n".

Each gives the bytes written, or 0 when the line does not fit into `cap`; LOG_LINE_MAX is enough for every record that comes out of a ring.
"""
from libc.stdint cimport uint8_t
from proxyd_ext.log.record cimport AccessRecord
from proxyd_ext.log.ring cimport KEEP_ALL


cdef enum:
    LOG_JSON = 0
    LOG_COMBINED = 1
    LOG_PRETTY = 2
    LOG_HAPROXY = 3
    LOG_LOGFMT = 4

    LOG_FIXED_MAX = 2560                           # names, numbers and quotes of a line, the fault's sentence included
    LOG_LINE_MAX = LOG_FIXED_MAX + 6 * KEEP_ALL    # a byte becomes at most six ("\u001b")


# By LOG_*; `color` counts for LOG_PRETTY only.
cdef size_t render(int format, const AccessRecord* record, uint8_t* out, size_t cap, bint color) noexcept nogil

# LOG_* of "json", "combined", "pretty", "haproxy" or "logfmt"; ValueError for another word.
cdef int format_of(str word) except -1
