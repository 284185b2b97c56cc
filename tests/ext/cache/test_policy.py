"""S3-FIFO: each rule by itself, then all of them against the plain model."""
from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd_ext.cache.policy import Queues
from tests.reference.s3fifo import S3Fifo

KEYS = 40


def key_hash(key: int) -> int:
    """The ghost looks at bits 20 to 51: spread, so that no bucket of it is full before its time."""
    return (key * 0x9E3779B1 & 0xFFFFFFFF) << 20


def filled(target: int, sizes: Iterable[int], count: int = 100) -> Queues:
    """Objects 0, 1, … of these sizes, in that order."""
    queues = Queues(target, count)
    for i, size in enumerate(sizes):
        queues.insert(i, size, key_hash(i))
    return queues


def liked(queues: Queues, *nodes: int) -> None:
    """Bound for MAIN: asked for twice."""
    for i in nodes:
        queues.hit(i)
        queues.hit(i)


def stored_in_main(queues: Queues, i: int, size: int = 10) -> bool:
    """Where the policy puts it; it is taken out again."""
    before = queues.bytes
    queues.insert(i, size, key_hash(i))
    after = queues.bytes
    queues.remove(i)
    return after[1] > before[1]


def test_newcomers_go_in_the_order_they_came() -> None:
    queues = filled(100, [10] * 4)
    assert queues.small == [3, 2, 1, 0]
    assert queues.bytes == (40, 0)
    assert [queues.victim() for _ in range(5)] == [0, 1, 2, 3, None]
    assert queues.bytes == (0, 0)


def test_nothing_in_it_has_no_victim() -> None:
    assert Queues(100, 1).victim() is None
    assert Queues(0, 1).victim() is None


def test_what_was_asked_for_twice_is_promoted_and_starts_from_zero() -> None:
    queues = filled(100, [10] * 4)
    liked(queues, 0)
    queues.hit(1)              # once is not enough
    assert queues.victim() == 1
    assert (queues.small, queues.main) == ([3, 2], [0])
    assert queues.freq(0) == 0
    assert queues.bytes == (20, 10)


def test_hits_are_counted_up_to_three() -> None:
    queues = filled(100, [10])
    for expected in (1, 2, 3, 3):
        queues.hit(0)
        assert queues.freq(0) == expected


def test_small_gives_while_it_holds_more_than_a_tenth() -> None:
    queues = filled(100, [5] * 5)
    liked(queues, 0, 1)
    assert queues.victim() == 2             # SMALL held 25, then 15
    assert (queues.small, queues.main) == ([4, 3], [1, 0])
    assert queues.victim() == 0             # 10 of 100 are its due: now MAIN
    queues.target(99)                       # 9 of 99
    assert queues.victim() == 3


def test_main_reinserts_as_often_as_asked_for() -> None:
    queues = filled(1000, [10] * 4)
    liked(queues, 0, 1, 2)
    queues.target(90)                       # a share of 9
    assert queues.victim() == 3
    queues.hit(0)
    queues.hit(0)
    queues.hit(1)
    assert queues.victim() == 2
    assert (queues.main, queues.freq(0), queues.freq(1)) == ([1, 0], 1, 0)
    assert queues.victim() == 1
    assert queues.victim() == 0


def test_what_the_ghost_knows_enters_main() -> None:
    queues = filled(100, [10] * 4)
    liked(queues, 0)
    assert queues.victim() == 1
    queues.insert(1, 10, key_hash(1))
    assert queues.main == [1, 0]
    queues.remove(1)
    queues.insert(1, 10, key_hash(1))       # it was taken out of the ghost
    assert queues.small == [1, 3, 2]


def test_the_ghost_knows_as_many_evictions_as_main_holds_objects() -> None:
    queues = filled(100, [10] * 6)
    liked(queues, 0, 1)
    assert [queues.victim() for _ in range(3)] == [2, 3, 4]
    queues.insert(2, 10, key_hash(2))
    queues.insert(3, 10, key_hash(3))
    assert (queues.small, queues.main) == ([2, 5], [3, 1, 0])


def test_victims_of_main_do_not_enter_the_ghost() -> None:
    queues = filled(1000, [10] * 3)
    liked(queues, 0, 1)
    queues.target(90)
    assert [queues.victim(), queues.victim()] == [2, 0]
    queues.insert(0, 10, key_hash(0))
    assert queues.small == [0]


def test_who_is_removed_is_gone_from_wherever_it_was() -> None:
    for gone in range(5):                   # tail, middle and head of SMALL
        queues = filled(100, [10] * 5)
        queues.remove(gone)
        assert queues.small == [i for i in (4, 3, 2, 1, 0) if i != gone]
        queues.remove(gone)                 # not twice
        assert queues.bytes == (40, 0)
    for gone in range(3):                   # of MAIN
        queues = filled(1000, [10] * 4)
        liked(queues, 0, 1, 2)
        queues.target(90)
        assert queues.victim() == 3
        queues.remove(gone)
        assert queues.main == [i for i in (2, 1, 0) if i != gone]
        assert queues.bytes == (0, 20)


