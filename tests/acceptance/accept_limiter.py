"""The leaky bucket beside nginx's own: the same arrivals, the same decisions.

A real nginx is asked for a few seconds, by many connections, in bursts and pauses, under limits of every kind that `limit_req` has. It
writes down for each request what it decided and at what time of its clock; what it was asked for at these times is then replayed through
the native table, which must pass, delay (by the same milliseconds) and refuse the same requests.

nginx does not log the clock that `limit_req` uses, but `$connection_time` is a difference of it. All connections are opened while the
process is stopped, so that it accepts them in one turn of its loop, which has one time: from there on the times of all of them are
comparable. The excess that it logs with every delay and refusal proves that: an error of one millisecond would show in it.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import socket
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxyd_ext.limit.rate import RateLimit
from tests.acceptance.stage import Process, ending, free_port, listens, needed
from tests.reference.leaky import Leaky

SECONDS = 6.0
CONNECTIONS = 300
KEYS = 3
WORDS = {"PASSED": "passed", "DELAYED": "delayed", "REJECTED": "refused"}
LIMITED = re.compile(r"(?:limiting|delaying) requests?, excess: (\d+)\.(\d{3}),? .*request: \"GET /\S*\?k=\d+&n=(\d+) ")


@dataclass(frozen=True, slots=True)
class Rule:
    """A `limit_req`, and how eagerly it is asked: requests a second of each key."""

    name: str
    requests: int
    per_s: int
    parameters: str
    burst: int
    delay: int               # -1: nodelay
    load: float

    @property
    def nginx(self) -> str:
        return f"{self.requests}r/{'s' if self.per_s == 1 else 'm'}"

    @property
    def milli(self) -> int:
        return self.requests * 1000 // self.per_s


RULES = (
    Rule("none", 10, 1, "", 0, 0, 15),
    Rule("five", 10, 1, "burst=5 nodelay", 5, -1, 15),
    Rule("twenty", 10, 1, "burst=20 nodelay", 20, -1, 20),
    Rule("held", 10, 1, "burst=5", 5, 0, 15),
    Rule("held-later", 10, 1, "burst=20 delay=8", 20, 8, 15),
    Rule("fast", 250, 1, "burst=10 delay=4", 10, 4, 300),
    Rule("minute", 100, 60, "burst=3 nodelay", 3, -1, 5),
    Rule("minute-held", 370, 60, "burst=4 delay=2", 4, 2, 12),
)


@dataclass(frozen=True, slots=True)
class Decided:
    """What nginx did with a request."""

    at_ms: int
    key: int
    decision: str
    excess: int | None       # thousandths; None: not told, for it passed


def nginx_config(folder: Path, port: int) -> str:
    zones = "".join(f"  limit_req_zone $arg_k zone={rule.name}:1m rate={rule.nginx};\n" for rule in RULES)
    # An alias: whatever redirects internally, as try_files does, would set $at anew, after the delay.
    locations = "".join(
        f"    location = /{rule.name} {{ limit_req zone={rule.name} {rule.parameters}; alias {folder}/ok; }}\n" for rule in RULES
    )
    paths = "".join(f"  {each}_temp_path {folder}/{each};\n" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return (
        f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log notice;\n"
        f"events {{ multi_accept on; worker_connections {4 * CONNECTIONS}; }}\n"
        f"http {{\n{paths}{zones}"
        "  limit_req_status 429; limit_req_log_level warn;\n"
        "  log_format decisions '$request_uri $at $limit_req_status';\n"
        f"  access_log {folder}/access.log decisions;\n  keepalive_requests 1000000; keepalive_timeout 600s;\n"
        f"  server {{\n    listen 127.0.0.1:{port} backlog={2 * CONNECTIONS};\n    root {folder};\n    set $at $connection_time;\n"
        f"{locations}  }}\n}}\n"
    )


class Asker:
    """Idle connections to nginx, all accepted at one time, and the requests that went out."""

    def __init__(self, port: int, pid: int) -> None:
        self.sent = 0
        os.kill(pid, signal.SIGSTOP)
        try:
            self._sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
        finally:
            os.kill(pid, signal.SIGCONT)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def open(self) -> None:
        self._idle = [await asyncio.open_connection(sock=each) for each in self._sockets]

    async def ask(self, path: str, key: int) -> None:
        reader, writer = self._idle.pop()
        self.sent += 1
        writer.write(f"GET /{path}?k={key}&n={self.sent} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        assert length, head
        await reader.readexactly(int(length[1]))
        self._idle.append((reader, writer))

    async def crowd(self, rule: Rule, key: int, seed: int) -> None:
        """One key's requests: groups of any size up to twice the burst, and pauses between them that make up the load."""
        draw = random.Random(seed)
        loop = asyncio.get_running_loop()
        due = loop.time()
        end = due + SECONDS
        async with asyncio.TaskGroup() as group:
            while due < end:
                size = draw.randint(1, 2 * rule.burst + 2) if draw.random() < 0.5 else 1
                for _ in range(min(size, len(self._idle))):
                    group.create_task(self.ask(rule.name, key))
                due += draw.expovariate(rule.load / size)
                await asyncio.sleep(due - loop.time())

    async def run(self) -> None:
        await self.open()
        async with asyncio.TaskGroup() as group:
            for seed, (rule, key) in enumerate((rule, key) for rule in RULES for key in range(1, KEYS + 1)):
                group.create_task(self.crowd(rule, key, seed))
        for _, writer in self._idle:
            writer.close()


