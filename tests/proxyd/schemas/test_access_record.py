"""The schema of access records: it is one, it takes what is written (the tests of log/ hold every record against it) and nothing else."""
from __future__ import annotations

import json

import pytest

from proxyd_ext.log.render import render_record
from tests.support.records import SCHEMA, VALIDATOR

REQUEST = json.loads(render_record("json", {"method": b"GET", "status": 502, "fault": 50, "cache": 1, "cache_age": 3}))
FLOW = json.loads(render_record("json", {"kind": 3, "end": 9}))


def test_it_is_a_schema() -> None:
    VALIDATOR.check_schema(SCHEMA)


@pytest.mark.parametrize("record", [REQUEST, FLOW])
def test_what_is_no_record(record: dict[str, object]) -> None:
    assert VALIDATOR.is_valid(record)
    assert not VALIDATOR.is_valid({**record, "surprise": 1})
    assert not VALIDATOR.is_valid({**record, "kind": "quic"})
    assert not VALIDATOR.is_valid({**record, "time": "2026-11-21 12:00:00"})
    assert not VALIDATOR.is_valid({**record, "bytes_in": "1"})
    for name in ("time", "id", "protocol", "t_total", "config"):
        assert not VALIDATOR.is_valid({key: value for key, value in record.items() if key != name})


def test_things_that_come_together() -> None:
    for name in ("why", "error", "cache"):
        assert not VALIDATOR.is_valid({key: value for key, value in REQUEST.items() if key != name})
    assert not VALIDATOR.is_valid({**REQUEST, "tries": []})
    assert not VALIDATOR.is_valid({**REQUEST, "tries": [{"server": "s", "t": 0.1, "error": "x", "status": 503}]})
    assert VALIDATOR.is_valid({**REQUEST, "tries": [{"server": "s", "t": 0.1, "status": 503}]})
