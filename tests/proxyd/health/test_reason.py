from __future__ import annotations

import errno
import socket

import pytest

from proxyd.health.reason import excerpt, plain_reason


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.1', 80)"), "connection refused"),
        (OSError("multiple errors"), "multiple errors"),
        (socket.gaierror(-2, "Name or service not known"), "name not found: Name or service not known"),
        (ValueError(), "ValueError"),
    ],
)
def test_failures(error: BaseException, words: str) -> None:
    assert plain_reason(error) == words


def test_bytes_of_a_server_fit_into_a_line() -> None:
    assert excerpt(b"-ERR\r\n\xff") == r'"-ERR\r\n\xff"'
    assert excerpt(b"x" * 41) == f'"{"x" * 40}…"'
