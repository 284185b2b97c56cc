"""Pooled byte buffers (see buffer.pxd). Each class keeps up to 4 MiB of free buffers; what comes back above that is released."""
from libc.stdlib cimport free, malloc
from proxyd_ext.core.live cimport LIVE_BUFFER, live_born, live_died
from proxyd_ext.core.shim cimport store_i64

cdef enum:
    CACHED_BYTES = 4 << 20

cdef uint32_t[BUFFER_CLASSES] _sizes
_sizes[BUFFER_4K] = 4096
_sizes[BUFFER_16K] = 16384
_sizes[BUFFER_64K] = 65536
_sizes[BUFFER_256K] = 262144


cdef void buffers_init(BufferPool* pool) noexcept nogil:
    cdef int i
    for i in range(BUFFER_CLASSES):
        pool.free[i] = NULL
        pool.cached[i] = 0
    pool.bytes_out = 0


cdef void buffers_destroy(BufferPool* pool) noexcept nogil:
    cdef int i
    cdef Buffer* buffer
    for i in range(BUFFER_CLASSES):
        while pool.free[i] != NULL:
            buffer = pool.free[i]
            pool.free[i] = buffer.next
            free(buffer.data)
            free(buffer)
        pool.cached[i] = 0


cdef Buffer* buffer_new(BufferPool* pool, int size_class) noexcept nogil:
    cdef Buffer* buffer = pool.free[size_class]
    if buffer != NULL:
        pool.free[size_class] = buffer.next
        pool.cached[size_class] -= 1
    else:
        buffer = <Buffer*>malloc(sizeof(Buffer))
        if buffer == NULL:
            return NULL
        buffer.cap = _sizes[size_class]
        buffer.size_class = size_class
        buffer.data = <uint8_t*>malloc(buffer.cap)
        if buffer.data == NULL:
            free(buffer)
            return NULL
    buffer.next = NULL
    buffer.start = 0
    buffer.end = 0
    store_i64(&pool.bytes_out, pool.bytes_out + <int64_t>buffer.cap)
    live_born(LIVE_BUFFER)
    return buffer


cdef void buffer_free(BufferPool* pool, Buffer* buffer) noexcept nogil:
    cdef uint32_t k = buffer.size_class
    store_i64(&pool.bytes_out, pool.bytes_out - <int64_t>buffer.cap)
    live_died(LIVE_BUFFER)
    if (pool.cached[k] + 1) * buffer.cap > CACHED_BYTES:
        free(buffer.data)
        free(buffer)
        return
    buffer.next = pool.free[k]
    pool.free[k] = buffer
    pool.cached[k] += 1
