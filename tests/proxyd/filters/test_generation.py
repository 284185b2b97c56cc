from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from proxyd.filters.generation import RESTART_FIRST, SILENCE, STEADY, WINDOW, Call, Generation
from proxyd.filters.process import GoneWord, LoadFailed
from proxyd.filters.protocol import PASSED, Answer, Failure
from tests.support.clock import FakeClock, settle
from tests.support.filters import FakeEngine, FakeWorkers

TIMEOUT = 1.0


class Results:
    def __init__(self) -> None:
        self.heard: list[tuple[int, str, bool]] = []        # slot, word, crashed
        self.restarts: list[str] = []

    def on_result(self, call: Call, answer: Answer, crashed: bool) -> None:
        self.heard.append((call.slot, answer.word if isinstance(answer, Failure) else "answered", crashed))

    def on_restart(self, word: GoneWord, reason: str) -> None:
        self.restarts.append(word)


class World:
    """A generation of fake workers under a clock that the test moves."""

    def __init__(self, workers: int = 1) -> None:
        self.clock, self.workers, self.results = FakeClock(), FakeWorkers(), Results()
        self.generation = Generation("f", Path("/f.py"), workers, self.clock, self.workers)
        self.engine, self._slots = FakeEngine(), 0

    async def start(self) -> World:
        await self.generation.start(self.results)
        return self

    def ask(self, number: int = 1) -> None:
        for _ in range(number):
            self._slots += 1
            now = self.clock.monotonic()
            self.generation.ask(Call(self.engine, self._slots, 1, "request", b"", now, now + TIMEOUT))

    def look(self) -> None:
        self.generation.look(self.clock.monotonic())


async def test_calls_are_spread_over_the_workers() -> None:
    world = await World(workers=3).start()
    world.ask(7)
    assert sorted(len(worker.asked) for worker in world.workers.started) == [2, 2, 3]
    await world.generation.close()
    assert all(worker.closed for worker in world.workers.started)
    assert [word for _, word, _ in world.results.heard] == ["error"] * 7


async def test_a_worker_has_a_window_and_the_others_wait() -> None:
    world = await World().start()
    world.ask(WINDOW + 2)
    worker = world.workers.started[0]
    assert len(worker.asked) == WINDOW
    assert world.generation.pending == WINDOW + 2
    worker.answer(worker.asked[5], PASSED)
    assert len(worker.asked) == WINDOW + 1
    worker.answer(worker.asked[5], PASSED)      # twice
    worker.answer(99_999, PASSED)               # unasked
    assert world.results.heard == [(6, "answered", False)]
    await world.clock.advance(TIMEOUT)
    world.look()
    assert len(world.results.heard) == WINDOW + 2
    await world.generation.close()


async def test_an_overdue_call_fails_once_and_a_late_answer_is_dropped() -> None:
    world = await World().start()
    world.ask()
    await world.clock.advance(TIMEOUT)
    world.look()
    world.look()
    assert world.results.heard == [(1, "timeout", False)]
    worker = world.workers.started[0]
    worker.answer(worker.asked[0], PASSED)
    assert world.results.heard == [(1, "timeout", False)]
    assert world.generation.pending == 0
    await world.generation.close()


async def test_a_silent_worker_with_an_overdue_call_gets_no_more_and_is_killed() -> None:
    world = await World(workers=2).start()
    world.ask()
    stuck, other = world.workers.started
    await world.clock.advance(TIMEOUT + 0.01)
    other.last_heard = world.clock.monotonic()
    world.look()
    world.ask(3)
    assert (len(stuck.asked), len(other.asked)) == (1, 3)
    await world.clock.advance(SILENCE)
    world.look()
    await settle()
    assert (stuck.killed, stuck.closed, other.killed) == ("stuck", True, "")
    assert world.results.restarts == ["stuck"]
    assert len(world.workers.living) == 2
    await world.generation.close()


async def test_a_worker_that_is_heard_is_not_stuck() -> None:
    world = await World().start()
    world.ask()
    for _ in range(30):
        await world.clock.advance(TIMEOUT / 10)
        world.workers.started[0].last_heard = world.clock.monotonic()
        world.look()
    assert world.workers.started[0].killed == ""
    await world.generation.close()


async def test_calls_of_a_worker_that_dies_fail_and_those_that_wait_go_to_its_successor() -> None:
    world = await World().start()
    world.ask(WINDOW + 1)
    world.workers.started[0].kill("crash", "its process ended")
    assert world.results.heard == [(slot + 1, "error", True) for slot in range(WINDOW)]
    await settle()
    assert len(world.workers.started[1].asked) == 1
    await world.generation.close()


async def test_restarts_come_later_and_later_and_at_once_after_a_steady_life() -> None:
    world = await World().start()
    for wait in (0.0, RESTART_FIRST, 2 * RESTART_FIRST):
        world.workers.living[0].kill("crash", "")
        await settle()
        if wait:
            assert world.generation.workers == 0
            await world.clock.advance(wait - 0.001)
            assert world.generation.workers == 0
            await world.clock.advance(0.002)
        assert world.generation.workers == 1
    await world.clock.advance(STEADY + 1)
    world.workers.living[0].kill("crash", "")
    await settle()
    assert world.generation.workers == 1
    assert world.results.restarts == ["crash"] * 4
    await world.generation.close()


async def test_a_successor_that_does_not_load_is_tried_again() -> None:
    world = await World().start()
    world.workers.broken = True
    world.workers.started[0].kill("crash", "")
    await settle()
    await world.clock.advance(RESTART_FIRST * 3)
    assert world.generation.workers == 0
    world.workers.broken = False
    await world.clock.advance(RESTART_FIRST * 4)
    assert world.generation.workers == 1
    await world.generation.close()


async def test_an_error_of_our_own_does_not_leave_a_place_empty() -> None:
    world = await World().start()
    world.workers.raises = RuntimeError("a bug")
    world.workers.started[0].kill("crash", "")
    await settle()
    assert world.generation.workers == 0
    await world.clock.advance(5)
    assert world.generation.workers == 1
    await world.generation.close()


async def test_what_waits_for_a_worker_until_its_time_is_over_fails() -> None:
    world = await World().start()
    world.workers.broken = True
    world.workers.started[0].kill("crash", "")
    world.ask(2)
    await settle()
    assert world.results.heard == []
    await world.clock.advance(TIMEOUT)
    world.look()
    assert [word for _, word, _ in world.results.heard] == ["timeout"] * 2
    await world.generation.close()


async def test_one_worker_that_does_not_load_is_a_generation_that_does_not() -> None:
    world = World(workers=3)
    world.workers.most = 2
    with pytest.raises(LoadFailed):
        await world.generation.start(world.results)
    assert [worker.closed for worker in world.workers.started] == [True, True]


async def test_leaving_waits_for_what_is_under_way() -> None:
    world = await World().start()
    world.ask(2)
    leaving = asyncio.ensure_future(world.generation.leave())
    worker = world.workers.started[0]
    worker.answer(worker.asked[0], PASSED)
    await settle()
    assert not leaving.done()
    worker.answer(worker.asked[1], PASSED)
    await leaving
    assert worker.closed
    assert world.results.heard == [(1, "answered", False), (2, "answered", False)]


async def test_leaving_ends_with_the_worker_too() -> None:
    world = await World().start()
    world.ask()
    leaving = asyncio.ensure_future(world.generation.leave())
    await settle()
    world.workers.started[0].kill("crash", "")
    await leaving
    assert world.workers.living == []
