"""Redaction of parameters: what comes out fits, has no secret for whoever splits it at `&`, and for whoever splits at `;` too, and stays as
it is when it is redacted again."""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memset
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport ascii_lower, slice_of
from proxyd_ext.log.redact cimport redact_parameters
from proxyd_ext.log.rules cimport LogRules, Rules
from proxyd_fuzz.support cimport exact_copy

rules = Rules(parameters=["token", "a b"])
cdef LogRules* _rules = &(<Rules>rules).rules


cdef bint is_name(const uint8_t* name, size_t size, const char* wanted) noexcept nogil:
    """Whether a name without escapes is the one that is hidden."""
    cdef size_t i
    for i in range(size):
        if wanted[i] == 0 or ascii_lower(name[i]) != <uint8_t>wanted[i]:
            return False
    return wanted[size] == 0


cdef void check_values(const uint8_t* text, size_t size, bint semicolons) noexcept nogil:
    cdef size_t begin = 0, end, equals
    while begin < size:
        end = begin
        while end < size and text[end] != c'&' and not (semicolons and text[end] == c';'):
            end += 1
        equals = begin
        while equals < end and text[equals] != c'=':
            equals += 1
        if equals < end and is_name(text + begin, equals - begin, b"token"):
            INVARIANT(end - equals == 1 or (end - equals == 4 and memcmp(text + equals, b"=***", 4) == 0))
        begin = end + 1


cdef int one_input_c(const uint8_t* data, size_t size) noexcept:
    cdef uint8_t* raw
    cdef uint8_t* out
    cdef uint8_t* again
    cdef size_t n
    cdef bint query
    if size < 2:
        return 0
    query = data[0] & 1
    size -= 1
    raw = exact_copy(data + 1, size)
    out = <uint8_t*>malloc(2 * size)
    memset(out, 0xAA, 2 * size)
    n = redact_parameters(_rules, slice_of(raw, size), query, out)
    INVARIANT(memcmp(raw, data + 1, size) == 0)
    INVARIANT(n <= 2 * size)
    if query:
        check_values(out, n, False)
        check_values(out, n, True)
    again = <uint8_t*>malloc(2 * n if n else 1)
    INVARIANT(redact_parameters(_rules, slice_of(out, n), query, again) == n and memcmp(again, out, n) == 0)
    free(again)
    free(out)
    free(raw)
    return 0


one_input = PyCapsule_New(<void*>one_input_c, "proxyd_fuzz.one_input", NULL)
