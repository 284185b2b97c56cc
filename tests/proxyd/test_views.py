from __future__ import annotations

from typing import Any

import pytest

from proxyd.state import ServerState
from proxyd.views import server_state


@pytest.mark.parametrize(
    ("down", "ejected_for_ms", "word"),
    [
        ([], 0, "up"),
        ([], 1, "ejected"),
        (["pending"], 0, "pending"),
        (["pending"], 500, "ejected"),
        (["health"], 500, "down"),
        (["health", "drain"], 0, "drain"),
        (["drain", "maint", "health", "pending"], 500, "maint"),
    ],
)
def test_one_word_for_a_state(down: list[str], ejected_for_ms: int, word: ServerState) -> None:
    state: dict[str, Any] = {"down": down, "ejected_for_ms": ejected_for_ms}
    assert server_state(state) == word
