"""What Cython's own `posix` package does not declare: poll, eventfd, threads, descriptors' shapes."""
from libc.stdint cimport uint64_t
from posix.signal cimport sigset_t
from posix.time cimport clockid_t, timespec


cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd* fds, unsigned long count, int timeout_ms)
    short POLLIN
    short POLLOUT


cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd(unsigned int initial, int flags)
    int eventfd_read(int fd, uint64_t* value)
    int eventfd_write(int fd, uint64_t value)
    int EFD_CLOEXEC
    int EFD_NONBLOCK


cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    ctypedef struct pthread_condattr_t:
        pass
    ctypedef struct pthread_attr_t:
        pass
    int pthread_create(pthread_t* thread, const pthread_attr_t* how, void* (*body)(void*) noexcept nogil, void* argument)
    int pthread_detach(pthread_t thread)
    int pthread_setname_np(pthread_t thread, const char* name)
    int pthread_timedjoin_np(pthread_t thread, void** result, const timespec* until)    # until: CLOCK_REALTIME
    int pthread_mutex_init(pthread_mutex_t* lock, const void* how)
    int pthread_mutex_destroy(pthread_mutex_t* lock)
    int pthread_mutex_lock(pthread_mutex_t* lock)
    int pthread_mutex_unlock(pthread_mutex_t* lock)
    int pthread_condattr_init(pthread_condattr_t* how)
    int pthread_condattr_setclock(pthread_condattr_t* how, clockid_t clock)
    int pthread_condattr_destroy(pthread_condattr_t* how)
    int pthread_cond_init(pthread_cond_t* cond, const pthread_condattr_t* how)
    int pthread_cond_destroy(pthread_cond_t* cond)
    int pthread_cond_broadcast(pthread_cond_t* cond)
    int pthread_cond_timedwait(pthread_cond_t* cond, pthread_mutex_t* lock, const timespec* until)


cdef extern from "<signal.h>" nogil:
    int SIG_SETMASK
    int pthread_sigmask(int how, const sigset_t* mask, sigset_t* before)


cdef extern from "<sys/socket.h>" nogil:
    int MSG_DONTWAIT
    int MSG_NOSIGNAL
    ssize_t send(int fd, const void* data, size_t size, int flags)
    ctypedef unsigned int socklen_t
    struct sockaddr:
        pass
    struct sockaddr_storage:
        pass
    int SOL_SOCKET
    int SO_TYPE
    int SO_ERROR
    int SOCK_DGRAM
    int connect(int fd, const sockaddr* address, socklen_t size)
    int getpeername(int fd, sockaddr* address, socklen_t* size)
    int getsockopt(int fd, int level, int name, void* value, socklen_t* size)
