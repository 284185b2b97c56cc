"""An upstream as one snapshot sees it: its members and the tables that its balancer draws from. Immutable once built."""
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t
from proxyd_ext.balance.server cimport ServerData, UpstreamData


cdef enum:
    BALANCE_ROUND_ROBIN = 0
    BALANCE_LEAST_CONN = 1
    BALANCE_P2C = 2
    BALANCE_RANDOM = 3
    BALANCE_HASH = 4

    SEQUENCE_MAX = 1 << 20    # entries of a round-robin sequence; weights whose sequence is longer are scaled down to it


ctypedef struct Member:
    ServerData* server
    uint32_t weight
    uint32_t alias_below      # alias table: keep this slot when the draw is below, out of 2^32
    int32_t alias_other       # else take this member
    bint backup


ctypedef struct RingPoint:
    uint32_t hash
    int32_t member


ctypedef struct Tier:
    # The primary members, or the backups: a contiguous part of the members, with tables of its own.
    int32_t first
    int32_t count
    int32_t* sequence         # smooth weighted round robin, member indexes
    uint32_t sequence_size
    RingPoint* ring           # ketama points in order of hash; only for BALANCE_HASH
    uint32_t ring_size


ctypedef struct Upstream:
    UpstreamData* state
    Member* members           # primaries, then backups
    Tier[2] tiers
    int balance               # BALANCE_*
    int32_t count
    int64_t pool_idle_ms
    int64_t pool_max
    int32_t passive_failures
    int64_t eject_ms
    int32_t max_ejected       # servers that may be out by ejection at one time


cdef Upstream* upstream_new(int32_t count) noexcept nogil      # zeroed; NULL: no memory
cdef bint upstream_seal(Upstream* upstream) noexcept nogil     # builds the tables from the members; False: no memory
cdef void upstream_free(Upstream* upstream) noexcept nogil
