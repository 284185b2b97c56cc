# cython: cdivision=True
"""Tokens of a key that this proxy has taken in advance from a bucket that several proxies share (performance.md §6, "leases").

A request takes a token from the word of its key, and that is all that it waits for. The bucket itself is the control plane's affair (a
store that all proxies reach): it is told of a *want* (limit/wants.pxd), and answers by a *grant*. A lease of L tokens has two halves:

    held      the L // 2 that a key may have in hand: charged to the bucket already, not yet used; they lapse after a while
    credit    the L - L // 2 that may be used before the bucket is asked: so a key that is seen for the first time passes at once

So the word's *balance* is between -credit and +held. A want says how much was used on credit, which is charged unconditionally, whether the
bucket has it or not, and how much more would fit the hand, of which the bucket gives what it has. There is one want under way for a key at
a time: when its balance comes down to half of the hand. When the bucket has nothing, the key is *blocked* until it has again, all debt
paid; whatever was used meanwhile is charged by another want.

Worst case, at any moment and over any stretch of time: all proxies together admit no more than the bucket would, plus

    proxies * lease

Why: in a stretch of time a proxy uses at most `held` tokens that were charged before it. On credit it uses at most `credit` before it is
charged; and it is blocked until the whole debt that the bucket had when it was charged is paid, so the debt above that is what other
proxies did since, each of them once: together never more than proxies * credit (tests/ext/limit/test_rate_lease.py lets adversaries try).

The 58 bits: when what the word says ends, in milliseconds modulo 2^36 (two years; good for half of that) · the balance · pending · blocked.
"""
from libc.stdint cimport int64_t, uint64_t
from proxyd_ext.limit.rate cimport RATE_PASSED, RATE_REFUSED, RateOutcome
from proxyd_ext.limit.table cimport STATE_SHIFT

cdef enum:
    LEASE_ZERO = 0x80000      # the balance is stored with this added, so that a state is never 0
    LEASE_MOST = 0x7fff0      # tokens of one lease
    LEASE_UNTIL_SHIFT = 28    # within the word
    LEASE_LOST_MS = 10_000    # a want that has no answer by then is told again


ctypedef struct LeaseRule:
    int64_t interval_us       # between two requests at the rate of the whole, at least 1
    int64_t most              # requests that the whole admits at once: burst + 1


ctypedef struct LeaseState:
    int64_t balance           # tokens in hand; negative: used on credit
    int64_t left_ms           # until tokens in hand lapse, or the block ends; negative: since then
    bint pending              # a want is under way
    bint blocked


