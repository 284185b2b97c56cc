"""A collector that takes OTLP/HTTP in JSON and nothing that is not in its specification."""
from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

Span = dict[str, Any]

SPAN_MEMBERS = {
    "traceId", "spanId", "parentSpanId", "flags", "name", "kind", "startTimeUnixNano", "endTimeUnixNano", "attributes", "status",
}
VALUES = {"stringValue": "str", "boolValue": "bool", "intValue": "str"}


def read_spans(document: Any) -> list[Span]:
    """The spans of an ExportTraceServiceRequest, each with `attributes` as a mapping; AssertionError where it is none."""
    assert set(document) == {"resourceSpans"}
    spans: list[Span] = []
    for resource in document["resourceSpans"]:
        assert set(resource) == {"resource", "scopeSpans"}
        assert read_attributes(resource["resource"]["attributes"])["service.name"]
        for scope in resource["scopeSpans"]:
            assert set(scope) == {"scope", "spans"}
            assert set(scope["scope"]) == {"name", "version"}
            spans += map(read_span, scope["spans"])
    return spans


def read_span(span: Span) -> Span:
    assert set(span) <= SPAN_MEMBERS
    assert re.fullmatch("[0-9a-f]{32}", span["traceId"])
    assert int(span["traceId"], 16)
    for name in {"spanId", "parentSpanId"} & set(span):
        assert re.fullmatch("[0-9a-f]{16}", span[name])
        assert int(span[name], 16)
    assert span["kind"] in (2, 3)
    assert isinstance(span["name"], str)
    assert span["name"]
    for name in ("startTimeUnixNano", "endTimeUnixNano"):
        assert isinstance(span[name], str)
        assert span[name].isdecimal()
    assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
    assert isinstance(span["flags"], int)
    assert set(span.get("status", {})) <= {"code", "message"}
    assert span.get("status", {"code": 2})["code"] == 2
    return span | {"attributes": read_attributes(span["attributes"])}


def read_attributes(attributes: Sequence[Mapping[str, Any]]) -> dict[str, str | int | bool]:
    found: dict[str, str | int | bool] = {}
    for entry in attributes:
        assert set(entry) == {"key", "value"}
        assert entry["key"] not in found
        (kind, value), = entry["value"].items()
        assert type(value).__name__ == VALUES[kind]
        found[entry["key"]] = int(value) if kind == "intValue" else value
    return found


@dataclass
class Answer:
    status: int = 200
    body: str = "{}"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Collector:
    """`answers`: what it says to its next requests; after them, 200."""

    answers: list[Answer] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)            # of requests that were answered with 200
    requests: list[Mapping[str, str]] = field(default_factory=list)
    _server: TestServer | None = None

    async def __aenter__(self) -> Collector:
        application = web.Application()
        application.router.add_post("/v1/traces", self._take)
        self._server = TestServer(application)
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        await self._server.close()

    @property
    def url(self) -> str:
        assert self._server is not None
        return str(self._server.make_url("/")).rstrip("/")

    async def _take(self, request: web.Request) -> web.Response:
        assert request.headers["Content-Type"] == "application/json"
        body = await request.read()                             # aiohttp has taken the gzip away
        self.requests.append(dict(request.headers))
        spans = read_spans(json.loads(body))
        answer = self.answers.pop(0) if self.answers else Answer()
        if answer.status == 200:
            self.spans += spans
        return web.Response(status=answer.status, text=answer.body, headers=answer.headers, content_type="application/json")


def unpack(body: bytes) -> list[Span]:
    return read_spans(json.loads(gzip.decompress(body)))
