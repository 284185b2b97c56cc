"""The arena: exact counts, pages that change hands, bytes that are being sent."""

from __future__ import annotations

import os
import resource
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd_ext.cache.arena import ArenaProbe, classes, slot_bytes

PAGE = 65536
OBJECT, FIXED = 0, 1
META_REGION, META_PAGE = 8192, 160
MIB = 1 << 20
REGION_PAGES = 1021


def take(arena: ArenaProbe, size: int, kind: int = OBJECT) -> int:
    slot = arena.new(size, kind)
    assert slot is not None
    return slot


def fill(arena: ArenaProbe, size: int, kind: int = OBJECT) -> list[int]:
    """Slots of a size until there is no room."""
    return list(iter(lambda: arena.new(size, kind), None))


def room_for(pages: int) -> int:
    """A limit that so many pages of one region fit in exactly."""
    return META_REGION + pages * (PAGE + META_PAGE)


def occupied(arena: ArenaProbe) -> int:
    """Bytes of the memfd that have memory behind them."""
    return os.fstat(arena.fd).st_blocks * 512


# ---- classes


def test_classes_waste_little() -> None:
    table = classes()
    assert table[0] == (PAGE, 1)
    assert table[-1] == (64, 1024)
    for slot, count in table:
        assert slot == PAGE // count // 16 * 16
        assert PAGE - slot * count < 0.03 * PAGE
    assert [count for _, count in table[:8]] == [1, 2, 3, 4, 5, 6, 7, 8]    # above 8 KiB, every n that there is


@given(st.integers(0, PAGE))
def test_a_size_takes_the_smallest_slot_that_holds_it(size: int) -> None:
    slots = [slot for slot, _ in classes()]
    assert slot_bytes(size) == min(slot for slot in slots if slot >= size)
    if 49 <= size <= 8192:
        assert slot_bytes(size) - size <= max(15, slot_bytes(size) / 8)


def test_a_size_beyond_a_page_has_no_slot() -> None:
    with pytest.raises(ValueError, match="65537"):
        slot_bytes(PAGE + 1)


# ---- counts and limits


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(0, 40), st.booleans())
def test_counts_are_exact_and_the_limit_holds(seed: int, pages: int, filed: bool) -> None:
    """Against a model that knows nothing of pages but which slots stand in them."""
    random, limit = Random(seed), room_for(pages)
    arena = ArenaProbe(limit, filed=filed)
    live: dict[int, tuple[int, int, bytes]] = {}
    metadata = refused = 0
    for _ in range(300):
        if live and random.random() < 0.45:
            slot = random.choice(list(live))
            size, _, data = live.pop(slot)
            assert arena.read(slot)[:len(data)] == data
            arena.free(slot)
        else:
            size, kind = random.randrange(1, PAGE + 1 >> random.randrange(8)), random.randrange(2)
            new = arena.new(size, kind)
            if new is None:
                refused += 1
            else:
                assert new not in live
                assert new % 16 == 0
                live[new] = size, kind, random.randbytes(min(size, 64))
                arena.write(new, live[new][2])
        used_pages = {arena.page(slot) for slot in live}
        # Metadata is for pages that were ever used: it only grows while one is.
        grown = arena.held - len(used_pages) * PAGE
        assert grown >= metadata or arena.used == 0
        metadata = grown
        assert metadata in {0, *(META_REGION + n * META_PAGE for n in range(1, pages + 1))}
        assert arena.used == sum(slot_bytes(size) for size, _, _ in live.values())
        assert arena.held + arena.warm <= limit
        assert arena.over == 0
    assert refused or pages


def test_full_is_none_and_a_freed_page_is_any_class_s() -> None:
    arena = ArenaProbe(room_for(2))
    small = fill(arena, 64)
    assert len(small) == 2 * 1024
    assert arena.new(40_000) is None
    home = arena.page(small[0])
    for slot in [slot for slot in small if arena.page(slot) == home]:
        assert arena.new(40_000) is None
        arena.free(slot)
    assert arena.page(take(arena, 40_000)) == home
    assert arena.new(64) is None
    assert arena.held == room_for(2)


def test_less_than_a_page_is_nothing() -> None:
    arena = ArenaProbe(room_for(1) - 1)
    assert arena.new(64) is None
    assert arena.held == 0
    arena.limit(room_for(1))
    assert arena.new(64) is not None


def test_two_kinds_share_no_page() -> None:
    arena = ArenaProbe(8 * MIB)
    random = Random(1)
    kinds: dict[int, set[int]] = {}
    for _ in range(2000):
        kind = random.randrange(2)
        kinds.setdefault(arena.page(take(arena, random.randrange(1, 4096), kind)), set()).add(kind)
    assert {len(of_page) for of_page in kinds.values()} == {1}


