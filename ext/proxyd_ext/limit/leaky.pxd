# cython: cdivision=True
"""nginx's leaky bucket, with its arithmetic (ngx_http_limit_req_module.c; performance.md §6).

The state of a key is its `excess`, in thousandths of a request, and when that was so, in whole milliseconds. A request makes the excess
what has not drained of it by now, and one request more, at least 0; beyond `burst` it is refused and changes nothing. The first request
of a key has an excess of 0, so that burst + 1 pass at once. With `delay` it is held until the excess has drained to that. All divisions
cut off, as they do there, and a rate by the second or minute is cut to thousandths of a request a second first, as there: 10 r/m is 0.166
r/s. Other periods, which nginx does not have, are exact fractions.

A key that nginx has forgotten counts as new: it passes with an excess of 0. So a state means something as long as the next request would
have an excess above that.

Of the 58 bits the lower hold excess + 1 (never 0), as many as the burst needs; the upper the milliseconds, modulo what is left: with a
burst up to 134,000 that is 24 days, with one of 1000 eight years. It holds for keys that were touched within half of that; whoever counts
the keys removes those that have drained (table_walk).
"""
from libc.stdint cimport int64_t, uint64_t
from proxyd_ext.limit.rate cimport RATE_DELAYED, RATE_PASSED, RATE_REFUSED, RateOutcome
from proxyd_ext.limit.table cimport STATE_SHIFT

cdef enum:
    LEAKY_ONE = 1000          # a request
    LEAKY_BACK_MS = -60_000   # a clock that is back by more than this has jumped


ctypedef struct LeakyRule:
    int64_t drained           # so many thousandths of a request ...
    int64_t per_ms            # ... drain in so many milliseconds
    int64_t burst             # in thousandths
    int64_t delay             # the same; above every excess: nobody is delayed
    int64_t empty_ms          # in which the fullest bucket drains
    int bits                  # of the excess


ctypedef struct LeakyState:
    int64_t excess
    int64_t ms                # since then; may be negative, when another engine's clock was ahead


cdef inline LeakyState leaky_read(const LeakyRule* rule, uint64_t word, int64_t now_us) noexcept nogil:
    cdef LeakyState state
    cdef int shift = STATE_SHIFT + rule.bits
    state.ms = <int64_t>((<uint64_t>(now_us // 1000) << shift) - (word >> shift << shift)) >> shift
    state.excess = <int64_t>(word >> STATE_SHIFT & ((<uint64_t>1 << rule.bits) - 1)) - 1
    return state


cdef inline uint64_t leaky_state(const LeakyRule* rule, int64_t excess, int64_t ms) noexcept nogil:
    return (<uint64_t>ms << rule.bits | <uint64_t>(excess + 1)) & (<uint64_t>0xffffffffffffffff >> STATE_SHIFT)


cdef inline int64_t leaky_drained(const LeakyRule* rule, int64_t ms) noexcept nogil:
    """Thousandths that drain in a time, at most all that there can be."""
    if ms > rule.empty_ms:
        return rule.burst + 2 * LEAKY_ONE
    return ms * rule.drained // rule.per_ms


cdef inline int64_t leaky_until(const LeakyRule* rule, int64_t amount) noexcept nogil:
    """Milliseconds in which so much has drained, for certain."""
    return (amount * rule.per_ms + rule.drained - 1) // rule.drained if amount > 0 else 0


cdef inline int64_t leaky_elapsed(int64_t ms) noexcept nogil:
    """What nginx makes of a clock that went back."""
    if ms >= 0:
        return ms
    return 1 if ms < LEAKY_BACK_MS else 0


cdef inline int64_t leaky_delay_us(const LeakyRule* rule, int64_t excess) noexcept nogil:
    """In whole milliseconds, cut off."""
    return (excess - rule.delay) * rule.per_ms // rule.drained * 1000 if excess > rule.delay else 0


cdef inline int leaky_take(const LeakyRule* rule, uint64_t word, int64_t now_us, uint64_t* after) noexcept nogil:
    """Decide on a request of a key with this word; 0: it has none. `after`: the state to keep instead, unless it is refused."""
    cdef LeakyState state
    cdef int64_t excess, ms
    if word == 0:
        after[0] = leaky_state(rule, 0, now_us // 1000)
        return RATE_PASSED
    state = leaky_read(rule, word, now_us)
    ms = leaky_elapsed(state.ms)
    excess = state.excess - leaky_drained(rule, ms) + LEAKY_ONE
    if excess < 0:
        excess = 0
    if excess > rule.burst:
        return RATE_REFUSED
    after[0] = leaky_state(rule, excess, now_us // 1000 - (0 if ms != 0 else state.ms))
    return RATE_DELAYED if leaky_delay_us(rule, excess) > 0 else RATE_PASSED


cdef inline void leaky_tell(const LeakyRule* rule, uint64_t word, int64_t now_us, bint delayed, RateOutcome* out) noexcept nogil:
    """How things stand with this word, which a request has just left behind if it is `delayed`."""
    cdef LeakyState state = leaky_read(rule, word, now_us)
    cdef int64_t passed_us = state.ms * 1000 + now_us % 1000
    cdef int64_t retry_us = leaky_until(rule, state.excess + LEAKY_ONE - rule.burst) * 1000 - passed_us
    cdef int64_t reset_us = leaky_until(rule, state.excess + LEAKY_ONE) * 1000 - passed_us
    cdef int64_t free = rule.burst - state.excess + leaky_drained(rule, leaky_elapsed(state.ms))
    out.delay_us = leaky_delay_us(rule, state.excess) if delayed else 0
    out.retry_us = retry_us if retry_us > 0 else 0
    out.reset_us = reset_us if reset_us > 0 else 0
    if free >= rule.burst + LEAKY_ONE:
        out.remaining = rule.burst // LEAKY_ONE + 1
    else:
        out.remaining = free // LEAKY_ONE if free > 0 else 0


cdef inline uint64_t leaky_undo(const LeakyRule* rule, uint64_t word, int64_t taken_us, int64_t now_us) noexcept nogil:
    """The state without a request of `taken_us`, although others came behind it: less what of one request cannot have drained since, see
    gcra_undo."""
    cdef LeakyState state = leaky_read(rule, word, now_us)
    cdef int64_t ms = now_us // 1000 - taken_us // 1000
    cdef int64_t left = LEAKY_ONE
    if ms > 0:
        left -= leaky_drained(rule, ms) + 1       # 1: what a division may have cut off
    if left < 0:
        left = 0
    return leaky_state(rule, state.excess - left if state.excess > left else 0, now_us // 1000 - state.ms)


cdef inline int64_t leaky_left(const LeakyRule* rule, uint64_t word, int64_t now_us) noexcept nogil:
    """Microseconds until the next request would be like a first one."""
    cdef LeakyState state = leaky_read(rule, word, now_us)
    return (leaky_until(rule, state.excess + LEAKY_ONE) - leaky_elapsed(state.ms)) * 1000
