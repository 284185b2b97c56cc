from __future__ import annotations

import calendar
import json
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.config.plans import PERIODS
from proxyd.gateway.consumers import Consumers
from proxyd.gateway.usage import Counts, Damaged, UsageKeeper, UsageRule, UsageView, parse, period_number, read, render, write
from proxyd.tasks import Tasks
from proxyd_ext.filter.period import period_facts
from tests.support.clock import FakeClock
from tests.support.gateway import World
from tests.support.wait import until

NOW = float(calendar.timegm((2026, 11, 21, 12, 0, 0)))      # a Saturday
DAY, WEEK, MONTH = (period_number(period, NOW) for period in PERIODS)
COUNTS: Counts = {("day", "shop"): (DAY, 7), ("month", "shop"): (MONTH, 70), ("week", "bänk"): (WEEK, 1)}


# ------------------------------------------------------------------ periods
def test_periods_begin_at_midnight_utc_and_weeks_on_monday() -> None:
    assert (DAY, MONTH) == (20_778, 2026 * 12 + 10)
    monday = float(calendar.timegm((2026, 11, 23, 0, 0, 0)))
    assert period_number("week", monday - 1) == WEEK
    assert period_number("week", monday) == WEEK + 1
    new_year = float(calendar.timegm((2027, 1, 1, 0, 0, 0)))
    assert period_number("month", new_year) - period_number("month", new_year - 1) == 1


@given(st.integers(0, 4_000_000_000))
def test_engines_number_periods_alike(wall: int) -> None:
    for period in PERIODS:
        assert period_number(period, wall) == period_facts(period, wall)[0]


# ------------------------------------------------------------------ the file
def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "usage.json"
    write(path, COUNTS, NOW)
    assert read(path, NOW) == COUNTS
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["written"] == "2026-11-21T12:00:00Z"
    write(path, {}, NOW)
    assert read(path, NOW) == {}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["usage.json", "usage.json.previous"]
    assert parse((tmp_path / "usage.json.previous").read_bytes()) == COUNTS


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    assert read(tmp_path / "usage.json", NOW) == {}
    (tmp_path / "usage.json.previous").write_text("whoever removes the file means it")
    assert read(tmp_path / "usage.json", NOW) == {}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}", b"[" * 100_000,
        b'{"format": 2, "usage": {}}', b'{"format": 1, "usage": []}',
        b'{"format": 1, "usage": {"day": []}}', b'{"format": 1, "usage": {"day": {"a": 7}}}',
        b'{"format": 1, "usage": {"day": {"a": [1]}}}',
        b'{"format": 1, "usage": {"day": {"a": [1, 2.5]}}}', b'{"format": 1, "usage": {"day": {"a": [1, true]}}}',
        b'{"format": 1, "usage": {"day": {"a": [1, -1]}}}', b'{"format": 1, "usage": {"day": {"a": [1, 99999999999999999]}}}',
        b'{"format": 1, "usage": {"day": {"a": [9999999, 1]}}}',
    ],
)
def test_damage_is_known_as_such(content: bytes) -> None:
    with pytest.raises(Damaged):
        parse(content)


_COUNT = st.tuples(st.integers(0, 2**20 - 1), st.integers(0, 2**44 - 1))


@given(st.dictionaries(st.tuples(st.sampled_from(PERIODS), st.text()), _COUNT))
def test_any_name_and_count_comes_back(counts: Counts) -> None:
    assert parse(render(counts, NOW).encode()) == counts


def test_a_damaged_file_is_set_aside_and_the_one_before_it_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "usage.json"
    write(path, COUNTS, NOW)
    write(path, {("day", "shop"): (DAY, 8)}, NOW)
    path.write_bytes(path.read_bytes()[:-20])
    damaged = path.read_bytes()
    assert read(path, NOW) == COUNTS
    assert (tmp_path / "usage.json.damaged-20261121T120000Z").read_bytes() == damaged
    assert "the one before it" in caplog.text


def test_without_one_before_it_everybody_begins_anew_and_that_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "usage.json").write_text("{")
    assert read(tmp_path / "usage.json", NOW) == {}
    assert "whole quota" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "usage.json"
    write(path, COUNTS, NOW)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(path, {}, NOW)
    assert read(path, NOW) == COUNTS
    assert [entry.name for entry in tmp_path.iterdir()] == ["usage.json"]


