"""One load for many callers, lifetimes under a clock that stands still, and several nodes over one server."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from proxyd.aside import AsideCache, Codec, JsonCodec, TextCodec
from proxyd.cachetier import Link, TierSettings
from tests.support.aside_store import SIZE, ClockedValues
from tests.support.clock import FakeClock, settle
from tests.support.memcached_fake import FakeMemcached, fake_memcached
from tests.support.redis_fake import FakeRedis, fake_redis
from tests.support.wait import until


class Loader:
    """A database that answers when it is told to."""

    def __init__(self, value: Any = "value", *, at_once: bool = True) -> None:
        self.value = value
        self.calls = 0
        self.go = asyncio.Event()
        if at_once:
            self.go.set()

    async def __call__(self) -> Any:
        self.calls += 1
        value = self.value             # as it is when the load begins
        await self.go.wait()
        if isinstance(value, Exception):
            raise value
        return value


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def values(clock: FakeClock) -> ClockedValues:
    return ClockedValues(clock)


Make = Callable[..., AsideCache[str]]


@pytest.fixture
async def make(clock: FakeClock, values: ClockedValues) -> AsyncIterator[Make]:
    async with AsyncExitStack() as stack:
        def made(**options: Any) -> AsideCache[str]:
            cache = AsideCache(values, codec=TextCodec(), clock=clock, **options)
            stack.push_async_callback(cache.close)
            return cache

        yield made


# ---------------------------------------------------------------------- one process
async def test_loaded_once_and_then_read(make: Make, clock: FakeClock) -> None:
    cache, loader = make(), Loader()
    assert await cache.get("k") is None
    assert [await cache.get_or_load("k", loader, 10) for _ in range(3)] == ["value"] * 3
    assert await cache.get("k") == "value"
    await clock.advance(10.0)
    assert await cache.get("k") is None
    loader.value = "new"
    assert await cache.get_or_load("k", loader, 10) == "new"
    assert (loader.calls, cache.counters.loads, cache.counters.hits) == (2, 2, 2)


async def test_many_callers_one_load(make: Make) -> None:
    cache, loader = make(), Loader(at_once=False)
    callers = [asyncio.ensure_future(cache.get_or_load("k", loader, 10)) for _ in range(100)]
    await settle()
    loader.go.set()
    assert await asyncio.gather(*callers) == ["value"] * 100
    assert (loader.calls, cache.counters.joined) == (1, 99)


async def test_different_keys_do_not_wait_for_one_another(make: Make) -> None:
    cache, slow, fast = make(), Loader(at_once=False), Loader("fast")
    waiting = asyncio.ensure_future(cache.get_or_load("slow", slow, 10))
    assert await cache.get_or_load("fast", fast, 10) == "fast"
    slow.go.set()
    assert await waiting == "value"


async def test_the_first_caller_goes_away(make: Make) -> None:
    cache, loader = make(), Loader(at_once=False)
    first, second = (asyncio.ensure_future(cache.get_or_load("k", loader, 10)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    loader.go.set()
    assert await second == "value"
    assert loader.calls == 1


async def test_all_callers_go_away_and_the_load_is_kept(make: Make) -> None:
    cache, loader = make(), Loader(at_once=False)
    caller = asyncio.ensure_future(cache.get_or_load("k", loader, 10))
    await settle()
    caller.cancel()
    loader.go.set()
    await settle()
    assert await cache.get("k") == "value"


async def test_an_exception_is_everyones_and_is_not_kept(make: Make) -> None:
    cache, loader = make(), Loader(LookupError("no database"), at_once=False)
    callers = [asyncio.ensure_future(cache.get_or_load("k", loader, 10)) for _ in range(2)]
    await settle()
    loader.go.set()
    assert [str(each) for each in await asyncio.gather(*callers, return_exceptions=True)] == ["no database"] * 2
    loader.value = "back"
    assert await cache.get_or_load("k", loader, 10) == "back"
    assert cache.counters.load_errors == 1


async def test_none_is_not_kept(make: Make, values: ClockedValues) -> None:
    cache, loader = make(), Loader(None)
    for _ in range(2):
        assert await cache.get_or_load("k", loader, 10) is None
    assert loader.calls == 2
    assert values.names() == []


async def test_none_with_a_lifetime(make: Make, clock: FakeClock) -> None:
    cache, loader = make(), Loader(None)
    for _ in range(3):
        assert await cache.get_or_load("k", loader, 10, negative_ttl=2) is None
    assert (loader.calls, cache.counters.negative_hits) == (1, 2)
    await clock.advance(2.0)
    loader.value = "there now"
    assert await cache.get_or_load("k", loader, 10, negative_ttl=2) == "there now"


async def test_it_is_there_after_all(make: Make) -> None:
    """What is put takes the place of what was known not to be, and the other way round."""
    cache, loader = make(), Loader(None)
    await cache.get_or_load("k", loader, 10, negative_ttl=60)
    assert await cache.put("k", "put", 10)
    assert await cache.get_or_load("k", loader, 10) == "put"


async def test_jitter_shortens(clock: FakeClock, values: ClockedValues, make: Make) -> None:
    cache = make(jitter=0.5, chance=lambda: 0.5)
    await cache.get_or_load("k", Loader(), 100)
    await clock.advance(74.0)
    assert await cache.get("k") == "value"
    await clock.advance(1.0)
    assert await cache.get("k") is None


async def test_stale_within_the_grace(make: Make, clock: FakeClock) -> None:
    cache, loader = make(grace=30.0), Loader("old")
    await cache.get_or_load("k", loader, 10)
    await clock.advance(10.0)
    assert await cache.get("k") is None
    loader.value = "new"
    loader.go.clear()
    for _ in range(3):
        assert await cache.get_or_load("k", loader, 10) == "old"
    await settle()
    assert loader.calls == 2
    loader.go.set()
    await settle()
    assert await cache.get_or_load("k", loader, 10) == "new"
    assert (cache.counters.stale_hits, cache.counters.hits) == (3, 1)
    await clock.advance(40.0)
    loader.value = "newest"
    assert await cache.get_or_load("k", loader, 10) == "newest"


async def test_a_refresh_that_fails_leaves_the_old_value(make: Make, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    cache, loader = make(grace=30.0), Loader("old")
    await cache.get_or_load("k", loader, 10)
    await clock.advance(10.0)
    loader.value = OSError("gone")
    for _ in range(2):
        assert await cache.get_or_load("k", loader, 10) == "old"
        await settle()
    assert (loader.calls, cache.counters.refresh_errors) == (3, 2)
    assert "the old value stands" in caplog.text


@pytest.mark.parametrize("how", ["delete", "put", "purge"])
async def test_a_load_that_began_before_a_change_is_not_kept(make: Make, how: str) -> None:
    cache, loader = make(), Loader("before", at_once=False)
    caller = asyncio.ensure_future(cache.get_or_load("k", loader, 10, tags=["t"]))
    await settle()
    if how == "delete":
        assert not await cache.delete("k")
    elif how == "put":
        assert await cache.put("k", "after", 10)
    else:
        assert await cache.purge_tag("t") == 0
    loader.value = "after"
    later = asyncio.ensure_future(cache.get_or_load("k", loader, 10))
    await settle()
    loader.go.set()
    assert (await caller, await later) == ("before", "after")
    assert await cache.get("k") == "after"
    assert cache.counters.not_kept == 1


async def test_purged_by_tag(make: Make, values: ClockedValues) -> None:
    cache = make()
    await cache.get_or_load("a", Loader(), 10, tags=["t", "u"])
    await cache.get_or_load("b", Loader(None), 10, negative_ttl=10, tags=["t"])
    await cache.put("c", "c", 10, tags=["u"])
    assert await cache.purge_tag("t") == 2
    assert values.names() == ["c"]
    assert await cache.delete("c")


async def test_too_large_for_the_store(clock: FakeClock) -> None:
    large = bytes(SIZE)
    async with AsideCache(ClockedValues(clock), clock=clock) as cache:
        assert await cache.put("k", b"1234", 10)
        assert not await cache.put("k", large, 10)
        assert await cache.get("k") is None, "the old one does not stand for it"
        assert await cache.get_or_load("k", Loader(large), 10) == large
        assert cache.counters.not_kept == 2


async def test_codecs(clock: FakeClock, values: ClockedValues) -> None:
    async with AsideCache(values, codec=JsonCodec(), clock=clock, prefix="json:") as cache:
        await cache.put("k", {"a": [1, "ä"]}, 10)
        assert await cache.get("k") == {"a": [1, "ä"]}
        values.put("json:k", b"{", 10_000)
        assert await cache.get_or_load("k", Loader([]), 10) == []
        assert cache.counters.unreadable == 1
    raw: Codec[str] = TextCodec()
    assert raw.decode(raw.encode("ä")) == "ä"


async def test_what_makes_no_sense(make: Make, values: ClockedValues) -> None:
    cache, loader = make(), Loader()
    for refused in (
        cache.get_or_load("k", loader, 0), cache.get_or_load("k", loader, 1, negative_ttl=-1), cache.put("k", "v", 0), cache.get("k\0-"),
    ):
        with pytest.raises(ValueError, match=r"lifetime|NUL"):
            await refused
    with pytest.raises(ValueError, match="jitter"):
        make(jitter=2.0)


async def test_closing_cancels(make: Make) -> None:
    cache, loader = make(), Loader(at_once=False)
    caller = asyncio.ensure_future(cache.get_or_load("k", loader, 10))
    await settle()
    await cache.close()
    with pytest.raises(asyncio.CancelledError):
        await caller


# ---------------------------------------------------------------------- several nodes
@dataclass
class Nodes:
    server: FakeRedis | FakeMemcached
    clock: FakeClock
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def node(self, *, timeout_s: float = 10.0, **options: Any) -> tuple[AsideCache[str], ClockedValues]:
        values = ClockedValues(self.clock)
        where = (self.server.url, "") if isinstance(self.server, FakeRedis) else ("", self.server.address)
        link = Link(TierSettings(*where, timeout_s=timeout_s, circuit_failures=2), values, self.clock)
        await link.start()
        self.stack.push_async_callback(link.close)
        await until(lambda: link.mark.token or link.circuit_open, "the log has been read")
        cache = AsideCache(values, codec=TextCodec(), link=link, clock=self.clock, **options)
        self.stack.push_async_callback(cache.close)
        return cache, values


@pytest.fixture(params=["redis", "memcached"])
async def nodes(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[Nodes]:
    async with fake_redis() if request.param == "redis" else fake_memcached() as server:
        made = Nodes(server, clock)
        async with made.stack:
            yield made


async def moved(clock: FakeClock, condition: Callable[[], object]) -> None:
    """Until it holds, while the clock of the nodes goes on, slowly."""
    for _ in range(2_000):
        if condition():
            return
        await clock.advance(0.01)
        await asyncio.sleep(0.001)
    raise AssertionError("it did not happen")


async def test_one_load_for_all_nodes(nodes: Nodes, clock: FakeClock) -> None:
    (one, _), (two, _) = await nodes.node(), await nodes.node()
    loader, other = Loader("from one", at_once=False), Loader("from two")
    first = asyncio.ensure_future(one.get_or_load("k", loader, 60))
    await until(lambda: loader.calls)
    second = asyncio.ensure_future(two.get_or_load("k", other, 60))
    await moved(clock, lambda: two._shared is not None and two._shared.waited)
    loader.go.set()
    await moved(clock, second.done)
    assert (await first, await second, other.calls, two.counters.tier_hits) == ("from one", "from one", 0, 1)
    assert await two.get_or_load("k", other, 60) == "from one"
    assert two.counters.hits == 1


async def test_none_is_shared_with_its_lifetime(nodes: Nodes) -> None:
    (one, _), (two, _) = await nodes.node(), await nodes.node()
    assert await one.get_or_load("k", Loader(None), 60, negative_ttl=60) is None
    assert await two.get_or_load("k", Loader("x"), 60) is None or two.counters.loads == 0
    assert two.counters.tier_hits == 1


async def test_the_loading_node_dies(nodes: Nodes, clock: FakeClock) -> None:
    (one, _), (two, _) = await nodes.node(), await nodes.node(wait_s=2.0)
    loader = Loader(at_once=False)
    first = asyncio.ensure_future(one.get_or_load("k", loader, 60))
    await until(lambda: loader.calls)
    second = asyncio.ensure_future(two.get_or_load("k", Loader("own"), 60))
    await moved(clock, second.done)
    assert await second == "own"
    assert two._shared is not None
    assert two._shared.waited_in_vain == 1
    loader.go.set()
    assert await first == "value"


async def test_a_load_that_fails_lets_the_next_node_load(nodes: Nodes, clock: FakeClock) -> None:
    (one, _), (two, _) = await nodes.node(), await nodes.node()
    with pytest.raises(OSError, match="gone"):
        await one.get_or_load("k", Loader(OSError("gone")), 60)
    assert await two.get_or_load("k", Loader("own"), 60) == "own"
    assert two._shared is not None
    assert two._shared.waited == 0


async def test_a_dead_server_is_a_cache_of_ones_own(nodes: Nodes) -> None:
    cache, _ = await nodes.node(timeout_s=0.05)
    await nodes.server.stop()
    loader = Loader()
    for _ in range(3):
        assert await cache.get_or_load("k", loader, 60) == "value"
    assert await cache.delete("k")
    assert await cache.put("k", "put", 60)
    assert await cache.get("k") == "put"
    assert loader.calls == 1
    await nodes.server.start()


@pytest.mark.parametrize("how", ["delete", "put", "purge"])
async def test_a_change_reaches_other_nodes(nodes: Nodes, clock: FakeClock, how: str) -> None:
    (one, _), (two, values) = await nodes.node(), await nodes.node()
    assert await one.get_or_load("k", Loader("old"), 60, tags=["t"]) == "old"
    assert await two.get_or_load("k", Loader("never"), 60, tags=["t"]) == "old"
    match how:
        case "delete":
            assert await one.delete("k")
        case "put":
            assert await one.put("k", "new", 60)
        case _:
            assert await one.purge_tag("t") >= 1
    await moved(clock, lambda: "k" not in values.names())
    assert await two.get_or_load("k", Loader("new"), 60) == "new"
    assert two.counters.loads == (0 if how == "put" else 1)


async def test_a_load_from_before_a_purge_elsewhere_is_kept_nowhere(nodes: Nodes, clock: FakeClock) -> None:
    (one, _), (two, values) = await nodes.node(), await nodes.node()
    loader = Loader("old", at_once=False)
    loading = asyncio.ensure_future(two.get_or_load("k", loader, 60, tags=["t"]))
    await until(lambda: loader.calls)
    await one.purge_tag("t")
    assert two._shared is not None
    link = two._shared.link
    await moved(clock, lambda: link.carried_out)
    loader.go.set()
    assert await loading == "old"
    assert values.names() == []
    assert await one.get_or_load("k", Loader("new"), 60) == "new"
