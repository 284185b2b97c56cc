"""limit/rate: two threads take from the same keys in a table that is too small for all of them, give back, forget, count, and exchange the
rule, so that every path on which a place changes hands runs beside every other. A few keys that nobody gives up or forgets must come out
exact."""
from libc.stdint cimport int64_t, uint64_t
from proxyd_ext.core.hash cimport mix64
from proxyd_ext.core.shim cimport INVARIANT, fetch_add_i64
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.limit.rate cimport (
    RATE_REFUSED, RateLimit, RateOutcome, RateTable, RateTaken, rate_count, rate_give_back, rate_note, rate_take, rate_tell
)
from proxyd_stress.threads cimport run_both

cdef enum:
    EXACT_KEYS = 16
    BURST = 999
    PASSING_KEYS = 3000
    LATER_US = 1_000_000_000


ctypedef struct Shared:
    RateTable* table
    int64_t count
    int64_t passed        # of the exact keys
    int64_t engine


cdef void* take_all(void* argument) noexcept nogil:
    """The exact keys are of a later time, so that they have more left than any other, and are not given up."""
    cdef Shared* shared = <Shared*>argument
    cdef int engine = <int>fetch_add_i64(&shared.engine, 1)
    cdef RateTaken taken
    cdef RateOutcome out
    cdef int64_t i
    cdef uint64_t hash
    cdef int decision
    for i in range(shared.count):
        if rate_take(shared.table, mix64(1 + i % EXACT_KEYS), LATER_US, &taken, &out) != RATE_REFUSED:
            fetch_add_i64(&shared.passed, 1)
        hash = mix64(1_000_000 + <uint64_t>(i * (engine + 1)) % PASSING_KEYS)
        decision = rate_take(shared.table, hash, i, &taken, &out)
        if decision != RATE_REFUSED:
            rate_tell(&taken, &out)
            INVARIANT(out.remaining >= 0)
            if i % 3 == 0:
                rate_give_back(&taken, i)
        rate_count(shared.table, engine, decision)
        rate_note(shared.table, hash, slice_of(NULL, 0), decision == RATE_REFUSED)
    return NULL


def run(count: int) -> dict[str, int]:
    cdef Shared shared
    limit = RateLimit("exact", requests=1, per_us=1_000_000, burst=BURST, capacity=1)
    shared.table, shared.count, shared.passed, shared.engine = (<RateLimit>limit).table, count, 0, 0
    with nogil:
        run_both(take_all, take_all, &shared)
    INVARIANT(shared.passed == EXACT_KEYS * (BURST + 1))
    return {key: value for key, value in limit.stats(0).items() if key in ("passed", "refused", "evictions")}


cdef void* use(void* argument) noexcept nogil:
    cdef Shared* shared = <Shared*>argument
    cdef RateTaken taken
    cdef RateOutcome out
    cdef int64_t i
    for i in range(shared.count):
        if rate_take(shared.table, mix64(1 + <uint64_t>i % 100), i, &taken, &out) != RATE_REFUSED and i % 2:
            rate_give_back(&taken, i)
    return NULL


cdef void* govern(void* argument) noexcept nogil:
    """The control plane's part, through Python: grants, shares, resets, counts."""
    _govern(<Shared*>argument)
    return NULL


cdef int _govern(Shared* shared) noexcept with gil:
    limit = _LIMITS[0]
    for turn in range(200):
        limit.set_local_share(turn % 4 == 3, 5, 1_000_000, turn % 7)
        for hash, used, asked in limit.take_wants(turn * 100):
            limit.grant(hash, asked, 1000 * (used % 3), turn * 100, 1000)
        limit.stats(turn * 100)
        limit.reset(None if turn % 50 == 0 else 7 + turn)
    return 0


_LIMITS: list[RateLimit] = []


def run_leased(count: int) -> dict[str, int]:
    cdef Shared shared
    limit = RateLimit("leased", requests=10, per_us=1_000_000, burst=20, capacity=1, leased=True)
    limit.set_lease(6)
    _LIMITS[:] = [limit]
    shared.table, shared.count, shared.passed, shared.engine = (<RateLimit>limit).table, count, 0, 0
    with nogil:
        run_both(use, govern, &shared)
    return limit.stats(0)
