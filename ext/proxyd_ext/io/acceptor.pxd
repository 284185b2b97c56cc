"""A listening socket in one engine's poller."""
from libc.stdint cimport uint64_t
from proxyd_ext.io.poller cimport Pollable, Poller
from proxyd_ext.io.sys cimport sockaddr_storage, socklen_t


# `fd` is a new connected, non-blocking socket that the callee now owns.
ctypedef void (*AcceptHandler)(void* owner, int fd, const sockaddr_storage* peer, socklen_t size) noexcept nogil


ctypedef struct Acceptor:
    Pollable pollable         # first
    int fd                    # -1: not listening.  Owned by the Listener, not by us
    bint shared               # the same descriptor stands in other engines' pollers, too
    bint tells                # who is refused for want of descriptors is told so, in HTTP
    bint resting              # the system has no descriptors or memory: out of the poller until acceptor_rouse
    Poller* poller
    AcceptHandler handler
    void* owner
    int portion               # connections to take at the next event
    uint64_t refused          # connections refused because descriptors ran out


cdef int acceptor_open(Acceptor* acceptor, Poller* poller, int fd, bint shared, bint tells, AcceptHandler handler, void* owner,
                       void (*reap)(Pollable*) noexcept nogil) noexcept nogil
# Accept what waits, up to a bound a turn.  Returns how many came.
cdef int acceptor_poll(Acceptor* acceptor) noexcept nogil
# Listen again after a rest.
cdef void acceptor_rouse(Acceptor* acceptor) noexcept nogil
# Stop listening here: take everything that already waits in the queue, then leave the poller.
cdef void acceptor_close(Acceptor* acceptor) noexcept nogil
