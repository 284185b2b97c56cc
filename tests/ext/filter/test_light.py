"""Routes whose limits keep nothing while they let pass: they decide as those do that keep a state."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from proxyd_ext.limit.rate import RateLimit
from proxyd_ext.snapshot.spec import (
    AccessFilter,
    Filter,
    HeadersFilter,
    LimitKeyPart,
    RateLimitFilter,
    RequestFilter,
    RespondAction,
    RouteSpec,
)
from tests.support.engine import Rig, get

CLIENT = LimitKeyPart("client.ip")
SUBNET = LimitKeyPart("client.ip", ipv4_bits=20, ipv6_bits=44)
FIELD = LimitKeyPart("header", "x-key")
WORDS = ("passed", "delayed", "refused")
Filters = list[Filter]
Limit = tuple[LimitKeyPart, int, int]  # key, burst, delay


class Both:
    """Two routes with limits alike, each with its own tables. The heavy one has a filter more that lets everything pass."""

    def __init__(self, rig: Rig, limits: Sequence[Limit]) -> None:
        self.rig = rig
        self.tables: dict[str, list[RateLimit]] = {}
        routes = []
        for name in ("light", "heavy"):
            tables = [
                RateLimit(str(i), requests=60, per_us=60_000_000, burst=burst, delay=delay) for i, (_, burst, delay) in enumerate(limits)
            ]
            limited = [RateLimitFilter(table.name, table, (key,)) for table, (key, _, _) in zip(tables, limits, strict=True)]
            filters: list[Filter] = [AccessFilter(deny=["192.0.2.66"], default_allow=True)]
            filters += [RequestFilter("any")] if name == "heavy" else []
            filters += [*limited, HeadersFilter(response_set=b"X-Passed: yes\r\n")]
            routes.append(RouteSpec(name, RespondAction(200, b"in"), path=f"/{name}", filters=filters))
            self.tables[name] = tables
        rig.publish(routes, trust=["127.0.0.0/8"], client_ip_header="X-Client")
        self.clients = {name: rig.connect() for name in self.tables}

    def ask(self, address: str, key: str, wait_ms: int = 0) -> list[tuple[int, str | None, str | None]]:
        """The same of both routes, at the same time."""
        for name, client in self.clients.items():
            client.send(get(f"/{name}", f"X-Client: {address}", *([f"X-Key: {key}"] if key else [])))
        self.rig.settle()
        self.rig.advance(wait_ms)
        answers = [client.response() for client in self.clients.values()]
        return [(each.status, each.field("retry-after"), each.field("x-passed")) for each in answers]

    def counts(self, name: str) -> list[list[int]]:
        return [[table.stats()[word] for word in WORDS] for table in self.tables[name]]


@pytest.mark.parametrize(
    "limits",
    [
        [(CLIENT, 3, -1)],
        [(CLIENT, 8, -1), (FIELD, 2, -1)],  # the later one refuses: the earlier one gets back what was taken
        [(FIELD, 2, -1)],
        [(CLIENT, 20, -1), (SUBNET, 6, -1), (FIELD, 4, -1)],
    ],
    ids=["client", "client and field", "field", "three"],
)
def test_light_routes_decide_as_heavy_ones(clocked: Rig, limits: list[Limit]) -> None:
    both = Both(clocked, limits)
    chance = random.Random(1)
    statuses = set()
    for _ in range(150):  # one in 32 is looked at for the sketch, and takes another way
        light, heavy = both.ask(chance.choice(["192.0.2.1", "192.0.2.2", "2001:db8::1"]), chance.choice(["", "a", "b"]))
        assert light == heavy
        assert both.counts("light") == both.counts("heavy")
        assert (light[2] == "yes") == (light[0] == 200)
        statuses.add(light[0])
        clocked.advance(chance.choice([0, 0, 500]))
    assert statuses == {200, 429}
    assert both.ask("192.0.2.66", "a")[0][0] == both.ask("192.0.2.66", "a")[1][0] == 403
    assert both.counts("light") == both.counts("heavy")


@pytest.mark.parametrize("keys", [(CLIENT,), (CLIENT, FIELD)], ids=["client", "client and field"])
def test_what_is_held_goes_on_with_the_other_limits(clocked: Rig, keys: tuple[LimitKeyPart, ...]) -> None:
    """The first limit holds the third request for a second; the limits behind it are asked before it waits, and not again."""
    both = Both(clocked, [(CLIENT, 4, 1), *((key, 9, -1) for key in keys)])
    for wait_ms in (0, 0, 1_000):
        light, heavy = both.ask("192.0.2.1", "a", wait_ms)
        assert light == heavy == (200, None, "yes")
    assert both.counts("light") == both.counts("heavy") == [[2, 1, 0], *([3, 0, 0] for _ in keys)]


def test_what_passes_is_told_how_things_stand(clocked: Rig) -> None:
    limit = RateLimit("told", requests=60, per_us=60_000_000, burst=4)
    told = RateLimitFilter("told", limit, (CLIENT,), headers="always", quota=5, window_s=5)
    clocked.publish([RouteSpec("all", RespondAction(200, b"in"), filters=[told])])
    client = clocked.connect()
    for left, reset in ((4, 1), (3, 2), (2, 3)):
        client.send(get())
        answer = client.response()
        assert (answer.status, answer.field("ratelimit-policy")) == (200, '"told";q=5;w=5')
        assert answer.field("ratelimit") == f'"told";r={left};t={reset}'