def test_another_version_takes_the_place_and_the_hits() -> None:
    queues = filled(100, [10] * 4)
    liked(queues, 1)
    queues.replace(1, 50, 30)
    assert (queues.small, queues.freq(50), queues.bytes) == ([3, 2, 50, 0], 2, (60, 0))
    assert queues.victim() == 0
    assert queues.victim() == 2
    assert (queues.main, queues.bytes) == ([50], (10, 30))
    queues.replace(3, 51, 5)
    queues.replace(50, 52, 1)
    assert (queues.small, queues.main, queues.bytes) == ([51], [52], (5, 1))
    queues.remove(51)
    queues.replace(51, 53, 1)               # in no queue: neither is the other
    assert (queues.small, queues.bytes) == ([], (0, 1))


def test_one_of_more_than_twice_the_mean_stands_first_in_line() -> None:
    queues = filled(1000, [10, 10, 20, 27, 5])
    assert queues.small == [4, 2, 1, 0, 3]            # the means were 10, 10, 13
    assert queues.victim() == 3
    queues.insert(3, 27, key_hash(3))                 # MAIN holds nothing, so neither does the ghost
    liked(queues, 3, 0)
    queues.target(100)
    assert queues.victim() == 1                       # it was asked for: first in line for MAIN
    assert queues.main == [0, 3]


def test_nor_does_one_larger_than_smalls_share_flush_the_others() -> None:
    queues = filled(100, [10, 11])
    assert queues.small == [0, 1]


def test_who_grows_large_goes_to_the_front_of_the_line() -> None:
    queues = filled(1000, [10] * 4)
    queues.resized(2, 15)
    assert (queues.small, queues.bytes) == ([3, 2, 1, 0], (45, 0))
    queues.resized(2, 80)
    assert (queues.small, queues.bytes) == ([3, 1, 0, 2], (110, 0))
    queues.resized(3, 1)
    assert (queues.small, queues.bytes) == ([3, 1, 0, 2], (101, 0))


def test_a_victim_costs_sixty_four_looks_at_most() -> None:
    queues = filled(10_000, [10] * 100)
    for i in range(100):
        queues.hit(i)
        queues.hit(i)
    queues.target(100)
    assert queues.victim() == 63
    assert queues.main == list(range(62, -1, -1))
    queues.target(100_000)                            # SMALL has room: now it is MAIN's turn
    liked(queues, *range(63))
    assert queues.victim() == 0                       # the 64th look came round to the first
    assert len(queues.main) == 62


def test_the_ghost_grows_and_shrinks_with_main() -> None:
    count = 5_000
    queues = filled(1_000_000, [10] * (count // 2), count)
    least = queues.ghost_bytes
    liked(queues, *range(count // 2))
    queues.target(90)
    while queues.bytes[0]:
        queues.victim()
    room = len(queues.main)
    assert room > 2_400                     # all but one in sixty-four
    strangers = range(count // 2, count)
    for i in strangers:
        queues.insert(i, 10, key_hash(i))
        assert queues.victim() == i
    assert least < queues.ghost_bytes < 13.4 * room
    known = [stored_in_main(queues, i) for i in strangers]
    assert not any(known[:-room])
    assert sum(known[-room:]) > 0.93 * room
    for i in queues.main[10:]:
        queues.remove(i)
    queues.insert(count - 1, 10, key_hash(count - 1))
    assert queues.victim() == count - 1
    assert queues.ghost_bytes == least
    assert stored_in_main(queues, count - 1)


keys = st.integers(0, KEYS - 1)
sizes = st.integers(1, 40)
steps = st.one_of(
    st.tuples(st.just("ask"), keys, sizes),
    st.tuples(st.just("ask"), st.integers(0, 7), sizes),
    st.tuples(st.sampled_from(["remove", "resize", "replace"]), keys, sizes),
    st.tuples(st.just("victim"), keys, sizes),
    st.tuples(st.just("target"), keys, st.integers(0, 500)),
)


@settings(max_examples=100, deadline=None)
@given(st.integers(20, 400), st.lists(steps, min_size=30, max_size=150))
def test_does_what_the_model_does(target: int, todo: list[tuple[str, int, int]]) -> None:
    queues, model = Queues(target, 2 * KEYS), S3Fifo(target)
    node = list(range(KEYS))                # of each key; replaced by its twin, KEYS further

    def evict() -> None:
        victim, expected = queues.victim(), model.victim()
        assert (None if victim is None else victim % KEYS) == expected

    for what, key, size in todo:
        cached = model.find(key) is not None
        if what == "ask" and cached:
            queues.hit(node[key])
            model.hit(key)
        elif what == "ask":
            while model.small + model.main and sum(model.bytes) + size > model.target:
                evict()
            queues.insert(node[key], size, key_hash(key))
            model.insert(key, size)
        elif what == "victim":
            evict()
        elif what == "target":
            queues.target(size)
            model.target = size
        elif what == "remove":
            queues.remove(node[key])
            model.remove(key)
        elif what == "resize" and cached:
            queues.resized(node[key], size)
            model.resize(key, size)
        elif what == "replace" and cached:
            old, node[key] = node[key], (node[key] + KEYS) % (2 * KEYS)
            queues.replace(old, node[key], size)
            model.replace(key, size)
        assert [i % KEYS for i in queues.small] == [each.key for each in reversed(model.small)]
        assert [i % KEYS for i in queues.main] == [each.key for each in reversed(model.main)]
        assert queues.bytes == model.bytes
    while model.small + model.main:
        evict()
    evict()
