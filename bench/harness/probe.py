"""Asks each contestant a few questions before it is measured: a fast proxy that does less, or answers wrongly, must not win."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Mapping

from harness.model import Workload

FIELDS_ADDED = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "via", "x-request-id")
_SIZES = {"/64": 64, "/10k": 10 * 1024, "/1m": 1024 * 1024}


def fetch(port: int, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, Mapping[str, str], bytes]:
    """One request on its own connection: (status, fields in lower case, body)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body=body)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def origin_stats(port: int) -> tuple[int, int]:
    """(requests, connections) that the origin has seen."""
    stats = json.loads(fetch(port, "/stats")[2])
    return stats["requests"], stats["connections"]


def faults_of(port: int, workload: Workload, direct_port: int, adds_fields: bool) -> list[str]:
    """What is wrong with a contestant's answers to this workload; an empty list when nothing is."""
    try:
        return _answer_faults(port, workload, direct_port) + (_field_faults(port) if adds_fields else [])
    except (OSError, http.client.HTTPException) as error:
        return [f"probe: {error!r}"]


def _answer_faults(port: int, workload: Workload, direct_port: int) -> list[str]:
    path = f"/svc-{workload.routes:04d}/64" if workload.routes else workload.path
    method, body = ("POST", b"x" * 10240) if workload.path == "/post" else ("GET", None)
    status, fields, content = fetch(port, path, method, body)
    if status != 200:
        return [f"probe: {method} {path} answered {status}: {content[:200]!r}"]
    if workload.from_memory:
        return [] if len(content) == 64 else [f"probe: {len(content)} bytes came where 64 were expected"]
    faults = []
    _, direct_fields, direct = fetch(direct_port, path, method, body)
    if hashlib.sha256(content).digest() != hashlib.sha256(direct).digest() or len(content) != _SIZES.get(workload.path, len(direct)):
        faults.append(f"probe: the body of {path} differs from the origin's ({len(content)} bytes for {len(direct)})")
    lost = sorted(f for f in ("date", "content-type", "content-length") if f in direct_fields and f not in fields)
    if lost:
        faults.append(f"probe: the answer lost {', '.join(lost)}")
    return faults


def _field_faults(port: int) -> list[str]:
    status, _, content = fetch(port, "/echo")
    if status != 200:
        return [f"probe: /echo answered {status}"]
    names = {line.split(":", 1)[0].strip().lower() for line in content.decode("latin-1").splitlines()[1:] if ":" in line}
    absent = [f for f in FIELDS_ADDED if f not in names]
    return [f"probe: {', '.join(absent)} not added to the request"] if absent else []
