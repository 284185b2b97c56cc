# cython: cdivision=True
"""A token bucket as the generic cell rate algorithm (ITU-T I.371, annex A): one number a key, and nothing that drifts.

The number is the theoretical arrival time (TAT): when the next request would come if all came evenly. A request at `now` moves it to
max(TAT, now) + T, T the interval of the rate, and passes if that is at most burst + 1 intervals ahead of now. What is ahead, the *level*,
is what a bucket of (burst + 1) T holds; it drains by itself as time goes on.

Exact: time is counted in units of 1/N microsecond, where the rate in lowest terms is N requests in P microseconds. So T = P is a whole
number of units, and so is every time. N is at most 1024; a rate that would need more is replaced by the nearest one that does not
(Python's Fraction.limit_denominator): off by less than 1/(1025 T), T in microseconds, that is 1e-5 up to 10,000 requests a second.

The state is the TAT modulo 2^58 units: eight years and more. What was not touched for half of that looks like the future; nothing stands
that long, since whoever counts the keys removes what has drained (table_walk).
"""
from libc.stdint cimport int64_t, uint64_t
from proxyd_ext.limit.rate cimport RATE_DELAYED, RATE_PASSED, RATE_REFUSED, RateOutcome
from proxyd_ext.limit.table cimport STATE_SHIFT

cdef enum:
    GCRA_UNITS_MAX = 1024     # N
    GCRA_ROOM_BITS = 56       # a bucket may hold less than 2^56 units


ctypedef struct GcraRule:
    int64_t units             # N: units of a microsecond
    int64_t interval          # T, in units
    int64_t room              # (burst + 1) T
    int64_t at_once           # up to this level nobody is delayed


cdef inline int64_t gcra_level(const GcraRule* rule, uint64_t word, int64_t now_us) noexcept nogil:
    """Units by which the TAT is ahead of now; 0 and less: drained."""
    cdef uint64_t now = <uint64_t>now_us * <uint64_t>rule.units << STATE_SHIFT
    return <int64_t>((word >> STATE_SHIFT << STATE_SHIFT) - now) >> STATE_SHIFT


cdef inline uint64_t gcra_state(const GcraRule* rule, int64_t level, int64_t now_us) noexcept nogil:
    """The TAT; never 0, but a unit later."""
    cdef uint64_t state = (<uint64_t>now_us * <uint64_t>rule.units + <uint64_t>level) & (<uint64_t>0xffffffffffffffff >> STATE_SHIFT)
    return state if state != 0 else 1


cdef inline int64_t gcra_us(const GcraRule* rule, int64_t units) noexcept nogil:
    """Microseconds, rounded up."""
    return (units + rule.units - 1) // rule.units if units > 0 else 0


cdef inline int gcra_take(const GcraRule* rule, uint64_t word, int64_t now_us, uint64_t* state) noexcept nogil:
    """Decide on a request of a key with this word; 0: it has none. `state`: what to keep instead, unless it is refused."""
    cdef uint64_t now = <uint64_t>now_us * <uint64_t>rule.units       # once for gcra_level and gcra_state, written out
    cdef int64_t level = 0
    cdef uint64_t after
    if word != 0:
        level = <int64_t>((word >> STATE_SHIFT << STATE_SHIFT) - (now << STATE_SHIFT)) >> STATE_SHIFT
    level = rule.interval + (level if level > 0 else 0)
    if level > rule.room:
        return RATE_REFUSED
    after = (now + <uint64_t>level) & (<uint64_t>0xffffffffffffffff >> STATE_SHIFT)
    state[0] = after if after != 0 else 1
    return RATE_PASSED if level <= rule.at_once else RATE_DELAYED


cdef inline void gcra_tell(const GcraRule* rule, uint64_t word, int64_t now_us, bint delayed, RateOutcome* out) noexcept nogil:
    """How things stand with this word, which a request has just left behind if it is `delayed`."""
    cdef int64_t level = gcra_level(rule, word, now_us)
    if level < 0:
        level = 0
    out.delay_us = gcra_us(rule, level - rule.at_once) if delayed else 0
    out.retry_us = gcra_us(rule, level + rule.interval - rule.room)
    out.reset_us = gcra_us(rule, level)
    out.remaining = (rule.room - level) // rule.interval if level <= rule.room else 0


cdef inline uint64_t gcra_undo(const GcraRule* rule, uint64_t word, int64_t taken_us, int64_t now_us) noexcept nogil:
    """The state without a request of `taken_us`, although others came behind it: less its interval, but for the time since.

    How much lower the level would be had it never come depends on when the bucket would have been empty in between, which nobody knows.
    This much it is at least: let S be the requests with this one. The TAT is the maximum, over all requests i, of t_i + T times the
    number of those from i on. Without this one let i be where the maximum is. If i came before, the same term with this one is T more; if
    i came behind, the term of this one is at least T - (t_i - taken_us) more, and t_i is not later than now.
    """
    cdef int64_t left = rule.interval - (now_us - taken_us if now_us > taken_us else 0) * rule.units
    return gcra_state(rule, gcra_level(rule, word, now_us) - (left if left > 0 else 0), now_us)


cdef inline int64_t gcra_left(const GcraRule* rule, uint64_t word, int64_t now_us) noexcept nogil:
    """Microseconds until it has drained."""
    cdef int64_t level = gcra_level(rule, word, now_us)
    return level // rule.units if level <= 0 else gcra_us(rule, level)
