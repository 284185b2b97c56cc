from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxyd_ext.auth.verdict import Verdict
from tests.support.clock import settle
from tests.support.gateway import World

SHOP, BANK, OLD = "shop-0123456789abcdef", "bank-0123456789abcdef", "old-0123456789abcdef"
KEYS = f"""{{api_key: {{keys: {{
    shop: {SHOP},
    bank: {{sha256: {hashlib.sha256(BANK.encode()).hexdigest().upper()}, plan: gold, forward: {{X-Tenant: t1}}}},
    old: {{key: {OLD}, enabled: false}}}}}}}}"""
PLANS = "plans: {silver: {rate: 1/s}, gold: {quota: 100/month}}"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.close()


async def verdict(world: World, key: str) -> Verdict:
    slot = len(world.engine.answers)
    world.ask(slot, key)
    await settle()
    return world.engine.verdict(slot)


async def test_who_has_the_key_is_told_to_servers(world: World) -> None:
    await world.follow(KEYS, more=PLANS)
    found = await verdict(world, SHOP)
    assert (found.allow, found.user, found.lines, found.plan) == (True, "shop", b"X-Consumer: shop\r\n", -1)
    found = await verdict(world, BANK)
    assert (found.allow, found.user, found.lines, found.plan) == (True, "bank", b"X-Consumer: bank\r\nX-Tenant: t1\r\n", 1)
    assert found.attributes == {"plan": "gold"}


@pytest.mark.parametrize("key", ["", SHOP[:-1], SHOP + "x", SHOP.upper(), " " + SHOP, "\xff", "x" * 10_000])
async def test_an_unknown_key_is_refused_and_remembered_for_a_moment(world: World, key: str) -> None:
    await world.follow(KEYS, more=PLANS)
    found = await verdict(world, key)
    assert (found.allow, found.status, found.head) == (False, 401, b'WWW-Authenticate: ApiKey realm="p"\r\n')


async def test_who_knows_at_once_answers_at_once(world: World) -> None:
    await world.follow(KEYS, more=PLANS)
    for slot, key in enumerate((SHOP, "unknown")):
        world.ask(slot, key)
    assert [world.engine.verdict(slot).allow for slot in (0, 1)] == [True, False]
    assert [found is not None for found in map(world.verdicts().find, (SHOP.encode()[:16], b"unknown".ljust(16, b"\0")))] == [True, True]
    assert world.gateway.under_way == 0


async def test_a_key_that_is_switched_off_is_forbidden(world: World) -> None:
    await world.follow(KEYS, more=PLANS)
    found = await verdict(world, OLD)
    assert (found.allow, found.status) == (False, 403)


async def test_without_forward_servers_are_told_nothing(world: World) -> None:
    await world.follow(f"{{api_key: {{keys: {{shop: {SHOP}}}, forward: none}}}}")
    assert (await verdict(world, SHOP)).lines == b""


async def test_keys_from_a_file(world: World, tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").write_text(f"shop: {SHOP}\nbank: {{key: {BANK}}}\n")
    await world.follow("{api_key: keys.yaml}")
    assert [(await verdict(world, key)).user for key in (SHOP, BANK)] == ["shop", "bank"]
    (tmp_path / "keys.yaml").write_text(f"shop: {SHOP}\n")
    await world.follow("{api_key: keys.yaml}")
    assert [(await verdict(world, key)).allow for key in (SHOP, BANK)] == [True, False]


async def test_usage_outlives_a_reload_and_a_change_of_the_plan(world: World) -> None:
    await world.follow(KEYS, more=PLANS)
    held = world.gateway.consumers.get("bank", "month")
    held.set_usage(24_000, 7)
    await world.follow(KEYS, more="plans: {gold: {quota: 200/month}}")
    assert world.gateway.consumers.get("bank", "month") is held
    assert list(world.gateway.consumers.usage()) == [(("month", "bank"), 24_000, 7)]


async def test_a_plan_that_moves_or_counts_otherwise_makes_new_verdicts(world: World) -> None:
    """A verdict holds the place of its plan, and the handle that usage is counted in."""
    await world.follow(KEYS, more=PLANS)
    await world.follow(KEYS, more="plans: {gold: {quota: 100/month}, silver: {rate: 1/s}}")
    assert world.verdicts(config=0) is not world.verdicts(config=1)
    assert (await verdict(world, BANK)).plan == 0
    await world.follow(KEYS, more="plans: {gold: {quota: 100/day}, silver: {rate: 1/s}}")
    assert world.verdicts(config=1) is not world.verdicts(config=2)
    await world.follow(KEYS, more="plans: {gold: {quota: 9/day}, silver: {rate: 2/s}}")
    assert world.verdicts(config=2) is world.verdicts(config=3)
