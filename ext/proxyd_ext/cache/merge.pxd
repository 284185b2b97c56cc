"""The field lines that are stored of an answer (RFC 9111 §3.1), and what a 304 makes of them (§3.2, §4.3.4)."""
from libc.stdint cimport int64_t, uint8_t
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport Head


# Stored lines are "Name: value CRLF", one after the other, without status line and without the empty line.  They never hold fields of a
# connection, Age, Content-Length, Trailer or Proxy-Authentication-Info; they always hold a Date.  Cache-Status and Proxy-Status stay: who
# adds to them appends (RFC 9211 §2, RFC 9209 §2).

# Write the lines to store of an answer that came at now_s (POSIX seconds; for a Date where there is none).  Returns the size, or -1 when
# they do not fit in cap; with out NULL it only counts.
cdef int storable_lines(const Head* answer, int64_t now_s, bint strip_set_cookie, uint8_t* out, size_t cap) noexcept nogil

# Write the stored lines as freshened by a 304 that came at now_s: its fields replace all stored ones of their name, but for what describes
# the body that we hold (Content-Encoding, -Type, -Range, -Length), what is not stored, and Set-Cookie, which was meant for one client.
# Returns the size, or -1 when they do not fit in cap; with out NULL it only counts.  `out` must not overlap `stored`.
cdef int merge_lines(Slice stored, const Head* not_modified, int64_t now_s, uint8_t* out, size_t cap) noexcept nogil
