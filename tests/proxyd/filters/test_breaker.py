from __future__ import annotations

from proxyd.filters.breaker import PAUSE_MAX, Breaker


def test_failures_in_a_row_disable() -> None:
    breaker = Breaker(3, 30.0)
    assert [breaker.on_failure(), breaker.on_failure()] == [False, False]
    breaker.on_success()
    assert [breaker.on_failure() for _ in range(4)] == [False, False, True, False]
    assert breaker.disabled
    assert breaker.pause == 30.0


def test_after_a_pause_one_failure_is_enough_and_the_pause_doubles() -> None:
    breaker = Breaker(3, 30.0)
    for pause in (30.0, 60.0, 120.0):
        while not breaker.on_failure():
            pass
        assert breaker.pause == pause
        breaker.on_pause_over()
        assert breaker.on_failure()
        breaker.on_pause_over()
        breaker.pauses -= 1
    breaker.pauses = 50
    assert breaker.pause == PAUSE_MAX


def test_a_success_forgets_but_not_one_from_before_the_pause() -> None:
    breaker = Breaker(2, 30.0)
    assert [breaker.on_failure(), breaker.on_failure()] == [False, True]
    breaker.on_success()
    assert (breaker.failures, breaker.pauses) == (2, 1)
    breaker.on_pause_over()
    breaker.on_success()
    assert (breaker.failures, breaker.pauses) == (0, 0)
    assert not breaker.on_failure()


def test_none_never_disables() -> None:
    breaker = Breaker(0, 30.0)
    assert not any(breaker.on_failure() for _ in range(1_000))
