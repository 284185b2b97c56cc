"""test_chaos with all that balancing can do: retries, backoff, hedges, queues, stickiness, failover and mirrors, while pools are swapped,
servers come and go, circuits open and limits change. No single answer is expected; but no POST may reach two servers, and afterwards every
counter must be at zero."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import pytest

from proxyd_ext.balance.pool import Pool
from proxyd_ext.snapshot.spec import (
    Balance,
    ErrorPage,
    FailoverSpec,
    HedgeSpec,
    MemberSpec,
    MirrorSpec,
    ProxyAction,
    RetrySpec,
    RouteSpec,
    SplitSpec,
    StickySpec,
    TargetSpec,
    UpstreamSpec,
)
from tests.ext.engine.test_chaos import Chaos, request
from tests.support.engine import Rig
from tests.support.wire import Origin

if TYPE_CHECKING:
    from proxyd_ext.balance.pool import Circuit
    from proxyd_ext.balance.server import DownReason

NAMES = ("app", "spare", "shadow")
STICKY = (
    None,
    StickySpec("cookie", "pxd", "; Path=/"),
    StickySpec("app_cookie", "pxd", "; Path=/", follows="session"),
    StickySpec("key", hash_key="client.ip"),
    StickySpec("key", hash_key="header", hash_name="x-user"),
)
DOWN: list[DownReason] = ["health", "maint", "drain", "pending"]
CIRCUITS: list[tuple[Circuit, int]] = [("closed", 0), ("closed", 0), ("closed", 0), ("open", 0), ("half_open", 1), ("half_open", 3)]
STATUSES = [(500, 500), (502, 504)]


def asked(draw: random.Random) -> bytes:
    """A request that may belong to a server or to a branch, or be safe to repeat; mostly a plain one."""
    cookie = b"pxd=%s; branch=%s" % (draw.choice([b"id0", b"id1", b"id9", b""]), draw.choice([b"app", b"spare", b"other"]))
    lines = [b"Cookie: " + cookie, b"X-User: %d" % draw.randrange(5), b"Idempotency-Key: k%d" % draw.randrange(1_000)]
    fields = b"".join(line + b"\r\n" for line in lines if draw.random() < 0.4)
    data = request(draw)
    if draw.random() < 0.8:
        body = b"b" * draw.choice([1, 10, 3_000])
        data = draw.choice([b"GET /p HTTP/1.1\r\nHost: a\r\n\r\n", b"%s /p HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s"])
        if b"%" in data:
            data = data % (draw.choice([b"POST", b"PUT"]), len(body), body)
    if data.startswith(b"POST") and b"Idempotency-Key" not in fields:
        fields += b"X-Once: %d\r\n" % draw.getrandbits(60)
    return data.replace(b"Host: a\r\n", b"Host: a\r\n" + fields, 1)


def failure(draw: random.Random) -> bytes:
    """An answer that asks to be asked again, or elsewhere."""
    lines = draw.choice([b"", b"", b"Retry-After: 1\r\n", b"Retry-After: 100\r\n", b"Connection: close\r\n"])
    body = b"x" * draw.choice([0, 0, 3, 70_000])
    return b"HTTP/1.1 %d Oops\r\nContent-Length: %d\r\n%s\r\n%s" % (draw.choice([500, 502, 503, 504]), len(body), lines, body)


class Storm(Chaos):
    def __init__(self, rig: Rig, seed: int) -> None:
        self.dark = rig.origin()  # where copies go
        self.executed: Counter[bytes] = Counter()
        super().__init__(rig, seed)

    def reload(self) -> None:
        draw = self.draw
        self.specs = [self.upstream(name) for name in NAMES]
        to = [TargetSpec(number, weight=draw.choice([1, 100]), retry=self.retry()) for number in range(draw.choice([1, 1, 2]))]
        action = ProxyAction(
            to,
            first_byte_ms=2_000,
            between_bytes_ms=2_000,
            per_try_ms=draw.choice([0, 0, 50, 1_000]),
            total_ms=draw.choice([0, 0, 100, 5_000]),
            split=draw.choice([None, SplitSpec("cookie", "branch", "; Path=/"), SplitSpec("header", "x-user")]),
            failover=draw.choice([None, FailoverSpec(TargetSpec(1, retry=self.retry()), reset=True, timeout=True, statuses=STATUSES)]),
            hedge=draw.choice([None, HedgeSpec(after_ms=draw.choice([0, 1, 20, 400]), max=draw.choice([1, 3]))]),
            mirror=draw.choice([None, MirrorSpec(2, sample_ppm=500_000, answer_ms=500, in_flight=draw.choice([1, 20]))]),
        )
        page = ErrorPage(STATUSES, b"page {status} of {host}, {request_id}", intercept=draw.random() < 0.5)
        self.rig.publish(
            [
                RouteSpec("p", action, path="/p", error_pages=[page] * draw.randrange(2)),
                RouteSpec("rest", ProxyAction([TargetSpec(0)], first_byte_ms=2_000, between_bytes_ms=2_000)),
            ],
            self.specs,
            buffer=draw.choice([16_384, 131_072]),
            wait=draw.random() < 0.5,
        )

    def retry(self) -> RetrySpec:
        draw = self.draw
        return RetrySpec(
            attempts=draw.randrange(4),
            timeout=draw.random() < 0.5,
            statuses=draw.choice([(), STATUSES]),
            idempotency_key=draw.random() < 0.5,
            backoff_ms=draw.choice([0, 1, 30, 500]),
            jitter=draw.random() < 0.5,
            retry_after_max_ms=draw.choice([0, 2_000]),
            budget_percent=draw.choice([0, 20, 100]),
            budget_min=draw.choice([0, 3, 100]),
        )

    def upstream(self, name: str) -> UpstreamSpec:
        draw = self.draw
        spec = self.rig.upstream(name=name, passive_failures=draw.choice([0, 1, 3]), eject_ms=draw.choice([1, 2_000]))
        return self.changed(replace(spec, max_pending=draw.choice([0, 2, 100]), queue_ms=draw.choice([20, 2_000])))

    def changed(self, spec: UpstreamSpec) -> UpstreamSpec:
        """The same upstream with other members and another way to choose among them."""
        draw = self.draw
        balances: tuple[Balance, ...] = get_args(Balance)
        those = [self.dark] if spec.name == "shadow" else self.origins
        chosen: list[Origin] = draw.sample([*those, self.dead], draw.randrange(1, len(those) + 1))
        members = [
            MemberSpec(
                self.rig.server(spec.name, origin),
                weight=draw.choice([1, 1, 5, 400]),
                tier=draw.choice([0, 0, 0, 1, 15]),
                local=draw.random() < 0.7,
                max_requests=draw.choice([0, 0, 1, 2]),
                sticky_id=b"id%d" % self.origins.index(origin) if origin in self.origins else b"",
            )
            for origin in chosen
        ]
        return replace(
            spec,
            members=members,
            balance=draw.choice(balances),
            bounded_load=draw.choice([0, 101, 200]),
            sticky=draw.choice(STICKY),
            zone_min=draw.choice([0, 50]),
            panic=draw.choice([0, 0, 60]),
            fail_open=draw.random() < 0.3,
            slow_start_ms=draw.choice([0, 5_000]),
            pool_max=draw.choice([0, 2, 100]),
            max_ejected_percent=draw.choice([0, 50, 100]),
            max_requests=draw.choice([0, 0, 1, 4]),
        )

    def step(self) -> None:
        draw = self.draw
        if draw.random() < 0.05:
            self.stir()
        if draw.random() < 0.1 and self.rig.mode == "inline":
            self.rig.advance(draw.choice([1, 20, 50]))
        super().step()
        self.send(3)
        if draw.random() < 0.5:
            self.let_origins_speak()

    def stir(self) -> None:
        """What the control plane does between two publishes."""
        draw = self.draw
        spec = draw.choice(self.specs)
        state, server = spec.state, draw.choice(spec.members).server
        kind = draw.randrange(8)
        if kind < 3:
            state.use(Pool(self.changed(spec) if kind else spec, len(self.rig.engines)))
        elif kind == 3:
            for word in draw.sample(DOWN, 2):
                server.set_down(word, draw.random() < 0.2)
        elif kind == 4:
            draw.choice([lambda: server.eject(draw.choice([1, 2_000])), server.readmit, server.ramp, server.forgive])()
        elif kind == 5:
            state.set_limit(draw.choice([0, 0, 1, 3]))
        elif kind == 6:
            state.set_circuit(*draw.choice(CIRCUITS))
        else:
            state.set_hedge_ms(draw.choice([0, 1, 20]))

    def ask(self) -> bytes:
        return asked(self.draw)

    def tell(self) -> bytes:
        kind = self.draw.random()
        return failure(self.draw) if kind < 0.3 else super().tell() if kind < 0.5 else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    def let_origins_speak(self) -> None:
        for origin in self.origins:
            origin.maybe_accept()
            for peer in origin.peers:
                if peer.sock.fileno() >= 0 and b"\r\n\r\n" in peer.got():
                    self.executed.update(re.findall(rb"\r\nX-Once: (\d+)\r\n", peer.received))
        shown, self.origins = self.origins, [*self.origins, self.dark]
        super().let_origins_speak()
        self.origins = shown

    def over(self) -> None:
        """Everybody leaves, and what is still under way comes to its end."""
        self.waiting.clear()
        for client in self.rig.clients:
            if client.sock.fileno() >= 0:
                client.reset()
        self.rig.until(self.quiet, "nothing is under way any more")

    def quiet(self) -> bool:
        for origin in (*self.origins, self.dark):
            origin.maybe_accept()
            for peer in origin.peers:
                peer.close()
        if self.rig.mode == "inline":
            self.rig.advance(1_000)
        return self.rig.total("exchanges") == 0 and all(state.stats()["copies_in_flight"] == 0 for state in self.rig.states.values())


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_left_of_a_storm(rig: Rig, seed: int) -> None:
    storm = Storm(rig, seed)
    for _ in range(2_000):
        storm.step()
    storm.over()
    assert not [once for once, times in storm.executed.items() if times > 1]
    for name, state in rig.states.items():
        stats = state.stats()
        assert (stats["in_flight"], stats["retries_in_flight"], stats["pending"]) == (0, 0, 0), name
    for (upstream, label), server in rig.servers.items():
        assert server.stats()["in_flight"] == 0, f"{label} of {upstream}"
    assert sum(sum(stats.stats()["requests"].values()) for stats in rig.route_stats.values()) > 30, "it did something"
