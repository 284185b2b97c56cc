"""Path normalisation: the result fits, is its own normal form, and has no segment that climbs."""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.http1.path cimport normalize_path, path_is_normal
from proxyd_fuzz.support cimport exact_copy


cdef void check_segments(const uint8_t* path, int size) noexcept nogil:
    cdef int i, start = 1
    for i in range(1, size + 1):
        if i == size or path[i] == c'/':
            INVARIANT(not (i - start == 1 and path[start] == c'.'))
            INVARIANT(not (i - start == 2 and path[start] == c'.' and path[start + 1] == c'.'))
            start = i + 1
    for i in range(size):
        INVARIANT(0x20 < path[i] < 0x7F)
        INVARIANT(path[i] != c'%' or i + 2 < size)


cdef int one_input_c(const uint8_t* data, size_t size) noexcept:
    cdef uint8_t* raw
    cdef uint8_t* out
    cdef uint8_t* again
    cdef int n
    cdef bint normal
    if size == 0 or data[0] != c'/':   # the head parser hands over nothing else
        return 0
    raw = exact_copy(data, size)
    out = <uint8_t*>malloc(3 * size)
    n = normalize_path(slice_of(raw, size), out, 3 * size)
    normal = path_is_normal(slice_of(raw, size))
    INVARIANT(memcmp(raw, data, size) == 0)
    if n < 0:
        INVARIANT(not normal)
    else:
        INVARIANT(0 < n <= <int>(3 * size) and out[0] == c'/')
        INVARIANT(normal == (<size_t>n == size and memcmp(out, data, size) == 0))
        check_segments(out, n)
        INVARIANT(path_is_normal(slice_of(out, n)))
        again = <uint8_t*>malloc(3 * n)
        INVARIANT(normalize_path(slice_of(out, n), again, 3 * n) == n and memcmp(again, out, n) == 0)
        free(again)
    free(out)
    free(raw)
    return 0


one_input = PyCapsule_New(<void*>one_input_c, "proxyd_fuzz.one_input", NULL)
