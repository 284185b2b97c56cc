"""The line for people, held against the native one."""
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.records.line import line
from proxyd_ext.log.render import render_record
from tests.proxyd.records.sample import FLOW, REQUEST, Values, fault


def both(values: Values, *, color: bool = False) -> tuple[str, str]:
    """(ours, the native writer's) of the same values."""
    found = json.loads(render_record("json", values))
    return line(found, color=color), render_record("pretty", values, color).decode().rstrip("\n")


CASES: dict[str, Values] = {
    "plain": {},
    "refused": {"status": 502, "status_by": 1, "fault": fault("connect_refused"), "attempts": 2, "t_first_byte_us": None},
    "no route": {"status": 404, "status_by": 1, "fault": fault("no_route"), "upstream": None, "server": None, "route": b"-"},
    "not understood": {"status": 400, "status_by": 1, "fault": fault("request_malformed"), "method": None, "host": None, "path": None,
                       "upstream": None, "server": None},
    "hit": {"status_by": 2, "cache": 1, "cache_age": 7, "upstream": None, "server": None, "attempts": 0},
    "from memory": {"status_by": 2, "upstream": None, "server": None},
    "miss": {"cache": 2, "query": b"a=1&b"},
    "retried": {"attempts": 3, "status": 301},
    "kept id": {"request_id": b"from\x1bclient", "method": b"PROPFIND"},
    "steering": {"path": "/\x1b[31m\x9d\u202e\u2028é中".encode(), "query": b"", "host": b"a\tb"},
}


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_exchanges(name: str, color: bool) -> None:
    ours, native = both(REQUEST | CASES[name], color=color)
    assert ours == native


@pytest.mark.parametrize("changes", [
    {}, {"kind": 1, "tls_name": None, "tls_alpn": None}, {"kind": 3, "packets_in": 3, "packets_out": 4, "end": 9, "tls_name": None,
                                                          "tls_alpn": None},
    {"end": 11, "fault": fault("connect_refused"), "attempts": 3}, {"tls_name": None}, {"upstream": None, "server": None},
])
def test_flows(changes: Values) -> None:
    ours, native = both(FLOW | changes, color=True)
    assert ours == native


@given(us=st.integers(0, 10**12), count=st.integers(0, 2**62))
def test_times_and_amounts(us: int, count: int) -> None:
    ours, native = both(FLOW | {"t_total_us": us, "bytes_in": count})
    assert ours == native


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_nothing_steers_the_terminal(text: str) -> None:
    found = line({"id": text, "path": text, "host": "", "method": "GET", "time": ""})
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 or char in "\u2028\u2029\u202e\u2066" for char in found)
