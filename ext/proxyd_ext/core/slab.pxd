"""A slab: equal-sized objects carved from chunks, reused last in first out so that the next one is warm in the cache.

One engine owns a slab. Chunks are kept until the slab dies: the number of objects is bounded by connections, which have a bound of their
own.
In sanitizer builds every object is its own malloc, so that use after free and overruns show.
"""
from libc.stdint cimport int64_t


ctypedef struct SlabFree:
    SlabFree* next        # the next free object


ctypedef struct SlabChunk:
    SlabChunk* next       # chunks are chained only to be freed


ctypedef struct Slab:
    size_t item           # bytes of one object, rounded up to 16
    SlabFree* free        # free objects
    SlabChunk* chunks
    int64_t live          # objects handed out
    int kind              # LIVE_*


cdef void slab_init(Slab* slab, size_t item, int kind) noexcept nogil
cdef void slab_destroy(Slab* slab) noexcept nogil
cdef void* slab_new(Slab* slab) noexcept nogil          # uninitialised memory; NULL: out of memory
cdef void slab_free(Slab* slab, void* object) noexcept nogil