def test_a_limit_that_shrinks_stops_new_pages() -> None:
    arena = ArenaProbe(room_for(8))
    slots = fill(arena, PAGE)
    assert len(slots) == 8
    arena.limit(room_for(8) - 3 * PAGE)
    assert arena.over == 3 * PAGE
    for _ in range(3):
        arena.free(slots.pop())
        assert arena.new(PAGE) is None
    assert arena.over == 0
    assert arena.new(PAGE) is None
    arena.free(slots.pop())
    assert arena.new(PAGE) is not None


def test_a_limit_that_shrinks_closes_the_stock_too() -> None:
    arena = ArenaProbe(room_for(64))
    slots = fill(arena, PAGE)
    for _ in range(4):
        arena.free(slots.pop())
    arena.limit(room_for(64) - 5 * PAGE)
    assert (arena.warm, arena.new(PAGE)) == (4 * PAGE, None)
    for _ in range(2):
        arena.free(slots.pop())
    assert arena.new(PAGE) is not None
    assert arena.new(PAGE) is None


@pytest.mark.parametrize("filed", [True, False])
def test_nothing_is_held_under_no_limit(filed: bool) -> None:
    arena = ArenaProbe(8 * MIB, filed=filed)
    slots = fill(arena, 3000)
    arena.limit(0)
    assert arena.over == arena.held > 7 * MIB
    for slot in slots:
        arena.free(slot)
    assert (arena.held, arena.over, arena.warm) == (0, 0, 0)
    arena.limit(8 * MIB)
    assert len(fill(arena, 3000)) == len(slots)


def test_more_than_one_region() -> None:
    arena = ArenaProbe(2 * META_REGION + (REGION_PAGES + 5) * (PAGE + META_PAGE))
    slots = fill(arena, PAGE)
    assert len(slots) == REGION_PAGES + 5
    assert len({slot // (64 * MIB) for slot in slots}) == 2
    files = [arena.file(slot) for slot in slots]
    assert len(set(files)) == len(slots)
    for slot in slots:
        arena.free(slot)
    assert arena.held == arena.warm == 0      # all were lent: nothing of them stays, and the regions are gone
    assert len(fill(arena, PAGE)) == len(slots)


# ---- memory that comes back


def test_the_stock_gives_memory_back() -> None:
    limit = room_for(128)
    arena = ArenaProbe(limit)
    slots = fill(arena, PAGE)
    for slot in slots:
        arena.write(slot, b"x" * PAGE)
    assert occupied(arena) == 128 * PAGE
    for count, slot in enumerate(slots, 1):
        arena.free(slot)
        assert arena.warm <= limit // 8
        assert occupied(arena) == (128 - count) * PAGE + arena.warm
    assert arena.warm > 0
    arena.limit(0)
    assert occupied(arena) == 0


def test_warm_pages_come_first() -> None:
    arena = ArenaProbe(room_for(64))
    first, second = take(arena, PAGE), take(arena, PAGE)
    arena.write(second, b"x")
    arena.free(second)
    assert arena.warm == PAGE
    assert arena.page(take(arena, 100, FIXED)) == arena.page(first) + PAGE
    assert arena.warm == 0


# ---- candidates


def test_candidates_are_one_page_s_live_slots() -> None:
    arena = ArenaProbe(8 * MIB)
    assert arena.candidates() == []
    take(arena, 100, FIXED)
    assert arena.candidates() == []
    random = Random(2)
    live = [take(arena, random.choice([64, 700, 5000])) for _ in range(3000)]
    random.shuffle(live)
    while len(live) > 1500:
        arena.free(live.pop())
    by_page: dict[int, set[int]] = {}
    for slot in live:
        by_page.setdefault(arena.page(slot), set()).add(slot)
    bytes_of = Counter({page: sum(slot_bytes(len(arena.read(slot))) for slot in slots) for page, slots in by_page.items()})
    named = arena.candidates()
    page = arena.page(named[0])
    assert len(named) == len(set(named))
    assert set(named) == by_page[page]
    assert bytes_of[page] == min(bytes_of.values())
    assert set(arena.candidates(3)) < set(live)
    assert len(arena.candidates(3)) <= 3


def test_who_frees_the_candidates_empties_it_all() -> None:
    arena = ArenaProbe(8 * MIB)
    random = Random(3)
    live = {take(arena, random.randrange(1, 20_000)) for _ in range(250)}
    kept = take(arena, 500, FIXED)
    while named := arena.candidates():
        before = arena.held
        assert live.issuperset(named)
        for slot in named:
            arena.free(slot)
        live.difference_update(named)
        assert arena.held == before - PAGE    # one round, one page
    assert not live
    assert arena.used == slot_bytes(len(arena.read(kept)))


def test_a_page_that_stays_pinned_hides_no_other() -> None:
    arena = ArenaProbe(4 * MIB)
    pinned = take(arena, 64)
    others = {take(arena, size) for size in (200, 1000, 3000, PAGE, PAGE)}
    assert arena.candidates() == [pinned]
    assert {arena.candidates()[0] for _ in range(5)} == others
    for slot in others:
        arena.free(slot)
    assert arena.candidates() == [pinned]


# ---- lending


def test_lent_bytes_survive_their_page() -> None:
    """sendfile into a pipe that nobody reads; the page gets another owner; the pipe gives the old bytes."""
    arena = ArenaProbe(room_for(1))
    old = os.urandom(PAGE)
    slot = take(arena, PAGE)
    arena.write(slot, old)
    lent = arena.file(slot, 1000)
    assert lent is not None
    out, into = os.pipe()
    try:
        sent = os.sendfile(into, *lent, 20_000)
        assert sent == 20_000
        arena.free(slot)
        assert arena.warm == 0
        again = take(arena, PAGE)
        assert again == slot
        assert arena.read(again) == bytes(PAGE)
        arena.write(again, b"n" * PAGE)
        with open(out, "rb", closefd=False) as pipe:
            assert pipe.read(sent) == old[1000:21_000]
    finally:
        os.close(out)
        os.close(into)


def test_a_lent_page_s_next_owner_is_not_lent() -> None:
    arena = ArenaProbe(room_for(16))
    slot = take(arena, PAGE)
    arena.file(slot)
    take(arena, PAGE)
    arena.free(slot)
    assert arena.warm == 0
    slot = take(arena, PAGE)
    arena.free(slot)
    assert arena.warm == PAGE


def test_the_file_shows_what_was_written() -> None:
    arena = ArenaProbe(8 * MIB)
    slots = [take(arena, 50_000) for _ in range(5)]
    for number, slot in enumerate(slots):
        arena.write(slot, bytes([number]) * 50_000)
    for number, slot in enumerate(slots):
        lent = arena.file(slot, 49_990)
        assert lent is not None
        descriptor, offset = lent
        assert os.pread(descriptor, 10, offset) == bytes([number]) * 10


def test_without_a_file() -> None:
    arena = ArenaProbe(8 * MIB, filed=False)
    slot = take(arena, PAGE)
    assert arena.file(slot) is None
    arena.write(slot, b"x" * PAGE)
    assert arena.read(slot) == b"x" * PAGE


def test_a_limit_on_files_costs_only_the_lending() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 40, hard))
    try:
        arena = ArenaProbe(8 * MIB)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert arena.fd == -1
    assert arena.file(take(arena, PAGE)) is None


