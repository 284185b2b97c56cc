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
    #include <netinet/udp.h>
    #ifndef UDP_SEGMENT           /* Linux 4.18 and 5.0; older headers do not know them */
    #define UDP_SEGMENT 103
    #endif
    #ifndef UDP_GRO
    #define UDP_GRO 104
    #endif
    """
    int errno

    enum:
        EAGAIN, EINTR, EINPROGRESS, ECONNREFUSED, ETIMEDOUT, ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, ECONNRESET, EPIPE
        EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED, ENOENT, EINVAL, EIO, EMSGSIZE, EOPNOTSUPP
        EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLLRDHUP, EPOLLET, EPOLLEXCLUSIVE
        EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLL_CLOEXEC
        EFD_NONBLOCK, EFD_CLOEXEC
        SOCK_STREAM, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_CLOEXEC
        AF_INET, AF_INET6, AF_UNIX
        SOL_SOCKET, SO_ERROR, SO_KEEPALIVE, SO_LINGER, SO_RCVBUF, SO_RCVLOWAT
        IPPROTO_TCP, TCP_NODELAY, TCP_QUICKACK
        IPPROTO_IP, IP_PKTINFO, IPPROTO_IPV6, IPV6_RECVPKTINFO, IPV6_PKTINFO
        IPPROTO_UDP, UDP_SEGMENT, UDP_GRO
        MSG_NOSIGNAL, MSG_DONTWAIT, MSG_MORE, MSG_TRUNC, MSG_CTRUNC
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
        uint32_t sin6_scope_id

    struct sockaddr_un:
        unsigned short sun_family
        char[108] sun_path

    struct sockaddr_storage:
        unsigned short ss_family

    struct iovec:
        void* iov_base
        size_t iov_len

    struct msghdr:
        void* msg_name
        socklen_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags

    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len

    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type

    struct in_pktinfo:
        int ipi_ifindex
        in_addr ipi_spec_dst
        in_addr ipi_addr

    struct in6_pktinfo:
        in6_addr ipi6_addr
        unsigned int ipi6_ifindex

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
    ssize_t recvmsg(int fd, msghdr* message, int flags) nogil
    ssize_t sendmsg(int fd, const msghdr* message, int flags) nogil
    int recvmmsg(int fd, mmsghdr* messages, unsigned int count, int flags, void* timeout) nogil
    int sendmmsg(int fd, mmsghdr* messages, unsigned int count, int flags) nogil
    cmsghdr* CMSG_FIRSTHDR(msghdr* message) nogil
    cmsghdr* CMSG_NXTHDR(msghdr* message, cmsghdr* one) nogil
    unsigned char* CMSG_DATA(cmsghdr* one) nogil
    size_t CMSG_LEN(size_t size) nogil
    size_t CMSG_SPACE(size_t size) nogil
    int getsockname(int fd, sockaddr* address, socklen_t* size) nogil
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