# ------------------------------------------------------------------ the keeper
class Kept(World):
    """A world whose clock shows NOW."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.clock = FakeClock(NOW)
        self.tasks = Tasks(self.clock)
        self.rule = UsageRule(folder / "usage.json", 10.0)
        self.start()

    def start(self) -> None:
        """As after a restart."""
        self.consumers = Consumers()
        self.keeper = UsageKeeper(self.tasks, self.clock, self.consumers)

    def saved(self) -> Counts:
        return read(self.rule.file, NOW)

    async def pass_ten_seconds(self) -> None:
        await self.clock.sleeping(1)
        await self.clock.advance(10)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Kept]:
    made = Kept(tmp_path)
    yield made
    await made.keeper.close()
    await made.close()


async def test_usage_is_written_every_so_often_and_outlives_a_restart(world: Kept) -> None:
    await world.keeper.follow(world.rule)
    world.consumers.get("shop").set_usage(DAY, 7)
    await world.pass_ten_seconds()
    await until(lambda: world.saved() == {("day", "shop"): (DAY, 7)})
    world.consumers.get("shop").set_usage(DAY, 8)
    await world.keeper.close()
    world.start()
    await world.keeper.follow(world.rule)
    assert world.consumers.get("shop").usage() == (DAY, 8)


async def test_what_has_not_changed_is_not_written(world: Kept) -> None:
    await world.keeper.follow(world.rule)
    world.consumers.get("shop").set_usage(DAY, 7)
    await world.pass_ten_seconds()
    await until(lambda: world.rule.file.exists())
    before = world.rule.file.stat().st_ino
    await world.pass_ten_seconds()
    await world.keeper.close()
    assert world.rule.file.stat().st_ino == before


async def test_periods_that_have_ended_are_left_out(world: Kept) -> None:
    write(world.rule.file, {("day", "old"): (DAY - 1, 5), ("day", "new"): (DAY, 6), ("month", "old"): (MONTH, 7)}, NOW)
    await world.keeper.follow(world.rule)
    world.consumers.get("x").set_usage(DAY, 1)
    await world.keeper.close()
    assert world.saved() == {("day", "new"): (DAY, 6), ("month", "old"): (MONTH, 7), ("day", "x"): (DAY, 1)}


async def test_a_period_far_ahead_does_not_count(world: Kept, caplog: pytest.LogCaptureFixture) -> None:
    write(world.rule.file, {("day", "shop"): (DAY + 2, 5), ("day", "bank"): (DAY + 1, 6)}, NOW)
    await world.keeper.follow(world.rule)
    assert world.consumers.get("shop").usage() == (0, 0)
    assert world.consumers.get("bank").usage() == (DAY + 1, 6)      # two clocks at midnight
    assert "shop" in caplog.text


async def test_a_file_that_cannot_be_read_is_not_overwritten_and_tried_again(world: Kept, caplog: pytest.LogCaptureFixture) -> None:
    world.rule.file.mkdir()      # reading it is an OSError for every user, root too
    await world.keeper.follow(world.rule)
    world.consumers.get("shop").set_usage(DAY, 3)
    for _ in range(3):
        await world.pass_ten_seconds()
        await world.clock.sleeping(1)
    assert len(caplog.records) == 1
    view = world.keeper.view()
    assert view is not None
    assert "cannot read" in view.error
    world.rule.file.rmdir()
    write(world.rule.file, {("day", "shop"): (DAY, 100)}, NOW)
    await world.pass_ten_seconds()
    await until(lambda: world.saved() == {("day", "shop"): (DAY, 103)})
    assert world.consumers.get("shop").usage() == (DAY, 103)


async def test_a_file_that_moves_takes_usage_along_and_counts_nothing_twice(world: Kept, tmp_path: Path) -> None:
    write(world.rule.file, {("day", "shop"): (DAY, 7)}, NOW)
    await world.keeper.follow(world.rule)
    world.consumers.get("shop").set_usage(DAY, 9)
    other = UsageRule(tmp_path / "other.json", 10.0)
    write(other.file, {("day", "shop"): (DAY, 7), ("day", "bank"): (DAY, 2)}, NOW)
    await world.keeper.follow(other)
    await world.keeper.close()
    assert read(other.file, NOW) == {("day", "shop"): (DAY, 9), ("day", "bank"): (DAY, 2)}


async def test_who_hands_over_writes_no_more(world: Kept) -> None:
    """As at an upgrade: this process still answers some requests while the next one counts."""
    await world.keeper.follow(world.rule)
    world.consumers.get("shop").set_usage(DAY, 7)
    await world.keeper.save()
    before, keeper = world.consumers.get("shop"), world.keeper
    world.start()
    await world.keeper.follow(world.rule)
    await keeper.hand_over()
    before.set_usage(DAY, 8)
    world.consumers.get("shop").set_usage(DAY, 100)
    await world.keeper.close()
    await keeper.follow(world.rule)      # names have got other addresses, say
    await world.clock.advance(10)
    await keeper.close()
    assert world.saved() == {("day", "shop"): (DAY, 100)}


async def test_a_disk_that_is_full_is_told_once(world: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    await world.keeper.follow(world.rule)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for used in (1, 2):
        world.consumers.get("shop").set_usage(DAY, used)
        await world.pass_ten_seconds()
        await world.clock.sleeping(1)
    assert len(caplog.records) == 1
    monkeypatch.undo()
    await world.pass_ten_seconds()
    told = UsageView(str(world.rule.file), 10.0, world.clock.wall(), "")
    await until(lambda: world.keeper.view() == told)
    assert world.saved() == {("day", "shop"): (DAY, 2)}


async def test_the_gateway_keeps_it_as_the_config_says(tmp_path: Path) -> None:
    world = World(tmp_path)
    keys = f"{{api_key: {{keys: {{shop: {{sha256: {'a' * 64}, plan: gold}}}}}}}}"
    number = period_number("week", world.clock.wall())
    await world.follow(keys, more=f"plans: {{gold: {{quota: 9/week}}}}\nusage: {tmp_path}/usage.json")
    world.gateway.consumers.get("shop", "week").set_usage(number, 4)
    assert [(one.name, one.period, one.used) for one in world.gateway.usage()] == [("shop", "week", 4)]
    await world.close()
    assert read(tmp_path / "usage.json", 0) == {("week", "shop"): (number, 4)}
