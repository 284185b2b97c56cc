"""split_host: the name lies within the authority, the port is one, and name and port put together again split into themselves."""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc
from libc.string cimport memchr
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport Slice, slice_equals, slice_of
from proxyd_ext.http1.head cimport split_host
from proxyd_fuzz.support cimport exact_copy


cdef int one_input_c(const uint8_t* data, size_t size) noexcept:
    cdef uint8_t* block = exact_copy(data, size)
    cdef Slice name, again
    cdef int port = split_host(slice_of(block, size), &name)
    cdef char* text
    cdef bint brackets
    cdef int n
    if port >= 0:
        INVARIANT(port <= 65535 and 0 < name.size <= size)
        INVARIANT(name.data >= block and name.data + name.size <= block + size)
        brackets = memchr(name.data, c':', name.size) != NULL
        INVARIANT(brackets == (block[0] == c'['))
        text = <char*>malloc(size + 16)
        n = snprintf(text, size + 16, "[%.*s]:%d" if brackets else "%.*s:%d", <int>name.size, <const char*>name.data, port)
        if port == 0:
            n -= 2   # without ":0", which is no port
        INVARIANT(split_host(slice_of(<const uint8_t*>text, n), &again) == port and slice_equals(again, name))
        free(text)
    free(block)
    return 0


one_input = PyCapsule_New(<void*>one_input_c, "proxyd_fuzz.one_input", NULL)
