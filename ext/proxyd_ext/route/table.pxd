"""The route table: first match wins over host, path, method and conditions, in time that does not grow with the number of routes.

For each host pattern there is a compressed tree over paths whose nodes carry the routes that end there; a look-up walks one tree for the
exact host, one for each wildcard suffix and one for any host, and keeps the lowest route number.  Only routes with conditions
(condition.pxd) are asked one by one, and only those that share a place in the tree.
"""
from libc.stdint cimport int32_t, uint32_t
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.route.condition cimport RouteCondition, RouteInput


cdef enum:
    PATH_ANY = 0
    PATH_EXACT = 1
    PATH_PREFIX = 2


cdef struct RouteTable


# A builder, used by the control plane only (no GIL needed, not thread-safe).  Routes are numbered in the order they are added, from 0.
# host: empty = any; "*.example.com" = any name below; else exact (lower case).  path: bytes for PATH_EXACT / PATH_PREFIX ("/api/" for
# /api/*).
# methods: bit METHOD_* set for each method accepted; all bits = any.  HEAD is matched by a route that names GET.
# conditions: `count` of them; all must hold.  They and the slices are copied, with their networks; a regular expression must outlive the
# table.  NULL / -1 on lack of memory.
cdef RouteTable* route_table_new() noexcept nogil
cdef int route_table_add(RouteTable* table, Slice host, int path_kind, Slice path, uint32_t methods, const RouteCondition* conditions,
                         int count) noexcept nogil
cdef int route_table_seal(RouteTable* table) noexcept nogil   # builds the look-up structures; after it the table is immutable
cdef void route_table_free(RouteTable* table) noexcept nogil

# The number of the first route that matches, or -1.
cdef int32_t route_match(const RouteTable* table, const RouteInput* asked) noexcept nogil

# Why route `number` does not match: 0 (it does) or ROUTE_MISS_* bits.  For `proxyd route`.
cdef int route_why(const RouteTable* table, int32_t number, const RouteInput* asked) noexcept nogil

cdef list miss_words(int missed)   # the words for ROUTE_MISS_* bits, for Python
