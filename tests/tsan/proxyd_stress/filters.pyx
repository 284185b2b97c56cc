"""What engines and the control plane share about filters: verdicts that are looked up, used and dropped, quotas that are charged and given
back, bans, and hooks, while the control plane puts, evicts, forgets, clears, switches and counts."""
import time
from concurrent.futures import ThreadPoolExecutor
from random import Random
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy
from proxyd_ext.auth.verdict cimport (
    VERDICT_ALLOWED, Consumer, ConsumerData, Verdict, VerdictData, Verdicts, VerdictTable, consumer_charge, consumer_give_back,
    verdict_attribute, verdict_drop, verdict_find, verdicts_count,
)
from proxyd_ext.core.hash cimport mix64
from proxyd_ext.core.shim cimport INVARIANT, load_int
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.filter.hooks cimport HOOK_REQUEST, HOOKED_REQUEST, Hooks, HooksData, hooks_count
from proxyd_ext.limit.ban cimport Bans, BanTable, ban_count, ban_left, ban_note

cdef enum:
    MOST = 50                 # of the quota
    ENGINES = 3
    KEYS = 40                 # credentials
    ROOM = 8                  # for so many of them at a time


ctypedef struct Sides:
    VerdictTable* verdicts
    ConsumerData* consumer
    BanTable* bans
    HooksData* hooks
    int64_t now_ms


cdef int64_t _look(const Sides* sides, int engine, uint64_t number) noexcept nogil:
    """Use a verdict if there is one: its text and its attribute repeat the number that it was put under."""
    cdef uint64_t key = number % KEYS, text
    cdef VerdictData* verdict = verdict_find(sides.verdicts, key, mix64(key), sides.now_ms)
    if verdict == NULL:
        return 0
    INVARIANT(verdict.body.size == 8)
    memcpy(&text, verdict.body.data, 8)
    INVARIANT(text == key)
    INVARIANT(verdict_attribute(verdict, slice_of(<const unsigned char*>b"key", 3)).data[7] == c'0')
    verdicts_count(sides.verdicts, engine, VERDICT_ALLOWED)
    verdict_drop(verdict)
    return 1


cdef int64_t _work(const Sides* sides, int engine, int64_t rounds) noexcept nogil:
    """How many verdicts were found."""
    cdef uint64_t lot = mix64(engine + 1), used
    cdef int64_t i, found = 0
    for i in range(rounds):
        lot = mix64(lot)
        found += _look(sides, engine, lot)
        if consumer_charge(sides.consumer, i // 1000, MOST, &used):
            INVARIANT(1 <= used <= MOST)
            if lot & 64:
                consumer_give_back(sides.consumer, i // 1000)
        if ban_left(sides.bans, 1 + lot % 97, i * 10):
            ban_count(sides.bans, engine)
        elif lot & 7 == 0:
            ban_note(sides.bans, 1 + lot % 97, i * 10)
        if load_int(&sides.hooks.bits) & HOOK_REQUEST:
            hooks_count(sides.hooks, engine, HOOKED_REQUEST)
    return found


def work(Verdicts verdicts, Consumer consumer, Bans bans, Hooks hooks, int engine, now_ms: int, rounds: int) -> int:
    """An engine's part, without the GIL. How many verdicts were found."""
    cdef Sides sides
    cdef int64_t count = rounds, found
    sides.verdicts, sides.consumer, sides.bans, sides.hooks = verdicts.table, consumer.data, bans.table, hooks.data
    sides.now_ms = now_ms
    with nogil:
        found = _work(&sides, engine, count)
    return found


def digest_of(uint64_t key) -> bytes:
    """Under which `_look` looks for a key."""
    cdef uint64_t low = mix64(key)
    return (<const char*>&key)[:8] + (<const char*>&low)[:8]


def control(verdicts: Verdicts, consumer: Consumer, bans: Bans, hooks: Hooks, draw: Random) -> None:
    """Something that the control plane does."""
    key, kind = draw.randrange(KEYS), draw.randrange(20)
    if kind < 16:
        text = key.to_bytes(8, "little")
        verdict = Verdict(allow=True, user=f"user {key % 3}", body=text, attributes={"key": "0" * 8}, consumer=consumer)
        verdicts.put(digest_of(key), verdict, draw.choice([1, 60_000]))
    elif kind == 16:
        verdicts.forget(digest_of(key))
        verdicts.find(digest_of(draw.randrange(KEYS)))
    elif kind == 17:
        draw.choice([verdicts.clear, lambda: verdicts.forget_user("user 1")])()
    elif kind == 18:
        bans.reset(draw.choice([draw.randrange(1, 98), None]))
    else:
        hooks.request, hooks.failing = draw.random() < 0.5, draw.random() < 0.5
        verdicts.stats(), bans.stats(draw.randrange(1_000_000)), hooks.stats(), consumer.usage()


def run(count: int) -> dict[str, int]:
    verdicts, consumer, hooks, draw = Verdicts("stress", capacity=ROOM), Consumer("stress"), Hooks("stress"), Random(1)
    bans = Bans("stress", after=3, within_us=1_000_000, for_us=100_000, capacity=64)
    with ThreadPoolExecutor(ENGINES) as threads:
        now_ms = int(time.monotonic() * 1000)
        engines = [threads.submit(work, verdicts, consumer, bans, hooks, number, now_ms, count) for number in range(ENGINES)]
        while not all(engine.done() for engine in engines):
            control(verdicts, consumer, bans, hooks, draw)
        found = sum(engine.result() for engine in engines)
    INVARIANT(found > 0 and found == <int64_t>verdicts.stats()["allowed"])
    told = {**bans.stats(0), "verdicts": found, "evictions": verdicts.stats()["evictions"], "asked": hooks.stats()["asked_request"]}
    INVARIANT(told["evictions"] > 0 and told["asked"] > 0 and told["bans"] > 0 and told["refused"] > 0)
    return told
