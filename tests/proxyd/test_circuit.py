from __future__ import annotations

from proxyd.circuit import Circuit
from tests.support.clock import FakeClock


def test_failures_in_a_row_open_it() -> None:
    clock = FakeClock()
    circuit = Circuit(3, 5.0, clock)
    assert [circuit.failed(), circuit.failed()] == [False, False]
    circuit.succeeded()
    assert [circuit.failed(), circuit.failed(), circuit.open] == [False, False, False]
    assert circuit.failed()
    assert (circuit.open, circuit.retry_in(), circuit.opened) == (True, 5.0, 1)


def test_a_trial_that_fails_begins_the_wait_anew_and_one_that_succeeds_ends_it() -> None:
    clock = FakeClock()
    circuit = Circuit(1, 5.0, clock)
    assert circuit.failed()
    clock.pass_time(6.0)
    assert (circuit.open, circuit.retry_in()) == (True, 0.0)
    assert not circuit.failed()
    assert (circuit.retry_in(), circuit.opened) == (5.0, 1)
    circuit.succeeded()
    assert (circuit.open, circuit.retry_in()) == (False, 0.0)
