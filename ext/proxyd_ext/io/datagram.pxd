"""Datagram sockets, many datagrams a call.

Where the kernel joins several datagrams of one sender on their way in (UDP_GRO, Linux 5.0) they are handed over as it did, with the size of
each (`segment`), and go out in one piece, too, for the kernel or the card to cut (UDP_SEGMENT, Linux 4.18). Everything works where neither
is there.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from proxyd_ext.core.address cimport Address
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.io.poller cimport Flusher
from proxyd_ext.io.sys cimport iovec, mmsghdr, sockaddr_in6, socklen_t


cdef enum:
    DATAGRAM_BATCH = 64       # datagrams of one call
    DATAGRAM_BYTES = 65535    # of the longest
    DATAGRAM_STRIDE = 66112   # from one slot to the next: an odd number of cache lines, so that their beginnings share no cache set
    DATAGRAM_CONTROL = 96     # room for a local address and a segment size
    DATAGRAM_SEGMENTS = 64    # that Linux cuts one piece into, at most
    QUEUE_ARENA = 256 * 1024


ctypedef struct DatagramPath:
    # Between a peer and an unconnected socket of ours.
    sockaddr_in6 peer         # or a sockaddr_in: what recvmsg told
    socklen_t peer_size
    uint8_t local_family      # AF_INET, AF_INET6: `local` holds; 0: the socket's own address is meant
    uint8_t[16] local         # our address that the peer spoke to


ctypedef struct Datagram:
    uint8_t* data
    uint32_t size
    uint32_t segment          # it is several datagrams of this size (the last one may be shorter); 0: it is one
    bint cut                  # the kernel held more of it than there was room for


ctypedef struct DatagramBatch:
    # Where one engine receives. What it holds is valid until the next call.
    Datagram[DATAGRAM_BATCH] taken
    DatagramPath[DATAGRAM_BATCH] paths   # of `taken`, when asked for
    mmsghdr[DATAGRAM_BATCH] heads
    iovec[DATAGRAM_BATCH] parts
    uint8_t[DATAGRAM_BATCH][DATAGRAM_CONTROL] control
    uint8_t* slots            # DATAGRAM_BATCH of DATAGRAM_STRIDE bytes; only those that were used are resident
    uint8_t* arena            # QUEUE_ARENA bytes, of all queues of the engine
    uint32_t arena_used
    uint32_t queued           # datagrams in all queues that point into it


ctypedef struct DatagramQueue:
    # What waits until the end of the turn to leave through one unconnected socket: single datagrams, whose bytes stand in the arena.
    Flusher flusher           # first
    DatagramBatch* batch
    uint32_t count
    DatagramPath[DATAGRAM_BATCH] paths
    mmsghdr[DATAGRAM_BATCH] heads
    iovec[DATAGRAM_BATCH] parts
    uint8_t[DATAGRAM_BATCH][DATAGRAM_CONTROL] control


ctypedef struct Sent:
    # What became of datagrams given to the kernel; added to.
    uint64_t packets
    uint64_t bytes
    uint64_t refused          # not taken: no room, no way there, too long


# 0, or -ENOMEM.
cdef int datagram_batch_init(DatagramBatch* batch) noexcept nogil
cdef void datagram_batch_destroy(DatagramBatch* batch) noexcept nogil
# Take up to `most` datagrams: how many came, 0 when none waits; or -errno.
# `paths`: who sent each is wanted.  `told`: the socket tells more than bytes (datagram_tell_local, datagram_join).
cdef int datagrams_receive(DatagramBatch* batch, int fd, int most, bint paths, bint told) noexcept nogil
# One, of a connected socket, into `room` bytes: 1, 0 when none waits, or -errno.
cdef int datagram_receive(int fd, uint8_t* into, uint32_t room, bint told, Datagram* out) noexcept nogil
# Send in order, on a connected socket (`path` NULL) or to a peer, each behind `head` (empty: nothing).  How many were dealt with: less than
# `count` when a connected socket said that nobody is there; `error` is then its errno, and the first that is left was not sent.
# `join`: whether pieces may be joined; cleared where the kernel cannot.
cdef int datagrams_send(int fd, const DatagramPath* path, Slice head, const Datagram* datagrams, int count, bint* join, Sent* sent,
                        int* error) noexcept nogil
cdef void datagram_queue_init(DatagramQueue* queue, DatagramBatch* batch) noexcept nogil
# Where the next datagram of up to `size` bytes may be put; NULL: send first what is queued.
cdef uint8_t* datagram_queue_room(DatagramQueue* queue, uint32_t size) noexcept nogil
# Queue the `size` bytes that stand there now.
cdef void datagram_queue_add(DatagramQueue* queue, uint32_t size, const DatagramPath* path) noexcept nogil
cdef void datagram_queue_send(DatagramQueue* queue, int fd, Sent* sent) noexcept nogil
# Let a socket tell which of our addresses each datagram was sent to.  False: it cannot.
cdef bint datagram_tell_local(int fd, int family) noexcept nogil
# Let the kernel join datagrams of one sender.  False: it cannot.
cdef bint datagram_join(int fd) noexcept nogil
# Whether somebody did: a socket that was passed to us comes as it is.
cdef bint datagram_is_joined(int fd) noexcept nogil
# Our address that it was sent to.  False: that was not told.
cdef bint datagram_local(const DatagramPath* path, Address* out) noexcept nogil


cdef inline uint32_t datagram_count(const Datagram* datagram) noexcept nogil:
    """How many it is."""
    return (datagram.size + datagram.segment - 1) // datagram.segment if datagram.segment > 0 else 1
