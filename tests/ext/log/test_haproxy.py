"""HAProxy's lines. That `halog` reads them is tried in tests/acceptance/accept_logs.py; here is their grammar, taken from its manual."""
from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd_ext.core.fault import faults
from proxyd_ext.log.render import render_record
from tests.ext.log.test_flow import flows
from tests.ext.log.test_render import Record, one_line, records

BEGIN = (
    r"(?P<client>[!-~]+):(?P<port>\d+) \[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4,5}:\d\d:\d\d:\d\d\.\d{3})\] (?P<front>[!-~]+)"
    r" (?P<back>[!-~]+)/(?P<server>[!-~]+) "
)
COUNTS = r"0/0/0/0/(?P<retries>\d+) 0/(?P<queue>[01])"
HTTP = re.compile(
    BEGIN + r"(?P<timers>(-1|0)/(-1|\d+)/(-1|\d+)/(-1|\d+)/\d+) (?P<status>\d{3}) (?P<bytes>\d+) - - (?P<state>(--|[A-Za-z]{2}))-- "
    + COUNTS + r' "(?P<request>[ !#-z~]+)"'
)
TCP = re.compile(BEGIN + r"(?P<timers>(-1|\d+)/(-1|\d+)/\d+) (?P<bytes>\d+) (?P<state>--|[A-Za-z]{2}) " + COUNTS)
CAUSES, STATES = set("CSPLRIDKUcs"), set("RQCHDLT")
PLAIN: Record = {
    "time_us": 1_165_432_100_765_000, "t_total_us": 109_000, "client_ip": b"10.0.1.2", "client_port": 33317, "listener": b"web",
    "upstream": b"api", "server": b"10.0.3.1:8000", "t_connect_us": 30_000, "t_first_byte_us": 69_000, "bytes_out": 2750, "attempts": 1,
    "method": b"GET", "path": b"/index.html", "t_queue_us": 0,
}


def fault(word: str) -> int:
    return int(faults()[word]["code"])


def http(**more: int | bytes | None) -> dict[str, str]:
    read = HTTP.fullmatch(one_line(render_record("haproxy", {**PLAIN, **more})))
    assert read is not None
    return read.groupdict()


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "EST+5")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("new_york")
def test_an_exchange_to_the_letter() -> None:
    """The time is that of the beginning, by the clock on the wall."""
    assert render_record("haproxy", PLAIN).decode() == (
        "10.0.1.2:33317 [06/Dec/2006:14:08:20.656] web api/10.0.3.1:8000 0/0/30/69/109 200 2750 - - ---- 0/0/0/0/0 0/0"
        ' "GET /index.html HTTP/1.1"\n'
    )


@pytest.mark.usefixtures("new_york")
def test_a_flow_to_the_letter() -> None:
    record: Record = {**PLAIN, "kind": 1, "end": 1, "listener": b"pg", "upstream": b"db", "server": b"[::1]:5432", "client_ip": b"::1"}
    assert render_record("haproxy", record).decode() == (
        "::1:33317 [06/Dec/2006:14:08:20.656] pg db/[::1]:5432 0/30/109 2750 -- 0/0/0/0/0 0/0\n"
    )


@settings(max_examples=200)
@given(records)
def test_any_exchange_is_one_line_of_the_http_log(record: Record) -> None:
    read = HTTP.fullmatch(one_line(render_record("haproxy", record)))
    assert read is not None
    assert read["state"] == "--" or (read["state"][0] in CAUSES and read["state"][1] in STATES)
    assert "".join(re.split("#[0-9A-F]{2}", read["request"])).isprintable()
    assert "#" not in re.sub("#[0-9A-F]{2}", "", read["request"])


@settings(max_examples=200)
@given(flows)
def test_any_flow_is_one_line_of_the_tcp_log(record: Record) -> None:
    read = TCP.fullmatch(one_line(render_record("haproxy", record)))
    assert read is not None
    assert read["state"] == "--" or (read["state"][0] in CAUSES and read["state"][1] in STATES)


@given(st.binary(min_size=1, max_size=40))
def test_bytes_of_a_path_can_be_had_back(path: bytes) -> None:
    shown = http(path=path)["request"].removeprefix("GET ").removesuffix(" HTTP/1.1")
    assert re.sub(rb"#([0-9A-F]{2})", lambda code: bytes.fromhex(code[1].decode()), shown.encode()) == path


