from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from proxyd.filters.counters import FilterCounters
from proxyd.filters.pool import LOOK, TELL, FilterSettings, Pool
from proxyd.filters.process import LoadFailed
from proxyd.filters.protocol import PASSED, Change, Failure, HookWord, Reply
from proxyd_ext.filter.hooks import Hooks
from tests.support.clock import FakeClock, settle
from tests.support.filters import FakeEngine, FakeWorker, FakeWorkers

WRONG = Failure("error", "own.py:3: KeyError", "Traceback")


class World:
    """A pool of fake workers under a clock that the test moves."""

    def __init__(self, file: Path = Path("/none.py"), workers: FakeWorkers | None = None) -> None:
        self.clock, self.workers = FakeClock(), workers or FakeWorkers()
        self.hooks, self.engine, self.counters = Hooks("own"), FakeEngine(), FilterCounters()
        self.settings = FilterSettings("own", file, 1.0, max_pending=4, disable_after=3)
        self.pool = Pool(self.hooks, self.settings, self.clock, self.counters, self.workers)
        self._slots = 0

    async def start(self) -> World:
        self.pool.take(self.settings, await self.pool.prepare(self.settings))
        return self

    @property
    def worker(self) -> FakeWorker:
        return self.workers.living[-1]

    def ask(self, hook: HookWord = "request") -> None:
        self._slots += 1
        self.pool.ask(self.engine, self._slots, 1, hook, b"")

    def call(self, answer: Change | Reply | Failure, times: int = 1) -> None:
        for _ in range(times):
            self.ask()
            self.worker.answer(self.worker.asked[-1], answer)


async def test_answers_reach_the_engine_and_are_counted() -> None:
    world = await World().start()
    world.call(PASSED)
    world.call(Change(lines=b"X: 1\r\n", path="/b"))
    await world.clock.advance(0.02)
    world.ask("response")
    await world.clock.advance(0.02)
    world.worker.answer(world.worker.asked[-1], Reply(200, b"head", b"body"))
    world.call(WRONG)
    assert world.engine.heard == [(1, {}), (2, {"lines": b"X: 1\r\n", "path": "/b"}), (3, (200, b"head", b"body")), (4, "failed")]
    assert {result: number for result, number in world.counters.calls.items() if number} == {
        ("request", "passed"): 1, ("request", "changed"): 1, ("response", "replied"): 1, ("request", "error"): 1,
    }
    assert world.counters.durations["response"].counts[5] == 1
    assert world.counters.durations["response"].sum == pytest.approx(0.02)
    await world.pool.close()


async def test_what_the_engine_cannot_do_is_a_failure_of_the_filter() -> None:
    world = await World().start()
    world.call(Change(path="//b"))
    assert world.engine.heard == [(1, "failed")]
    assert world.counters.calls["request", "error"] == 1
    await world.pool.close()


async def test_more_than_may_be_pending_are_refused_and_say_nothing_about_the_filter() -> None:
    world = await World().start()
    for _ in range(10):
        world.ask()
    assert world.counters.calls["request", "refused"] == 6
    assert world.engine.heard == [(slot, "failed") for slot in range(5, 11)]
    assert not world.hooks.failing
    await world.pool.close()


async def test_the_deadline_holds_without_an_answer() -> None:
    world = await World().start()
    world.ask()
    await settle()
    await world.clock.advance(1.1)
    assert world.engine.heard == [(1, "failed")]
    assert world.counters.calls["request", "timeout"] == 1
    assert world.worker.deadlines == [1001.0]
    await world.clock.advance(1.0)
    assert world.counters.restarts["stuck"] == 1
    await world.pool.close()


async def test_what_an_older_version_still_fails_at_is_not_held_against_the_new_one(tmp_path: Path) -> None:
    world = await World(tmp_path / "old.py").start()
    for _ in range(3):
        world.ask()
    settings = replace(world.settings, file=tmp_path / "new.py")
    world.pool.take(settings, await world.pool.prepare(settings))
    await settle()
    await world.clock.advance(1.1)
    assert world.engine.heard == [(slot, "failed") for slot in (1, 2, 3)]
    assert not world.hooks.failing
    world.call(WRONG, 2)
    assert not world.hooks.failing
    world.call(WRONG)
    assert world.hooks.failing
    await world.pool.close()


async def test_failures_in_a_row_disable_for_longer_and_longer() -> None:
    world = await World().start()
    world.call(WRONG, 2)
    world.call(PASSED)
    world.call(WRONG, 2)
    assert not world.hooks.failing
    world.call(WRONG)
    for pause in (30.0, 60.0):
        assert world.hooks.failing
        assert world.pool.entry().disabled
        await settle()
        await world.clock.advance(pause - 1)
        assert world.hooks.failing
        await world.clock.advance(2)
        assert not world.hooks.failing
        world.call(WRONG)
    assert world.counters.disabled == 3
    await settle()
    await world.clock.advance(121)
    world.call(PASSED)
    world.call(WRONG, 2)
    assert not world.hooks.failing
    await world.pool.close()


