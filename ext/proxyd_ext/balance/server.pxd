"""A server: one address of one upstream, with its counters and health. It outlives snapshots; what a config says of it (weight, tier) is in
its member."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from proxyd_ext.core.events cimport EventNode
from proxyd_ext.core.shim cimport load_i64, load_int
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.core.stats cimport CountTable, ENGINES_MAX


cdef enum:
    DOWN_HEALTH = 1 << 0      # active checks say so
    DOWN_MAINT = 1 << 1
    DOWN_DRAIN = 1 << 2
    DOWN_PENDING = 1 << 3     # new, and not yet checked
    DOWN_OPERATOR = DOWN_MAINT | DOWN_DRAIN      # holds even where health is ignored


ctypedef struct ServerLocal:
    # One engine's part: written by that engine only.
    void* idle                # idle origin connections, the last used first (conn/origin)
    int64_t idle_count
    int64_t active_count      # open connections that carry an exchange or are being opened
    uint64_t opened
    uint64_t flows            # of them, that became flows (l4); of UDP, flows that began
    uint64_t bytes_in         # taken from the server
    uint64_t bytes_out        # given to the server
    uint64_t mark             # generation of the last snapshot that had this server as a member
    uint64_t answers          # heads of answers ...
    uint64_t answers_us       # ... and how long they took from the request given, summed
    CountTable responses      # by status code
    CountTable errors         # by FAULT_*
    EventNode ejected         # tells the control plane


ctypedef struct ServerData:
    int64_t refs              # the Python handle and every origin connection hold one
    int64_t in_flight         # exchanges on it now, over all engines
    int64_t idle_total        # idle connections, over all engines (pool.max)
    int64_t ejected_until_ms  # engines' monotonic clock; 0: not ejected
    int64_t ramp_from_ms      # slow start began then; 0: never
    uint64_t ejections
    uint64_t ewma             # balance/ewma: estimate of its latency and when it was made, in one word
    int ejected_in_row        # ejections that followed one another; the time grows with it
    int down                  # DOWN_*: who set a bit clears it
    int failures              # in a row
    # The heap of its upstream (balance/heap), under the upstream's lock.
    int32_t heap_at           # index; -1: not in it
    int32_t heap_order        # place among the members, for ties and for `first`
    int64_t heap_weight
    int64_t heap_most         # max_requests; 0: no limit
    uint64_t heap_turn        # as in its place, kept while it is in none
    uint32_t address_size
    uint8_t[128] address      # a sockaddr
    uint8_t[192] label_text
    Slice label               # what users read
    uint8_t[128] upstream_text
    Slice upstream            # name of the upstream
    ServerLocal* local[ENGINES_MAX]


cdef inline bint server_usable(const ServerData* server, int64_t now_ms) noexcept nogil:
    return load_int(&server.down) == 0 and load_i64(&server.ejected_until_ms) <= now_ms


cdef ServerLocal* server_join(ServerData* server, int engine) noexcept nogil   # make this engine's part if there is none; NULL: no memory
cdef void server_hold(ServerData* server) noexcept nogil
cdef void server_drop(ServerData* server) noexcept nogil
cdef int64_t server_clock_ms() noexcept nogil      # the clock of ejected_until_ms, outside the engines


cdef class Server:
    cdef ServerData* data
