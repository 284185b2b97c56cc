from __future__ import annotations

from typing import Any, Literal

import pytest

from proxyd.state import CheckView, ServerState, server_state
from proxyd.views import failure


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


def view(title: str, verdict: Literal["up", "down"], reason: str) -> CheckView:
    return CheckView("http", title, verdict, "failed" if reason else "passed", reason, 1.0, 0.1, 1, 1, 1)


@pytest.mark.parametrize(
    ("checks", "words"),
    [
        ([view("GET /a", "down", "status 500")], "check failed: status 500"),
        ([view("GET /a", "down", "")], "check failed"),
        ([view("GET /a", "up", "timeout"), view("tcp", "down", "connection refused")], "check tcp failed: connection refused"),
        ([], "check failed"),
    ],
)
def test_why_a_server_is_down(checks: list[CheckView], words: str) -> None:
    assert failure(checks) == words
