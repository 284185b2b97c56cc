"""HTTP-date: what is one is written again, as the same time; what it is does not depend on `now` but for the century of two digits.

An input is one byte, the years from 1970 to now, and a date.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free
from proxyd_ext.cache.dates cimport parse_http_date
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.http1.rewrite cimport write_http_date
from proxyd_fuzz.support cimport exact_copy


cdef enum:
    YEAR_S = 31556952             # a 400th of 400 years


cdef int one_input_c(const uint8_t* data, size_t size) noexcept:
    cdef uint8_t[29] text
    cdef uint8_t* block
    cdef int64_t now, at, other
    if size == 0:
        return 0
    now = <int64_t>data[0] * YEAR_S
    block = exact_copy(data + 1, size - 1)
    at = parse_http_date(slice_of(block, size - 1), now)
    INVARIANT(-1 <= at <= 253402300800)      # a leap second may follow the last second of year 9999
    if 0 <= at < 253402300800:
        write_http_date(<uint64_t>at, text)
        INVARIANT(parse_http_date(slice_of(text, 29), 0) == at)
    other = parse_http_date(slice_of(block, size - 1), now + 200 * <int64_t>YEAR_S)
    INVARIANT((other == at) if size - 1 == 29 and block[3] == c',' or size - 1 == 24 else (at < 0 or other <= now + 251 * <int64_t>YEAR_S))
    free(block)
    return 0


one_input = PyCapsule_New(<void*>one_input_c, "proxyd_fuzz.one_input", NULL)
