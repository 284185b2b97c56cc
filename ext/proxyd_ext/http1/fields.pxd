"""Finding what a request brings by name: field lines, cookies, query parameters.

Values are compared and hashed as they came: nothing is decoded, so `%41` is not `A`, and no two readings of one text can differ.
"""
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport Head


# Data of the result is NULL where there is none; an empty value has data.

# The field with that name (any case), counted from the last one.
cdef Slice field_from_last(const Head* head, Slice name, int number) noexcept nogil
# The first cookie with exactly that name, over all Cookie fields (RFC 6265 §4.2.1: name=value pairs between semicolons).
cdef Slice cookie_value(const Head* head, Slice name) noexcept nogil
# The next parameter with exactly that name from *at on (start with 0); *at moves behind it.  One without '=' has an empty value.
cdef Slice parameter_next(Slice query, Slice name, size_t* at) noexcept nogil
