"""The system calls and constants of Linux that the data plane uses."""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sys/sendfile.h>
    #include <arpa/inet.h>
    #include <linux/sockios.h>
    #include <sys/ioctl.h>
    #include <errno.h>
    #include <fcntl.h>
    #include <netinet/in.h>
    #include <netinet/tcp.h>
    #include <signal.h>
    #include <sys/epoll.h>
    #include <sys/eventfd.h>
    #include <sys/resource.h>
    #include <sys/socket.h>
    #include <sys/timerfd.h>
    #include <sys/un.h>
    #include <unistd.h>
    """
    int errno

    enum:
        EAGAIN, EINTR, EINPROGRESS, ECONNREFUSED, ETIMEDOUT, ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, ECONNRESET, EPIPE
        EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED, ENOENT
        EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLLRDHUP, EPOLLET, EPOLLEXCLUSIVE
        EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLL_CLOEXEC
        EFD_NONBLOCK, EFD_CLOEXEC
        SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC
        AF_INET, AF_INET6, AF_UNIX
        SOL_SOCKET, SO_ERROR, SO_KEEPALIVE, SO_LINGER, SO_RCVLOWAT
        IPPROTO_TCP, TCP_NODELAY, TCP_QUICKACK
        MSG_NOSIGNAL, MSG_DONTWAIT, MSG_MORE
        SHUT_WR, SHUT_RD
        SIOCOUTQ
        SPLICE_F_MOVE, SPLICE_F_NONBLOCK, SPLICE_F_MORE
        F_SETPIPE_SZ, F_GETPIPE_SZ, O_NONBLOCK, O_CLOEXEC, O_RDONLY
        TFD_NONBLOCK, TFD_CLOEXEC, TFD_TIMER_ABSTIME
        INET6_ADDRSTRLEN

    ctypedef uint32_t socklen_t

    ctypedef union epoll_data_t:
        void* ptr
        uint64_t u64

    struct epoll_event:
        uint32_t events
        epoll_data_t data

    struct in_addr:
        uint32_t s_addr

    struct in6_addr:
        unsigned char[16] s6_addr

    struct sockaddr:
        unsigned short sa_family

    struct sockaddr_in:
        unsigned short sin_family
        uint16_t sin_port
        in_addr sin_addr

    struct sockaddr_in6:
        unsigned short sin6_family
        uint16_t sin6_port
        in6_addr sin6_addr

    struct sockaddr_un:
        unsigned short sun_family
        char[108] sun_path

    struct sockaddr_storage:
        unsigned short ss_family

    struct linger:
        int l_onoff
        int l_linger

    struct itimerspec_time "timespec":
        int64_t tv_sec
        long tv_nsec

    struct itimerspec:
        itimerspec_time it_interval
        itimerspec_time it_value

    int epoll_create1(int flags) nogil
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event) nogil
    int epoll_wait(int epfd, epoll_event* events, int maxevents, int timeout) nogil
    int eventfd(unsigned int value, int flags) nogil
    int timerfd_create(int clock, int flags) nogil
    int timerfd_settime(int fd, int flags, const itimerspec* value, itimerspec* old) nogil
    int socket(int family, int kind, int protocol) nogil
    int connect(int fd, const sockaddr* address, socklen_t size) nogil
    int accept4(int fd, sockaddr* address, socklen_t* size, int flags) nogil
    ssize_t recv(int fd, void* data, size_t size, int flags) nogil
    ssize_t send(int fd, const void* data, size_t size, int flags) nogil
    ssize_t read(int fd, void* data, size_t size) nogil
    ssize_t write(int fd, const void* data, size_t size) nogil
    ssize_t sendfile(int out_fd, int in_fd, int64_t* offset, size_t size) nogil
    ssize_t splice(int fd_in, void* off_in, int fd_out, void* off_out, size_t size, unsigned int flags) nogil
    int pipe2(int* fds, int flags) nogil
    int fcntl(int fd, int command, ...) nogil
    int ioctl(int fd, unsigned long request, int* value) nogil
    int open_file "open"(const char* path, int flags, ...) nogil
    int close(int fd) nogil
    int shutdown(int fd, int how) nogil
    int getsockopt(int fd, int level, int name, void* value, socklen_t* size) nogil
    int setsockopt(int fd, int level, int name, const void* value, socklen_t size) nogil
    int getsockname(int fd, sockaddr* address, socklen_t* size) nogil
    uint16_t htons(uint16_t value) nogil
    uint16_t ntohs(uint16_t value) nogil
    const char* inet_ntop(int family, const void* source, char* out, socklen_t size) nogil
    int inet_pton(int family, const char* text, void* out) nogil
