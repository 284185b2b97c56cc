"""What the balancers draw from: for a set of members the smooth round-robin sequence, an alias table, the ketama ring, a Maglev table.

Built once, off the engines and without the GIL, so that a pick is a look-up however many members there are.
"""
from libc.stdint cimport int32_t, uint32_t, uint64_t
from proxyd_ext.balance.server cimport ServerData
from proxyd_ext.core.slice cimport Slice


cdef enum:
    SEQUENCE_MAX = 1 << 20    # entries of a round-robin sequence; weights whose sequence is longer are scaled down to it
    RING_TOP_BITS = 16


ctypedef struct Member:
    ServerData* server
    uint32_t weight           # of the config: 1..65535
    uint32_t share            # weight as it counts now: less while the server is in slow start
    int32_t max_requests      # 0: no limit
    int32_t tier
    bint local
    bint usable               # as the pool found it when it was built
    Slice sticky_id           # value of the cookie that stands for it


ctypedef struct RingPoint:
    uint32_t hash
    int32_t member


ctypedef struct Level:
    # Members that are drawn from together.
    int32_t* active           # member numbers
    int32_t count
    uint64_t total_share
    int32_t* sequence         # smooth weighted round robin, member numbers
    uint32_t sequence_size
    uint32_t* alias_below     # by place in `active`: keep the place when the draw is below, out of 2^32 ...
    int32_t* alias_other      # ... else take this place
    RingPoint* ring           # ketama points in order of hash
    uint32_t ring_size
    uint32_t* ring_top        # first point whose hash has at least these leading bits; one more at the end
    int ring_shift            # 32 - number of those bits
    int32_t* maglev           # member numbers
    uint32_t maglev_size      # a prime


# Each builds one table of a level whose `active` is set; False: no memory.
cdef bint build_sequence(const Member* members, Level* level) noexcept nogil
cdef bint build_alias(const Member* members, Level* level) noexcept nogil
cdef bint build_ring(const Member* members, Level* level) noexcept nogil
cdef bint build_maglev(const Member* members, Level* level) noexcept nogil
cdef void level_strip(Level* level) noexcept nogil     # free the tables; who is in it remains
cdef void level_free(Level* level) noexcept nogil


cdef inline uint32_t ring_find(const Level* level, uint32_t hash) noexcept nogil:
    """The first point at or behind the hash, round the ring: one look into the index and a search among the few points of its slot."""
    cdef uint32_t slot = hash >> level.ring_shift
    cdef uint32_t low = level.ring_top[slot], high = level.ring_top[slot + 1], middle
    while low < high:
        middle = (low + high) >> 1
        if level.ring[middle].hash < hash:
            low = middle + 1
        else:
            high = middle
    return low if low < level.ring_size else 0
