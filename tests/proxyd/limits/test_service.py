from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from proxyd.config import Config
from proxyd.limits.leases import LeaseStore, ShareSettings
from proxyd.limits.service import LimitError, Limits, share_settings
from proxyd.snapshot.explain import compile_unbound
from proxyd.snapshot.store import Store
from proxyd_ext.filter.key import hash_key
from proxyd_ext.limit.rate import RateLimit
from proxyd_ext.snapshot.spec import BanFilter, InflightFilter, LimitKeyPart, RateLimitFilter, SnapshotSpec
from tests.support.clock import FakeClock
from tests.support.config import config_of
from tests.support.leases import FakeLeases
from tests.support.wait import until

S = 1_000_000
TEXT = """
    listen: :80
    limits: {{redis: "redis://:{password}@10.0.0.1"}}
    routes: [{{name: a, use: [slow, both, in, out, all], respond: 200}}, {{name: b, use: [slow], respond: 200}}]
    policies:
      slow: {{rate_limit: {{rate: {rate}, burst: 4}}}}
      both: {{rate_limit: {{rate: 1/m, burst: 1, key: [host, "header:X-Tenant"]}}}}
      in: {{concurrency: 3}}
      out: {{ban: {{after: 1, within: 1m, for: 10m}}}}
      all: {{rate_limit: {{rate: 10/s, burst: 9, scope: cluster}}}}
"""


def configured(rate: str = "10/s", password: str = "x") -> tuple[Config, SnapshotSpec]:
    config = config_of(TEXT.format(rate=rate, password=password))
    return config, compile_unbound(config).spec


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.stores: list[FakeLeases] = []
        self.opened: list[ShareSettings] = []
        self.limits = Limits(
            self.clock, Store().gate, self.now_us, hash_key, consumer={"alice": 7}.get, open_store=self._open)

    def now_us(self) -> int:
        return round(self.clock.monotonic() * S)

    def _open(self, settings: ShareSettings) -> LeaseStore:
        self.opened.append(settings)
        self.stores.append(FakeLeases(self.clock))
        return self.stores[-1]

    async def follow(self, of: tuple[Config, SnapshotSpec]) -> SnapshotSpec:
        await self.limits.follow(*of)
        return of[1]


@pytest.fixture
async def world() -> World:
    return World()


def limit_of(spec: SnapshotSpec, policy: str) -> RateLimitFilter:
    return next(step for step in spec.tables[0][0].filters if isinstance(step, RateLimitFilter) and step.policy == policy)


