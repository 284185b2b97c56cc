"""A listener's lasting part: its sockets and counters, which outlive snapshots."""
from libc.stdint cimport int64_t, uint8_t, uint64_t
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.core.stats cimport CountTable, ENGINES_MAX
from proxyd_ext.io.acceptor cimport Acceptor


cdef enum:
    REJECT_CLIENT_LIMIT = 1   # limits.per_client
    REJECT_MEMORY = 2
    REJECT_FDS = 3
    REJECT_HEAD_TIMEOUT = 4   # closed before a request head had come
    REJECT_DENIED = 5         # `allow` and `deny` of the listener
    REJECT_CONNECTIONS = 6    # limits.connections
    REJECT_PROXY = 7          # no PROXY header that can be believed
    REJECT_HELLO = 8          # no well-formed ClientHello
    REJECT_NAME = 9           # no route takes the server name
    # Of UDP: datagrams.
    REJECT_AMPLIFICATION = 10  # answers to a source that has not spoken again, beyond flow.amplification
    REJECT_SEND = 11          # the kernel took it from us neither at once nor later: full buffers, no way there, too long
    REJECT_DRAINING = 12      # of a new client, at a socket that is being left
    REJECT_TRUNCATED = 13     # longer than a datagram can be


cdef struct ListenerData


ctypedef struct ListenerLocal:
    # One engine's part: written by that engine only.
    ListenerData* listener
    void* context             # the engine's Context
    int socket_count          # descriptors that are this engine's, see listener_place
    Acceptor* acceptors       # one for each, unused for UDP
    void* settings            # CompiledListener* of the last snapshot that had this listener
    bint leaving              # no snapshot has it any more: its connections serve out under the old settings, which they keep alive
    uint64_t mark             # generation of the last snapshot that had this listener
    uint64_t accepted
    int64_t open_count        # connections now
    int64_t in_flight         # exchanges now
    CountTable rejected       # by REJECT_*
    # Of flows (l4):
    uint64_t bytes_in         # taken from clients
    uint64_t bytes_out        # given to clients
    uint64_t packets_in       # datagrams
    uint64_t packets_out
    CountTable ended          # by END_*


cdef struct ListenerData:
    int64_t refs              # the Python handle and every connection hold one
    int fd_count
    int engines               # that there are; 0: not known yet
    bint shared               # each descriptor is that of several engines (unix sockets, passed descriptors that are too few)
    bint is_unix
    int64_t total             # connections now, over all engines: kept where limits.connections is set
    int[ENGINES_MAX] fds      # -1: closed
    uint8_t[128] name_text
    Slice name
    ListenerLocal* local[ENGINES_MAX]


cdef ListenerLocal* listener_join(ListenerData* listener, int engine, int engines) noexcept nogil   # NULL: no memory
cdef void listener_hold(ListenerData* listener) noexcept nogil
cdef void listener_drop(ListenerData* listener) noexcept nogil


cdef inline int listener_place(const ListenerData* listener, int engine, int number) noexcept nogil:
    """Where in `fds` the engine's descriptor of this number stands. Usually there is one an engine; a process that was passed more has to
    serve all of them, because what waits in the queue of one that is closed would be lost."""
    return engine % listener.fd_count if listener.shared else engine + number * listener.engines


cdef class Listener:
    cdef ListenerData* data
    cdef readonly str name
    cdef readonly str address
    cdef object __weakref__
