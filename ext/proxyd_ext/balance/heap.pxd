"""Servers in order of load: a 4-ary heap from which `least_conn` and `first` take the best in O(log n).

Changed under its upstream's lock only. A server stands in one heap at most (it belongs to one upstream) and knows its place (`heap_*` in
balance/server). The order: servers with room before full ones; then, for `first`, the order of the config; for `least_conn` exchanges in
flight by weight, and among equals whoever's turn comes first in virtual time, so that an idle upstream is served by weight.
"""
from libc.stdint cimport int32_t, int64_t, uint64_t
from proxyd_ext.balance.server cimport ServerData


cdef enum:
    KEY_FULL = 0x7FFFFFFFFFFFFFFF     # above every number
    TRIED_MAX = 16            # servers that an exchange remembers having tried; more than retry.attempts can be


ctypedef struct Tried:
    const ServerData* server[TRIED_MAX]      # compared, never looked into
    int count


ctypedef struct HeapPlace:
    # What is compared stands in the heap itself, so that a step looks at neighbouring memory and not at servers.
    uint64_t key              # bits of a double: load by weight, or the order of the config; KEY_FULL
    uint64_t turn             # virtual time of its next turn among equals
    ServerData* server


ctypedef struct Heap:
    HeapPlace* at
    int32_t size
    int32_t room
    uint64_t turn             # virtual time
    bint by_order             # `first`


# Make room for `count` servers; False: no memory.
cdef bint heap_reserve(Heap* heap, int32_t count) noexcept nogil
cdef void heap_destroy(Heap* heap) noexcept nogil
# Empty it: its servers are in no heap then.
cdef void heap_clear(Heap* heap) noexcept nogil
# Put a server at the end, without order; `heap_settle` when all are there.
cdef void heap_add(Heap* heap, ServerData* server, int32_t order, int64_t weight, int64_t most) noexcept nogil
cdef void heap_settle(Heap* heap) noexcept nogil
# The best server that fits and was not tried, NULL: none. `full`: set when one was passed over because it has max_requests.
cdef ServerData* heap_best(const Heap* heap, const Tried* tried, bint ignore_health, int64_t now_ms, bint* full) noexcept nogil
# A server took an exchange, or gave one back (`change` +1 or -1): put it where it now belongs.
cdef void heap_count(Heap* heap, ServerData* server, int change) noexcept nogil


cdef inline bint was_tried(const Tried* tried, const ServerData* server) noexcept nogil:
    cdef int i
    for i in range(tried.count):
        if tried.server[i] == server:
            return True
    return False
