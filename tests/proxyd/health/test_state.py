from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.health.state import CheckState, Outcome

GOOD, BAD = Outcome(True, "", 0.01), Outcome(False, "connection refused", 0.01)


def run(state: CheckState, results: str) -> str:
    """Feed "+" and "-"; the verdict after each, by its first letter."""
    return "".join(_step(state, result == "+") for result in results)


def _step(state: CheckState, passed: bool) -> str:
    before = state.verdict
    changed = state.on_outcome(GOOD if passed else BAD, at=1.0)
    assert changed == (state.verdict != before)
    return state.verdict[0]


@pytest.mark.parametrize(
    ("results", "verdicts"),
    [
        ("+", "u"),                  # the first result decides at once, either way
        ("-", "d"),
        ("+--", "uuu"),              # fall 3: two are not enough
        ("+---", "uuud"),
        ("+--+---", "uuuuuud"),      # a pass between them starts the count again
        ("-+", "dd"),                # rise 2
        ("-++", "ddu"),
        ("-+-++", "ddddu"),
        ("---++---", "ddddu" + "uud"),
    ],
)
def test_rise_2_fall_3(results: str, verdicts: str) -> None:
    assert run(CheckState(rise=2, fall=3), results) == verdicts


@given(st.text("+-", max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_a_verdict_only_turns_on_enough_equal_results(results: str, rise: int, fall: int) -> None:
    state = CheckState(rise=rise, fall=fall)
    verdicts = run(state, results)
    assert (state.passed, state.failed) == (results.count("+"), results.count("-"))
    for index in range(1, len(verdicts)):
        if verdicts[index] != verdicts[index - 1]:
            needed = "-" * fall if verdicts[index] == "d" else "+" * rise
            assert results[: index + 1].endswith(needed)
        else:
            against = "-" * fall if verdicts[index] == "u" else "+" * rise
            assert not results[1 : index + 1].endswith(against)
    if results:
        assert state.streak == len(results) - len(results.rstrip(results[-1]))
