"""Heads around field lines, for targets whose input is lines."""
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, strlen
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.http1.head cimport MAX_FIELDS, Head, HeadLimits, parse_request_head, parse_response_head


cdef inline Head* head_around(const char* front, const uint8_t* lines, size_t size, bint response) noexcept nogil:
    """`front`, the lines and an empty line, parsed; NULL when it is no head.  To be freed; its bytes end where the block ends."""
    cdef size_t front_size = strlen(front), whole = front_size + size + 2, scanned = 0
    cdef uint8_t* block = <uint8_t*>malloc(sizeof(Head) + whole)
    cdef uint8_t* data = block + sizeof(Head)
    cdef HeadLimits limits
    cdef int rc
    INVARIANT(block != NULL)
    limits.head_size, limits.uri_length, limits.field_count = 1 << 20, 1 << 20, MAX_FIELDS
    memcpy(data, front, front_size)
    memcpy(data + front_size, lines, size)
    memcpy(data + front_size + size, <const char*>b"\r\n", 2)
    if response:
        rc = parse_response_head(data, whole, &scanned, &limits, <Head*>block)
    else:
        rc = parse_request_head(data, whole, &scanned, &limits, <Head*>block)
    if rc <= 0:
        free(block)
        return NULL
    return <Head*>block


cdef inline Head* answer_around(const uint8_t* lines, size_t size) noexcept nogil:
    return head_around("HTTP/1.1 200 OK\r\n", lines, size, True)


cdef inline Head* request_around(const uint8_t* lines, size_t size) noexcept nogil:
    return head_around("GET / HTTP/1.1\r\nHost: h\r\n", lines, size, False)
