from __future__ import annotations

import pytest

from proxyd.since import Since
from tests.support.clock import FakeClock

A, B = ("api", "a"), ("api", "b")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_000.0)


@pytest.fixture
def since(clock: FakeClock) -> Since:
    return Since(clock)


def test_a_state_counts_from_its_change(since: Since, clock: FakeClock) -> None:
    assert since.note(A, "up") == 1_000.0
    clock.pass_time(5)
    assert (since.note(A, "up"), since.note(B, "up")) == (1_000.0, 1_005.0)
    assert since.note(A, "down") == 1_005.0
    clock.pass_time(5)
    assert (since.note(A, "down"), since.note(A, "up"), since.note(B, "up")) == (1_005.0, 1_010.0, 1_005.0)


def test_an_ejection_that_ended_unseen_ended_at_its_time(since: Since, clock: FakeClock) -> None:
    since.note(A, "ejected", 30_000)
    clock.pass_time(10)
    assert since.note(A, "ejected", 20_000) == 1_000.0
    clock.pass_time(500)
    assert since.note(A, "up") == 1_030.0


def test_an_ejection_that_is_cut_short_ends_when_it_does(since: Since, clock: FakeClock) -> None:
    since.note(A, "ejected", 30_000)
    clock.pass_time(10)
    assert since.note(A, "up") == 1_010.0


def test_a_second_ejection_is_another_one(since: Since, clock: FakeClock) -> None:
    since.note(A, "ejected", 30_000)
    clock.pass_time(60)
    assert since.note(A, "ejected", 30_000) == 1_060.0


def test_a_server_that_left_begins_anew(since: Since, clock: FakeClock) -> None:
    since.note(A, "up")
    since.note(B, "up")
    clock.pass_time(5)
    since.forget_others([B])
    assert (since.note(A, "up"), since.note(B, "up")) == (1_005.0, 1_000.0)
