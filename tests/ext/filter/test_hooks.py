from __future__ import annotations

from proxyd_ext.filter.hooks import Hooks


def test_switches_are_apart() -> None:
    hooks = Hooks("own")
    assert (hooks.name, hooks.request, hooks.response, hooks.failing) == ("own", False, False, False)
    for bits in range(8):
        hooks.request, hooks.response, hooks.failing = bool(bits & 1), bool(bits & 2), bool(bits & 4)
        assert (hooks.request, hooks.response, hooks.failing) == (bool(bits & 1), bool(bits & 2), bool(bits & 4))
    assert set(hooks.stats().values()) == {0}


def test_numbers_are_unique() -> None:
    ids = [Hooks("same").id for _ in range(5)]
    assert ids == sorted(set(ids))
