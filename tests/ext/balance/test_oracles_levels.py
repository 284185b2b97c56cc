"""Which members a pool draws from: tiers, zones, panic, fail-open, stickiness; each case with every balancer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.balance.pool import Pool
from proxyd_ext.snapshot.spec import Balance, MemberSpec, StickySpec
from tests.support.virtual import addresses, again, members_of, pool_of

if TYPE_CHECKING:
    from proxyd_ext.balance.server import DownReason

NONE = -1
BALANCES: tuple[Balance, ...] = ("round_robin", "least_conn", "p2c", "ewma", "random", "first", "hash", "maglev")
REASONS: tuple[DownReason | None, ...] = (None, None, "health", "pending", "maint", "drain")
EVERY = pytest.mark.parametrize("balance", BALANCES)


def drawn(pool: Pool, count: int = 300) -> set[int]:
    """Whom that many requests get, each over before the next. `first` gives one only."""
    return set(pool.sequence(count, [i * 0x9E3779B1 & 0xFFFFFFFF for i in range(count)]))


def active(pool: Pool) -> set[int]:
    """The members that the pool says it draws from."""
    labels = [member.server.label for member in pool.spec.members]
    return {labels.index(label) for label, _ in pool.describe()["active"]}


def expect(pool: Pool, members: set[int]) -> None:
    assert active(pool) == members
    assert drawn(pool) == ({min(members)} if pool.spec.balance == "first" else members)


def shaped(*shapes: tuple[int, bool]) -> list[MemberSpec]:
    """Members of (tier, local)."""
    made = members_of(addresses(len(shapes)))
    return [MemberSpec(member.server, tier=tier, local=local) for member, (tier, local) in zip(made, shapes, strict=True)]


def down(members: list[MemberSpec], *numbers: int) -> None:
    for i, member in enumerate(members):
        member.server.set_down("health", i in numbers)


@EVERY
def test_the_lowest_tier_that_has_somebody(balance: Balance) -> None:
    members = shaped((0, True), (0, True), (1, True), (1, True), (15, True))
    pool = pool_of(members, balance)
    for gone, left, tier in (((), {0, 1}, 0), ((0,), {1}, 0), ((0, 1), {2, 3}, 1), ((0, 1, 2, 3), {4}, 15)):
        down(members, *gone)
        pool = again(pool)
        expect(pool, left)
        assert pool.describe()["tier"] == tier
    down(members, 0, 1, 2, 3, 4)
    pool = again(pool)
    assert pool.describe()["tier"] == -1
    assert pool.describe()["active"] == []
    assert drawn(pool) == {NONE}


@EVERY
def test_the_next_tier_within_one_request(balance: Balance) -> None:
    """When all of the first were tried, or went down since the pool was built, without a new pool."""
    members = shaped((0, True), (0, True), (3, True))
    pool = pool_of(members, balance)
    assert pool.pick(tried=[0, 1], now_ms=1) == 2
    assert pool.pick(tried=[0, 1, 2], now_ms=1) == NONE
    pool.done(2)
    down(members, 0, 1)
    assert pool.pick(now_ms=1) == 2
    pool.done(2)
    down(members)
    assert drawn(pool) <= {0, 1}


@EVERY
def test_local_members_are_preferred(balance: Balance) -> None:
    """While at least 70 % of their weight is usable; then all of the tier share."""
    members = shaped(*[(0, True)] * 4, *[(0, False)] * 4)
    pool = pool_of(members, balance, zone_min=70)
    for gone, left in (
        ((), {0, 1, 2, 3}), ((3,), {0, 1, 2}), ((2, 3), {0, 1, 4, 5, 6, 7}), ((0, 1, 2, 3), {4, 5, 6, 7}), ((4, 5, 6, 7), {0, 1, 2, 3}),
    ):  # fmt: skip
        down(members, *gone)
        expect(again(pool), left)
    down(members)
    expect(again(pool, zone_min=0), set(range(8)))
    pool = again(pool)
    assert pool.describe()["levels"] == 2
    assert pool.pick(tried=[0, 1, 2, 3], now_ms=1) in {4, 5, 6, 7}      # rather another zone than nobody


@EVERY
def test_zones_within_tiers(balance: Balance) -> None:
    """A local backup is no reason to pass over a remote primary."""
    members = shaped((0, False), (1, True), (1, False))
    pool = pool_of(members, balance, zone_min=50)
    expect(pool, {0})
    down(members, 0)
    expect(again(pool), {1})


@EVERY
def test_panic(balance: Balance) -> None:
    """Below half of the weight usable, health is not believed; what the operator took out stays out."""
    members = members_of(addresses(6), [1, 1, 1, 1, 1, 3])
    down(members, 0, 1, 2, 3)
    pool = pool_of(members, balance, panic=50)
    assert not pool.describe()["panic"]                    # 4 of 8
    expect(pool, {4, 5})
    down(members, 1, 5, 2)
    pool = again(pool)
    assert pool.describe()["panic"]                        # 3 of 8
    assert pool.describe()["ignores_health"]
    expect(pool, set(range(6)))
    members[5].server.set_down("maint", True)              # 3 of the 5 that count
    pool = again(pool)
    assert not pool.describe()["panic"]
    expect(pool, {0, 3, 4})
    members[0].server.eject(60_000)
    members[3].server.eject(60_000)                        # 1 of 5
    pool = again(pool)
    assert pool.describe()["panic"]
    expect(pool, {0, 1, 2, 3, 4})


@EVERY
def test_fail_open(balance: Balance) -> None:
    """All down: tried all the same, where that is chosen; but not those in maintenance."""
    members = members_of(addresses(3))
    down(members, 0, 1, 2)
    members[1].server.set_down("drain", True)
    pool = pool_of(members, balance)
    assert drawn(pool) == {NONE}
    pool = again(pool, fail_open=True)
    assert pool.describe()["ignores_health"]
    assert not pool.describe()["panic"]
    expect(pool, {0, 2})
    down(members, 0)
    pool = again(pool)
    assert not pool.describe()["ignores_health"]
    expect(pool, {2})


@EVERY
def test_zones_apart(balance: Balance) -> None:
    """Members of other zones are never used: not when the local ones are down, in a panic, failing open, or by a cookie."""
    made = members_of(addresses(4))
    members = [MemberSpec(member.server, local=i < 2, tier=i % 2, sticky_id=b"%d" % i) for i, member in enumerate(made)]
    pool = pool_of(members, balance, zone_only=True, panic=60, sticky=StickySpec("cookie", "c"))
    expect(pool, {0})
    assert pool.describe()["levels"] == 2
    assert [pool.named(b"%d" % i) for i in range(4)] == [0, 1, -1, -1]
    assert pool.pick(tried=[0], now_ms=1) == 1
    pool.done(1)
    assert pool.pick(tried=[0, 1], now_ms=1) == NONE
    down(members, 0)
    assert not again(pool, panic=50).describe()["panic"]       # half of the local weight
    expect(again(pool, panic=0), {1})
    down(members, 2, 3)
    assert not again(pool).describe()["panic"]                 # whoever is apart counts for nothing
    down(members, 0, 1)
    expect(again(pool), {0})                                   # a panic
    assert drawn(again(pool, panic=0)) == {NONE}
    expect(again(pool, panic=0, fail_open=True), {0})
    members[0].server.set_down("maint", True)
    members[1].server.set_down("maint", True)
    assert drawn(again(pool, fail_open=True)) == {NONE}


def test_ejections_leave_one_of_the_own_zone() -> None:
    members = [MemberSpec(member.server, local=i < 2) for i, member in enumerate(members_of(addresses(6)))]
    pool = pool_of(members, max_ejected_percent=100)
    assert (pool.max_ejected, again(pool, zone_only=True).max_ejected) == (5, 1)
    assert again(pool, zone_only=True, max_ejected_percent=10).max_ejected == 1
    far = [MemberSpec(member.server, local=i < 1) for i, member in enumerate(members_of(addresses(3)))]
    assert pool_of(far, zone_only=True).max_ejected == 0
    assert pool_of(far[1:], zone_only=True).max_ejected == 0


@given(
    balance=st.sampled_from(BALANCES), apart=st.booleans(), panic=st.integers(0, 100), fail_open=st.booleans(),
    zone_min=st.integers(0, 100), shapes=st.lists(
        st.tuples(st.integers(1, 5), st.integers(0, 3), st.booleans(), st.sampled_from(REASONS)),
        min_size=1, max_size=9,
    ),
)  # fmt: skip
def test_whatever_the_members(
    balance: Balance, apart: bool, panic: int, fail_open: bool, zone_min: int,
    shapes: list[tuple[int, int, bool, DownReason | None]],
) -> None:
    """The set that is drawn from, said plainly."""
    members = []
    for member, (weight, tier, local, reason) in zip(members_of(addresses(len(shapes))), shapes, strict=True):
        members.append(MemberSpec(member.server, weight=weight, tier=tier, local=local))
        if reason:
            member.server.set_down(reason, True)
    allowed = [i for i, shape in enumerate(shapes) if shape[3] not in ("maint", "drain") and (shape[2] or not apart)]
    healthy = [i for i in allowed if not shapes[i][3]]
    in_panic = 100 * sum(shapes[i][0] for i in healthy) < panic * sum(shapes[i][0] for i in allowed)
    usable = allowed if in_panic or (fail_open and not healthy) else healthy
    tier = min((shapes[i][1] for i in usable), default=-1)
    chosen = {i for i in usable if shapes[i][1] == tier}
    near = {i for i in chosen if shapes[i][2]}
    whole = sum(shape[0] for shape in shapes if shape[1] == tier and shape[2])
    if zone_min and near and 100 * sum(shapes[i][0] for i in near) >= zone_min * whole:
        chosen = near
    pool = pool_of(members, balance, panic=panic, fail_open=fail_open, zone_min=zone_min, zone_only=apart)
    said = pool.describe()
    assert (active(pool), said["panic"], said["tier"]) == (chosen, in_panic, tier)
    assert dict(said["active"]) == {members[i].server.label: shapes[i][0] for i in chosen}
    assert drawn(pool, 60) <= (chosen or {NONE})


@EVERY
def test_sticky(balance: Balance) -> None:
    """The member that the request names, whatever the balancer would say; another one when that cannot be used, and back afterwards."""
    members = [MemberSpec(member.server, max_requests=2) for member in members_of(addresses(5))]
    pool = pool_of(members, balance)
    for i in range(5):
        assert pool.pick(key=i, sticky=i, now_ms=1) == i
        assert pool.pick(key=i, sticky=i, now_ms=1) == i
        other = pool.pick(key=i, sticky=i, now_ms=1)       # full
        assert other != i
        for member in (i, i, other):
            pool.done(member)
        assert pool.pick(sticky=i, tried=[i], now_ms=1) not in (i, NONE)
        members[i].server.set_down("drain", True)
        assert pool.pick(sticky=i, now_ms=1) not in (i, NONE)
        members[i].server.set_down("drain", False)
        assert pool.pick(sticky=i, now_ms=1) == i
        for number, member_spec in enumerate(members):
            for _ in range(member_spec.server.stats()["in_flight"]):
                pool.done(number)


def test_sticky_to_a_backup() -> None:
    """A client that was sent to a backup stays there while it can be used: what it has to lose is there."""
    members = shaped((0, True), (1, True))
    assert pool_of(members).pick(sticky=1, now_ms=1) == 1


@EVERY
def test_sticky_by_key(balance: Balance) -> None:
    """The ring decides then, and as `hash` would; a key whose server is out goes to the next on the ring."""
    members, others = members_of(addresses(7)), members_of(addresses(7))
    ring = pool_of(others, "hash")
    pool = pool_of(members, balance, sticky=StickySpec("key"))
    keys = [i * 0x9E3779B1 & 0xFFFFFFFF for i in range(500)]
    for without in ((), (3,)):
        down(members, *without)
        down(others, *without)
        for key in keys:
            expected = ring.sequence(1, [key])[0]
            assert pool.pick(key=key, by_key=True, now_ms=1) == expected
            pool.done(expected)
