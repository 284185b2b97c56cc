"""What parts gained, over handles that come and go."""
from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxyd.stats.gains import Gains
from proxyd.tally import Row, Tally


class Counter:
    def __init__(self, count: int = 0, in_flight: int = 0) -> None:
        self.count, self.in_flight = count, in_flight

    def stats(self) -> dict[str, Any]:
        return {"count": self.count, "in_flight": self.in_flight}

    def row(self) -> Row:
        return (self.count, 0)


def parts(**handles: Counter) -> Tally[str, Counter]:
    found: Tally[str, Counter] = Tally(("count",), Counter.row, limit=3)
    found.live |= handles
    return found


def test_only_what_counted_is_told() -> None:
    a, b = Counter(), Counter()
    tally, gains = parts(a=a, b=b), Gains[str]()
    a.count = 3
    assert gains.take(tally) == {"a": (3, 0)}
    assert gains.take(tally) == {}
    a.count, b.count = 4, 1
    assert gains.take(tally) == {"a": (1, 0), "b": (1, 0)}


def test_what_a_handle_counted_before_it_was_seen_counts() -> None:
    assert Gains[str]().take(parts(a=Counter(7))) == {"a": (7, 0)}


def test_one_that_came_and_went_between_two_looks_counts() -> None:
    tally, gains = parts(), Gains[str]()
    assert gains.take(tally) == {}
    tally.live["a"] = Counter(2)
    tally.let_go(["a"])
    tally.live["a"] = Counter(3)
    tally.let_go(["a"])
    assert gains.take(tally) == {"a": (5, 0)}
    tally.live["a"] = Counter(1)
    assert gains.take(tally) == {"a": (1, 0)}


def test_one_that_left_counts_its_last_requests() -> None:
    handle = Counter(5, in_flight=1)
    tally, gains = parts(a=handle), Gains[str]()
    gains.take(tally)
    tally.let_go(["a"])
    handle.count = 6
    assert gains.take(tally) == {"a": (1, 0)}
    handle.count, handle.in_flight = 7, 0
    tally.let_go([])
    assert gains.take(tally) == {"a": (1, 0)}


def test_what_the_tally_has_forgotten_is_forgotten() -> None:
    tally, gains = parts(), Gains[str]()
    for number in range(10):
        tally.live[str(number)] = Counter(number % 2)
        assert len(gains.take(tally)) == number % 2
        tally.let_go([str(number)])
    gains.take(tally)
    assert len(gains._told) == 3


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.booleans(), st.booleans())))
def test_what_was_gained_is_the_sum(steps: list[tuple[str, int, bool, bool]]) -> None:
    tally, gains, gained, true = parts(), Gains[str](), {"a": 0, "b": 0}, {"a": 0, "b": 0}
    for key, count, leave, look in [*steps, ("a", 0, False, True)]:
        tally.live.setdefault(key, Counter()).count += count
        true[key] += count
        if leave:
            tally.let_go([key])
        for part, gain in (gains.take(tally) if look else {}).items():
            assert gain[0] > 0
            gained[part] += gain[0]
    assert gained == true
