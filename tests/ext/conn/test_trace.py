"""W3C Trace Context: what servers are told, what records say, which requests are exported."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from proxyd_ext.engine import Engine
from proxyd_ext.log import AccessLog
from tests.support.engine import OK, Rig, get
from tests.support.records import read_record

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
WHOLE = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def traced(clocked: Rig) -> Iterator[tuple[Rig, Any]]:
    """A rig, and what becomes of one request on it: (fields at the server, record)."""
    log = AccessLog(-1, "json", 1)
    log.start()
    log.follow(True)
    clocked.engines[:] = [Engine(0, 1, inline=True, log=log, fake_clock=True)]
    origin = clocked.origin()

    def ask(*lines: str, share: float | None) -> tuple[dict[bytes, list[bytes]], dict[str, Any]]:
        clocked.serve(origin)
        assert clocked.spec is not None
        clocked.publish_spec(replace(clocked.spec, trace_share=share))
        client = clocked.connect()
        client.send(get("/", "Connection: close", *lines))
        peer = origin.peers[-1] if origin.peers and not origin.peers[-1].eof else origin.accept()
        head = peer.request().head
        peer.send(OK)
        assert client.response().status == 200
        log.flush()
        fields: dict[bytes, list[bytes]] = {}
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b": ")
            fields.setdefault(name.lower(), []).append(value)
        return fields, read_record(log.take().splitlines()[-1])

    yield clocked, ask
    log.stop()


def test_without_tracing_the_field_passes_untouched(traced: Any) -> None:
    fields, record = traced[1](f"traceparent: {WHOLE}", "tracestate: a=1", share=None)
    assert (fields[b"traceparent"], fields[b"tracestate"]) == ([WHOLE.encode()], [b"a=1"])
    assert record["trace_id"] == TRACE
    assert "span_id" not in record


def test_without_tracing_there_is_none(traced: Any) -> None:
    fields, record = traced[1](share=None)
    assert b"traceparent" not in fields
    assert "trace_id" not in record


@pytest.mark.parametrize(("flags", "sampled"), [("01", True), ("00", False), ("03", True), ("ff", True)])
def test_a_trace_of_the_client_goes_on(traced: Any, flags: str, sampled: bool) -> None:
    fields, record = traced[1](f"traceparent: 00-{TRACE}-{PARENT}-{flags}", "tracestate: a=1", share=0.5)
    told = f"00-{TRACE}-{record['span_id']}-0{int(sampled)}"
    assert (fields[b"traceparent"], fields[b"tracestate"]) == ([told.encode()], [b"a=1"])
    assert (record["trace_id"], record["parent_id"], record["sampled"], record["span_id"]) == (TRACE, PARENT, sampled, record["id"])


@pytest.mark.parametrize(("share", "sampled"), [(0.0, False), (1.0, True)])
def test_a_trace_begins_here(traced: Any, share: float, sampled: bool) -> None:
    fields, record = traced[1](share=share)
    assert fields[b"traceparent"] == [f"00-{record['trace_id']}-{record['id']}-0{int(sampled)}".encode()]
    assert record["sampled"] is sampled
    assert "parent_id" not in record
    again, _ = traced[1](share=share)
    assert again[b"traceparent"][0][3:35] != fields[b"traceparent"][0][3:35]


@pytest.mark.parametrize("value", [
    WHOLE.upper(), WHOLE[:-1], WHOLE + "-x", f"ff-{TRACE}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE}-{PARENT}-0g", f"0-{TRACE}-{PARENT}-01", f"00_{TRACE}-{PARENT}-01", WHOLE + ", " + WHOLE, "x" * 500, "",
])
def test_what_is_no_traceparent_begins_a_trace_and_ends_its_state(traced: Any, value: str) -> None:
    fields, record = traced[1](f"traceparent: {value}", "tracestate: a=1", share=1.0)
    assert fields[b"traceparent"] == [f"00-{record['trace_id']}-{record['id']}-01".encode()]
    assert b"tracestate" not in fields
    assert record["trace_id"] != TRACE
    assert "trace_id" not in traced[1](f"traceparent: {value}", share=None)[1]


def test_a_later_version_may_say_more(traced: Any) -> None:
    fields, record = traced[1](f"traceparent: 01-{TRACE}-{PARENT}-01-more", share=1.0)
    assert fields[b"traceparent"] == [f"00-{TRACE}-{record['id']}-01".encode()]
