"""The objects of flows: what of them one engine owns, and what a TCP flow and a UDP flow have in common.

A flow outlives snapshots: it holds its server and its upstream, not the config that it began under. While it looks for a server it holds
the snapshot, too (`Choice`).
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from proxyd_ext.balance.heap cimport Tried
from proxyd_ext.balance.pool cimport PoolData, UpstreamData
from proxyd_ext.balance.server cimport ServerData, ServerLocal
from proxyd_ext.conn.model cimport ClientCount, Context
from proxyd_ext.core.address cimport Address
from proxyd_ext.core.slab cimport Slab
from proxyd_ext.io.listener cimport ListenerData, ListenerLocal
from proxyd_ext.preface.hello cimport HELLO_MAX
from proxyd_ext.snapshot.compile cimport CompiledFlowRoute, CompiledUpstream, SnapshotData, Target


cdef enum:
    CHOICE_COUNTED = 1 << 0   # in flight on the server
    CHOICE_PROBE = 1 << 1     # lets a half-open circuit know how it went
    CHOICE_RETRYING = 1 << 2  # counted in the upstream's retries in flight
    CHOICE_BY_KEY = 1 << 3    # the key chooses the server, whatever the balancer


cdef struct Choice:           # looking for a server (l4/choice)
    Context* context
    SnapshotData* snapshot    # held; NULL: the choice is over
    Target* target
    CompiledUpstream* upstream
    PoolData* pool            # pinned; NULL: none yet
    ServerData* server        # of the last try; kept alive by the pool
    Tried tried
    uint64_t key
    uint32_t flags            # CHOICE_*
    uint8_t tries


cdef struct Facts:            # what counters and the record need of a flow (l4/facts)
    Context* context
    ListenerData* listener    # held
    ListenerLocal* local
    ServerData* server        # held; NULL: none yet
    UpstreamData* upstream    # held; NULL: none yet
    ClientCount* counted      # NULL: the client's address is not counted
    Address client            # who the flow is of: the peer, or whom a PROXY header names
    Address peer
    int64_t start_us
    uint64_t id               # 16 hex digits of the record
    uint64_t config           # first 48 bits of the hash of the config that it began under
    uint64_t bytes_in         # taken from the client
    uint64_t bytes_out        # given to the client
    uint64_t packets_in
    uint64_t packets_out
    uint32_t connect_us       # T_NONE: not connected
    uint16_t fault            # FAULT_*; 0: none
    uint8_t kind              # RECORD_*
    uint8_t tries
    bint in_flight            # counted on server and upstream
    int64_t drain_ms          # of the listener
    int64_t leave_ms          # when it must have ended, because its listener or server is left; 0: it may go on


cdef struct L4:               # an engine's part (Context.l4)
    Context* context
    Slab flows                # TcpFlow
    Slab hellos               # TcpHello
    Slab datagrams            # UdpFlow
    void* first_flow          # TcpFlow*: all of the engine
    void* first_datagram      # UdpFlow*: the same
    void* first_socket        # UdpSocket*: listening sockets of UDP
    uint8_t[HELLO_MAX] scratch    # where a ClientHello is put together
