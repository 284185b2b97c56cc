"""TCP flows: a client's connection and one to a server, and the bytes between them.

    FLOW_PROXY      a PROXY header is awaited (listeners with `proxied`)
    FLOW_HELLO      a ClientHello is awaited ("tls" listeners)
    FLOW_CONNECTING a server is being connected to; the client is not read meanwhile
    FLOW_PAUSING    the next try begins in a moment
    FLOW_OPEN       bytes go both ways, each way ends by itself (half-close)
    FLOW_TELLING    refused: an alert is on its way, what the client still sends is thrown away
    FLOW_LEAVING    the server has reset: what it sent before is still on its way to the client

What goes through is copied while it is little: one receive, one send, no buffer between. A direction that fills its buffer twice in a row
is spliced, through a pipe that it holds only while bytes are in it, until it has become little again.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from proxyd_ext.conn.model cimport Context
from proxyd_ext.core.address cimport Address
from proxyd_ext.core.timer cimport Timer
from proxyd_ext.io.poller cimport Splice, Stream
from proxyd_ext.io.sys cimport sockaddr_storage, socklen_t
from proxyd_ext.l4.model cimport Choice, Facts, L4


cdef enum:
    FLOW_PROXY = 0
    FLOW_HELLO = 1
    FLOW_CONNECTING = 2
    FLOW_PAUSING = 3
    FLOW_OPEN = 4
    FLOW_TELLING = 5
    FLOW_LEAVING = 6

    TOLD_NAME = 255           # bytes that are kept of each
    TOLD_ALPN = 128
    TOLD_ROUTE = 64


cdef struct TcpHello:         # what the record tells of a ClientHello
    uint8_t[TOLD_NAME] name
    uint8_t[TOLD_ALPN] alpn
    uint8_t[TOLD_ROUTE] route
    uint8_t name_size
    uint8_t alpn_size
    uint8_t route_size


cdef struct Way:              # one direction
    Splice splice
    uint64_t counted          # bytes of the splice that are counted already
    uint8_t filled            # times in a row that a receive filled its buffer
    uint8_t small             # times in a row that a splice found little
    bint ended                # its source has said that there is no more
    bint over                 # and that has been passed on


cdef struct TcpFlow:
    Stream client             # first: what is buried is the flow
    Stream server
    Timer timer
    L4* l4
    TcpFlow* next             # all of the engine
    TcpFlow* previous
    Facts facts
    Choice choice
    Way up                    # from the client to the server
    Way down
    TcpHello* hello           # NULL: there was none
    Address local             # where the client connected to, or what a PROXY header says of that
    size_t need               # of a ClientHello: bytes before which there is no use in looking
    int64_t idle_ms           # 0: none
    int64_t age_ms            # when max_age is over; 0: never
    int64_t try_us            # when the try began
    int64_t moved_ms          # when something moved last
    uint64_t unsent           # bytes that had not left, when the timer last looked
    uint32_t buffer           # bytes kept per direction
    uint8_t state             # FLOW_*
    uint8_t first             # END_* of the side that closed first
    bint broken               # one side has reset, which the other must hear
    bint counted_server       # among the connections of its server


# The accept handler of "tcp" and "tls" listeners; `owner` is the ListenerLocal.
cdef void tcp_accept(void* owner, int fd, const sockaddr_storage* peer, socklen_t size) noexcept nogil
# Servers, or listeners, have changed: end what must end, set deadlines.
cdef void tcp_review(Context* context) noexcept nogil
cdef void tcp_abort(Context* context) noexcept nogil
