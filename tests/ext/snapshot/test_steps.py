"""What the filters of a route are compiled from, and what is refused there."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from proxyd_ext.auth.verdict import Verdicts
from proxyd_ext.filter.hooks import Hooks
from proxyd_ext.limit.inflight import Inflight
from proxyd_ext.limit.rate import RateLimit
from proxyd_ext.snapshot import Snapshot
from proxyd_ext.snapshot.spec import (
    AuthFilter,
    Filter,
    HeadersFilter,
    InflightFilter,
    LimitKeyPart,
    Plan,
    PlanFilter,
    PythonFilter,
    RateLimitFilter,
    RespondAction,
    RouteSpec,
)
from tests.support.snapshot import of_routes

CLIENT = (LimitKeyPart("client.ip"),)


def rate() -> RateLimitFilter:
    return RateLimitFilter("r", RateLimit("r", requests=1, per_us=1_000_000, burst=0), CLIENT)


def auth(policy: str = "a") -> AuthFilter:
    return AuthFilter(policy, Verdicts(policy), "bearer")


def compiled(filters: Sequence[Any]) -> Snapshot:
    return of_routes([RouteSpec("all", RespondAction(200), filters=filters)])


@pytest.mark.parametrize(
    ("filters", "why"),
    [
        (lambda: [HeadersFilter()] * 33, "at most 32 filters"),
        (lambda: [rate()] * 17, "at most 16 limits"),
        (lambda: [InflightFilter("i", Inflight("i"), CLIENT, 1)] * 17, "at most 16 limits"),
        (lambda: [auth(str(i)) for i in range(5)], "at most 4 auth"),
        (lambda: [PlanFilter("a", [Plan("p")])], "before its auth filter"),
        (lambda: [PlanFilter("a", [Plan("p")]), auth()], "before its auth filter"),
        (lambda: [auth("b"), PlanFilter("a", [Plan("p")])], "before its auth filter"),
        (lambda: [RateLimitFilter("r", rate().limit, CLIENT, status=200)], "200 refuses nothing"),
        (lambda: [RateLimitFilter("r", rate().limit, ())], "one to 4 parts"),
        (lambda: [RateLimitFilter("r", rate().limit, CLIENT * 5)], "one to 4 parts"),
        (lambda: [RateLimitFilter("r", rate().limit, (LimitKeyPart("client.ip", ipv4_bits=33),))], "prefix"),
        (lambda: [RateLimitFilter("r", rate().limit, (LimitKeyPart("client.ip", ipv6_bits=129),))], "prefix"),
        (lambda: [AuthFilter("a", Verdicts("a"), "bearer", timeout_ms=0)], "some time"),
        (lambda: [AuthFilter("a", Verdicts("a"), "fields", fields=[f"x-{i}" for i in range(33)])], "32 fields"),
        (lambda: [AuthFilter("a", Verdicts("a"), "bearer", challenge=b"X: 1\r\n" * 3_000)], "16384 bytes"),
        (lambda: [PythonFilter("p", Hooks("p"), timeout_ms=0)], "some time"),
        (lambda: ["no filter"], "unknown filter"),
    ],
)
def test_what_is_refused(filters: Callable[[], Sequence[Any]], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        compiled(filters())


def test_as_many_as_there_is_room_for() -> None:
    steps: list[Filter] = [rate() for _ in range(16)]
    steps += [auth(str(i)) for i in range(4)]        # each may need a second step, for what it hides
    steps += [HeadersFilter() for _ in range(8)]
    assert compiled(steps).match(0, "GET", "test", "/")[0] == 0


def test_a_refused_chain_gives_back_its_handles() -> None:
    """Those that stood before the one that makes no sense serve in the next."""
    good = auth()
    with pytest.raises(ValueError, match="some time"):
        compiled([good, rate(), PythonFilter("p", Hooks("p"), timeout_ms=0)])
    snapshot = compiled([good, rate(), InflightFilter("i", Inflight("i"), CLIENT, 1), PythonFilter("p", Hooks("p"))])
    del good
    assert snapshot.match(0, "GET", "test", "/")[0] == 0
