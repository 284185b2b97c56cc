"""The queue for room by class: who is next, who is given up for whom, who has waited too long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.balance.pool import UpstreamState
from proxyd_ext.balance.queue import QueueProbe

LOW, NORMAL, HIGH, CRITICAL = range(4)
MS = 1_000


def wait(queue: QueueProbe, *classes: int, most: int = 64, now: int = 1) -> list[int]:
    numbers = [queue.wait(priority, most, now) for priority in classes]
    assert None not in numbers
    return [number for number in numbers if number is not None]


def woken(queue: QueueProbe, numbers: list[int]) -> int:
    """The one that was granted room, and is served now."""
    (number,) = [number for number in numbers if queue.told(number) == "granted"]
    queue.leave(number, served=True)
    return number


def test_the_highest_class_first_and_in_it_the_first() -> None:
    queue = QueueProbe()
    numbers = wait(queue, LOW, NORMAL, CRITICAL, NORMAL, HIGH)
    served = []
    for _ in numbers:
        queue.next()
        served.append(woken(queue, numbers))
    assert served == [2, 4, 1, 3, 0]
    queue.next()                         # nobody is there
    assert (queue.waiting, [queue.woken(number) for number in numbers]) == (0, [1] * 5)


def test_woken_in_vain_it_is_the_first_of_its_class_again() -> None:
    queue = QueueProbe()
    numbers = wait(queue, NORMAL, NORMAL)
    queue.next()
    queue.again(0)
    numbers += wait(queue, HIGH)
    queue.next()
    assert woken(queue, numbers) == 2
    queue.next()
    assert woken(queue, numbers) == 0


def test_who_has_no_class_is_normal() -> None:
    queue = QueueProbe()
    assert queue.join(64) == 0
    numbers = [0, *wait(queue, LOW, NORMAL, HIGH)]
    served = []
    for _ in numbers:
        queue.next()
        served.append(woken(queue, numbers))
    assert served == [3, 0, 2, 1]


def test_a_full_queue_gives_up_the_youngest_of_its_lowest_class() -> None:
    queue = QueueProbe()
    numbers = wait(queue, NORMAL, LOW, LOW, most=3)
    assert queue.wait(LOW, 3, 1) is None
    assert queue.wait(HIGH, 3, 1) is not None
    assert [queue.told(number) for number in numbers] == ["", "", "shed"]
    assert queue.wait(NORMAL, 3, 1) is not None
    assert [queue.told(number) for number in numbers] == ["", "shed", "shed"]
    assert queue.wait(NORMAL, 3, 1) is None
    assert (queue.waiting, queue.woken(1), queue.woken(2)) == (3, 1, 1)
    queue.leave(1)                       # who was shed has nothing to pass on
    assert [queue.told(number) for number in range(queue.waiting + 4)].count("granted") == 0
    assert queue.wait(CRITICAL, 0, 1) is None


@pytest.mark.parametrize("when", ["waiting", "woken"])
def test_who_goes_away_passes_on_what_it_was_given(when: str) -> None:
    queue = QueueProbe()
    numbers = wait(queue, HIGH, LOW)
    if when == "woken":
        queue.next()
    queue.leave(0)
    assert queue.told(1) == ("granted" if when == "woken" else "")
    queue.leave(1, served=True)
    assert (queue.waiting, len(numbers)) == (0, 2)


def test_more_room_wakes_one_after_the_other() -> None:
    queue = QueueProbe()
    numbers = wait(queue, LOW, HIGH, NORMAL)
    queue.more()
    assert woken(queue, numbers) == 1
    queue.found(True)
    assert woken(queue, numbers) == 2
    queue.found(False)
    assert queue.told(0) == ""


def serve(queue: QueueProbe, numbers: list[int], now: int) -> tuple[int, bool]:
    """Room comes: who is woken, and whether it leaves the room to others."""
    queue.next()
    (number,) = [number for number in numbers if queue.told(number) == "granted"]
    sheds = queue.sheds(number, now)
    queue.leave(number, served=True)
    return number, sheds


def test_a_class_that_stands_sheds_who_has_waited_too_long() -> None:
    queue = QueueProbe(target_us=20 * MS, interval_us=100 * MS)
    numbers = wait(queue, *[NORMAL] * 6)
    assert serve(queue, numbers, 30 * MS) == (0, False)          # the interval begins
    assert serve(queue, numbers, 129 * MS) == (1, False)
    assert serve(queue, numbers, 130 * MS) == (2, True)
    numbers += wait(queue, NORMAL, NORMAL, now=120 * MS)
    assert [serve(queue, numbers, 131 * MS) for _ in range(4)] == [(3, True), (4, True), (5, True), (6, False)]
    assert serve(queue, numbers, 200 * MS) == (7, False)         # it has waited for long, but nobody is behind it
    numbers = wait(queue, NORMAL, NORMAL, now=200 * MS)
    assert serve(queue, numbers, 300 * MS) == (8, False)         # the queue was empty: from the beginning


def test_somebody_served_in_time_ends_the_interval() -> None:
    queue = QueueProbe(target_us=20 * MS, interval_us=100 * MS)
    numbers = wait(queue, NORMAL)
    numbers += wait(queue, *[NORMAL] * 3, now=90 * MS)
    assert serve(queue, numbers, 30 * MS) == (0, False)
    assert serve(queue, numbers, 100 * MS) == (1, False)
    assert serve(queue, numbers, 140 * MS) == (2, False)


def test_each_class_stands_for_itself_and_who_has_none_is_not_shed() -> None:
    queue = QueueProbe(target_us=20 * MS, interval_us=100 * MS)
    numbers = wait(queue, LOW, LOW)
    for turn in range(1, 5):
        (number,) = wait(queue, HIGH, now=turn * 100 * MS)
        assert serve(queue, [number], turn * 100 * MS + 50 * MS) == (number, False)
    assert serve(queue, numbers, 900 * MS) == (0, False)
    joined = [number for number in (queue.join(64) for _ in range(3)) if number is not None]
    assert [serve(queue, joined, now * MS)[1] for now in (1_000, 1_200, 1_400)] == [False] * 3


def test_without_a_target_nobody_is_shed() -> None:
    queue = QueueProbe()
    numbers = wait(queue, *[NORMAL] * 4)
    assert [serve(queue, numbers, now * MS)[1] for now in (100, 300, 900, 2_000)] == [False] * 4


def test_an_upstreams_times_are_not_negative() -> None:
    state = UpstreamState("app")
    state.set_shedding(20_000, 100_000)
    with pytest.raises(ValueError, match="times are not negative"):
        state.set_shedding(-1, 0)


@given(st.lists(st.tuples(st.sampled_from(["wait", "next", "again", "leave"]), st.integers(0, 3), st.integers(0, 9)), max_size=60))
def test_is_four_lists(steps: list[tuple[str, int, int]]) -> None:
    """Who is woken goes by class and order, whatever comes, goes and comes back."""
    queue, model, granted = QueueProbe(), [list[int]() for _ in range(4)], list[int]()

    def wake() -> None:
        front = next((waiters for waiters in reversed(model) if waiters), None)
        if front is not None:
            granted.append(front.pop(0))

    classes: dict[int, int] = {}
    for what, priority, choice in steps:
        waiting = [number for waiters in model for number in waiters]
        if what == "wait":
            expected = sum(map(len, model)) < 6
            lower = next((waiters for waiters in model[:priority] if waiters), None)
            number = queue.wait(priority, 6, 1)
            assert (number is not None) == (expected or lower is not None)
            if number is not None:
                if not expected and lower is not None:
                    assert queue.told(lower.pop()) == "shed"
                model[priority].append(number)
                classes[number] = priority
        elif what == "next":
            queue.next()
            wake()
        elif what == "again" and granted:
            number = granted.pop(choice % len(granted))
            queue.again(number)
            model[classes[number]].insert(0, number)
        elif what == "leave" and (waiting or granted):
            number = [*waiting, *granted][choice % len([*waiting, *granted])]
            queue.leave(number)
            if number in granted:
                granted.remove(number)
                wake()
            else:
                model[classes[number]].remove(number)
        assert {number for number in classes if queue.told(number) == "granted"} == set(granted)
        assert queue.waiting == sum(map(len, model))
