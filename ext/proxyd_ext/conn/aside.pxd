"""The cache for applications over HTTP (`mode: cache`): GET, HEAD, PUT and DELETE of {prefix}{key}, over the same store as `Cache.get`
and `put`.

A value is stored with its Content-Type and answers as any stored answer does: conditions, ranges, Age. Its time to live is `ttl=SECONDS` of
the query, or Cache-Control: max-age, or the listener's default; Surrogate-Key and Cache-Tag name its tags.
"""
from libc.stdint cimport uint32_t
from proxyd_ext.conn.model cimport Exchange
from proxyd_ext.http1.head cimport Head


cdef enum:
    ASIDE_SERVE = 0           # `cached.object` answers
    ASIDE_TIER = 1            # ask the second tier
    ASIDE_TAKE = 2            # the value's bytes are to come: aside_take
    ASIDE_DELETE = 3          # the control plane takes it out, here and elsewhere: Context.lines has what to tell it, `size` bytes
    ASIDE_FAULT = 4


# What a request asks for, while its head stands in Context.head.  ASIDE_*; *fault and *size as there.
cdef int aside_begin(Exchange* exchange, const Head* head, int* fault, uint32_t* size) noexcept nogil
# Take what has come of the value.  True: it is whole, and stored; *fault: or it is not, because of that.
cdef bint aside_take(Exchange* exchange, int* fault) noexcept nogil
