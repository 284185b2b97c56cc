from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from proxyd.ejections import Ejections


@dataclass
class Server:
    """Stands in for the native handle: the counters that a test sets."""

    errors: dict[str, int] = field(default_factory=dict)
    requests: dict[int, int] = field(default_factory=dict)
    failures: int = 5
    ejected_ms: int = 30_000

    def state(self) -> dict[str, Any]:
        return {"consecutive_failures": self.failures, "ejected_for_ms": self.ejected_ms}

    def stats(self) -> dict[str, Any]:
        return {"errors": self.errors, "requests": self.requests}


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (Server(errors={"connect_refused": 5}), "connection refused 5 times; back in 30 s"),
        (Server(errors={"connect_refused": 900}), "connection refused 5 times; back in 30 s"),
        (Server(requests={200: 1000, 404: 50, 503: 7}), "status 503 5 times; back in 30 s"),
        (Server(errors={"connect_timeout": 1}, failures=1, ejected_ms=500), "connecting timed out; back in 500 ms"),
        (Server(errors={"upstream_reset": 3}, failures=0), "connection reset 3 times; back in 30 s"),
        (Server(errors={"quite_new": 9}), "quite new 5 times; back in 30 s"),
        (Server(), "failures 5 times; back in 30 s"),
    ],
)
def test_the_reason_is_in_plain_words(server: Server, said: str, caplog: pytest.LogCaptureFixture) -> None:
    Ejections().on_ejected("api", "10.0.1.12:8000", server)
    assert [record.getMessage() for record in caplog.records] == [f"api: 10.0.1.12:8000 left: {said}"]


def test_only_what_came_since_the_last_time_counts() -> None:
    ejections, server = Ejections(), Server(errors={"connect_refused": 100})
    ejections.on_ejected("api", "a", server)
    server.errors = {"connect_refused": 101, "connect_timeout": 5}
    ejections.on_ejected("api", "a", server)
    assert ejections.reason("api", "a") == "connecting timed out 5 times"


def test_servers_that_left_are_forgotten() -> None:
    ejections = Ejections()
    ejections.on_ejected("api", "a", Server(errors={"connect_refused": 5}))
    ejections.on_ejected("api", "b", Server(errors={"connect_refused": 5}))
    ejections.forget_others({("api", "b")})
    assert ejections.reason("api", "a") == ""
    assert ejections.reason("api", "b") == "connection refused 5 times"
