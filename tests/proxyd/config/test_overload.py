from __future__ import annotations

import pytest

from proxyd.config.overload import Overload
from tests.support.config import config_of, first_finding


def overload(text: str) -> Overload | None:
    return config_of(f"{{listen: ':1', to: 'a:1', runtime: {{{text}}}}}").runtime.overload


def test_nothing_is_shed_unless_it_is_asked_for() -> None:
    assert overload("") is None


def test_in_all_its_forms() -> None:
    found = overload("overload: on")
    assert found is not None
    assert (found.memory, found.queue_delay, found.action, found.retry_after) == (90, 1000, "shed", 1)
    assert overload("overload: 75%") == overload("overload: {memory: 75%}")
    assert overload("overload: {memory: none, queue_delay: 250ms}") == Overload.model_validate({"memory": "none", "queue_delay": "250ms"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", ("PXD-031", 21)),
        ("{memory: 0%, queue_delay: none}", ("PXD-022", 21)),
        ("{memory: 101%}", ("PXD-033", 30)),
        ("{queue_delay: 1}", ("PXD-031", 35)),
        ("{action: reject}", ("PXD-034", 30)),
        ("{retry_after: 500ms}", ("PXD-032", 35)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    assert first_finding(f"runtime: {{overload: {text}}}\nlisten: :1\nto: 'a:1'\n") == (expected[0], 1, expected[1])
