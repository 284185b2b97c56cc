"""All servers of an upstream fail: what is tried again stays within the budget, so that retries never are the storm that keeps them down.

The budget bounds the retries in flight by a share b of all requests that are on the upstream, a retried one among them; a retry counts from
its decision on, its wait included. What that is as a share of traffic: with C requests on the upstream at most bC are retries, so at least
(1 - b)C are first tries, and where a retry takes no less time than a first try does (the server takes its 20 ms for either)

    retries / requests  <=  b / (1 - b)  =  25 % for b = 20 %,      and never more than `attempts`

and one more for each slot of the budget, at the end of the load. The other bound, `min`, is 3 at a time whatever the load: with few
requests on the upstream it alone decides, 3 for each time that a retry takes. Without a budget, every request would be tried 1 + attempts
times.
"""
from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.fickle import Fickle
from tests.acceptance.stage import Load, Proxyd, Wrk, ending, exchange, free_port

SERVERS, CONNECTIONS, ATTEMPTS = 4, 64, 3
SECONDS, DELAY_MS = 5.0, 20
SHARE, LEAST = 0.2, 3
GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Count:
    load: Load
    seconds: float
    metrics: dict[str, float]

    def total(self, metric: str, label: str = "") -> float:
        return sum(value for name, value in self.metrics.items() if name.partition("{")[0] == metric and label in name)

    @property
    def requests(self) -> float:
        return self.total("proxyd_http_requests_total")

    @property
    def retries(self) -> float:
        return self.total("proxyd_http_retries_total")

    @property
    def refused(self) -> float:
        """Retries that the budget did not allow."""
        return self.total("proxyd_upstream_refused_total", 'reason="retry_budget"')

    @property
    def tries(self) -> float:
        """As the servers' counters have them: answers and failures."""
        return self.total("proxyd_upstream_requests_total") + self.total("proxyd_upstream_errors_total")

    def __str__(self) -> str:
        return (f"{self.requests:.0f} requests, {self.tries:.0f} tries ({self.tries / self.requests:.3f} a request), "
                f"{self.retries:.0f} retries, {self.refused:.0f} refused by the budget")


def config(port: int, addresses: Sequence[str], retry: str) -> str:
    members = ", ".join(f"'{address}'" for address in addresses)
    return (
        f"listen: '127.0.0.1:{port}'\nlog: {{access: none}}\n"
        f"upstreams:\n  app:\n    servers: [{members}]\n    health: {{active: none, passive: none}}\n    retry: {retry}\n"
        "routes: [{to: app}]\n"
    )


def storm(folder: Path, addresses: Sequence[str], retry: str, *, connections: int = CONNECTIONS) -> Count:
    """Some seconds of load on servers that all fail."""
    port = free_port()
    proxyd = Proxyd(folder, config(port, addresses, retry))
    with ending(proxyd):
        wrk = Wrk(folder, f"http://127.0.0.1:{port}/", connections=connections)
        with ending(wrk):
            began = time.monotonic()
            time.sleep(SECONDS)     # the load of so many seconds is what this is about
            load = wrk.stop()
            seconds = time.monotonic() - began
        count = Count(load, seconds, proxyd.metrics())
        assert proxyd.end() == 0
    assert load.refused == load.requests, "nobody gets anything but an error"
    assert load.errors == {}, load
    return count


def test_all_answer_503(tmp_path: Path) -> None:
    """Retries by status, without waiting, so that a retry takes just the time of a first try."""
    servers = [Fickle(tmp_path, f"app{i}") for i in range(SERVERS)]
    with ending(*servers):
        for server in servers:
            server.mood(503, delay_ms=DELAY_MS)
        addresses = [server.address for server in servers]
        count = storm(tmp_path, addresses, f'{{attempts: {ATTEMPTS}, when: [connect_failure, reset, "503"], backoff: none}}')
        seen = sum(sum(server.requests().values()) for server in servers)
    print(f"\nall answer 503: {count}")
    assert count.tries <= count.requests * (1 + SHARE / (1 - SHARE)) + SHARE * CONNECTIONS + LEAST
    assert count.retries > count.requests * 0.1, "it does retry"
    assert count.refused > count.requests * 0.5, "and would more"
    # The origins' own count, and the two ways of counting here, are the same but for what was under way when the load ended.
    assert abs(seen - count.tries) <= CONNECTIONS
    assert abs(count.requests + count.retries - count.tries) <= CONNECTIONS


def test_without_a_budget_each_is_tried_to_the_end(tmp_path: Path) -> None:
    """The scene is what it is meant to be: a budget of everything lets each request be tried as often as it may."""
    servers = [Fickle(tmp_path, f"app{i}") for i in range(SERVERS)]
    with ending(*servers):
        for server in servers:
            server.mood(503, delay_ms=DELAY_MS)
        addresses = [server.address for server in servers]
        count = storm(tmp_path, addresses, f'{{attempts: {ATTEMPTS}, when: ["503"], backoff: none, budget: 100%}}')
    print(f"\nwithout a budget: {count}")
    assert count.tries > count.requests * ATTEMPTS


def test_all_refuse(tmp_path: Path) -> None:
    """Connections refused fail at once; the retry's wait (25 ms at the most before the first, 12.5 on the mean) is what takes its slot."""
    count = storm(tmp_path, [f"127.0.0.1:{free_port()}" for _ in range(SERVERS)], f"{{attempts: {ATTEMPTS}}}")
    print(f"\nall refuse: {count}")
    slots = max(LEAST, SHARE * CONNECTIONS)
    assert count.retries <= slots * count.seconds / 0.0125 * 1.2 + slots
    assert count.tries <= count.requests * (1 + SHARE / (1 - SHARE)) + slots
    assert count.retries > 0
    assert count.refused > 0
    assert abs(count.requests + count.retries - count.tries) <= CONNECTIONS


def test_one_client_may_always_retry(tmp_path: Path) -> None:
    """20 % of one is nothing; `min` is what lets a lonely request find the one good server all the same."""
    good = Fickle(tmp_path, "good")
    with ending(good):
        port = free_port()
        addresses = [*(f"127.0.0.1:{free_port()}" for _ in range(ATTEMPTS)), good.address]
        proxyd = Proxyd(tmp_path, config(port, addresses, f"{{attempts: {ATTEMPTS}}}"))
        with ending(proxyd):
            answers = [exchange(port, GET.replace(b"GET / ", b"GET /%d " % i), timeout=20) for i in range(40)]
            assert all(b"\r\n\r\ngood" in answer for answer in answers), answers
            assert proxyd.end() == 0
