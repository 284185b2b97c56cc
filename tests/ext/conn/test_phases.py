"""The table of legal transitions."""

from __future__ import annotations

from proxyd_ext.conn.phases import transitions

ORDER = [
    "read_head",
    "route",
    "filter_request",
    "cache_lookup",
    "pick",
    "connect",
    "send_request",
    "read_response",
    "filter_origin_response",
    "cache_store",
    "filter_response",
    "deliver",
    "log",
    "done",
]


def test_every_phase_stands_in_the_table() -> None:
    assert list(transitions()) == ORDER


def test_log_is_reached_from_everywhere_and_left_once() -> None:
    """LOG follows from every phase before it, directly; DONE from LOG only; nothing follows DONE."""
    table = transitions()
    assert all("log" in table[phase] for phase in ORDER[:12])
    assert [phase for phase in ORDER if "done" in table[phase]] == ["log"]
    assert table["done"] == []


def test_only_retries_go_back() -> None:
    table = transitions()
    back = {(a, b) for a in ORDER for b in table[a] if ORDER.index(b) < ORDER.index(a)}
    assert back <= {("connect", "pick"), ("send_request", "pick"), ("read_response", "pick")}


def test_an_answer_that_has_begun_is_only_finished() -> None:
    assert transitions()["deliver"] == ["log"]
