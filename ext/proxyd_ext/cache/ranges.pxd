"""Byte ranges of a stored answer (RFC 9110 §14): which are asked for, and the parts of a multipart/byteranges that carries several."""
from libc.stdint cimport uint8_t, uint64_t
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport Head


cdef enum:
    RANGES_MAX = 16              # asked for in one request; more are answered with the whole
    RANGE_NEAR = 128             # ranges that leave a gap of less than about what a part's head takes are sent as one
    RANGES_WHOLE = 0             # no ranges, or none that counts: 200
    RANGES_UNSATISFIABLE = -1    # 416
    PART_BOUNDARY_MAX = 70       # bytes of a boundary (RFC 2046 §5.1.1)


ctypedef struct ByteRange:
    uint64_t first               # offsets of the first and the last byte
    uint64_t last


# The ranges of a body of `size` bytes that a GET asks for: their number, RANGES_WHOLE or RANGES_UNSATISFIABLE.  In the order in which they
# were asked for; what overlaps or nearly touches is one (§14.2).  Whether they count is for if_range_matches of cache/conditional to say.
# `out` has room for RANGES_MAX.
cdef int parse_ranges(const Head* request, uint64_t size, ByteRange* out) noexcept nogil

# "bytes FIRST-LAST/SIZE" for Content-Range: at most 70 bytes; returns the size.
cdef int write_content_range(ByteRange part, uint64_t size, uint8_t* out) noexcept nogil

# "bytes */SIZE", for a 416: at most 28 bytes; returns the size.
cdef int write_unsatisfied_range(uint64_t size, uint8_t* out) noexcept nogil

# What stands in front of the bytes of a part: CRLF (but for the first), boundary line, Content-Type (when not empty), Content-Range, empty
# line.  Returns the size, or -1 when it does not fit.
cdef int write_part_head(Slice boundary, Slice content_type, ByteRange part, uint64_t size, bint first, uint8_t* out,
                         size_t cap) noexcept nogil
cdef uint64_t part_head_size(Slice boundary, Slice content_type, ByteRange part, uint64_t size, bint first) noexcept nogil

# What stands behind the last part; at most PART_BOUNDARY_MAX + 8 bytes.
cdef int write_last_boundary(Slice boundary, uint8_t* out) noexcept nogil

# Content-Length of the whole multipart body.
cdef uint64_t multipart_size(Slice boundary, Slice content_type, const ByteRange* parts, int count, uint64_t size) noexcept nogil