def refused(order: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(LimitError) as refusal:
        order()
    return refusal.value.code.code, str(refusal.value)


async def test_nothing_before_the_first_config(world: World) -> None:
    assert world.limits.entries().rates == {}
    assert world.limits.view().limits == ()
    await world.limits.close()


async def test_the_view(world: World) -> None:
    spec = await world.follow(configured())
    for _ in range(6):
        limit_of(spec, "slow").limit.try_take(hash_key((LimitKeyPart("client.ip"),), ["192.0.2.1"]), world.now_us())
    found = world.limits.view()
    assert {(view.policy, view.kind, view.rule, view.key) for view in found.limits} == {
        ("slow", "rate", "10/s, burst 4, by client.ip", ("client.ip",)),
        ("both", "rate", "1/m, burst 1, by host and header:X-Tenant", ("host", "header:x-tenant")),
        ("in", "concurrency", "3 in flight, by client.ip", ("client.ip",)),
        ("out", "ban", "one refusal bans for 10m", ("client.ip",)),
        ("all", "rate", "10/s, burst 9, of all proxies together, by client.ip", ("client.ip",)),
    }
    assert {view.policy: view.keys for view in found.limits}["slow"] == 1
    shared = {view.policy: view.shared for view in found.limits}
    assert shared["slow"] is None
    assert shared["all"] is not None
    assert (shared["all"].lease, shared["all"].beyond_burst) == (10, 10)
    assert (found.places, found.shed_below) == (None, "none")
    assert found.store is not None
    await world.limits.close()


async def test_keys(world: World) -> None:
    spec = await world.follow(configured())
    limits, slow = world.limits, limit_of(spec, "slow")
    fresh = limits.key("slow", ["192.0.2.1"])
    assert (fresh.text, fresh.known, fresh.remaining) == ("all 5 left", False, 5)
    for _ in range(2):
        slow.limit.try_take(hash_key(slow.key, ["192.0.2.1"]), world.now_us())
    assert limits.key("slow", ["192.0.2.1"]).text == "3 left, all 5 in 200 ms"
    for _ in range(4):
        slow.limit.try_take(hash_key(slow.key, ["192.0.2.1"]), world.now_us())
    empty = limits.key("slow", ["192.0.2.1"])
    assert (empty.text, empty.remaining, empty.retry_seconds) == ("none left, the next in 100 ms", 0, 0.1)
    assert limits.peek(slow, ["192.0.2.1"]) == empty
    assert limits.key("slow", ["192.0.2.2"]).remaining == 5
    inside = next(step for step in spec.tables[0][0].filters if isinstance(step, InflightFilter))
    inside.table.take(hash_key(inside.key, ["::1"]), 3)
    assert limits.key("in", ["::1"]).text == "1 of 3 in flight"
    out = next(step for step in spec.tables[0][0].filters if isinstance(step, BanFilter))
    assert limits.key("out", ["::1"]).text == "not banned"
    out.bans.note(hash_key((LimitKeyPart("client.ip"),), ["::1"]), world.now_us())
    banned = limits.key("out", ["::1"])
    assert (banned.text, banned.banned_seconds) == ("banned for 10 min more", 600.0)
    await world.limits.close()


async def test_what_is_no_key(world: World) -> None:
    await world.follow(configured())
    limits = world.limits
    assert refused(lambda: limits.key("slwo", ["::1"])) == (
        "PXD-225", "no route uses a limit `slwo`; did you mean `slow`? there is: all, both, in, out, slow")
    assert refused(lambda: limits.one("nothing"))[0] == "PXD-225"
    assert refused(lambda: limits.key("both", ["h"])) == (
        "PXD-226", "`both` counts by host and header:x-tenant: give 2 texts, one for each part")
    assert refused(lambda: limits.key("slow", ["me"]))[0] == "PXD-226"
    assert refused(lambda: limits.key("both", ["", ""])) == ("PXD-226", "requests whose key is empty are not counted")
    with pytest.raises(LimitError) as refusal:
        await limits.reset("in")
    assert refusal.value.code.code == "PXD-227"
    await limits.close()


async def test_reset(world: World) -> None:
    spec = await world.follow(configured())
    slow = limit_of(spec, "slow")
    for address in ("192.0.2.1", "192.0.2.2"):
        slow.limit.try_take(hash_key(slow.key, [address]), world.now_us())
    one = await world.limits.reset("slow", ["192.0.2.1"])
    assert (one.forgotten, one.everywhere) == (1, None)
    assert (await world.limits.reset("slow")).forgotten == 1
    await world.limits.close()


async def test_a_shared_limit_is_reset_everywhere(world: World) -> None:
    spec = await world.follow(configured())
    shared = limit_of(spec, "all")
    [store] = world.stores
    await until(lambda: store.living)
    hash_ = hash_key(shared.key, ["192.0.2.1"], shared.salt)
    shared.limit.try_take(hash_, world.now_us())
    await until(lambda: store.full_at)
    assert (await world.limits.reset("all", ["192.0.2.1"])).everywhere is True
    assert store.full_at == {}
    store.mood = "fails"
    assert (await world.limits.reset("all")).everywhere is False
    await world.limits.close()


async def test_the_store_follows_the_config(world: World) -> None:
    await world.follow(configured())
    await world.follow(configured(rate="20/s"))
    assert [settings.redis for settings in world.opened] == ["redis://:x@10.0.0.1:6379/0"]
    await world.follow(configured(password="y"))
    assert (len(world.opened), [store.closed for store in world.stores]) == (2, [True, False])
    without = config_of("listen: ':80'\nroutes: [{name: a, use: [per-ip], respond: 200}]\n")
    spec = await world.follow((without, compile_unbound(without).spec))
    assert [store.closed for store in world.stores] == [True, True]
    assert isinstance(limit_of(spec, "per-ip").limit, RateLimit)
    assert world.limits.view().store is None


async def test_a_store_that_cannot_be_opened(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def fail(settings: ShareSettings) -> LeaseStore:
        raise ValueError("no such scheme")

    limits = Limits(world.clock, Store().gate, world.now_us, hash_key, open_store=fail)
    await limits.follow(*configured())
    assert "no such scheme" in caplog.text
    assert limits.view().store is None
    await limits.close()


def test_settings() -> None:
    options = "{redis: 'redis://a', lease: 5, nodes: 3, sync: 1s, timeout: 20ms, prefix: p}"
    shared = config_of(f"{{listen: ':1', to: 'a:1', limits: {options}}}").limits
    assert shared is not None
    found = share_settings(shared)
    assert found == ShareSettings("redis://a:6379/0", "p", 0.02, 1.0, 5, 3)
    assert replace(found, lease=0, nodes=0) == share_settings(shared.model_copy(update={"lease": "auto", "nodes": "auto"}))
