"""Regular expressions: any text compiles or is an error at a place, and both automata find the same in any bytes, within their bounds.

An input is a pattern in UTF-8, a line feed, and the bytes that are searched.
"""
import os
import sys
import traceback

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memchr, memcmp
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.route.regex cimport NFA_PLACES, Regex, regex_search
from proxyd_fuzz.support cimport exact_copy

from proxyd_ext.route.regex import RegexError


cdef Regex compiled(str pattern, int dfa_states):
    try:
        return Regex(pattern, dfa_states=dfa_states)
    except RegexError as error:
        INVARIANT(0 <= error.position <= len(pattern))
        return None


cdef void check(Regex table, Regex places, const uint8_t* data, size_t size) noexcept:
    cdef uint8_t* text = exact_copy(data, size)
    cdef uint64_t looks = 0, steps = 0
    cdef bint found
    cdef bytes prefix
    # `places` may be too large where the table is not; the other way round, both are None.
    if table is not None:
        found = regex_search(&table.program, slice_of(text, size), &looks)
        INVARIANT(looks <= size * (1 if table.states else NFA_PLACES))
        if places is not None:
            INVARIANT(found == regex_search(&places.program, slice_of(text, size), &steps))
            INVARIANT(steps <= size * NFA_PLACES)
        if found and table.prefix is not None:
            prefix = table.prefix
            INVARIANT(size >= <size_t>len(prefix) and memcmp(text, <const char*>prefix, len(prefix)) == 0)
    free(text)


cdef int one_input_c(const uint8_t* data, size_t size) noexcept:
    cdef const uint8_t* mark = <const uint8_t*>memchr(data, c'\n', size)
    cdef size_t cut = mark - data if mark != NULL else size
    try:
        pattern = (<bytes>data[:cut]).decode("utf-8", "replace")
        check(compiled(pattern, 2000), compiled(pattern, 0), data + min(cut + 1, size), size - min(cut + 1, size))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os.abort()
    return 0


one_input = PyCapsule_New(<void*>one_input_c, "proxyd_fuzz.one_input", NULL)
