"""Which routes of a TLS listener a server name may take: exact names, `*.suffix` at any depth, no name, any.

Patterns stand in one hash table; a look-up asks it for the name, for each of its suffixes, and for "any", and goes through what it finds in
the order of the routes. So ten thousand names cost as much as ten. A name has 255 bytes at most (hello.pxd), so there are few suffixes.
"""
from libc.stdint cimport int32_t, uint32_t, uint64_t
from proxyd_ext.core.slice cimport Slice


ctypedef struct NameEntry:
    # A pattern of one route.
    uint64_t hash
    Slice pattern             # of "*.example" what follows the "*"
    bint wild
    int32_t route
    int32_t next              # the entry of the next route with a pattern in the same bucket; -1: none


ctypedef struct ServerNames:
    NameEntry* entries        # in the order of the routes
    int32_t count
    int32_t room
    int32_t* buckets          # first entry; -1: none.  A power of two, made anew as entries come
    uint32_t mask
    int32_t* any              # routes that take every hello
    int32_t any_count


ctypedef struct NameSearch:
    # The routes that a name may take, in their order.
    const ServerNames* names
    Slice name
    int32_t after             # the last one told


cdef ServerNames* server_names_new() noexcept nogil                      # NULL: no memory
cdef void server_names_free(ServerNames* names) noexcept nogil
# A route takes names of this pattern: "a.example", "*.example", "" (a hello without a name); `any`: every hello.  False: no memory.
cdef bint server_names_add(ServerNames* names, Slice pattern, bint any, int32_t route) noexcept nogil
cdef inline NameSearch name_search(const ServerNames* names, Slice name) noexcept nogil:
    cdef NameSearch search
    search.names = names
    search.name = name
    search.after = -1
    return search
# The next route; -1: there is no more.
cdef int32_t name_next(NameSearch* search) noexcept nogil
