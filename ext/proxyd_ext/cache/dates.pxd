"""HTTP-date to POSIX time (RFC 9110 §5.6.7); the other way is write_http_date of http1/rewrite."""
from libc.stdint cimport int64_t
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport Head


# A date in any of the three forms as seconds since 1970, or -1 when it is none; years before 1970 are 0.  Letters match in any case, as
# RFC 9111 §4.2 wants of caches; nothing else is forgiven.  The name of the day need not be the right one.
# `now_s` (POSIX seconds) settles the century of RFC 850's two-digit years: at most 50 years from now.
cdef int64_t parse_http_date(Slice text, int64_t now_s) noexcept nogil

# The date in the first field with this id; -1: absent or invalid.
cdef int64_t head_date(const Head* head, int field_id, int64_t now_s) noexcept nogil
