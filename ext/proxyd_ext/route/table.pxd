"""The route table: first match wins over host, path and method, in time that does not grow with the number of routes.

For each host pattern there is a compressed tree over paths whose nodes carry the routes that end there; a look-up walks one tree for the
exact host, one for each wildcard suffix and one for any host, and keeps the lowest route number.
"""
from libc.stdint cimport int32_t, uint8_t, uint32_t
from proxyd_ext.core.slice cimport Slice


cdef enum:
    ROUTE_MISS_METHOD = 1 << 0
    ROUTE_MISS_HOST = 1 << 1
    ROUTE_MISS_PATH = 1 << 2

    PATH_ANY = 0
    PATH_EXACT = 1
    PATH_PREFIX = 2


cdef struct RouteTable


# A builder, used by the control plane only (no GIL needed, not thread-safe).  Routes are numbered in the order they are added, from 0.
# host: empty = any; "*.example.com" = any name below; else exact (lower case).  path: bytes for PATH_EXACT / PATH_PREFIX ("/api/" for
# /api/*).
# methods: bit METHOD_* set for each method accepted; all bits = any.  HEAD is matched by a route that names GET.
# The slices are copied.  NULL / -1 on lack of memory.
cdef RouteTable* route_table_new() noexcept nogil
cdef int route_table_add(RouteTable* table, Slice host, int path_kind, Slice path, uint32_t methods) noexcept nogil
cdef int route_table_seal(RouteTable* table) noexcept nogil   # builds the look-up structures; after it the table is immutable
cdef void route_table_free(RouteTable* table) noexcept nogil

# The number of the first route that matches, or -1.  `host` is without port and may have any case; `path` is in normal form.
cdef int32_t route_match(const RouteTable* table, Slice host, Slice path, uint8_t method) noexcept nogil

# Why route `number` does not match: 0 (it does) or ROUTE_MISS_* bits.  For `proxyd route`.
cdef int route_why(const RouteTable* table, int32_t number, Slice host, Slice path, uint8_t method) noexcept nogil
