"""Places of routes: who gets one, who waits, who is shed; times in microseconds, made up."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from proxyd_ext.limit.gate import Gate, Lane, audit, count
from proxyd_ext.limit.probe import GateProbe

LOW, NORMAL, HIGH, CRITICAL = range(4)
MS = 1_000
CODEL = (20 * MS, 100 * MS)


class World:
    """Lanes by name, and what their requests do."""

    def __init__(self, total: int = 0, codel: tuple[int, int] = (0, 0), /, **bounds: tuple[int, int, int]) -> None:
        self.gate = Gate()
        self.lanes = {name: Lane(self.gate, name) for name in bounds}
        self.configure(total, codel, **bounds)

    def configure(self, total: int = 0, codel: tuple[int, int] = (0, 0), /, **bounds: tuple[int, int, int]) -> None:
        """codel: (target, interval). bounds: (reserved, max, max_pending)."""
        lanes = [(self.lanes[name], *bound, 1_000) for name, bound in bounds.items()]
        self.gate.configure(total, lanes, target_us=codel[0], interval_us=codel[1], now_us=1)

    def enter(self, name: str, number: int = 1) -> list[GateProbe]:
        """Requests that all get a place."""
        probes = [GateProbe(self.lanes[name]) for _ in range(number)]
        assert all(probe.enter() for probe in probes)
        return probes

    def wait(self, name: str, priority: int = NORMAL, now: int = 1, expect: str = "waits") -> GateProbe:
        probe = GateProbe(self.lanes[name])
        assert not probe.enter()
        assert probe.wait(priority, now) == expect
        return probe

    def refuses(self, name: str) -> bool:
        return not GateProbe(self.lanes[name]).enter()

    def lane(self, name: str) -> dict[str, int]:
        return self.lanes[name].stats()

    def stats(self, now: int = 1) -> dict[str, int]:
        return self.gate.stats(now)


def told(probes: Iterable[GateProbe]) -> list[str]:
    """Each is woken when, and only when, it is told something."""
    probes = list(probes)
    before = [probe.woken for probe in probes]
    words: list[str] = [probe.told() for probe in probes]
    assert before == [int(word != "") for word in words]
    assert [probe.told() for probe in probes] == [""] * len(probes)     # each is told once
    return words


# ---- places


def test_a_reservation_is_there_whatever_others_do() -> None:
    world = World(10, a=(4, 4, 0), b=(0, 0, 0))
    inside = world.enter("b", 6)
    assert world.refuses("b")
    inside += world.enter("a", 4)
    assert world.refuses("a")
    assert world.stats() == {
        "total": 10, "reserved": 4, "shared": 6, "shared_in_use": 6, "in_use": 10, "waiting": 0, "oldest_wait_us": 0, "standing": 0,
    }
    assert (world.lane("a")["in_use"], world.lane("a")["shared_in_use"], world.lane("b")["shared_in_use"]) == (4, 0, 6)


def test_beyond_its_reservation_a_lane_takes_shared_places_up_to_its_max() -> None:
    world = World(10, a=(2, 5, 0), b=(0, 3, 0))
    inside = world.enter("a", 5)
    assert world.refuses("a")
    inside += world.enter("b", 3)
    assert world.refuses("b")
    assert (world.stats()["shared_in_use"], world.stats()["in_use"]) == (6, 8)


def test_what_a_lane_gives_up_first_is_shared() -> None:
    """Places have no names: it has five, two are its own, and any that leaves is one of the three."""
    world = World(5, a=(2, 0, 0), b=(0, 0, 1))
    first = world.enter("a", 5)
    waiter = world.wait("b")
    first[0].leave(1)
    assert told([waiter]) == ["granted"]
    assert world.lane("a")["in_use"] == 4


def test_without_a_total_only_max_bounds() -> None:
    world = World(0, a=(0, 3, 0), b=(2, 2, 0), c=(0, 0, 0))
    inside = [*world.enter("a", 3), *world.enter("b", 2), *world.enter("c", 1_000)]
    assert world.refuses("a")
    assert world.refuses("b")
    assert world.stats()["in_use"] == len(inside)
    assert (world.stats()["total"], world.stats()["shared"]) == (0, 0)


def test_a_new_lane_and_one_that_is_not_named_take_shared_places() -> None:
    world = World(2, a=(1, 1, 0))
    late = Lane(world.gate, "late")
    probes = [GateProbe(late) for _ in range(2)]
    assert [probe.enter() for probe in probes] == [True, False]
    assert probes[1].wait(CRITICAL, 1) == "full"
    inside = world.enter("a")
    world.gate.configure(2, [])
    assert world.lane("a") | {"in_use": 0} == world.lane("a") | {"reserved": 0, "max": 0, "in_use": 0}
    inside[0].leave(1)
    assert probes[1].enter()


@pytest.mark.parametrize(("total", "bounds", "words"), [
    (4, [(3, 3), (2, 2)], "5 places are reserved, but there are 4"),
    (4, [(3, 2), (0, 0)], "a: 3 places are reserved, but it may have 2 at most"),
    (4, [(-1, 2), (0, 0)], "a: a bound is negative"),
    (-1, [(0, 0), (0, 0)], "total, target_us and interval_us are not negative"),
])
def test_bounds_that_cannot_be(total: int, bounds: list[tuple[int, int]], words: str) -> None:
    world = World(9, a=(1, 2, 3), b=(0, 0, 0))
    with pytest.raises(ValueError, match=f"^{words}$"):
        world.configure(total, a=(*bounds[0], 0), b=(*bounds[1], 0))
    assert (world.stats()["total"], world.lane("a")["max"]) == (9, 2)


def test_a_lane_of_another_gate() -> None:
    with pytest.raises(ValueError, match="stranger is a lane of another gate"):
        Gate().configure(1, [(Lane(Gate(), "stranger"), 0, 0, 0, 0)])


# ---- waiting


def test_a_place_is_handed_on_in_order() -> None:
    world = World(a=(0, 1, 9))
    (inside,) = world.enter("a")
    waiters = [world.wait("a") for _ in range(3)]
    assert told(waiters) == ["", "", ""]
    inside.leave(1)
    assert told(waiters[:1]) == ["granted"]
    assert world.refuses("a")            # nobody overtakes
    waiters[0].leave(1)
    assert told(waiters[1:]) == ["granted", ""]


def test_the_highest_class_first_and_in_it_the_first() -> None:
    world = World(a=(0, 1, 9))
    (inside,) = world.enter("a")
    classes = {"l": LOW, "n1": NORMAL, "c": CRITICAL, "n2": NORMAL, "h": HIGH}
    waiters = {name: world.wait("a", priority) for name, priority in classes.items()}
    served = []
    while waiters:
        inside.leave(1)
        (name,) = [name for name, waiter in waiters.items() if waiter.told()]
        served.append(name)
        inside = waiters.pop(name)
    assert served == ["c", "h", "n1", "n2", "l"]


def test_lanes_of_one_class_take_turns() -> None:
    world = World(1, a=(0, 0, 9), b=(0, 0, 9), c=(0, 0, 9))
    (inside,) = world.enter("c")
    waiters = [(name, world.wait(name)) for name in "aaabbc"]
    served = ""
    while waiters:
        inside.leave(1)
        (entry,) = [entry for entry in waiters if entry[1].told()]
        waiters.remove(entry)
        served += entry[0]
        inside = entry[1]
    assert served == "abcaba"


def test_a_lane_at_its_max_holds_nobody_up() -> None:
    world = World(3, a=(0, 1, 9), b=(0, 0, 9))
    inside = [*world.enter("a"), *world.enter("b", 2)]
    full = world.wait("a", CRITICAL)
    waits = world.wait("b", LOW)
    inside[2].leave(1)
    assert told([full, waits]) == ["", "granted"]
    inside[0].leave(1)
    assert told([full]) == ["granted"]


def test_a_lanes_own_place_goes_to_its_own_waiter() -> None:
    """Even where somebody of a higher class waits for a shared place."""
    world = World(2, a=(1, 1, 9), b=(0, 0, 9))
    (own,), (shared,) = world.enter("a"), world.enter("b")
    waits_a, waits_b = world.wait("a", LOW), world.wait("b", CRITICAL)
    own.leave(1)
    assert told([waits_a, waits_b]) == ["granted", ""]
    shared.leave(1)
    assert told([waits_b]) == ["granted"]


def test_a_reservation_that_nobody_uses_is_not_lent() -> None:
    world = World(2, a=(1, 1, 0), b=(0, 0, 1))
    (shared,) = world.enter("b")
    waits = world.wait("b")
    (own,) = world.enter("a")
    own.leave(1)
    assert told([waits]) == [""]
    shared.leave(1)
    assert told([waits]) == ["granted"]


def test_who_waits_may_find_a_place_by_then() -> None:
    world = World(a=(0, 1, 0))
    (inside,) = world.enter("a")
    late = GateProbe(world.lanes["a"])
    assert not late.enter()
    inside.leave(1)
    assert late.wait(LOW, 1) == "in"
    late.leave(1)
    assert world.stats()["in_use"] == 0


def test_who_goes_away() -> None:
    """From the queue, or with a place that it was granted: that is the next one's."""
    world = World(a=(0, 1, 9))
    (inside,) = world.enter("a")
    waiters = [world.wait("a") for _ in range(4)]
    waiters[1].abandon(1)
    inside.leave(1)
    assert [waiter.woken for waiter in waiters] == [1, 0, 0, 0]
    waiters[0].abandon(1)
    assert told(waiters[2:]) == ["granted", ""]
    waiters[3].abandon(1)
    waiters[3].abandon(1)                # once more: nothing
    waiters[2].leave(1)
    assert (world.stats()["in_use"], world.stats()["waiting"]) == (0, 0)
    assert audit(world.gate) == ""


