"""The ring of wants (see wants.pxd). Wants are rare, one for half a lease of requests, so a short lock does."""
from libc.stdlib cimport calloc, free
from posix.unistd cimport close, read, write
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport counter_add

cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd(unsigned int initial, int flags)
    enum:
        EFD_NONBLOCK
        EFD_CLOEXEC


cdef bint wants_init(Wants* wants, uint32_t capacity) noexcept nogil:
    wants.mask = capacity - 1
    wants.head = 0
    wants.tail = 0
    wants.lost = 0
    wants.lock = 0
    wants.fd = -1
    wants.hashes = <uint64_t*>calloc(capacity, sizeof(uint64_t))
    if wants.hashes == NULL:
        return False
    wants.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
    return wants.fd >= 0


cdef void wants_destroy(Wants* wants) noexcept nogil:
    if wants.hashes == NULL:
        return
    if wants.fd >= 0:
        close(wants.fd)
    free(wants.hashes)
    wants.hashes = NULL


cdef bint wants_push(Wants* wants, uint64_t hash) noexcept nogil:
    """The eventfd is written outside the lock, and only by who finds the ring empty: once begun, the reader goes on to the last."""
    cdef uint64_t one = 1
    cdef bint first
    lock_take(&wants.lock)
    if wants.head - wants.tail > wants.mask:
        counter_add(&wants.lost, 1)
        lock_give(&wants.lock)
        return False
    first = wants.head == wants.tail
    wants.hashes[wants.head & wants.mask] = hash
    wants.head += 1
    lock_give(&wants.lock)
    if first:
        write(wants.fd, &one, sizeof(one))
    return True


cdef void wants_hush(Wants* wants) noexcept nogil:
    """Before the ring is emptied, so that what comes behind that makes the descriptor readable again. A writer that was overtaken between
    lock and write makes it readable for nothing, once."""
    cdef uint64_t count
    read(wants.fd, &count, sizeof(count))


cdef bint wants_pop(Wants* wants, uint64_t* hash) noexcept nogil:
    cdef bint found
    lock_take(&wants.lock)
    found = wants.head != wants.tail
    if found:
        hash[0] = wants.hashes[wants.tail & wants.mask]
        wants.tail += 1
    lock_give(&wants.lock)
    return found
