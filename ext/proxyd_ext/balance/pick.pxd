"""Choosing a member of a pool for one try of one exchange."""
from libc.stdint cimport int32_t, int64_t, uint64_t
from proxyd_ext.balance.heap cimport Tried
from proxyd_ext.balance.pool cimport PoolData, UpstreamData
from proxyd_ext.balance.server cimport ServerData
from proxyd_ext.core.hash cimport Random


cdef enum:
    PICK_NONE = -1            # no server is usable and untried
    PICK_FULL = -2            # some are, and have max_requests


ctypedef struct PickInput:
    const Tried* tried
    uint64_t key              # hash of the request's key: CRC-32, for ketama's sake
    bint by_key               # the key chooses on the ring, whatever the balancer (sticky)
    int32_t sticky            # the member to take if it fits; -1: none
    Random* random
    int64_t now_ms


# A member number, counted as in flight (pick_leave ends that), or PICK_*.
cdef int32_t pick(PoolData* pool, const PickInput* input) noexcept nogil

# An exchange leaves its server: somebody who waits for room is woken.
cdef void pick_leave(UpstreamData* state, ServerData* server) noexcept nogil
