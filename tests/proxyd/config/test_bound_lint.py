from __future__ import annotations

import pytest

from proxyd.config import load_text


def doubts(text: str) -> list[tuple[str, str]]:
    return [(item.code, item.path) for item in load_text(text, env={}).diagnostics]


def of_route(text: str) -> list[tuple[str, str]]:
    return doubts(f"listen: :80\nupstreams: {{app: {{servers: [10.0.0.1:80, 10.0.0.2:80]}}}}\nroutes: [{{to: app, {text}}}]\n")


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("timeout: {total: 5s, per_try: 10s}", ["timeout.per_try"]),
        ("timeout: {total: 5s, first_byte: 5s, between_bytes: 6s}", ["timeout.first_byte", "timeout.between_bytes"]),
        ("timeout: {total: 5s, connect: 7s}", ["timeout.connect"]),
        ("timeout: {total: 5s}", []),       # the default of first_byte is 30s, and nobody wrote it
        ("timeout: {total: 5s, per_try: 4s, first_byte: none}", []),
        ("timeout: {per_try: 10s}", []),
        ("timeout: {total: 5s}, hedge: 5s", ["hedge"]),
        ("timeout: {first_byte: 2s}, hedge: 2s", ["hedge"]),
        ("timeout: {total: 5s}, hedge: 2s", []),
        ("timeout: {total: 5s}, hedge: p95", []),
    ],
)
def test_times_that_never_pass(text: str, paths: list[str]) -> None:
    assert of_route(text) == [("PXD-121", f"routes[0].{path}") for path in paths]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("concurrency: {max: 200}", True),
        ("concurrency: {max: 100}", False),
        ("concurrency: {max: none, queue: 5}", False),
    ],
)
def test_more_places_than_there_are(text: str, found: bool) -> None:
    text = f"listen: :80\nconcurrency: {{total: 100}}\nroutes: [{{to: '10.0.0.1:80', {text}}}]\n"
    assert doubts(text) == ([("PXD-122", "routes[0].concurrency.max")] if found else [])


TWO = "servers: [{address: '10.0.0.1:80', max_requests: 5}, {address: '10.0.0.2:80', max_requests: 6}]"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (f"{TWO}, circuit: {{max_requests: 12}}", "max_requests"),
        (f"{TWO}, circuit: {{max_requests: 11}}", ""),
        ("servers: [{address: '10.0.0.1:80', max_requests: 5}, '10.0.0.2:80'], circuit: {max_requests: 12}", ""),
        ("servers: [{address: 'app.internal:80', max_requests: 5}], circuit: {max_requests: 12}", ""),      # the name may have several
        ("servers: ['10.0.0.1:80'], circuit: {max_requests: 10, adaptive: {min: 10}}", "adaptive"),
        ("servers: ['10.0.0.1:80'], circuit: {max_requests: 10, adaptive: {min: 9}}", ""),
    ],
)
def test_bounds_of_upstreams(text: str, path: str) -> None:
    found = doubts(f"listen: :80\nto: app\nupstreams: {{app: {{{text}}}}}\n")
    assert found == ([("PXD-122", f"upstreams.app.circuit.{path}")] if path else [])


@pytest.mark.parametrize(
    ("limits", "found"),
    [("{connections: 5, per_client: 6}", True), ("{connections: 5, per_client: 5}", False), ("{connections: 5}", False)],
)
def test_connections_of_one_client(limits: str, found: bool) -> None:
    text = f"listeners: {{web: {{bind: ':80', limits: {limits}}}}}\nroutes: [{{respond: 204}}]\n"
    assert doubts(text) == ([("PXD-122", "listeners.web.limits.per_client")] if found else [])
