"""What stays in the cache: S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache eviction", SOSP 2023), by bytes.

Two queues of nodes that are part of the objects, oldest at the tail, and the ghost. Newcomers enter SMALL, which is due to give up its
tail while it holds more than a tenth of the target; what was asked for twice or more by then moves on to MAIN, what was not is evicted and
remembered by the ghost for as many evictions as MAIN holds objects, so that it enters MAIN when it comes back in time. MAIN is a clock: its
tail goes to the head again as often as it was asked for, three times at most. A hit is one byte: nothing moves, and nothing is written once
it is 3.

No storage and no lock of its own: everything but `policy_hit` under the caller's lock (its shard's). Who may be evicted when is the
caller's affair, too: it takes victims until its object fits.

One rule is not the paper's, whose objects are of one size. *A large newcomer stands first in line*: one of more than twice the mean size
of what is cached, or of more than SMALL's whole share, enters SMALL at its tail. It stays while there is room, flushes no other newcomer,
and returns to MAIN when it is asked for again; sizes that differ by less than two see no difference. Measured in policy.pyx.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from proxyd_ext.cache.ghost cimport Ghost


cdef extern from "proxyd_ext/core/shim.h" nogil:
    uint8_t load_u8 "pxd_load_relaxed"(const uint8_t* p)
    void store_u8 "pxd_store_relaxed"(uint8_t* p, uint8_t value)


cdef enum:
    POLICY_NONE = 0           # in no queue
    POLICY_SMALL = 1
    POLICY_MAIN = 2
    POLICY_FREQ_MAX = 3


ctypedef struct PolicyNode:
    PolicyNode* next          # towards the tail: came before it
    PolicyNode* previous
    uint64_t size             # bytes that it takes; set before it is inserted, then changed by policy_resized only
    uint32_t fingerprint      # of its key, for the ghost
    uint8_t queue             # POLICY_*
    uint8_t freq              # hits, 0 to POLICY_FREQ_MAX; written without a lock, so a hit may get lost


ctypedef struct PolicyQueue:
    PolicyNode* head          # the newest
    PolicyNode* tail
    uint64_t bytes
    uint64_t count


ctypedef struct Policy:
    PolicyQueue small
    PolicyQueue main
    Ghost ghost
    uint64_t target           # bytes that both should hold at most
    uint64_t share            # of them SMALL's


# False: no memory.
cdef bint policy_init(Policy* policy, uint64_t target) noexcept nogil
# The nodes are the caller's: they are not touched.
cdef void policy_destroy(Policy* policy) noexcept nogil
cdef void policy_target(Policy* policy, uint64_t target) noexcept nogil
# Of `key_hash` bits 20 to 51 are used: keys of one policy may have the others in common.
cdef void policy_insert(Policy* policy, PolicyNode* node, uint64_t key_hash) noexcept nogil
# Who goes next, taken out of its queue; NULL: there is none. Looks at 64 nodes at most, and then takes the one that it is at.
cdef PolicyNode* policy_victim(Policy* policy) noexcept nogil
# Take out what was purged or has expired. The ghost does not learn of it.
cdef void policy_remove(Policy* policy, PolicyNode* node) noexcept nogil
# `fresh` takes the place of `node`: another version of the same object, with its own size.
cdef void policy_replace(Policy* policy, PolicyNode* node, PolicyNode* fresh) noexcept nogil
# It grew while it was filled, or shrank.
cdef void policy_resized(Policy* policy, PolicyNode* node, uint64_t size) noexcept nogil


cdef inline uint64_t policy_bytes(const Policy* policy) noexcept nogil:
    return policy.small.bytes + policy.main.bytes


cdef inline void policy_hit(PolicyNode* node) noexcept nogil:
    cdef uint8_t freq = load_u8(&node.freq)
    if freq < POLICY_FREQ_MAX:
        store_u8(&node.freq, freq + 1)
