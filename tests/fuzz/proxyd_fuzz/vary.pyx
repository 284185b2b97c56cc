"""Vary: names are sorted and each once, texts have a line a name, and fit exactly or not at all.

An input is field lines, read as an answer's and as a request's.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp
from proxyd_ext.cache.vary cimport (
    VARY_NAMES_BYTES, VARY_NAMES_MAX, VARY_STAR, VARY_TOO_MUCH, accepted_encodings, content_encoding, vary_names, vary_text,
    write_encodings,
)
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.http1.head cimport Head
from proxyd_fuzz.heads cimport answer_around, request_around


cdef int check_names(const uint8_t* names, int size) noexcept nogil:
    """Their number."""
    cdef int i, start = 0, before = -1, before_size = 0, count = 0, least, order
    for i in range(size + 1):
        if i < size and names[i] != c',':
            INVARIANT(not c'A' <= names[i] <= c'Z' and names[i] > 0x20)
            continue
        INVARIANT(i > start)
        if before >= 0:
            least = before_size if before_size < i - start else i - start
            order = memcmp(names + before, names + start, least)
            INVARIANT(order < 0 or (order == 0 and before_size < i - start))
        before, before_size, start = start, i - start, i + 1
        count += 1
    INVARIANT(count <= VARY_NAMES_MAX)
    return count


cdef void check_text(const uint8_t* names, int size, const Head* request) noexcept nogil:
    cdef uint8_t* text = <uint8_t*>malloc(1 << 20)
    cdef uint8_t* exact
    cdef int n = vary_text(slice_of(names, size), request, text, 1 << 20), i, lines = 1
    INVARIANT(n > 0)
    for i in range(n):
        lines += text[i] == c'\n'
    INVARIANT(lines == check_names(names, size))
    exact = <uint8_t*>malloc(n)
    INVARIANT(vary_text(slice_of(names, size), request, exact, n) == n and memcmp(exact, text, n) == 0)
    INVARIANT(vary_text(slice_of(names, size), request, exact, n - 1) == VARY_TOO_MUCH)
    free(exact)
    free(text)


cdef int one_input_c(const uint8_t* data, size_t size) noexcept:
    cdef Head* answer = answer_around(data, size)
    cdef Head* request = request_around(data, size)
    cdef uint8_t[VARY_NAMES_BYTES] names
    cdef uint8_t[12] text
    cdef int n, encodings
    if request != NULL:
        encodings = accepted_encodings(request)
        INVARIANT(-1 <= encodings <= 7)
        INVARIANT(encodings < 0 or 0 <= write_encodings(encodings, text) <= 12)
    if answer != NULL:
        n = vary_names(answer, names, VARY_NAMES_BYTES)
        INVARIANT(n == VARY_STAR or n == VARY_TOO_MUCH or 0 <= n <= VARY_NAMES_BYTES)
        INVARIANT(-1 <= content_encoding(answer) <= 4)
        if n > 0 and request != NULL:
            check_text(names, n, request)
    free(request)
    free(answer)
    return 0


one_input = PyCapsule_New(<void*>one_input_c, "proxyd_fuzz.one_input", NULL)
