"""The events door (see events.pxd): an atomic stack, turned round when it is taken."""
from libc.stdint cimport uint64_t
from proxyd_ext.core.shim cimport exchange_ptr, fetch_or_int, load_acquire_ptr, store_release_int

cdef extern from *:
    """
    #include <errno.h>
    #include <sys/eventfd.h>
    #include <unistd.h>
    static inline int pxd_cas_node(void **p, void **expected, void *desired) {
        return __atomic_compare_exchange_n(p, expected, desired, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    """
    int errno
    enum:
        EFD_NONBLOCK, EFD_CLOEXEC
    int eventfd(unsigned int value, int flags) nogil
    ssize_t read(int fd, void* data, size_t size) nogil
    ssize_t write(int fd, const void* data, size_t size) nogil
    int close(int fd) nogil
    bint cas_node "pxd_cas_node"(void** p, void** expected, void* desired) nogil


cdef int events_init(EventQueue* queue) noexcept nogil:
    queue.head = NULL
    queue.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
    return -errno if queue.fd < 0 else 0


cdef void events_destroy(EventQueue* queue) noexcept nogil:
    if queue.fd >= 0:
        close(queue.fd)


cdef bint event_push(EventQueue* queue, EventNode* node) noexcept nogil:
    cdef void* head
    cdef uint64_t one = 1
    if fetch_or_int(&node.queued, 1):
        return False
    head = load_acquire_ptr(<void**>&queue.head)
    while True:
        node.next = <EventNode*>head
        if cas_node(<void**>&queue.head, &head, node):
            break
    if head == NULL:          # the reader takes all at once, so only the first of a batch wakes it
        write(queue.fd, &one, sizeof(one))
    return True


cdef EventNode* events_take(EventQueue* queue) noexcept nogil:
    cdef uint64_t drained
    cdef EventNode* node
    cdef EventNode* following
    cdef EventNode* out = NULL
    read(queue.fd, &drained, sizeof(drained))
    node = <EventNode*>exchange_ptr(<void**>&queue.head, NULL)
    while node != NULL:
        following = node.next
        node.next = out
        out = node
        node = following
    return out


cdef void event_done(EventNode* node) noexcept nogil:
    store_release_int(&node.queued, 0)
