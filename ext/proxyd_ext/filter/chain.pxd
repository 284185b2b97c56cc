"""The filter chain: a route's policies compiled into an array of steps that run in order (rules.pxd). Each step continues, answers, or
waits.

A limit that refuses gives back what the limits before it took; what auth refuses keeps its price, since guessing must cost. Delays do not
add up: the longest one is waited, once, before the request leaves the limits.

To add a filter: a FILTER_* kind and its rule in rules.pxd, its case in `chain_run`, its spec in snapshot/spec.py and its row in
snapshot/steps.pyx.
"""
from libc.stdint cimport int64_t, uint64_t, uint8_t
from proxyd_ext.core.address cimport Address
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.filter.rules cimport AccessRule, FilterStep, HeadersRule, LimitRule
from proxyd_ext.filter.state cimport FilterState
from proxyd_ext.http1.head cimport Head
from proxyd_ext.limit.rate cimport RateOutcome, RateTaken


cdef enum:
    CHAIN_CONTINUE = 0        # all steps passed.  A refusal is -FAULT_*
    CHAIN_ASK_AUTH = 1        # the step at `at` waits for a verdict: run on when it is in `answered` (or `failed` is set)
    CHAIN_ASK_FILTER = 2      # the same of a user's filter: run on when `resumed` (or `failed`) is set
    CHAIN_DELAY = 3           # wait until hold_until_us, set `delayed`, and run on
    CHAIN_ANSWER = 4          # 204 with the lines in `told`: a preflight

    CHAIN_SCRATCH = 16384
    TOLD_MAX = 16384          # bytes of field lines that steps may say in answers, for one request
    SENT_MAX = 32768          # bytes of field lines that a request may get from its route, verdicts and filters together


cdef void filter_begin(FilterState* state) noexcept nogil
# Gives back what is held: verdicts, counts of requests in flight, memory.
cdef void filter_end(FilterState* state) noexcept nogil
cdef int chain_run(const FilterStep* steps, int count, FilterState* state) noexcept nogil


ctypedef struct Stop:
    # Where a light run (filter/light.pxd) stopped.
    int at                    # the step
    int taken                 # by the limits before it
    int decision              # RATE_DELAYED or RATE_REFUSED of the limit there; -1: the step has not been asked
    uint64_t hash             # the key that it decided on
    RateOutcome outcome
    const HeadersRule* headers    # the last one before it; NULL: there is none


# Go on from there, in a state that has just begun.
cdef int chain_go_on(const FilterStep* steps, int count, FilterState* state, const RateTaken* taken, const Stop* stop) noexcept nogil
# After CHAIN_CONTINUE: what is said for this request alone is joined with what its route says, into request_lines and so on.  0 or FAULT_*
cdef int filter_join(FilterState* state) noexcept nogil
# The field lines that a refusal says.
cdef Slice filter_told(const FilterState* state) noexcept nogil
# Whole field lines: what would exceed TOLD_MAX is left out.
cdef void filter_say(FilterState* state, const void* data, size_t size) noexcept nogil
# A request for the sketch of the busiest keys.
cdef void chain_sample(const LimitRule* rule, const FilterState* state, uint64_t hash, int decision) noexcept nogil
cdef void filter_note(FilterState* state, int step, int what) noexcept nogil
# Who the last auth step says it is; empty: nobody.
cdef Slice filter_user(const FilterState* state) noexcept nogil

# What a rule of access says to a client.
cdef bint access_admits(const AccessRule* rule, const Address* client) noexcept nogil

# Mark the fields of `head` whose names stand in `names` (as HeadersRule.request_drop), so that the head writers leave them out.  '_' and
# '.' in a field's name count as '-', too: behind CGI's naming they are one field, and what is dropped may be what a stranger must not say.
# Returns the bits of the known fields (FIELD_*) among the names, whether or not they stand in the head.
cdef uint64_t drop_fields(Head* head, Slice names) noexcept nogil
# Whether a field of that name is one of `names`.
cdef bint names_have(Slice names, Slice name) noexcept nogil
