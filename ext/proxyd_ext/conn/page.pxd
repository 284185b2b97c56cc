"""Error pages: which one an answer gets, and what stands in its body."""
from libc.stdint cimport uint8_t, uint16_t
from proxyd_ext.conn.model cimport Exchange
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.snapshot.compile cimport CompiledPage


cdef enum:
    PAGE_SCRATCH = 2048       # the longest value, each byte escaped: a host or an id


# The first page of the route, or of the listener for a request without a route, that has the status; with `intercept` only those that
# are for answers of servers too.  NULL: none.
cdef const CompiledPage* page_find(const Exchange* exchange, uint16_t status, bint intercept) noexcept nogil
# A part of the body: text of the snapshot, or a value composed in `scratch` (PAGE_SCRATCH bytes).  And the size of all parts.
cdef Slice page_part(const CompiledPage* page, int part, const Exchange* exchange, uint16_t status, const char* message,
                     uint8_t* scratch) noexcept nogil
cdef size_t page_size(const CompiledPage* page, const Exchange* exchange, uint16_t status, const char* message) noexcept nogil
