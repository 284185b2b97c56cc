"""Asks each contestant a few questions before it is measured: a fast proxy that does less, or answers wrongly, must not win."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import time
from collections.abc import Mapping

from harness.model import REFUSED_BYTES, Family, Workload

FIELDS_ADDED = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "via", "x-request-id")
HIT_SECONDS = 3.0


def fetch(
    port: int, path: str, method: str = "GET", body: bytes | None = None, lines: tuple[str, ...] = ()
) -> tuple[int, Mapping[str, str], bytes]:
    """One request on its own connection: (status, fields in lower case, body)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body=body, headers=dict(line.split(": ", 1) for line in lines))
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def origin_stats(port: int) -> tuple[int, int]:
    """(requests, connections) that the origin has seen."""
    stats = json.loads(fetch(port, "/stats")[2])
    return stats["requests"], stats["connections"]


def faults_of(port: int, workload: Workload, direct_port: int, family: Family, variant: str = "") -> list[str]:
    """What is wrong with a contestant's answers to this workload; an empty list when nothing is."""
    by_itself = workload.from_memory or (workload.cached and family == "floor")
    try:
        if by_itself:
            return _own_answer_faults(port, workload)
        if workload.policy == "refused":
            return _refusal_faults(port, workload)
        faults = _answer_faults(port, workload, direct_port)
        if workload.policy == "jwt":
            faults += _token_faults(port, workload, variant)
        if workload.cached:
            return faults or _hit_faults(port, workload, direct_port)
        return faults + (_field_faults(port, workload) if family != "floor" else [])
    except (OSError, http.client.HTTPException) as error:
        return [f"probe: {error!r}"]


def _own_answer_faults(port: int, workload: Workload) -> list[str]:
    status, _, content = fetch(port, workload.path)
    if (status, len(content)) != (200, workload.answer_bytes):
        return [f"probe: {status} with {len(content)} bytes came where {workload.answer_bytes} bytes were expected"]
    return []


def _hit_faults(port: int, workload: Workload, direct_port: int) -> list[str]:
    """The answer is stored by now, or soon: it must come again without the origin, whole and the same."""
    _, _, direct = fetch(direct_port, workload.path)
    deadline = time.monotonic() + HIT_SECONDS
    while time.monotonic() < deadline:
        asked, _ = origin_stats(direct_port)
        status, _, content = fetch(port, workload.path)
        if status != 200 or content != direct:
            return [f"probe: the second answer to {workload.path} was {status} with {len(content)} bytes for {len(direct)}"]
        if origin_stats(direct_port)[0] == asked:
            return []
        time.sleep(0.05)
    return [f"probe: {workload.path} is not served from the cache: the origin is asked every time"]


def _answer_faults(port: int, workload: Workload, direct_port: int) -> list[str]:
    path = f"/svc-{workload.routes:04d}/64" if workload.routes else workload.path
    method, body = ("POST", b"x" * 10240) if workload.path == "/post" else ("GET", None)
    status, fields, content = fetch(port, path, method, body, workload.fields)
    if status != 200:
        return [f"probe: {method} {path} answered {status}: {content[:200]!r}"]
    faults = []
    _, direct_fields, direct = fetch(direct_port, path, method, body)
    if hashlib.sha256(content).digest() != hashlib.sha256(direct).digest() or len(content) != (workload.answer_bytes or len(direct)):
        faults.append(f"probe: the body of {path} differs from the origin's ({len(content)} bytes for {len(direct)})")
    lost = sorted(f for f in ("date", "content-type", "content-length") if f in direct_fields and f not in fields)
    if lost:
        faults.append(f"probe: the answer lost {', '.join(lost)}")
    return faults


def _refusal_faults(port: int, workload: Workload) -> list[str]:
    """What is over the limit gets 429 and the same number of bytes from all; the first request may pass."""
    fetch(port, workload.path)
    request = f"GET {workload.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        faults = []
        for _ in range(2):  # on one connection: it must stay open
            client.sendall(request)
            answer = _read_answer(client)
            if not answer.startswith(f"HTTP/1.1 {workload.status} ".encode()):
                faults.append(f"probe: {answer[:40]!r} came where {workload.status} was expected")
            elif len(answer) != REFUSED_BYTES:
                faults.append(f"probe: a refusal has {len(answer)} bytes on the wire, not {REFUSED_BYTES}")
    return faults


def _read_answer(client: socket.socket) -> bytes:
    """Head and body of one answer with Content-Length."""
    held = b""
    while b"\r\n\r\n" not in held:
        held += _receive(client)
    head = held.partition(b"\r\n\r\n")[0].lower()
    size = len(head) + 4 + int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
    while len(held) < size:
        held += _receive(client)
    return held


def _receive(client: socket.socket) -> bytes:
    got = client.recv(65536)
    if not got:
        raise ConnectionError("the connection was closed")
    return got


def _token_faults(port: int, workload: Workload, variant: str) -> list[str]:
    """Without a token, or with one whose signature is another's, nobody gets in."""
    wanted = 200 if variant == "open" else 401
    wrong = tuple(line[:-8] + "AAAAAAAA" for line in workload.fields)
    found = [fetch(port, workload.path, lines=lines)[0] for lines in ((), wrong)]
    return [] if found == [wanted, wanted] else [f"probe: without a token, and with a wrong one: {found}, not {wanted}"]


def _field_faults(port: int, workload: Workload) -> list[str]:
    status, _, content = fetch(port, "/echo", lines=workload.fields)
    if status != 200:
        return [f"probe: /echo answered {status}"]
    names = {line.split(":", 1)[0].strip().lower() for line in content.decode("latin-1").splitlines()[1:] if ":" in line}
    absent = [f for f in FIELDS_ADDED if f not in names]
    return [f"probe: {', '.join(absent)} not added to the request"] if absent else []