def test_a_full_queue() -> None:
    world = World(a=(0, 1, 3))
    inside = world.enter("a")
    waiters = [world.wait("a", priority) for priority in (NORMAL, LOW, LOW)]
    world.wait("a", LOW, expect="full")
    high = world.wait("a", HIGH)
    assert told(waiters) == ["", "", "shed"]             # the youngest of the lowest class
    normal = world.wait("a", NORMAL)
    assert told(waiters[:2]) == ["", "shed"]
    world.wait("a", NORMAL, expect="full")
    assert world.lane("a")["waiting"] == 3
    inside[0].leave(1)
    assert told([waiters[0], normal, high]) == ["", "", "granted"]


def test_where_nobody_may_wait() -> None:
    world = World(a=(0, 1, 0))
    inside = world.enter("a")
    world.wait("a", CRITICAL, expect="full")
    assert len(inside) == 1


# ---- bounds that change


@pytest.mark.parametrize(("total", "bounds"), [(9, (0, 0, 9)), (0, (0, 4, 9)), (4, (4, 4, 9))])
def test_bounds_that_grow_grant_at_once(total: int, bounds: tuple[int, int, int]) -> None:
    world = World(2, a=(0, 2, 9))
    inside = world.enter("a", 2)
    waiters = [world.wait("a") for _ in range(2)]
    world.configure(total, a=bounds)
    assert told(waiters) == ["granted", "granted"]
    assert len(inside) == 2