def read_trace(folder: Path) -> dict[str, list[Decided]]:
    """Rule name → what became of its requests, by time."""
    excess = {int(n): int(whole) * 1000 + int(part) for whole, part, n in LIMITED.findall((folder / "error.log").read_text())}
    trace = defaultdict(list)
    for uri, at, word in (line.split() for line in (folder / "access.log").read_text().splitlines()):
        found = re.fullmatch(r"/(\S+)\?k=(\d+)&n=(\d+)", uri)
        assert found, uri
        trace[found[1]].append(Decided(round(float(at) * 1000), int(found[2]), WORDS[word], excess.get(int(found[3]))))
    return {name: sorted(decided, key=lambda each: each.at_ms) for name, decided in trace.items()}


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Decided]]]:
    folder = tmp_path_factory.mktemp("limiter")
    port = free_port()
    (folder / "ok").write_text("ok\n")
    (folder / "nginx.conf").write_text(nginx_config(folder, port))
    nginx = Process([needed("nginx"), "-c", str(folder / "nginx.conf"), "-p", str(folder)], folder / "nginx.log")
    with ending(nginx):
        nginx.ready(lambda: listens(port), "nginx listens")
        asker = Asker(port, nginx.pid)
        asyncio.run(asker.run())
        nginx.end()
        found = read_trace(folder)
        assert sum(len(each) for each in found.values()) == asker.sent
        yield found


def by_moment(decisions: Iterator[tuple[int, int, str, int]]) -> dict[tuple[int, int], Counter[tuple[str, int]]]:
    """(key, millisecond) → (decision, delay in ms) → how often. Within one the requests are all alike, so their order is of no matter."""
    moments: dict[tuple[int, int], Counter[tuple[str, int]]] = defaultdict(Counter)
    for key, at_ms, decision, delay_ms in decisions:
        moments[key, at_ms][decision, delay_ms] += 1
    return moments


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_decides_as_nginx_does(rule: Rule, trace: dict[str, list[Decided]]) -> None:
    decided = trace[rule.name]
    limit = RateLimit(
        rule.name, requests=rule.requests, per_us=rule.per_s * 1_000_000, burst=rule.burst, delay=rule.delay, algorithm="leaky_bucket"
    )

    def of_nginx() -> Iterator[tuple[int, int, str, int]]:
        for each in decided:
            delay_ms = 0
            if each.decision == "delayed":
                assert each.excess is not None
                delay_ms = (each.excess - rule.delay * 1000) * 1000 // rule.milli
            yield each.key, each.at_ms, each.decision, delay_ms

    def of_ours() -> Iterator[tuple[int, int, str, int]]:
        for each in decided:
            decision, told = limit.try_take(each.key, each.at_ms * 1000)
            yield each.key, each.at_ms, decision, told["delay_us"] // 1000

    assert by_moment(of_ours()) == by_moment(of_nginx())
    counts = Counter(each.decision for each in decided)
    assert counts["passed"] >= 5, counts
    assert counts["refused"] >= 20, counts
    assert counts["delayed"] >= 20 or rule.delay < 0 or rule.burst == 0, counts


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_times_are_those_that_nginx_used(rule: Rule, trace: dict[str, list[Decided]]) -> None:
    """What nginx logs of its excess follows from the times, to the thousandth."""
    oracle = Leaky(rule.milli, rule.burst, rule.delay)
    moments: dict[tuple[int, int], list[Decided]] = defaultdict(list)
    for each in trace[rule.name]:
        moments[each.key, each.at_ms].append(each)
    checked = 0
    for (key, at_ms), requests in moments.items():
        told = Counter(each.excess for each in requests if each.excess is not None)
        expected = Counter[int]()
        for _ in requests:
            excess = oracle.excess(key, at_ms)
            if oracle.take(key, at_ms)[0] != "passed":
                expected[excess] += 1
        assert told == expected
        checked += told.total()
    assert checked >= 20
