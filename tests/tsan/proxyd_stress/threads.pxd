"""Two POSIX threads, started together and joined: no Python in them."""
from proxyd_ext.core.shim cimport INVARIANT


cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_t:
        pass
    int pthread_create(pthread_t* thread, const void* attributes, void* (*start)(void*) noexcept nogil, void* argument)
    int pthread_join(pthread_t thread, void** result)


cdef extern from "<sched.h>" nogil:
    int sched_yield()


cdef inline void run_both(void* (*one)(void*) noexcept nogil, void* (*other)(void*) noexcept nogil, void* shared) noexcept nogil:
    cdef pthread_t first, second
    INVARIANT(pthread_create(&first, NULL, one, shared) == 0)
    INVARIANT(pthread_create(&second, NULL, other, shared) == 0)
    pthread_join(first, NULL)
    pthread_join(second, NULL)