@pytest.mark.parametrize("bounds", [(0, 91, 200), (91, 0, 200)], ids=["shared", "reserved"])
def test_more_than_one_portion_of_grants(bounds: tuple[int, int, int]) -> None:
    """Waiters are woken without the lock, some at a time: who comes in between overtakes nobody."""
    world = World(100, a=(0, 1, 200))
    inside = world.enter("a")
    waiters = [GateProbe(world.lanes["a"], intruder=True) for _ in range(100)]
    assert {waiter.wait(NORMAL, 1) for waiter in waiters} == {"waits"}
    world.configure(91, a=bounds)
    assert told(waiters) == ["granted"] * 90 + [""] * 10
    assert sum(waiter.intruded for waiter in waiters) == 0
    assert (audit(world.gate), len(inside)) == ("", 1)


def test_bounds_that_shrink_let_finish_what_is_there() -> None:
    world = World(4, a=(0, 0, 9), b=(0, 0, 9))
    inside = world.enter("a", 4)
    world.configure(4, a=(0, 0, 9), b=(3, 3, 9))
    owed, waits = world.wait("b", LOW), world.wait("a", CRITICAL)
    assert world.stats()["shared_in_use"] == 4            # three too many
    inside.pop().leave(1)
    assert told([owed, waits]) == ["granted", ""]         # the reservation first, as far as the total goes
    world.configure(2, a=(0, 0, 9), b=(0, 0, 9))
    for _ in range(2):
        inside.pop().leave(1)
    assert told([waits]) == [""]
    inside.pop().leave(1)
    assert told([waits]) == ["granted"]


# ---- CoDel