cdef inline LeaseState lease_read(uint64_t word, int64_t now_us) noexcept nogil:
    cdef LeaseState state
    cdef uint64_t now = <uint64_t>(now_us // 1000) << LEASE_UNTIL_SHIFT
    if word == 0:
        state.balance, state.left_ms, state.pending, state.blocked = 0, 0, False, False
        return state
    state.left_ms = <int64_t>((word >> LEASE_UNTIL_SHIFT << LEASE_UNTIL_SHIFT) - now) >> LEASE_UNTIL_SHIFT
    state.balance = <int64_t>(word >> (STATE_SHIFT + 2) & (2 * LEASE_ZERO - 1)) - LEASE_ZERO
    state.pending = word >> (STATE_SHIFT + 1) & 1
    state.blocked = word >> STATE_SHIFT & 1
    if state.left_ms <= 0:
        state.blocked = False
        if state.balance > 0:
            state.balance = 0
        if state.left_ms <= -LEASE_LOST_MS:
            state.pending = False
    return state


cdef inline uint64_t lease_state(const LeaseState* state, int64_t now_us) noexcept nogil:
    cdef int64_t balance = min(max(state.balance, <int64_t>(1 - LEASE_ZERO)), <int64_t>(LEASE_ZERO - 1))
    cdef uint64_t word = <uint64_t>(now_us // 1000 + state.left_ms) << LEASE_UNTIL_SHIFT
    word |= <uint64_t>(balance + LEASE_ZERO) << (STATE_SHIFT + 2)
    return (word >> STATE_SHIFT) | <uint64_t>state.pending << 1 | <uint64_t>state.blocked


cdef inline int64_t lease_held(int64_t lease) noexcept nogil:
    return lease >> 1


cdef inline int64_t lease_credit(int64_t lease) noexcept nogil:
    return lease - (lease >> 1)


cdef inline int lease_take(int64_t lease, uint64_t word, int64_t now_us, uint64_t* after, bint* want) noexcept nogil:
    """Decide on a request of a key with this word; 0: it has none. `after`: the state to keep instead, unless it is refused; `want`: that
    makes a want."""
    cdef LeaseState state = lease_read(word, now_us)
    if state.blocked or state.balance <= -lease_credit(lease):
        return RATE_REFUSED
    state.balance -= 1
    want[0] = not state.pending and state.balance <= lease_held(lease) // 2
    if want[0]:
        state.pending = True
        if state.left_ms < 0:
            state.left_ms = 0         # from here on the answer is waited for
    after[0] = lease_state(&state, now_us)
    return RATE_PASSED


cdef inline void lease_tell(const LeaseRule* rule, int64_t lease, uint64_t word, int64_t now_us, RateOutcome* out) noexcept nogil:
    """What can be told from here: of the bucket itself nothing is known."""
    cdef LeaseState state = lease_read(word, now_us)
    out.delay_us = 0
    out.retry_us = 0
    out.remaining = state.balance + lease_credit(lease)
    if state.blocked:
        out.retry_us = state.left_ms * 1000
        out.remaining = 0
    elif out.remaining <= 0:
        out.retry_us = rule.interval_us
        out.remaining = 0
    out.reset_us = (rule.most - min(out.remaining, rule.most)) * rule.interval_us
    if out.reset_us < out.retry_us:
        out.reset_us = out.retry_us


cdef inline uint64_t lease_undo(int64_t lease, uint64_t word, int64_t now_us) noexcept nogil:
    """The state with one token more, as far as the hand has room; want and block stay."""
    cdef LeaseState state = lease_read(word, now_us)
    if state.balance < lease_held(lease):
        state.balance += 1
    return lease_state(&state, now_us)


cdef inline uint64_t lease_unwant(uint64_t word) noexcept nogil:
    """The word without its want, which found no room."""
    return word & ~(<uint64_t>1 << (STATE_SHIFT + 1))


cdef inline int64_t lease_asks(int64_t lease, uint64_t word, int64_t now_us, int64_t* used) noexcept nogil:
    """What a want says: tokens `used` on credit, and how many more would fit the hand."""
    cdef LeaseState state = lease_read(word, now_us)
    used[0] = -state.balance if state.balance < 0 else 0
    if state.blocked or state.balance >= lease_held(lease):
        return 0
    return lease_held(lease) - (state.balance if state.balance > 0 else 0)


cdef inline uint64_t lease_grant(
    uint64_t word, int64_t charged, int64_t tokens, int64_t retry_us, int64_t now_us, int64_t valid_us, bint* want
) noexcept nogil:
    """The state after a grant: `charged` were used on credit, and are paid now; `tokens` come beyond them. `want`: what was used on credit
    meanwhile must be told."""
    cdef LeaseState state = lease_read(word, now_us)
    state.balance += charged
    if tokens > 0:
        state.balance += tokens
        state.blocked = False
        state.left_ms = (valid_us + 999) // 1000
    elif retry_us > 0:
        state.blocked = state.balance <= 0
        if state.blocked:
            state.left_ms = (retry_us + 999) // 1000
    want[0] = state.balance < 0
    state.pending = want[0]
    return lease_state(&state, now_us)


cdef inline int64_t lease_left(uint64_t word, int64_t now_us) noexcept nogil:
    """Microseconds until the key is like a new one: tokens lapsed, block ended, and nothing used on credit that still waits to be told."""
    cdef LeaseState state = lease_read(word, now_us)
    if state.balance < 0:
        return (state.left_ms + LEASE_LOST_MS) * 1000
    return state.left_ms * 1000 if state.balance > 0 or state.blocked or state.left_ms < 0 else 0
