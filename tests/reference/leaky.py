"""nginx's leaky bucket in plain Python: `ngx_http_limit_req_lookup` and `ngx_http_limit_req_account` (ngx_http_limit_req_module.c) for
one zone."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field


@dataclass(slots=True)
class Node:
    excess: int     # thousandths of a request
    last: int       # milliseconds


@dataclass(slots=True)
class Leaky:
    rate: int                # thousandths of a request a second, as nginx's config makes it: 10r/m is 166
    burst: int               # requests
    delay: int = -1          # requests; -1: nodelay
    nodes: dict[int, Node] = field(default_factory=dict)

    def elapsed(self, key: int, now_ms: int) -> int:
        ms = now_ms - self.nodes[key].last
        if ms < -60_000:
            return 1
        return max(ms, 0)

    def excess(self, key: int, now_ms: int) -> int:
        """What a request would make it."""
        if key not in self.nodes:
            return 0
        return max(self.nodes[key].excess - self.rate * self.elapsed(key, now_ms) // 1000 + 1000, 0)

    def take(self, key: int, now_ms: int) -> tuple[str, int]:
        """What becomes of it, and milliseconds of delay."""
        if key not in self.nodes:
            self.nodes[key] = Node(0, now_ms)
            return "passed", 0
        excess, ms = self.excess(key, now_ms), self.elapsed(key, now_ms)
        if excess > self.burst * 1000:
            return "refused", 0
        self.nodes[key].excess = excess
        if ms:
            self.nodes[key].last = now_ms
        if self.delay < 0 or excess <= self.delay * 1000:
            return "passed", 0
        delay = (excess - self.delay * 1000) * 1000 // self.rate
        return "delayed" if delay else "passed", delay

    def remaining(self, key: int, now_ms: int) -> int:
        """How many would pass now."""
        trial = deepcopy(self)
        count = 0
        while trial.take(key, now_ms)[0] != "refused":
            count += 1
        return count
