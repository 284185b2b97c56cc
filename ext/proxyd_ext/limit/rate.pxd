"""Rate limits: tables of keys, each with one 64-bit word that is advanced by compare-and-swap (semantics.md §2.5, performance.md §6).

Three algorithms share the table:

    RATE_GCRA     a token bucket as the generic cell rate algorithm: the word is the theoretical arrival time, in units in which the
                  interval of the rate is a whole number, so that nothing drifts
    RATE_LEAKY    nginx's leaky bucket, with its very arithmetic: excess in thousandths of a request, milliseconds, the same rounding
    RATE_LEASED   tokens that the control plane has fetched from a store that several proxies share

Only a hash of a key is kept. Nothing expires by a timer: what has drained is free to be taken over. A full bucket gives up the entry that
is nearest to being drained (counted).
"""
from libc.stdint cimport int64_t, uint64_t
from proxyd_ext.core.slice cimport Slice


cdef enum:
    RATE_GCRA = 0
    RATE_LEAKY = 1
    RATE_LEASED = 2

    RATE_PASSED = 0
    RATE_DELAYED = 1
    RATE_REFUSED = 2
    RATE_PASSED_DRY = 3       # would have been delayed or refused, but only a dry run says so: counted by the caller
    RATE_DECISIONS = 5        # passed, delayed, refused, delayed_dry_run, refused_dry_run


cdef struct RateTable


ctypedef struct RateTaken:
    # What one request took, to give it back.
    RateTable* table
    uint64_t hash
    uint64_t before           # the entry's word before; 0: there was no entry
    uint64_t after


ctypedef struct RateOutcome:
    int64_t delay_us          # RATE_DELAYED: hold the request so long
    int64_t retry_us          # RATE_REFUSED: until one request would pass
    int64_t reset_us          # until the whole burst would pass at once
    int64_t remaining         # requests that would pass at once now


# One request of a key (not 0).  RATE_PASSED, RATE_DELAYED (both have taken, and say what in `taken`), or RATE_REFUSED (nothing was taken).
cdef int rate_take(RateTable* table, uint64_t hash, int64_t now_us, RateTaken* taken, RateOutcome* out) noexcept nogil
# Give back what a request took: exactly when nobody came between, by one request's worth otherwise.
cdef void rate_give_back(const RateTaken* taken) noexcept nogil
# Count a decision (index into RATE_DECISIONS) for one engine.
cdef void rate_count(RateTable* table, int engine, int decision) noexcept nogil
# For the sketch of the busiest keys: callers draw lots, and call it for one of RATE_SAMPLE requests.
cdef void rate_note(RateTable* table, uint64_t hash, Slice text, bint refused) noexcept nogil

cdef enum:
    RATE_SAMPLE = 32


cdef class RateLimit:
    cdef RateTable* table
    cdef readonly str name
