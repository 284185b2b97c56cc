"""logfmt, held against a reader of its own and against `json`, which it repeats."""
from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd_ext.log.logfmt import respelled
from proxyd_ext.log.render import render_record
from tests.ext.log.test_flow import flows
from tests.ext.log.test_render import Record, one_line, records
from tests.support.logfmt import read_logfmt


@settings(max_examples=200)
@given(st.one_of(records, flows))
def test_it_says_what_json_says(record: Record) -> None:
    members = json.loads(render_record("json", record), object_pairs_hook=list, parse_float=str, parse_int=str)
    assert read_logfmt(one_line(render_record("logfmt", record))) == members


def test_to_the_letter() -> None:
    line = render_record("logfmt", {
        "method": b"GET", "host": b"a.example", "path": b"/a b", "query": b"", "user_agent": b'say "hi"=\xc3\xa9\n', "time_us": 1_000_000,
    }).decode()
    assert line == (
        'time=1970-01-01T00:00:01.000000Z id=0000000000000000 method=GET scheme=http host=a.example path="/a b" query=""'
        ' protocol=HTTP/1.1 status=200 status_by=upstream bytes_in=0 bytes_out=0 t_total=0.000000'
        ' user_agent="say \\"hi\\"=é\\n" engine=0 config=000000000000\n'
    )


@pytest.mark.parametrize(
    ("members", "pairs"),
    [
        ({"a": 1, "b": "x", "c": True}, [("a", "1"), ("b", "x"), ("c", "true")]),
        ({"tries": [{"server": "s", "t": 0.1}, {"x": "}\\\"]"}], "b": "c"}, None),
        ({"a": {"b": []}, "c": ""}, None),
    ],
)
def test_what_is_no_plain_value_is_its_json(members: dict[str, object], pairs: list[tuple[str, str]] | None) -> None:
    text = json.dumps(members, separators=(",", ":"))
    nested = [(name, value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))) for name, value in members.items()]
    assert read_logfmt(one_line(respelled(text.encode() + b"\n"))) == (pairs or nested)
