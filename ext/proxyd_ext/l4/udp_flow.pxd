"""The objects of UDP: a listener's socket on one engine, and the flows on it.

A flow's socket to its server is its own, so that the kernel sorts the answers; the way back is the listener's socket, where answers of many
flows leave together.
"""
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from proxyd_ext.balance.server cimport ServerLocal
from proxyd_ext.conn.model cimport Context
from proxyd_ext.core.address cimport Address
from proxyd_ext.core.timer cimport Timer
from proxyd_ext.io.datagram cimport Datagram, DatagramBatch, DatagramPath, DatagramQueue
from proxyd_ext.io.listener cimport ListenerData, ListenerLocal
from proxyd_ext.io.poller cimport Pollable
from proxyd_ext.l4.model cimport Choice, Facts
from proxyd_ext.preface.proxy cimport ProxyHeader


cdef enum:
    FLOW_WORDS = 8            # of the longest key: peer, local address, and whom a PROXY header names, all IPv6
    KEPT_BYTES = 256 * 1024   # of first datagrams that may still have to go to another server, one engine
    KEPT_MOST = 2048          # bytes of one of them

    FLOW_CHOOSING = 1 << 0    # no server has answered yet: one that refuses is a failed try, and another may be tried
    FLOW_ANSWERED = 1 << 1    # the server has spoken
    FLOW_CONFIRMED = 1 << 2   # and the client after it: its address is no invention
    FLOW_BULK = 1 << 3        # the server's datagrams may come joined
    FLOW_PROXY_CRC = 1 << 4   # of the header in front of each datagram to the server
    FLOW_PROXY_ID = 1 << 5


cdef struct UdpSocket
cdef struct UdpFlow


cdef struct UdpKeys:          # a client, as the table of flows knows it
    uint64_t hash
    int words
    uint64_t[FLOW_WORDS] word


cdef struct UdpEngine:        # what the sockets of one engine share
    DatagramBatch batch
    int64_t sockets           # that share it
    int last_fd               # above it descriptors are short: each new flow makes an old one go, so that others find some
    uint64_t kept_end         # bytes ever put into `kept`
    uint8_t[KEPT_BYTES] kept  # a ring


cdef struct UdpRow:           # flows in order of their last datagram
    UdpFlow* oldest
    UdpFlow* newest


cdef struct UdpSocket:
    Pollable pollable         # first
    Context* context
    UdpEngine* shared
    ListenerData* listener    # held
    ListenerLocal* local
    UdpSocket* next           # all of the engine
    int fd                    # -1: closed
    int portion               # datagrams to take at the next event
    bint leaving              # the listener was left: flows go on, new ones have no place here
    bint wildcard             # bound to no one address
    bint joined               # UDP_GRO is on
    Address bound
    UdpFlow** table           # chains by hash
    uint32_t table_size       # a power of two
    int64_t count             # flows
    UdpRow[2] rows            # not confirmed, and confirmed
    DatagramQueue queue       # answers of this turn


cdef struct UdpFlow:
    Pollable pollable         # first: of the socket to the server
    int fd                    # that socket; -1: none
    uint32_t flags            # FLOW_*
    UdpFlow* chain            # in the table
    UdpKeys key
    UdpSocket* socket         # NULL: it is over
    Context* context
    ServerLocal* server       # counters of the server that `fd` leads to
    UdpFlow* older            # in its row
    UdpFlow* newer
    int64_t placed_ms         # when it took its place there
    Timer timer
    int64_t idle_ms
    int64_t until_ms          # when it ends whatever comes; TIMER_OFF_MS: never
    int64_t settle_ms         # FLOW_CHOOSING: when the server counts as found without an answer
    int64_t age_ms            # when max_age ends it; TIMER_OFF_MS: never
    uint64_t answers          # datagrams of the server
    int64_t amplification     # 0: any
    int32_t responses         # answers to a datagram of the client, that end the flow; 0: none do
    int16_t portion           # datagrams to take at the next event
    uint16_t streak           # of events that brought an answer, since the client spoke
    uint8_t proxy             # version of the header in front of each datagram to the server; 0: none
    bint join                 # UDP_SEGMENT works towards the server, as far as we know ...
    bint join_back            # ... and towards the client
    uint64_t kept_at          # where its last datagram stands in UdpEngine.kept
    uint32_t kept_size        # 0: nowhere
    DatagramPath path         # to the client
    Address asked             # our address that the client spoke to
    UdpFlow* next             # all of the engine
    UdpFlow* previous
    Facts facts
    Choice choice             # while FLOW_CHOOSING


# The first datagram of a client: a flow, connected to a server; NULL: refused, and counted.  `header`: of PROXY; NULL: there is none.
cdef UdpFlow* flow_new(UdpSocket* socket, const UdpKeys* key, const DatagramPath* path, const ProxyHeader* header) noexcept nogil
# The client has sent these.
cdef void flow_ask(UdpFlow* flow, const Datagram* datagrams, int count) noexcept nogil
cdef void flow_end(UdpFlow* flow, int end) noexcept nogil
cdef void flow_review(UdpFlow* flow) noexcept nogil
# Send the answers that wait.
cdef void socket_flush(UdpSocket* socket) noexcept nogil
# Close it if it was left, and no engine has flows of its listener any more.
cdef void socket_rest(UdpSocket* socket) noexcept nogil
# It is read no more, and goes.  `own`: the descriptor is ours to close.
cdef void socket_close(UdpSocket* socket, bint own) noexcept nogil
