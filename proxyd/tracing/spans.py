"""From the record of a traced request to its spans, in the JSON encoding of OTLP.

A SERVER span for the request, whose id is the one that the origin was told as its parent (`traceparent`), and below it a CLIENT span for
each try that failed and one for the server that answered. Records tell how long tries took but not when they began, so they are laid one
after another behind the time in the queue.

Sources: opentelemetry.io/docs/specs/otlp (JSON Protobuf Encoding: ids in hex, 64-bit integers as text), the semantic conventions for HTTP
spans 1.27 (opentelemetry.io/docs/specs/semconv/http/http-spans), and W3C Trace Context for the flags. `url.full` of CLIENT spans is left
out: the path that the server saw may have been rewritten.
"""
from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from proxyd.records.tap import Record

METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SPAN_KIND_SERVER = 2
SPAN_KIND_CLIENT = 3
STATUS_CODE_ERROR = 2
SAMPLED = 0x01
PARENT_IS_LOCAL = 0x100       # it is known whether the parent is remote ...
PARENT_IS_REMOTE = 0x300      # ... and it is

Span = dict[str, Any]
Facts = Mapping[str, str | int | bool | None]

_REQUEST = {        # member of the record -> attribute
    "scheme": "url.scheme", "path": "url.path", "query": "url.query", "status": "http.response.status_code", "route": "http.route",
    "client.address": "client.address", "client.port": "client.port", "user_agent": "user_agent.original", "user": "user.name",
    "id": "proxyd.request_id", "listener": "proxyd.listener", "status_by": "proxyd.status_by", "upstream": "proxyd.upstream",
    "server": "proxyd.server", "attempts": "proxyd.attempts", "cache": "proxyd.cache", "policies": "proxyd.policies",
    "config": "proxyd.config",
}


def spans_of(record: Record) -> Iterator[Span]:
    """Of a record that says it is sampled."""
    end = (datetime.fromisoformat(record["time"]) - EPOCH) // timedelta(microseconds=1) * 1000
    begin = end - nanoseconds(record["t_total"])
    yield _server_span(record, begin, end)
    at = begin + nanoseconds(record.get("t_queue") or 0)
    for index, tried in enumerate(record.get("tries", ())):
        until = min(at + nanoseconds(tried["t"]), end)
        yield _client_span(record, index, tried["server"], at, until, tried.get("status"), tried.get("error"))
        at = until
    if is_answered(record):
        failure = record.get("error")
        yield _client_span(record, len(record.get("tries", ())), record["server"], at, end, record["status"], failure)


def count_spans(record: Record) -> int:
    """How many `spans_of` makes, without making them."""
    return 1 + len(record.get("tries", ())) + is_answered(record)


def is_answered(record: Record) -> bool:
    """Whether a server's answer went to the client. A server that failed stands among the tries."""
    return record["status_by"] == "upstream" and bool(record.get("server"))


def _server_span(record: Record, begin: int, end: int) -> Span:
    name, method = _method(record)
    host, port = host_and_port(record.get("host", ""))
    facts = {
        **method, "server.address": host or None, "server.port": port, "network.protocol.name": "http",
        "network.protocol.version": record["protocol"].removeprefix("HTTP/"),
        **{attribute: record.get(member) for member, attribute in _REQUEST.items()},
    }
    failed = record["status"] >= 500 or record["status"] == 0
    facts["error.type"] = (record.get("error") or str(record["status"])) if failed else None
    route = record.get("route")
    parent = record.get("parent_id", "")
    span = {
        "traceId": record["trace_id"], "spanId": record["span_id"], "flags": SAMPLED | (PARENT_IS_REMOTE if parent else PARENT_IS_LOCAL),
        "name": f"{name} {route}" if route else name, "kind": SPAN_KIND_SERVER, "startTimeUnixNano": str(begin),
        "endTimeUnixNano": str(end), "attributes": attributes(facts),
    }
    if parent:
        span["parentSpanId"] = parent
    if failed:
        span["status"] = {"code": STATUS_CODE_ERROR, **({"message": record["why"]} if record.get("why") else {})}
    return span


def _client_span(record: Record, index: int, server: str, begin: int, end: int, status: int | None, error: str | None) -> Span:
    name, method = _method(record)
    host, port = host_and_port(server)
    failed = error is not None or (status or 0) >= 400       # for clients, 4xx is an error too
    facts = {
        **method, "server.address": host, "server.port": port, "http.response.status_code": status,
        "http.request.resend_count": index or None, "error.type": (error or str(status)) if failed else None,
        "proxyd.upstream": record.get("upstream"),
    }
    return {
        "traceId": record["trace_id"], "spanId": span_id(record["span_id"], index), "parentSpanId": record["span_id"],
        "flags": SAMPLED | PARENT_IS_LOCAL, "name": name, "kind": SPAN_KIND_CLIENT, "startTimeUnixNano": str(begin),
        "endTimeUnixNano": str(end), "attributes": attributes(facts), **({"status": {"code": STATUS_CODE_ERROR}} if failed else {}),
    }


def _method(record: Record) -> tuple[str, Facts]:
    """The name of a span with it, and its attributes: clients may send any word as a method, and names must be few."""
    method = record.get("method") or ""
    if method in METHODS:
        return method, {"http.request.method": method}
    return "HTTP", {"http.request.method": "_OTHER", "http.request.method_original": method or None}


def span_id(parent: str, index: int) -> str:
    """Of a try. Made of what is there, so that a batch that is sent twice has the same spans."""
    return hashlib.blake2b(f"{parent}/{index}".encode(), digest_size=8).hexdigest()


def host_and_port(text: str) -> tuple[str, int | None]:
    """`example.com:80`, `[::1]:80`, `example.com`, `unix:/run/app.sock`."""
    if text.startswith("unix:"):
        return text.removeprefix("unix:"), None
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or text.endswith("]"):
        return text.strip("[]"), None
    return host.strip("[]"), int(port)


def attributes(facts: Facts) -> list[dict[str, Any]]:
    """Those that are known."""
    return [{"key": key, "value": _value(value)} for key, value in facts.items() if value is not None]


def _value(value: str | int | bool) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}


def nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
