"""Rate limits: tables of keys, each with one 64-bit word that is advanced by compare-and-swap (semantics.md §2.5, performance.md §6).

Three algorithms share the table (limit/table.pxd), each in a file of its own that is arithmetic only:

    RATE_GCRA     a token bucket as the generic cell rate algorithm: the word is the theoretical arrival time, in units in which the
                  interval of the rate is a whole number, so that nothing drifts (limit/gcra.pxd)
    RATE_LEAKY    nginx's leaky bucket, with its very arithmetic: excess in thousandths of a request, milliseconds, the same rounding
                  (limit/leaky.pxd)
    RATE_LEASED   tokens that the control plane has fetched from a store that several proxies share; at worst proxies * lease requests of
                  a key are admitted beyond the limit (limit/lease.pxd)

Only a hash of a key is kept. Nothing expires by a timer: what has drained is free to be taken over. A full bucket gives up the entry that
is nearest to being drained (counted).
"""
from libc.stdint cimport int64_t, uint64_t
from proxyd_ext.core.shim cimport PXD_LIKELY, counter_add
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.core.stats cimport ENGINES_MAX
from proxyd_ext.limit.sketch cimport Sketch
from proxyd_ext.limit.table cimport Table
from proxyd_ext.limit.wants cimport Wants


cdef enum:
    RATE_GCRA = 0
    RATE_LEAKY = 1
    RATE_LEASED = 2

    RATE_PASSED = 0
    RATE_DELAYED = 1
    RATE_REFUSED = 2
    RATE_DELAYED_DRY = 3      # would have been, but only a dry run says so: counted by the caller
    RATE_REFUSED_DRY = 4
    RATE_DECISIONS = 5


ctypedef struct RateLocal:
    # One engine's part: written by that engine only.
    uint64_t[RATE_DECISIONS] decisions
    uint64_t[8 - RATE_DECISIONS] unused      # a cache line of its own


cdef struct RateTable:
    Table keys
    int64_t lease             # tokens
    void* rules               # RateRule: all that it ever had: engines may look at one at any time, so none is freed before the table
    RateLocal* local[ENGINES_MAX]
    Wants wants
    Sketch sketch


ctypedef struct RateTaken:
    # What one request took, to give it back.
    RateTable* table
    void* rule                # by which it was
    void* slot                # where the key stands
    uint64_t hash
    uint64_t before           # the entry's word before; 0: there was no entry
    uint64_t after
    int64_t at_us


ctypedef struct RateOutcome:
    int64_t delay_us          # RATE_DELAYED: hold the request so long
    int64_t retry_us          # until one request would pass: of RATE_REFUSED, and when it took the last one; else 0
    int64_t reset_us          # until the whole burst would pass at once
    int64_t remaining         # requests that would pass at once now


# One request of a key (not 0).  RATE_PASSED, RATE_DELAYED (both have taken, and say what in `taken`), or RATE_REFUSED (nothing was taken).
# `out` is filled for RATE_DELAYED and RATE_REFUSED: most of those that pass need not know, and for those who do there is rate_tell.
cdef int rate_take(RateTable* table, uint64_t hash, int64_t now_us, RateTaken* taken, RateOutcome* out) noexcept nogil
# How things stood for the key when a request had taken.
cdef void rate_tell(const RateTaken* taken, RateOutcome* out) noexcept nogil
# Give back what a request took: all of it when nobody came between, or no time has gone by; else less what may have drained since. So in no
# stretch of time do those that keep what they took exceed the limit.
cdef void rate_give_back(const RateTaken* taken, int64_t now_us) noexcept nogil
cdef void rate_count_first(RateTable* table, int engine, int decision) noexcept nogil


cdef inline void rate_count(RateTable* table, int engine, int decision) noexcept nogil:
    """Count a decision (RATE_PASSED to RATE_REFUSED_DRY) for one engine."""
    cdef RateLocal* local = table.local[engine]
    if PXD_LIKELY(local != NULL):
        counter_add(&local.decisions[decision], 1)
    else:
        rate_count_first(table, engine, decision)


# For the sketch of the busiest keys: callers draw lots, and call it for one of RATE_SAMPLE requests.
cdef void rate_note(RateTable* table, uint64_t hash, Slice text, bint refused) noexcept nogil

cdef enum:
    RATE_SAMPLE = 32


cdef class RateLimit:
    cdef RateTable* table
    cdef readonly str name
    cdef dict _told           # of leased keys whose grant is awaited: (slot's version, tokens used on credit that were told) by hash
    cdef void* _leased        # the rule of leases
    cdef object _own          # (algorithm, delay) of the local share
