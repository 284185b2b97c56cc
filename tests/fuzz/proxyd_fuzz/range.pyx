"""Ranges: those that are sent lie within the body, apart from each other, and a multipart body's size is the sum of what is written.

An input is one byte, from which the size of the body is made, and the value of Range.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport UINT64_MAX, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from proxyd_ext.cache.ranges cimport (
    PART_BOUNDARY_MAX, RANGE_NEAR, RANGES_MAX, RANGES_UNSATISFIABLE, ByteRange, multipart_size, parse_ranges, part_head_size,
    write_last_boundary, write_part_head,
)
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.http1.head cimport Head
from proxyd_fuzz.heads cimport head_around


cdef void check_parts(const ByteRange* ranges, int count, uint64_t size) noexcept nogil:
    cdef uint8_t[PART_BOUNDARY_MAX + 8] last
    cdef uint8_t* out
    cdef uint64_t head_size, total = 0
    cdef int i
    for i in range(count):
        head_size = part_head_size(slice_of(<const uint8_t*>b"B", 1), slice_of(<const uint8_t*>b"a/b", 3), ranges[i], size, i == 0)
        out = <uint8_t*>malloc(head_size)
        INVARIANT(write_part_head(slice_of(<const uint8_t*>b"B", 1), slice_of(<const uint8_t*>b"a/b", 3), ranges[i], size, i == 0, out,
                                  head_size) == <int>head_size)
        free(out)
        total += head_size + (ranges[i].last - ranges[i].first + 1)
    total += write_last_boundary(slice_of(<const uint8_t*>b"B", 1), last)
    INVARIANT(total == multipart_size(slice_of(<const uint8_t*>b"B", 1), slice_of(<const uint8_t*>b"a/b", 3), ranges, count, size))


cdef int one_input_c(const uint8_t* data, size_t size) noexcept:
    cdef ByteRange[RANGES_MAX] ranges
    cdef Head* request
    cdef uint8_t* line
    cdef uint64_t body
    cdef int count, i, j
    if size == 0:
        return 0
    body = UINT64_MAX if data[0] == 0xFF else <uint64_t>data[0] * data[0]
    line = <uint8_t*>malloc(size + 8)
    memcpy(line, <const char*>b"Range: ", 7)
    memcpy(line + 7, data + 1, size - 1)
    memcpy(line + 6 + size, <const char*>b"\r\n", 2)
    request = head_around("GET / HTTP/1.1\r\nHost: h\r\n", line, size + 8, False)
    if request != NULL:
        count = parse_ranges(request, body, ranges)
        INVARIANT(RANGES_UNSATISFIABLE <= count <= RANGES_MAX)
        for i in range(count):
            INVARIANT(ranges[i].first <= ranges[i].last < body)
            for j in range(i):
                INVARIANT((ranges[i].first > ranges[j].last and ranges[i].first - ranges[j].last > RANGE_NEAR)
                          or (ranges[j].first > ranges[i].last and ranges[j].first - ranges[i].last > RANGE_NEAR))
        if count > 0:
            check_parts(ranges, count, body)
    free(request)
    free(line)
    return 0


one_input = PyCapsule_New(<void*>one_input_c, "proxyd_fuzz.one_input", NULL)
