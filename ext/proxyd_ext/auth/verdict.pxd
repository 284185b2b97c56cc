"""What the control plane has said about credentials. One table a policy, under 128-bit keyed digests: engines look, the control plane
inserts and takes out.

A Verdict is immutable and counted: the table holds one count, each exchange that uses it another. A Consumer is who has an API key: its
identity for limits and its use of a quota in one word, which engines advance by compare-and-swap. It outlives verdicts and snapshots.
"""
from libc.stdint cimport int64_t, uint16_t, uint64_t
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.core.stats cimport ENGINES_MAX


cdef enum:
    ATTRIBUTES_MAX = 16
    VERDICT_LINES_MAX = 8192
    VERDICT_SHARDS = 64

    VERDICT_ALLOWED = 0       # results that are counted
    VERDICT_DENIED = 1
    VERDICT_MISSING = 2       # no credential
    VERDICT_ASKED = 3         # of the allowed and denied: no verdict was remembered
    VERDICT_FAILED = 4        # no verdict came
    VERDICT_RESULTS = 5

    QUOTA_USED_BITS = 44      # of ConsumerData.word; above them the number of the period


ctypedef struct ConsumerData:
    int64_t refs
    uint64_t word             # number of the period << QUOTA_USED_BITS | requests in it
    uint64_t hash             # its key in tables of limits; never 0


ctypedef struct Attribute:
    Slice name
    Slice value


cdef struct VerdictData:
    int64_t refs
    bint allow
    uint16_t status           # of a refusal
    int plan                  # index into the PlanFilter's plans; -1: none
    ConsumerData* consumer    # counted; NULL: none
    Slice user
    Slice lines               # field lines for the request that goes to the server
    Slice head                # field lines of a refusal
    Slice body
    int attribute_count
    Attribute[ATTRIBUTES_MAX] attributes
    # the texts stand behind it, in the same block


cdef struct VerdictEntry:
    uint64_t high             # the digest
    uint64_t low
    int64_t until_ms          # on the engines' clock
    VerdictData* verdict      # counted
    VerdictEntry* chain       # in its bucket
    VerdictEntry* older       # of all in the table; the control plane's
    VerdictEntry* newer
    int used                  # looked up since the last look of the eviction


cdef struct VerdictTable:
    int id
    uint64_t mask             # of the buckets
    VerdictEntry** buckets
    int[VERDICT_SHARDS] locks      # bucket number modulo VERDICT_SHARDS
    int64_t count
    int64_t capacity
    uint64_t evictions
    VerdictEntry* oldest
    VerdictEntry* newest
    uint64_t[ENGINES_MAX][VERDICT_RESULTS] results


# The verdict for a digest, held; NULL: none is remembered, or it is too old.
cdef VerdictData* verdict_find(VerdictTable* table, uint64_t high, uint64_t low, int64_t now_ms) noexcept nogil
cdef void verdict_hold(VerdictData* verdict) noexcept nogil
cdef void verdict_drop(VerdictData* verdict) noexcept nogil
cdef void verdicts_count(VerdictTable* table, int engine, int result) noexcept nogil
# The attribute of that name; data NULL: there is none.
cdef Slice verdict_attribute(const VerdictData* verdict, Slice name) noexcept nogil
# One more request in a period.  False: `most` are used up, and nothing was counted.  `used`: how many, with this one.
cdef bint consumer_charge(ConsumerData* consumer, uint64_t period, uint64_t most, uint64_t* used) noexcept nogil
cdef void consumer_give_back(ConsumerData* consumer, uint64_t period) noexcept nogil


cdef class Consumer:
    cdef ConsumerData* data
    cdef readonly str name


cdef class Verdict:
    cdef VerdictData* data


cdef class Verdicts:
    cdef VerdictTable* table
    cdef readonly str name
