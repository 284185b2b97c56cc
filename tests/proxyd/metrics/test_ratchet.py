from __future__ import annotations

from proxyd.metrics.ratchet import Ratchet


def test_ratchet_adds_what_was_reached() -> None:
    ratchet = Ratchet()
    assert [ratchet.total("k", value) for value in (1, 5, 2, 3, 0)] == [1, 5, 7, 8, 8]
    assert ratchet.total("other", 1) == 1


def test_a_ratchet_knows_another_owner_that_has_overtaken_the_last() -> None:
    ratchet = Ratchet()
    assert [ratchet.total("k", *told) for told in ((1, 7), (5, 7), (6, 8), (8, 8), (2, 8))] == [1, 5, 11, 13, 15]