def test_pages_stay_small_and_out_of_core_dumps() -> None:
    """Punching a part of a huge page would put zeroes into what is being sent."""
    arena = ArenaProbe(8 * MIB)
    page = arena.page(take(arena, PAGE))
    areas = Path("/proc/self/smaps").read_text(encoding="utf-8").split("VmFlags:")
    for area, flags in pairwise(areas):
        head = next(line for line in area.splitlines() if "-" in line.partition(" ")[0] and ":" not in line.partition(" ")[0])
        begin, _, end = head.split()[0].partition("-")
        if int(begin, 16) <= page < int(end, 16):
            assert "memfd:proxyd-cache" in head
            assert {"nh", "dd", "dc"} <= set(flags.splitlines()[0].split())
            return
    pytest.fail("the page is in no area")


# ---- threads


@pytest.mark.parametrize("filed", [True, False])
def test_threads_do_not_write_into_one_another(filed: bool) -> None:
    limit = room_for(60)    # short: refusals, pages that change their class, and a stock that is too large, all the time
    arena = ArenaProbe(limit, filed=filed)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda seed: arena.churn(seed, 40_000, keep=150), range(4)))
    assert sum(each["broken"] for each in done) == 0
    assert min(each["taken"] for each in done) > 1000
    assert sum(each["refused"] for each in done) > 100
    assert max(each["most_held"] for each in done) <= limit
    assert (arena.used, arena.over) == (0, 0)
    arena.limit(0)
    assert arena.held == 0


def test_threads_while_the_limit_moves() -> None:
    arena = ArenaProbe(2 * MIB)
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(arena.churn, seed, 20_000, 80) for seed in range(2)]
        limits = Random(4)
        while not all(each.done() for each in running):
            arena.limit(limits.choice([0, MIB // 4, MIB, 80 * MIB]))
    assert [each.result()["broken"] for each in running] == [0, 0]
    arena.limit(0)
    assert (arena.held, arena.used, arena.over) == (0, 0, 0)
    if arena.fd >= 0:
        assert occupied(arena) == 0
