"""Rates, requests in flight and bans under any sequence of operations: what is told is within bounds, no instant admits more than a burst,
and counts in flight are exact.

An input is operations of two bytes: what, and for whom or how long.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memset
from proxyd_ext.core.hash cimport mix64
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.limit.ban cimport Bans, ban_left, ban_note
from proxyd_ext.limit.inflight cimport INFLIGHT_FULL, INFLIGHT_OVER, INFLIGHT_TAKEN, Inflight, inflight_give, inflight_take
from proxyd_ext.limit.rate cimport (
    RATE_DELAYED, RATE_PASSED, RATE_REFUSED, RateLimit, RateOutcome, RateTaken, rate_give_back, rate_take, rate_tell,
)

cdef enum:
    LIMITS = 4
    KEYS = 16                 # four times as many as the smallest tables hold for certain
    HELD = 16
    BURST = 6
    MOST = 3
    BAN_AFTER = 3


cdef list _limits = [
    RateLimit("token", requests=7, per_us=1_000_000, burst=BURST, capacity=64),
    RateLimit("delayed", requests=100, per_us=1_000_000, burst=BURST, delay=2, capacity=64),
    RateLimit("leaky", requests=3, per_us=1_000_000, burst=BURST, algorithm="leaky_bucket", capacity=64),
    RateLimit("slow", requests=1, per_us=86_400_000_000, burst=BURST, algorithm="leaky_bucket", delay=0, capacity=4),
]
cdef Inflight _inflight = Inflight("fuzz", capacity=8)
cdef Bans _bans = Bans("fuzz", after=BAN_AFTER, within_us=1_000_000, for_us=3_000_000, capacity=4)

ctypedef struct World:
    int64_t now_us
    RateTaken[HELD] held
    bint[HELD] is_held
    int[LIMITS][KEYS] at_once  # that passed since time last went by, or the table forgot
    int[KEYS] flying


cdef void take(RateLimit limit, World* world, int which, int key, int hand) noexcept:
    cdef RateTaken taken
    cdef RateOutcome out
    cdef int decision = rate_take(limit.table, mix64(key + 1), world.now_us, &taken, &out)
    INVARIANT(decision in (RATE_PASSED, RATE_DELAYED, RATE_REFUSED))
    if decision == RATE_REFUSED:
        INVARIANT(out.retry_us > 0 and out.remaining == 0 and out.reset_us >= out.retry_us)
        return
    if decision == RATE_DELAYED:
        INVARIANT(which in (1, 3) and 0 < out.delay_us <= 7 * <int64_t>86_400_000_000)
    rate_tell(&taken, &out)
    INVARIANT(0 <= out.remaining <= BURST and out.reset_us >= 0 and out.retry_us >= 0)
    if which < 3:             # the fourth is too small to remember all keys
        world.at_once[which][key] += 1
        INVARIANT(world.at_once[which][key] <= BURST + 1)
    if not world.is_held[hand]:
        world.held[hand], world.is_held[hand] = taken, True


cdef void fly(World* world, int key) noexcept nogil:
    cdef int result = inflight_take(_inflight.table, mix64(key + 1), MOST)
    if result == INFLIGHT_TAKEN:
        world.flying[key] += 1
    INVARIANT(world.flying[key] <= MOST)
    INVARIANT(result != INFLIGHT_OVER or world.flying[key] == MOST)
    INVARIANT(result != INFLIGHT_FULL or world.flying[key] == 0)


cdef void land(World* world, int key) noexcept nogil:
    if world.flying[key]:
        inflight_give(_inflight.table, mix64(key + 1))
        world.flying[key] -= 1


cdef void operate(World* world, uint8_t what, uint8_t whom) noexcept:
    cdef int which = what >> 4 & 3, key = whom % KEYS, hand = whom >> 4
    cdef int64_t left
    what &= 7
    if what < 2:
        take(<RateLimit>_limits[which], world, which, key, hand)
    elif what == 2:
        if world.is_held[hand]:
            rate_give_back(&world.held[hand], world.now_us)
            world.is_held[hand] = False
            memset(world.at_once, 0, sizeof(world.at_once))
    elif what == 3:
        world.now_us += (1, 900, 50_000, 1_000_000, 40_000_000, 90_000_000_000, 86_400_000_000 * 40, 0)[whom & 7]
        if whom & 7 < 7:
            memset(world.at_once, 0, sizeof(world.at_once))
    elif what == 4:
        fly(world, key)
    elif what == 5:
        land(world, key)
    elif what == 6:
        left = ban_left(_bans.table, mix64(key + 1), world.now_us)
        INVARIANT(0 <= left <= 3_000_000)
        if ban_note(_bans.table, mix64(key + 1), world.now_us):
            INVARIANT(left == 0 and ban_left(_bans.table, mix64(key + 1), world.now_us) > 0)
    else:
        _limits[which].reset(mix64(key + 1) if whom & 128 else None)
        memset(world.at_once, 0, sizeof(world.at_once))
        stats = _limits[which].stats(world.now_us)
        INVARIANT(0 <= <int64_t>stats["keys"] <= 4 * <int64_t>stats["capacity"])


cdef int one_input_c(const uint8_t* data, size_t size) noexcept:
    cdef World world
    cdef size_t at
    cdef int key
    memset(&world, 0, sizeof(world))
    world.now_us = 1_000_000_000
    for limit in _limits:
        limit.reset()
    _bans.reset()
    for at in range(0, size - 1 if size else 0, 2):
        operate(&world, data[at], data[at + 1])
    for key in range(KEYS):
        INVARIANT(<int>_inflight.count(mix64(key + 1)) == world.flying[key])
        while world.flying[key]:
            land(&world, key)
    INVARIANT(<int>_inflight.stats()["keys"] == 0)
    return 0


one_input = PyCapsule_New(<void*>one_input_c, "proxyd_fuzz.one_input", NULL)
