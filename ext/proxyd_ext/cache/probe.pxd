"""For tests and tools: a parsed head in one block with its bytes, which end where the block ends, so that a sanitizer sees overruns."""
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from proxyd_ext.core.slice cimport Slice, slice_empty, slice_of
from proxyd_ext.http1.head cimport MAX_FIELDS, Head, HeadLimits, parse_request_head, parse_response_head


ctypedef struct OwnHead:
    Head head       # into the bytes that stand behind it


cdef inline OwnHead* own_head(bytes text, bint response) except NULL:
    """Parse a head that is all of `text`; ValueError when it is not.  The result goes to free()."""
    cdef HeadLimits limits
    cdef size_t scanned = 0, size = len(text)
    cdef int rc
    cdef uint8_t* data
    cdef OwnHead* own = <OwnHead*>malloc(sizeof(OwnHead) + size)
    if own == NULL:
        raise MemoryError
    limits.head_size, limits.uri_length, limits.field_count = 1 << 20, 1 << 20, MAX_FIELDS
    data = <uint8_t*>own + sizeof(OwnHead)
    memcpy(data, <const uint8_t*>text, size)
    if response:
        rc = parse_response_head(data, size, &scanned, &limits, &own.head)
    else:
        rc = parse_request_head(data, size, &scanned, &limits, &own.head)
    if rc <= 0 or <size_t>rc != size:
        free(own)
        raise ValueError(f"not a head: {rc}")
    return own


cdef inline Slice bytes_slice(bytes text):
    """A slice of bytes that the caller keeps; None is the one without data."""
    return slice_empty() if text is None else slice_of(<const uint8_t*>text, len(text))
