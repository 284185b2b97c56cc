from __future__ import annotations

from typing import Any

import pytest

from proxyd.records.tap import Record
from proxyd.tracing.body import encode
from proxyd.tracing.spans import count_spans, host_and_port, span_id, spans_of
from tests.support.otlp import Span, read_span, unpack

TRACE, SPAN, PARENT = "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7", "b7ad6b7169203331"
AT = 1_795_302_000_000_000_000        # 2026-11-21T23:00:00Z


def record(**members: Any) -> Record:
    """As the log renders it: what does not apply is left out."""
    plain: Record = {
        "time": "2026-11-21T23:00:00.000000Z", "id": SPAN, "trace_id": TRACE, "span_id": SPAN, "sampled": True, "listener": "web",
        "route": "shop", "client.address": "192.0.2.7", "client.port": 50000, "method": "GET", "scheme": "http",
        "host": "shop.example.com:8080", "path": "/cart", "protocol": "HTTP/1.1", "status": 200, "status_by": "upstream", "bytes_in": 90,
        "bytes_out": 120, "t_total": 0.25, "upstream": "app", "server": "10.0.0.1:80", "attempts": 1, "engine": 0, "config": "0a1b2c3d4e5f",
    }
    return plain | members


def spans(told: Record) -> list[Span]:
    found = [read_span(span) for span in spans_of(told)]
    assert len(found) == count_spans(told)
    return found


def test_a_request_that_a_server_answered() -> None:
    server, client = spans(record(query="id=7", user_agent="curl/8", user="ann", cache="miss", parent_id=PARENT, t_queue=0.05))
    assert (server["traceId"], server["spanId"], server["parentSpanId"], server["kind"]) == (TRACE, SPAN, PARENT, 2)
    assert server["name"] == "GET shop"
    assert (int(server["startTimeUnixNano"]), int(server["endTimeUnixNano"])) == (AT - 250_000_000, AT)
    assert server["attributes"] == {
        "http.request.method": "GET", "server.address": "shop.example.com", "server.port": 8080, "network.protocol.name": "http",
        "network.protocol.version": "1.1", "url.scheme": "http", "url.path": "/cart", "url.query": "id=7",
        "http.response.status_code": 200, "http.route": "shop", "client.address": "192.0.2.7", "client.port": 50000,
        "user_agent.original": "curl/8", "user.name": "ann", "proxyd.request_id": SPAN, "proxyd.listener": "web",
        "proxyd.status_by": "upstream", "proxyd.upstream": "app", "proxyd.server": "10.0.0.1:80", "proxyd.attempts": 1,
        "proxyd.cache": "miss", "proxyd.config": "0a1b2c3d4e5f",
    }
    assert "status" not in server
    assert (client["traceId"], client["parentSpanId"], client["kind"], client["name"]) == (TRACE, SPAN, 3, "GET")
    assert (int(client["startTimeUnixNano"]), int(client["endTimeUnixNano"])) == (AT - 200_000_000, AT)
    assert client["attributes"] == {
        "http.request.method": "GET", "server.address": "10.0.0.1", "server.port": 80, "http.response.status_code": 200,
        "proxyd.upstream": "app",
    }


def test_tries_that_failed_stand_before_the_one_that_did_not() -> None:
    tries = [{"server": "10.0.0.1:80", "error": "connection_refused", "t": 0.01}, {"server": "10.0.0.2:80", "status": 503, "t": 0.04}]
    _, first, second, last = spans(record(tries=tries, server="10.0.0.3:80", attempts=3))
    begins = [(int(span["startTimeUnixNano"]) - AT) // 1_000_000 for span in (first, second, last)]
    assert begins == [-250, -240, -200]
    assert first["attributes"]["error.type"] == "connection_refused"
    assert "http.response.status_code" not in first["attributes"]
    assert (second["attributes"]["error.type"], second["attributes"]["http.response.status_code"]) == ("503", 503)
    assert [span.get("status") for span in (first, second, last)] == [{"code": 2}, {"code": 2}, None]
    assert [span["attributes"].get("http.request.resend_count") for span in (first, second, last)] == [None, 1, 2]
    assert len({span["spanId"] for span in (first, second, last)}) == 3


def test_a_failure_of_ours_has_its_reason() -> None:
    tried = [{"server": "10.0.0.1:80", "error": "connection_refused", "t": 0.01}]
    server, client = spans(record(
        status=502, status_by="proxyd", error="connection_refused", why="the server refuses connections", tries=tried))
    assert server["status"] == {"code": 2, "message": "the server refuses connections"}
    assert server["attributes"]["error.type"] == "connection_refused"
    assert client["status"] == {"code": 2}


def test_statuses_mean_what_the_conventions_say() -> None:
    server, client = spans(record(status=404))
    assert "status" not in server
    assert client["status"] == {"code": 2}
    assert client["attributes"]["error.type"] == "404"
    server, _ = spans(record(status=503))
    assert (server["status"], server["attributes"]["error.type"]) == ({"code": 2}, "503")


def test_a_hit_has_no_client_span() -> None:
    server, = spans(record(status_by="cache", cache="hit"))
    assert server["flags"] == 0x101, "no parent: nothing remote"


def test_names_of_spans_are_few() -> None:
    for method, name in (("BREW", "HTTP shop"), ("GET", "GET shop"), (None, "HTTP shop")):
        server, _ = spans(record(method=method))
        assert server["name"] == name
    server, _ = spans(record(method="BREW", route=None))
    assert server["name"] == "HTTP"
    assert (server["attributes"]["http.request.method"], server["attributes"]["http.request.method_original"]) == ("_OTHER", "BREW")


def test_a_span_of_a_try_is_the_same_when_it_is_sent_again() -> None:
    assert span_id(SPAN, 0) == span_id(SPAN, 0) != span_id(SPAN, 1)


@pytest.mark.parametrize(("text", "expected"), [
    ("example.com:80", ("example.com", 80)), ("example.com", ("example.com", None)), ("[::1]:80", ("::1", 80)), ("[::1]", ("::1", None)),
    ("unix:/run/app.sock", ("/run/app.sock", None)), ("", ("", None)),
])
def test_hosts_and_ports(text: str, expected: tuple[str, int | None]) -> None:
    assert host_and_port(text) == expected


def test_a_body_is_what_collectors_read() -> None:
    found = unpack(encode([record(), record(path="/ü\"\n", status_by="cache")], "edge"))
    assert [span["kind"] for span in found] == [2, 3, 2]
    assert found[2]["attributes"]["url.path"] == "/ü\"\n"
    assert unpack(encode([], "edge")) == []
