"""Requests that nobody sent: what of them is refused, and how their fields are read."""
from __future__ import annotations

from collections.abc import Sequence

import pytest

from proxyd_ext.snapshot.spec import Condition, RespondAction, RouteSpec
from tests.support.snapshot import of_routes


def holds(condition: Condition, host: str = "h.test", headers: Sequence[tuple[str, str]] = (), client: str = "") -> bool:
    snapshot = of_routes([RouteSpec("r", RespondAction(200), conditions=[condition])])
    return snapshot.match(0, "GET", host, "/", headers=headers, client=client)[0] == 0


def test_host_is_a_field_like_any_other() -> None:
    is_host = Condition("header", "exact", "Host", "h.test")
    assert holds(is_host)
    assert not holds(is_host, host="other.test")
    assert not holds(is_host, headers=[("host", "other.test")])
    assert not holds(is_host, host="")
    assert holds(Condition("header", "exact", "Host", "[::1]"), host="::1")


def test_outer_blanks_are_no_part_of_a_value() -> None:
    assert holds(Condition("header", "exact", "X-A", "b c"), headers=[("X-A", "  b c\t ")])


def test_fields_that_no_request_may_have() -> None:
    for headers, words in (
        ([("X", "1\r\nY: 2")], "no line break"),
        ([("X", "1\r\n\r\nY: 2")], "no line break"),
        ([("X", "1\n")], "such a head is refused"),
        ([("X Y", "1")], "such a head is refused"),
        ([("Host", "a"), ("Host", "b")], "such a head is refused"),
        ([("Content-Length", "1"), ("Transfer-Encoding", "chunked")], "such a head is refused"),
        ([("X", "1")] * 300, "such a head is refused"),
    ):
        with pytest.raises(ValueError, match=words):
            holds(Condition("header", "present", "X"), headers=headers)


def test_client_that_is_no_address() -> None:
    with pytest.raises(ValueError, match="not an IP address: nobody"):
        holds(Condition("source", "network", networks=["10.0.0.0/8"]), client="nobody")


def test_unknown_client_is_in_no_network() -> None:
    everywhere = ["0.0.0.0/0", "::/0", "unix"]
    assert not holds(Condition("source", "network", networks=everywhere))
    assert holds(Condition("source", "network", networks=everywhere, negate=True))
    assert holds(Condition("source", "network", networks=everywhere), client="192.0.2.1")
