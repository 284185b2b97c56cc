from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from proxyd.clock import SystemClock
from proxyd.config import load_text
from proxyd.config.address import BindAddress
from proxyd.config.model import Config
from proxyd.filters.process import start_worker
from proxyd.filters.protocol import PASSED
from proxyd.filters.service import Filters
from proxyd.snapshot.build import build_spec
from proxyd.snapshot.members import members_of
from proxyd.snapshot.store import Store
from proxyd.snapshot.verdicts import null_listener
from proxyd.state import DaemonError
from proxyd.tasks import Tasks
from proxyd_ext.filter.hooks import Hooks
from proxyd_ext.io.listener import Listener
from proxyd_ext.snapshot.spec import PythonFilter, SnapshotSpec
from tests.support.clock import FakeClock, settle
from tests.support.filters import REQUEST, FakeEngine, FakeWorkers, write_filter
from tests.support.wait import until

FILTERS = Path(__file__).parents[3] / "config" / "filters"


class HastyClock(SystemClock):
    """Looks at files come quickly."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 20)


class World:
    """The service with fake workers, and configs whose policies keep their Hooks, as those of a daemon do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("own", "other"):
            write_filter(folder, "def on_request(request): pass\n", f"{name}.py")
        self.clock, self.workers, self.engine, self.store = FakeClock(), FakeWorkers(), FakeEngine(), Store()
        self.tasks = Tasks(self.clock)
        self.filters = Filters(self.tasks, self.clock, start=self.workers)

    def config(self, use: str, **policies: str) -> Config:
        listed = "".join(f"  {name}: {{python: {text}}}\n" for name, text in policies.items())
        text = f"listen: ':1'\nroutes: [{{to: ['127.0.0.1:9'], use: {use}}}]\npolicies:\n{listed}"
        result = load_text(text, folder=str(self.folder))
        assert result.config is not None, result.diagnostics
        return result.config

    def spec(self, config: Config) -> SnapshotSpec:
        def listen(name: str, bind: BindAddress) -> Listener:
            return null_listener(name, str(bind))

        return build_spec(config, members_of(config, {}), listen, self.store, generation=1, config_hash="")

    async def follow(self, config: Config) -> SnapshotSpec:
        spec = self.spec(config)
        await self.filters.follow(config, spec)
        return spec

    def ask(self, hooks: Hooks, slot: int = 1) -> None:
        self.filters.on_filter(self.engine, slot, 1, hooks.id, "request", REQUEST)


