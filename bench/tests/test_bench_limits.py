"""Workloads with limits and tokens: what they hold a run to, what they give the contestants, and what they say of a price."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from harness.jwt import EXPIRES, SECRET, TOKEN, TOKEN_BYTES
from harness.load import parse_report, wrk_argv
from harness.model import REFUSED_BYTES, Load, Placement, Run, Workload, WorkloadResult
from harness.probe import faults_of
from harness.rounds import load_faults, origin_faults
from harness.summary import summarise
from harness.templates import Site, haproxy, haproxy_refusal, nginx, proxyd
from harness.workloads import WORKLOADS

SITE = Site(18000, 18001, "/run/x", (9001,), 20000)
ROWS = {w.name: w for w in WORKLOADS}
REFUSED = ROWS["refused"]
REPORT = 'BENCH {"requests": 1000, "duration_us": 1, "bytes": 423000, "p50_us": 1, "p99_us": 1, "max_us": 1, "errors": {"status": %d}}'


def loaded(requests: int, size: int, stray: int) -> Load:
    return Load(requests, 1_000_000, requests * size, 1, 1, 1, {"read": 0, "status": stray}, 0.1)


def test_where_all_are_refused_the_others_are_errors() -> None:
    assert parse_report(REPORT % 998, 0.1, REFUSED.status).errors == {"status": 2}
    assert parse_report(REPORT % 3, 0.1).errors == {"status": 3}


def test_refusals_have_their_size_and_pass_nothing_on() -> None:
    assert load_faults(REFUSED, loaded(10_000, REFUSED_BYTES, 2)) == []
    assert load_faults(REFUSED, loaded(10_000, REFUSED_BYTES, 3)) == ["3 status errors"]
    assert load_faults(REFUSED, loaded(10_000, 332, 0)) == [f"answers had 332.0 bytes on average, not {REFUSED_BYTES}"]
    assert load_faults(ROWS["limited"], loaded(10_000, 200, 1)) == ["1 status errors"]
    assert origin_faults(REFUSED, 10_000, 2, 2) == []
    assert "nothing should pass" in origin_faults(REFUSED, 10_000, 300, 2)[0]


@contextmanager
def refusing(answer: bytes) -> Iterator[int]:
    """Answers everything with the same bytes; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(2):
                client, _address = server.accept()
                with client:
                    while client.recv(65536):
                        client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            thread.join()


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (haproxy_refusal().encode(), ""),
        (b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n\r\nno", "55 bytes on the wire"),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno", "where 429 was expected"),
    ],
)
def test_the_probe_counts_the_bytes_of_a_refusal(answer: bytes, fault: str) -> None:
    with refusing(answer) as port:
        found = "; ".join(faults_of(port, REFUSED, 0, "haproxy"))
    assert fault in found
    assert bool(found) == bool(fault)


def test_the_refusal_of_haproxy_is_whole() -> None:
    head, _, body = haproxy_refusal().partition("\r\n\r\n")
    assert len(haproxy_refusal()) == REFUSED_BYTES
    assert f"content-length: {len(body)}\r\n" in head + "\r\n"


def test_every_contestant_gets_the_limit_and_open_ones_none() -> None:
    refused, limited = REFUSED, ROWS["limited"]
    assert "limit_req_status 429" in nginx("@LIMIT@", SITE, refused, "")
    assert "deny_status 429" in haproxy("@LIMIT@", SITE, refused, "")
    assert "rate: 1/d" in proxyd("@POLICIES@", SITE, refused, "1")
    assert "limit_req " in nginx("@LIMIT@", SITE, limited, "")
    assert "track-sc0" in haproxy("@LIMIT@", SITE, limited, "")
    assert proxyd("@ROUTES@", SITE, limited, "1") == "  - {to: app, use: [limit]}"
    for text in (nginx("@LIMIT@", SITE, limited, "open"), haproxy("@LIMIT@", SITE, limited, "open")):
        assert text == ""
    assert proxyd("@POLICIES@@ROUTES@", SITE, limited, "1", "open") == "  - {to: app}"
    assert "header:x-many" in proxyd("@POLICIES@", SITE, ROWS["limited-1m"], "1", "1m")


def test_the_token_is_one() -> None:
    signed, _, signature = TOKEN.rpartition(".")
    mac = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64encode(mac).rstrip(b"=").decode() == signature
    claims = json.loads(base64.urlsafe_b64decode(signed.split(".")[1] + "=="))
    assert claims["exp"] == EXPIRES
    assert abs(len(TOKEN) - TOKEN_BYTES) < 4
    assert f"Authorization: Bearer {TOKEN}" in wrk_argv("wrk", 1, ROWS["jwt"], 1)


def test_a_price_is_a_ratio_within_rounds_to_the_same_program() -> None:
    def run(contestant: str, number: int, cpu_us: float) -> Run:
        return Run(contestant, number, cpu_us / 1000, Load(1000, 1_000_000, 0, 100, 200, 300, {}, 0.1), 0, 0, 0, ())

    workload = Workload("w", "w", policy="limited", baseline="open")
    place = Placement("S", frozenset({1}), frozenset({1}))
    runs = [run("proxyd-1-open", n, 10.0 * 2**n) for n in (0, 1)] + [run("proxyd-1", n, 10.5 * 2**n) for n in (0, 1)]
    runs += [run("nginx-open", 0, 20.0), run("nginx", 0, 24.0)]
    roles = {"proxyd-1": "proxyd", "nginx": "nginx", "nginx-open": "lesser", "proxyd-1-open": "lesser"}
    prices = summarise(WorkloadResult(workload, place, runs), roles).prices
    assert [(p.contestant, p.baseline) for p in prices] == [("proxyd-1", "proxyd-1-open"), ("nginx", "nginx-open")]
    assert [p.ratio.median for p in prices] == pytest.approx([1.05, 1.2])