@pytest.mark.parametrize(
    ("record", "place", "timers", "state"),
    [
        # a pooled connection
        ({"t_connect_us": None}, "api/10.0.3.1:8000", "0/0/0/69/109", "--"),
        # it waited for a server
        ({"t_queue_us": 12_900}, "api/10.0.3.1:8000", "0/12/30/69/109", "--"),
        # respond or redirect
        ({"upstream": None, "server": None, "t_connect_us": None, "t_first_byte_us": None, "status_by": 1, "attempts": 0},
         "web/<NOSRV>", "0/-1/-1/-1/109", "LR"),
        # from memory
        ({"server": None, "t_connect_us": None, "t_first_byte_us": None, "status_by": 2, "cache": 1},
         "api/<CACHE>", "0/-1/-1/-1/109", "--"),
        # no request was understood
        ({"method": None, "path": None, "upstream": None, "server": None, "t_connect_us": None, "t_first_byte_us": None, "status_by": 1,
          "status": 400, "fault": 1}, "web/<NOSRV>", "-1/-1/-1/-1/109", "PR"),
    ],
)
def test_what_does_not_apply(record: Record, place: str, timers: str, state: str) -> None:
    read = http(**record)
    assert (f"{read['back']}/{read['server']}", read["timers"], read["state"]) == (place, timers, state)
    assert read["queue"] == ("1" if "t_queue_us" in record else "0")


@pytest.mark.parametrize(
    ("word", "record", "timers", "state"),
    [
        ("connect_refused", {"t_connect_us": None, "t_first_byte_us": None}, "0/0/-1/-1/109", "SC"),
        ("connect_timeout", {"t_connect_us": None, "t_first_byte_us": None, "t_queue_us": 5_000}, "0/5/-1/-1/109", "sC"),
        ("first_byte_timeout", {"t_first_byte_us": None}, "0/0/30/-1/109", "sH"),
        ("upstream_reset", {"t_first_byte_us": None}, "0/0/30/-1/109", "SH"),
        ("upstream_truncated", {}, "0/0/30/69/109", "SD"),
        ("upstream_head_malformed", {"t_first_byte_us": None}, "0/0/30/-1/109", "PH"),
        ("queue_timeout", {"server": None, "t_connect_us": None, "t_first_byte_us": None, "t_queue_us": 7_000}, "0/7/-1/-1/109", "sQ"),
        ("no_server", {"server": None, "t_connect_us": None, "t_first_byte_us": None}, "0/-1/-1/-1/109", "SC"),
        ("rate_limited", {"server": None, "upstream": None, "t_connect_us": None, "t_first_byte_us": None}, "0/-1/-1/-1/109", "PR"),
        ("head_timeout", {"server": None, "upstream": None, "t_connect_us": None, "t_first_byte_us": None}, "0/-1/-1/-1/109", "cR"),
        ("client_closed", {"t_first_byte_us": None, "bytes_out": 0}, "0/0/30/-1/109", "CH"),
        ("client_closed", {}, "0/0/30/69/109", "CD"),
        ("client_closed", {"server": None, "t_connect_us": None, "t_first_byte_us": None, "bytes_out": 0, "t_queue_us": 1},
         "0/0/-1/-1/109", "CQ"),
        ("client_closed", {"server": None, "t_connect_us": None, "t_first_byte_us": None, "bytes_out": 0}, "0/-1/-1/-1/109", "CC"),
        ("client_closed", {"server": None, "upstream": None, "t_connect_us": None, "t_first_byte_us": None, "bytes_out": 0},
         "0/-1/-1/-1/109", "CR"),
        ("total_timeout", {"t_first_byte_us": None, "bytes_out": 0}, "0/0/30/-1/109", "sH"),
        ("memory", {}, "0/0/30/69/109", "RC"),
    ],
)
def test_how_it_ended(word: str, record: Record, timers: str, state: str) -> None:
    read = http(fault=fault(word), **record)
    assert (read["timers"], read["state"]) == (timers, state)


def test_retries_are_tries_after_the_first() -> None:
    assert [http(attempts=tries)["retries"] for tries in (0, 1, 3)] == ["0", "0", "2"]


def test_https_marks_its_listener() -> None:
    assert http(tls=1)["front"] == "web~"


@pytest.mark.parametrize(
    ("kind", "end", "word", "state"),
    [
        (1, 1, "", "--"), (1, 2, "", "--"), (1, 3, "", "CD"), (2, 4, "", "SD"), (1, 5, "", "cD"), (3, 5, "", "--"), (1, 6, "", "PD"),
        (1, 7, "", "PD"), (1, 8, "server_down", "DD"), (3, 9, "", "--"), (3, 10, "", "RD"), (1, 11, "connect_refused", "SC"),
        (1, 11, "client_closed", "CC"), (1, 11, "preface_timeout", "cR"), (1, 12, "", "KD"),
    ],
)
def test_how_a_flow_ended(kind: int, end: int, word: str, state: str) -> None:
    record: Record = {**PLAIN, "kind": kind, "end": end, "fault": fault(word) if word else 0}
    read = TCP.fullmatch(one_line(render_record("haproxy", record)))
    assert read is not None
    assert read["state"] == state
