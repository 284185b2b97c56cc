from __future__ import annotations

import pytest

from proxyd.admin import attempts
from proxyd.admin.attempts import BURST, SECONDS_EACH, Attempts
from tests.support.clock import FakeClock


def test_so_many_at_once_then_one_at_a_time() -> None:
    clock = FakeClock()
    found = Attempts(clock)
    assert [found.take("192.0.2.1") for _ in range(BURST)] == [0.0] * BURST
    assert found.take("192.0.2.1") == SECONDS_EACH
    assert found.take("192.0.2.2") == 0.0, "others have their own"
    clock.pass_time(SECONDS_EACH)
    assert found.take("192.0.2.1") == 0.0
    assert found.take("192.0.2.1") == SECONDS_EACH


def test_a_right_password_costs_nothing() -> None:
    found = Attempts(FakeClock())
    for _ in range(3 * BURST):
        assert found.take("192.0.2.1") == 0.0
        found.give_back("192.0.2.1")


def test_addresses_of_one_line_are_one() -> None:
    found = Attempts(FakeClock())
    assert [found.take(f"2001:db8::{number:x}") for number in range(BURST)] == [0.0] * BURST
    assert found.take("2001:db8::ffff:1") > 0
    assert found.take("2001:db8:0:1::1") == 0.0


def test_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "ADDRESSES_MAX", 2)
    found = Attempts(FakeClock())
    for client in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.3"):
        found.take(client)
    assert list(found._full_at) == ["192.0.2.1", "192.0.2.3"], "the one that tried least recently is forgotten"
