"""Pooled byte buffers in a few size classes. A buffer belongs to one owner at a time; an idle connection has none (design.md §4)."""
from libc.stdint cimport int64_t, uint8_t, uint32_t


cdef enum:
    BUFFER_4K = 0
    BUFFER_16K = 1
    BUFFER_64K = 2
    BUFFER_256K = 3
    BUFFER_CLASSES = 4


ctypedef struct Buffer:
    Buffer* next          # in a free list or in its owner's queue
    uint8_t* data         # cap bytes
    uint32_t cap
    uint32_t start        # first byte that is not consumed
    uint32_t end          # behind the last byte that is filled
    uint32_t size_class   # BUFFER_*


ctypedef struct BufferPool:
    Buffer* free[BUFFER_CLASSES]
    int64_t[BUFFER_CLASSES] cached   # buffers in each free list
    int64_t bytes_out                # bytes handed out now


cdef void buffers_init(BufferPool* pool) noexcept nogil
cdef void buffers_destroy(BufferPool* pool) noexcept nogil
# A buffer of a class, empty (start = end = 0); NULL: out of memory.
cdef Buffer* buffer_new(BufferPool* pool, int size_class) noexcept nogil
cdef void buffer_free(BufferPool* pool, Buffer* buffer) noexcept nogil

# The smallest class that holds `size` bytes; the largest one for anything bigger.
cdef inline int buffer_class(size_t size) noexcept nogil:
    if size <= 4096:
        return BUFFER_4K
    if size <= 16384:
        return BUFFER_16K
    if size <= 65536:
        return BUFFER_64K
    return BUFFER_256K


cdef inline uint32_t buffer_size(const Buffer* buffer) noexcept nogil:
    return buffer.end - buffer.start