def test_a_queue_that_stands_is_shed_from() -> None:
    world = World(0, CODEL, a=(0, 1, 99))
    (inside,) = world.enter("a")
    waiters = [world.wait("a", now=1 + i * MS) for i in range(60)]       # one a millisecond
    now, served = 1, 0
    while world.stats(now)["standing"] == 0:
        now += 40 * MS
        inside.leave(now)
        inside = waiters.pop(0)
        if (word := inside.told()) == "granted":
            served += 1
        else:
            break
    # At 41 the first had waited for 40 ms. At 121 and 81 all had waited long, too; at 161 an interval is over.
    assert (served, now, word) == (3, 1 + 160 * MS, "shed")
    # Everybody has waited for 20 ms: the youngest gets the place all the same.
    assert told(waiters) == ["shed"] * 55 + ["granted"]
    assert world.stats(now)["standing"] == 0


def test_while_it_stands_the_first_who_has_not_waited_long_is_next() -> None:
    world = World(0, CODEL, a=(0, 1, 99))
    (inside,) = world.enter("a")
    early = [world.wait("a", now=1) for _ in range(4)]
    inside.leave(30 * MS)                # begins
    assert told(early[:1]) == ["granted"]
    late = [world.wait("a", now=115 * MS), world.wait("a", now=125 * MS), world.wait("a", now=125 * MS)]
    early[0].leave(130 * MS)
    assert told([*early[1:], *late]) == ["shed", "shed", "shed", "granted", "", ""]
    assert world.stats(131 * MS)["standing"] == 1
    late[0].leave(131 * MS)
    assert told(late[1:]) == ["granted", ""]
    assert world.stats(131 * MS)["standing"] == 1
    late[2].abandon(132 * MS)            # it is empty: from the beginning
    assert world.stats(132 * MS)["standing"] == 0


def test_somebody_served_in_time_ends_the_interval_before_it_stands() -> None:
    world = World(0, CODEL, a=(0, 1, 99))
    (inside,) = world.enter("a")
    old = [world.wait("a", now=1) for _ in range(2)]
    inside.leave(30 * MS)
    old[0].told()
    fresh = [world.wait("a", now=90 * MS), world.wait("a", now=90 * MS), world.wait("a", now=90 * MS)]
    old[0].leave(100 * MS)
    old[1].told()
    old[1].leave(105 * MS)               # the first of fresh waited for 15 ms
    assert told(fresh) == ["granted", "", ""]
    fresh[0].leave(140 * MS)             # 110 ms behind the first one
    assert told(fresh[1:]) == ["granted", ""]


def test_each_class_stands_for_itself() -> None:
    """A low class that never gets through does not make a high one wait in vain."""
    world = World(0, CODEL, a=(0, 1, 99))
    (inside,) = world.enter("a")
    low = [world.wait("a", LOW, now=1) for _ in range(3)]
    now = 0
    for _ in range(10):
        high = world.wait("a", HIGH, now=now + 1)
        now += 50 * MS
        inside.leave(now)
        assert told([high]) == ["granted"]
        inside = high
    assert told(low) == ["", "", ""]


def test_the_oldest_wait() -> None:
    world = World(1, a=(0, 0, 9), b=(0, 0, 9))
    inside = world.enter("a")
    waiters = [world.wait("b", LOW, now=3 * MS), world.wait("a", HIGH, now=5 * MS)]
    assert world.stats(10 * MS)["oldest_wait_us"] == 7 * MS
    waiters[0].abandon(10 * MS)
    assert world.stats(10 * MS)["oldest_wait_us"] == 5 * MS
    assert world.gate.stats()["oldest_wait_us"] > 5 * MS      # by the clock of the engines
    assert len(inside) == 1


# ---- counts


def test_counts_of_engines_are_added_up() -> None:
    lane = Lane(Gate(), "a")
    for engine, result in ((0, 0), (1, 0), (63, 0), (1, 1), (1, 2), (0, 3), (0, 4), (0, 4)):
        count(lane, engine, result)
    assert lane.stats() == {
        "reserved": 0, "max": 0, "in_use": 0, "shared_in_use": 0, "waiting": 0,
        "admitted": 3, "queued": 1, "full": 1, "timeout": 1, "shed": 2,
    }


def test_a_lane_that_goes_is_forgotten() -> None:
    world = World(4, a=(4, 4, 0), b=(0, 0, 0))
    assert world.refuses("b")
    del world.lanes["a"]
    world.configure(4, b=(0, 0, 0))
    assert len(world.enter("b", 4)) == 4
