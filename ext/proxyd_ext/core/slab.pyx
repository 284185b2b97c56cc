"""Slabs (see slab.pxd)."""
from libc.stdlib cimport free, malloc
from proxyd_ext.core.live cimport live_born, live_died
from proxyd_ext.core.shim cimport INVARIANT

cdef extern from *:
    """
    #if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    #define PXD_SLAB_MALLOC 1
    #elif defined(__has_feature)
    #if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    #define PXD_SLAB_MALLOC 1
    #endif
    #endif
    #ifndef PXD_SLAB_MALLOC
    #define PXD_SLAB_MALLOC 0
    #endif
    """
    enum:
        PXD_SLAB_MALLOC

cdef enum:
    CHUNK_BYTES = 65536
    CHUNK_HEAD = 16


cdef void slab_init(Slab* slab, size_t item, int kind) noexcept nogil:
    slab.item = (item + 15) & ~<size_t>15
    slab.free = NULL
    slab.chunks = NULL
    slab.live = 0
    slab.kind = kind
    INVARIANT(slab.item <= CHUNK_BYTES - CHUNK_HEAD)


cdef void slab_destroy(Slab* slab) noexcept nogil:
    cdef SlabChunk* chunk = slab.chunks
    cdef SlabChunk* following
    while chunk != NULL:
        following = chunk.next
        free(chunk)
        chunk = following
    slab.chunks = NULL
    slab.free = NULL


cdef bint _grow(Slab* slab) noexcept nogil:
    cdef SlabChunk* chunk = <SlabChunk*>malloc(CHUNK_BYTES)
    cdef char* at
    cdef char* end
    cdef SlabFree* object
    if chunk == NULL:
        return False
    chunk.next = slab.chunks
    slab.chunks = chunk
    at = <char*>chunk + CHUNK_HEAD
    end = <char*>chunk + CHUNK_BYTES
    while at + slab.item <= end:
        object = <SlabFree*>at
        object.next = slab.free
        slab.free = object
        at += slab.item
    return True


cdef void* slab_new(Slab* slab) noexcept nogil:
    cdef SlabFree* object
    if PXD_SLAB_MALLOC:
        object = <SlabFree*>malloc(slab.item)
        if object == NULL:
            return NULL
    else:
        if slab.free == NULL and not _grow(slab):
            return NULL
        object = slab.free
        slab.free = object.next
    slab.live += 1
    live_born(slab.kind)
    return object


cdef void slab_free(Slab* slab, void* object) noexcept nogil:
    slab.live -= 1
    live_died(slab.kind)
    if PXD_SLAB_MALLOC:
        free(object)
        return
    (<SlabFree*>object).next = slab.free
    slab.free = <SlabFree*>object
