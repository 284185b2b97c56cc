"""Accepting connections (see acceptor.pxd).

When descriptors run out, one is kept in reserve: it is given up for a moment so that the waiting client can be told 503, or where that is
no HTTP, be closed, instead of hanging in the queue; every such refusal is counted. When the system itself is out of descriptors or
memory, accepting rests until the engine's next tick.
"""
from libc.stdint cimport uint32_t
from proxyd_ext.core.shim cimport counter_add
from proxyd_ext.io.poller cimport poller_add, poller_remove, poller_reserve
from proxyd_ext.io.sys cimport (
    EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPOLLEXCLUSIVE, EPOLLIN, MSG_DONTWAIT, MSG_NOSIGNAL,
    SHUT_WR, SOCK_CLOEXEC, SOCK_NONBLOCK, accept4, close, errno, send, shutdown, sockaddr,
)

cdef enum:
    ACCEPTS_A_TURN = 64

cdef const char* _REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 41\r\nConnection: close\r\n"
    b"Retry-After: 1\r\nProxy-Status: proxyd; error=connection_limit_reached\r\n\r\nthe proxy is out of file descriptors now\n"
)


cdef void _on_ready(Pollable* pollable, uint32_t events) noexcept nogil:
    acceptor_poll(<Acceptor*>pollable)


cdef int acceptor_open(Acceptor* acceptor, Poller* poller, int fd, bint shared, bint tells, AcceptHandler handler, void* owner,
                       void (*reap)(Pollable*) noexcept nogil) noexcept nogil:
    acceptor.pollable.on_ready = _on_ready
    acceptor.pollable.reap = reap
    acceptor.fd = fd
    acceptor.shared = shared
    acceptor.tells = tells
    acceptor.resting = False
    acceptor.poller = poller
    acceptor.handler = handler
    acceptor.owner = owner
    acceptor.portion = 1
    acceptor.refused = 0
    # Level-triggered: a storm is taken in portions, and what is left announces itself again.
    return poller_add(poller, fd, EPOLLIN | (EPOLLEXCLUSIVE if shared else 0), &acceptor.pollable)


cdef int _refuse_one(Acceptor* acceptor) noexcept nogil:
    """Use the reserve descriptor to take one waiting connection and refuse it. 1: done; 0: none waits; -1: there is no reserve."""
    cdef Poller* poller = acceptor.poller
    cdef int fd, error
    if poller.reserve_fd < 0:
        return -1
    close(poller.reserve_fd)
    fd = accept4(acceptor.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
    error = errno
    if fd >= 0:
        if acceptor.tells:
            send(fd, _REFUSAL, refusal_size(), MSG_NOSIGNAL | MSG_DONTWAIT)
            shutdown(fd, SHUT_WR)
        close(fd)
        counter_add(&acceptor.refused, 1)
    poller.reserve_fd = -1
    poller_reserve(poller)
    if fd >= 0:
        return 1
    return 0 if error == EAGAIN else -1


cdef inline size_t refusal_size() noexcept nogil:
    cdef size_t n = 0
    while _REFUSAL[n] != 0:
        n += 1
    return n


cdef void _rest(Acceptor* acceptor) noexcept nogil:
    poller_remove(acceptor.poller, acceptor.fd)
    acceptor.resting = True


cdef void acceptor_rouse(Acceptor* acceptor) noexcept nogil:
    if acceptor.resting and acceptor.fd >= 0:
        acceptor.resting = poller_add(acceptor.poller, acceptor.fd, EPOLLIN | (EPOLLEXCLUSIVE if acceptor.shared else 0),
                                      &acceptor.pollable) < 0


cdef int acceptor_poll(Acceptor* acceptor) noexcept nogil:
    cdef sockaddr_storage peer
    cdef socklen_t size
    cdef int fd, refused, count = 0
    cdef int most = acceptor.portion
    # A call that finds the queue empty is wasted, so as many are taken as came lately; what is left announces itself again.
    while acceptor.fd >= 0 and count < most:
        size = sizeof(peer)
        fd = accept4(acceptor.fd, <sockaddr*>&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd >= 0:
            count += 1
            acceptor.handler(acceptor.owner, fd, &peer, size)
            continue
        if errno == ECONNABORTED or errno == EINTR:
            continue
        if errno == EMFILE:
            # accept4 says so before it looks at the queue: only the reserve can tell whether anybody waits.
            refused = _refuse_one(acceptor)
            if refused > 0:
                count += 1
                continue
            if refused < 0:
                _rest(acceptor)
        elif errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
            _rest(acceptor)
        acceptor.portion = count if count > 0 else 1
        return count
    acceptor.portion = 2 * most if 2 * most < ACCEPTS_A_TURN else ACCEPTS_A_TURN
    return count


cdef void acceptor_close(Acceptor* acceptor) noexcept nogil:
    if acceptor.fd < 0:
        return
    acceptor.portion = ACCEPTS_A_TURN
    while acceptor_poll(acceptor) > 0:
        acceptor.portion = ACCEPTS_A_TURN
    if not acceptor.resting:
        poller_remove(acceptor.poller, acceptor.fd)
    acceptor.fd = -1
