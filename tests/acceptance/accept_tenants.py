"""A noisy neighbour (issue 5, acceptance 3). What is scarce is the origin's concurrency: 32 workers, 100 ms a request, 320 requests a
second at most. Two tenants share it, each with 16 places reserved, and each asks for a quarter of what there is: half of saturation. Then
one of them asks for ten times as much. Load is open loop, and timed from when it was due.

The other one must not notice: nothing refused, nothing queued, and its p99 grows by GROWTH_S at most, which is what this machine may add
when it has that much more to do. The controls are the same load without reservations, where it does notice: with the places in common
(fair to both, but there is a queue), and with no places at all (the queue is the origin's).
"""
from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.stage import HERE, ROOT, Process, Proxyd, allow_descriptors, ending, free_port, listens

WORKERS = 32
HOLD_MS = 100
SATURATION = WORKERS * 1000 / HOLD_MS      # requests a second
SHARE = SATURATION / 4
SECONDS = 5.0
GROWTH_S = 0.025

RESERVED = "concurrency: {total: 32, unreserved: 0}"
SHARED = "concurrency: {total: 32, unreserved: 32}"
OWN_PLACES = "concurrency: {reserved: 16, queue: 64, queue_timeout: 1s}"
ANY_PLACES = "concurrency: {queue: 64, queue_timeout: 1s}"


@dataclass(frozen=True, slots=True)
class Tenants:
    proxyd: Proxyd
    port: int

    def ask(self, name: str, rate: float) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / "open_load.py"), str(self.port), f"/{name}/x", str(rate), str(SECONDS)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def phase(self, a: float, b: float) -> tuple[dict[str, Any], dict[str, Any]]:
        """Both ask at these rates for a while; what each of them got."""
        asking = [self.ask("a", a), self.ask("b", b)]
        try:
            found = [json.loads(each.communicate(timeout=60)[0]) for each in asking]
        finally:
            for each in asking:
                if each.poll() is None:
                    each.kill()
                    each.wait()
        print(f"a at {a:.0f}/s: {found[0]}\nb at {b:.0f}/s: {found[1]}")
        return found[0], found[1]

    def decided(self, route: str, *results: str) -> float:
        metric = "proxyd_concurrency_requests_total"
        return sum(self.proxyd.total(metric, f'route="{route}"', f'result="{result}"') for result in results)


@contextmanager
def tenants(folder: Path, places: str, of_route: str) -> Iterator[Tenants]:
    allow_descriptors()
    origin_port, port = free_port(), free_port()
    origin = Process([sys.executable, str(HERE / "scarce.py"), str(origin_port), str(WORKERS), str(HOLD_MS)], folder / "origin.log")
    origin.ready(lambda: listens(origin_port), "the origin listens")
    with ending(origin):
        proxyd = Proxyd(
            folder,
            f"listen: '127.0.0.1:{port}'\nlog: {{access: none}}\n{places}\n"
            f"upstreams:\n  scarce: {{servers: ['127.0.0.1:{origin_port}'], health: none}}\n"
            f"routes:\n  - {{name: a, match: /a/*, to: scarce, {of_route}}}\n  - {{name: b, match: /b/*, to: scarce, {of_route}}}\n",
        )
        with ending(proxyd):
            yield Tenants(proxyd, port)


def refused(found: dict[str, Any]) -> int:
    statuses: dict[str, int] = found["statuses"]
    return sum(count for status, count in statuses.items() if status != "200")


def test_a_tenant_within_its_reservation_does_not_notice_its_neighbour(tmp_path: Path) -> None:
    with tenants(tmp_path, RESERVED, OWN_PLACES) as both:
        calm, neighbour = both.phase(SHARE, SHARE)
        assert refused(calm) == refused(neighbour) == 0
        assert both.decided("a", "queued", "full", "timeout", "shed") == 0
        noisy, neighbour = both.phase(SHARE, 10 * SHARE)
        assert noisy["sent"] == round(SHARE * SECONDS)
        assert refused(noisy) == 0
        assert both.decided("a", "queued", "full", "timeout", "shed") == 0
        assert both.decided("a", "admitted") == calm["sent"] + noisy["sent"]
        assert noisy["p99"] <= calm["p99"] + GROWTH_S
        # the neighbour has its own places, no less and no more: 16 of 32
        served = neighbour["statuses"]["200"]
        assert served == pytest.approx(SATURATION / 2 * SECONDS, rel=0.35)
        assert refused(neighbour) > served


def test_with_places_in_common_it_waits(tmp_path: Path) -> None:
    with tenants(tmp_path, SHARED, ANY_PLACES) as both:
        calm, _ = both.phase(SHARE, SHARE)
        assert refused(calm) == 0
        noisy, _ = both.phase(SHARE, 10 * SHARE)
        assert both.decided("a", "queued", "full", "timeout", "shed") > noisy["sent"] / 4
        assert noisy["p99"] > calm["p99"] + GROWTH_S


def test_without_places_it_waits_for_all_that_the_neighbour_asks(tmp_path: Path) -> None:
    with tenants(tmp_path, "concurrency: {total: none}", "timeout: {total: 30s}") as both:
        calm, _ = both.phase(SHARE, SHARE)
        assert refused(calm) == 0
        noisy, _ = both.phase(SHARE, 10 * SHARE)
        assert refused(noisy) > 0 or noisy["p99"] > 10 * calm["p99"]