async def test_a_crash_counts_for_every_call_that_the_worker_had() -> None:
    world = await World().start()
    for _ in range(3):
        world.ask()
    world.worker.kill("crash", "its process ended")
    assert world.counters.calls["request", "crash"] == 3
    assert world.hooks.failing
    await settle()
    assert world.counters.restarts["crash"] == 1
    await world.pool.close()


async def test_failures_are_told_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    world = await World().start()
    world.pool.take(replace(world.settings, disable_after=0), None)
    world.call(WRONG, 5)
    await world.clock.advance(TELL)
    world.call(WRONG)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 2
    assert "own.py:3: KeyError" in told[0]
    assert "4 failures" in told[1]
    await world.pool.close()


async def test_other_settings_without_other_workers() -> None:
    world = await World().start()
    settings = replace(world.settings, timeout_s=5.0, disable_after=1)
    generation = await world.pool.prepare(settings)
    assert generation is None
    world.pool.take(settings, generation)
    world.ask()
    assert world.worker.deadlines == [1005.0]
    assert len(world.workers.started) == 1
    world.worker.answer(world.worker.asked[0], WRONG)
    assert world.hooks.failing
    await world.pool.close()


async def test_another_generation_takes_over_and_the_old_one_finishes() -> None:
    world = await World().start()
    world.ask()
    old = world.worker
    world.call(WRONG, 3)
    assert world.hooks.failing
    world.workers.hooks = frozenset({"response"})
    settings = replace(world.settings, workers=2)
    world.pool.take(settings, await world.pool.prepare(settings))
    assert (world.hooks.request, world.hooks.response, world.hooks.failing) == (False, True, False)
    assert world.pool.entry().workers == 2
    world.ask()                                   # of an older snapshot: a hook that is gone lets everything pass
    await settle()
    assert not old.closed
    old.answer(old.asked[0], Change(lines=b"X: 1\r\n"))
    await settle()
    assert old.closed
    assert world.engine.heard[-2:] == [(5, {}), (1, {"lines": b"X: 1\r\n"})]
    await world.pool.close()
    assert world.workers.living == []


async def test_what_does_not_load_changes_nothing() -> None:
    world = await World().start()
    world.workers.broken = True
    with pytest.raises(LoadFailed):
        await world.pool.prepare(replace(world.settings, file=Path("/other.py")))
    world.call(PASSED)
    assert world.engine.heard == [(1, {})]
    await world.pool.close()


async def test_closing_fails_what_is_pending() -> None:
    world = await World().start()
    world.ask()
    await world.pool.close()
    world.ask()
    assert world.engine.heard == [(1, "failed"), (2, "failed")]
    assert world.workers.living == []


class Looked:
    """Lets the pool look at the files, one look after the other (each is on a thread)."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def __call__(self, times: int) -> None:
        for _ in range(times):
            await self.world.clock.sleeping(1)
            await self.world.clock.advance(LOOK)
        await self.world.clock.sleeping(1)
        await settle()


async def test_a_changed_file_brings_a_new_generation(tmp_path: Path) -> None:
    (file := tmp_path / "own.py").write_text("a = 1")
    world = await World(file).start()
    look = Looked(world)
    await look(2)
    assert len(world.workers.started) == 1
    file.write_text("a = 12")
    await look(3)
    assert [worker.closed for worker in world.workers.started] == [True, False]
    assert world.counters.reloads == {"ok": 1, "failed": 0}
    world.call(PASSED)
    await world.pool.close()


async def test_a_changed_file_that_does_not_load_leaves_the_old_version(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (file := tmp_path / "own.py").write_text("a = 1")
    world = await World(file).start()
    look = Looked(world)
    await look(1)
    world.workers.broken = True
    file.write_text("a = x")
    await look(4)
    assert world.counters.reloads == {"ok": 0, "failed": 1}
    assert "NameError: name 'x' is not defined" in caplog.text
    world.call(PASSED)
    assert world.engine.heard == [(1, {})]
    world.workers.broken = False
    file.write_text("a = 123")
    await look(3)
    assert world.counters.reloads == {"ok": 1, "failed": 1}
    await world.pool.close()


async def test_a_config_that_comes_while_a_changed_file_loads_wins(tmp_path: Path) -> None:
    (file := tmp_path / "own.py").write_text("a = 1")
    world = await World(file).start()
    look = Looked(world)
    await look(1)
    gate = asyncio.Event()
    world.workers.gate = gate
    file.write_text("a = 12")
    await look(1)
    await world.clock.advance(LOOK)
    await world.workers.loading.wait()
    world.workers.gate = None
    settings = replace(world.settings, workers=2)
    world.pool.take(settings, await world.pool.prepare(settings))
    gate.set()
    await world.clock.sleeping(1)
    await settle()
    assert len(world.workers.living) == 2
    assert world.counters.reloads == {"ok": 0, "failed": 0}
    await world.pool.close()