def hooks_of(spec: SnapshotSpec) -> list[Hooks]:
    return [filter_.hooks for filter_ in spec.tables[0][0].filters if isinstance(filter_, PythonFilter)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_nothing_runs_for_a_policy_that_no_route_uses(world: World) -> None:
    await world.follow(world.config("[]", a="own.py"))
    assert world.workers.started == []
    assert world.filters.entries() == ()
    assert world.tasks.names() == []
    await world.filters.close()


async def test_a_filter_answers(world: World) -> None:
    [hooks] = hooks_of(await world.follow(world.config("a", a="{file: own.py, workers: 2}")))
    assert (hooks.request, hooks.response, hooks.failing) == (True, True, False)
    world.ask(hooks)
    worker = next(worker for worker in world.workers.started if worker.asked)
    worker.answer(worker.asked[0], PASSED)
    assert world.engine.heard == [(1, {})]
    [entry] = world.filters.entries()
    assert (entry.policy, entry.workers, entry.wanted, entry.pending, entry.disabled) == ("a", 2, 2, 0, False)
    await world.filters.close()
    assert world.workers.living == []
    world.ask(hooks, 2)
    assert world.engine.heard[-1] == (2, "failed")


async def test_an_unchanged_policy_keeps_its_workers_and_a_changed_one_its_hooks_and_counters(world: World) -> None:
    before = hooks_of(await world.follow(world.config("[a, b]", a="own.py", b="own.py")))
    counters = [entry.counters for entry in world.filters.entries()]
    after = hooks_of(await world.follow(world.config("[a, b]", a="own.py", b="{file: other.py, timeout: 2s}")))
    assert [id(hooks) for hooks in before] == [id(hooks) for hooks in after]
    assert [entry.counters is counted for entry, counted in zip(world.filters.entries(), counters, strict=True)] == [True, True]
    await settle()
    assert [worker.closed for worker in world.workers.started] == [False, True, False]
    await world.filters.close()


async def test_a_filter_that_does_not_load_refuses_the_config_and_leaves_what_serves(world: World) -> None:
    [hooks] = hooks_of(await world.follow(world.config("a", a="own.py")))
    world.workers.most = 2
    with pytest.raises(DaemonError) as caught:
        await world.follow(world.config("[a, b, c]", a="other.py", b="other.py", c="other.py"))
    assert len(caught.value.diagnostics) == 2
    [found, _] = caught.value.diagnostics
    assert (found.code, found.path) == ("PXD-089", "policies.b.python.file")
    assert "other.py:3: NameError" in found.message
    assert [worker.closed for worker in world.workers.started] == [False, True]
    world.ask(hooks)
    assert len(world.workers.started[0].asked) == 1
    await world.filters.close()


async def test_what_was_prepared_is_followed_without_loading_again_or_abandoned(world: World) -> None:
    config = world.config("a", a="own.py")
    spec = world.spec(config)
    await world.filters.prepare(config, spec)
    assert (len(world.workers.started), world.filters.entries()) == (1, ())
    world.workers.broken = True
    await world.filters.follow(config, spec)
    assert len(world.filters.entries()) == 1
    world.workers.broken = False
    other = world.config("a", a="other.py")
    await world.filters.prepare(other, world.spec(other))
    await world.filters.abandon()
    assert [worker.closed for worker in world.workers.started] == [False, True]
    await world.filters.close()


async def test_a_filter_goes_when_no_snapshot_names_it_any_more(world: World) -> None:
    [hooks] = hooks_of(await world.follow(world.config("a", a="own.py")))
    await world.follow(world.config("[]", a="own.py"))
    world.filters.keep_only({hooks.id})
    await settle()
    world.ask(hooks)                       # an exchange of the old snapshot
    assert len(world.workers.started[0].asked) == 1
    world.filters.keep_only(set())
    await settle()
    assert world.workers.living == []
    assert world.engine.heard == [(1, "failed")]
    await world.filters.close()


async def test_a_config_that_is_given_up_while_its_filters_load_leaves_none(world: World) -> None:
    world.workers.gate = asyncio.Event()
    config = world.config("[a, b]", a="own.py", b="own.py")
    following = asyncio.ensure_future(world.filters.follow(config, world.spec(config)))
    await world.workers.loading.wait()
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    assert (world.workers.living, world.filters.entries()) == ([], ())
    await world.filters.close()


async def test_the_example_with_real_workers_and_a_changed_file(world: World) -> None:
    shutil.copy(FILTERS / "tenant.py", world.folder)
    filters = Filters(world.tasks, HastyClock(), start=start_worker)
    config = world.config("t", t="{file: tenant.py, timeout: 20s}")
    spec = world.spec(config)
    await filters.follow(config, spec)
    [hooks] = hooks_of(spec)
    filters.on_filter(world.engine, 1, 1, hooks.id, "request", REQUEST)
    await until(lambda: world.engine.heard, "an answer", 20)
    assert world.engine.heard == [(1, {"lines": b"X-Tenant: acme\r\nX-Plan: gold\r\n", "drop": b"x-tenant\nx-plan\n"})]
    tenant = world.folder / "tenant.py"
    tenant.write_text(tenant.read_text().replace("gold", "silver"))
    [entry] = filters.entries()
    await until(lambda: entry.counters.reloads["ok"], "the new version", 20)
    filters.on_filter(world.engine, 2, 1, hooks.id, "request", REQUEST)
    await until(lambda: len(world.engine.heard) == 2, "an answer", 20)
    assert world.engine.heard[1][1]["lines"] == b"X-Tenant: acme\r\nX-Plan: silver\r\n"
    await filters.close()
