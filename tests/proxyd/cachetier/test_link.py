"""Against both servers, over sockets: what is stored is found, what was purged is not, and trouble costs what it may."""
from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from proxyd.cachetier import Link, TierSettings
from proxyd.cachetier.envelope import Envelope, wrap
from proxyd.cachetier.tier import PurgeKind, digest
from tests.support.clock import FakeClock
from tests.support.memcached_fake import FakeMemcached, fake_memcached
from tests.support.redis_fake import FakeRedis, Mood, fake_redis
from tests.support.tier_store import FakeObject, FakeStore
from tests.support.wait import until

PATIENT, HASTY = 10.0, 0.03        # seconds


@dataclass
class Node:
    """One proxyd: its memory and its link."""

    link: Link
    store: FakeStore

    async def share(self, stored: FakeObject, ttl_s: int = 60) -> bool:
        return await self.link.store(
            stored.key, stored.blob(), ttl_s, self.link.mark, vary=stored.vary, variant=stored.variant, url=stored.url, tags=stored.tags)

    def hurry(self) -> None:
        """From now on trouble is expected, and to be over soon."""
        self._take(HASTY)

    def relax(self) -> None:
        """From now on all is well again, but the machine may be busy."""
        self._take(PATIENT)

    def _take(self, timeout_s: float) -> None:
        self.link._guard._settings = replace(self.link.settings, timeout_s=timeout_s)

    async def look(self, stored: FakeObject, variant: bytes | None = b"") -> int:
        return await self.link.lookup(stored.key, variant, self.store.load)


@dataclass
class Scene:
    server: FakeRedis | FakeMemcached
    clock: FakeClock = field(default_factory=FakeClock)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def node(self, *, up: bool = True, empty: bool = True) -> Node:
        where = (self.server.url, "") if isinstance(self.server, FakeRedis) else ("", self.server.address)
        store = FakeStore()
        node = Node(Link(TierSettings(*where, timeout_s=PATIENT, circuit_failures=3), store, self.clock, empty=empty), store)
        if not up:
            node.hurry()
        await node.link.start()
        self.stack.push_async_callback(node.link.close)
        if up:
            await until(lambda: node.link.mark.token, "the log has been read")
        return node

    async def goes_on(self, node: Node) -> None:
        """Let the follower have its turn, however it waits."""
        for _ in range(3):
            await self.clock.advance(10.0)


@asynccontextmanager
async def scene_with(kind: str) -> AsyncIterator[Scene]:
    async with fake_redis() if kind == "redis" else fake_memcached() as server:
        scene = Scene(server)
        async with scene.stack:
            yield scene


@pytest.fixture(params=["redis", "memcached"])
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    async with scene_with(request.param) as made:
        yield made


@pytest.fixture
async def redis() -> AsyncIterator[Scene]:
    async with scene_with("redis") as made:
        yield made


@pytest.fixture
async def memcached() -> AsyncIterator[Scene]:
    async with scene_with("memcached") as made:
        yield made


# ---------------------------------------------------------------------- answers
async def test_what_one_node_stores_another_finds(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    stored = FakeObject(tags=["a"])
    assert await two.look(stored) == 0
    assert await one.share(stored)
    assert await two.look(stored) == 1
    assert two.store.objects == {(b"app\0k", b""): stored}
    counters = two.link.counters
    assert (counters.lookup_miss, counters.lookup_hit, one.link.counters.store_done) == (1, 1, 1)
    assert counters.bytes_read == one.link.counters.bytes_written > 0


async def test_variants_are_told_apart(scene: Scene) -> None:
    node = await scene.node()
    one = FakeObject(vary="accept-language", variant=b"de", text="eins")
    two = FakeObject(vary="accept-language", variant=b"en", text="one")
    assert await node.share(one)
    assert await node.share(two)
    assert await node.look(one, b"fr") == 0
    assert await node.look(one, b"en") == 1
    assert node.store.texts() == ["one"]


async def test_without_knowing_the_names_all_variants_are_loaded(scene: Scene) -> None:
    node = await scene.node()
    for word in ("de", "en"):
        assert await node.share(FakeObject(vary="accept-language", variant=word.encode(), text=word))
    assert await node.look(FakeObject(), None) == 2
    assert node.store.texts() == ["de", "en"]


async def test_without_knowing_the_names_one_that_does_not_vary(scene: Scene) -> None:
    node = await scene.node()
    assert await node.look(FakeObject(), None) == 0
    assert await node.share(FakeObject())
    assert await node.look(FakeObject(), None) == 1


async def test_forgotten(scene: Scene) -> None:
    node = await scene.node()
    assert await node.share(FakeObject())
    assert await node.link.forget(FakeObject().key)
    assert await node.look(FakeObject(), None) == 0


async def test_the_longest_life_counts(redis: Scene) -> None:
    node = await redis.node()
    name = b"proxyd:o:" + digest(FakeObject().key).encode()
    for ttl_s, kept_s in ((60, 60), (10, 60), (90, 90)):
        assert await node.share(FakeObject(), ttl_s)
        assert redis.server.expiries[name] == kept_s


async def test_variants_are_bounded(redis: Scene) -> None:
    node = await redis.node()
    for number in range(65):
        assert await node.share(FakeObject(vary="cookie", variant=b"%d" % number))
    assert isinstance(redis.server, FakeRedis)
    assert redis.server.hashes == {}


# ---------------------------------------------------------------------- purges
@pytest.mark.parametrize(("kind", "text"), [
    ("url", "http://a/x"), ("url", "http://a/x?other=query"), ("prefix", "http://a/"), ("host", "a"), ("tag", "t"), ("all", ""),
])
async def test_a_purged_answer_does_not_come_back(scene: Scene, kind: PurgeKind, text: str) -> None:
    one, two = await scene.node(), await scene.node()
    stored, other = FakeObject(tags=["t", "u"]), FakeObject(key=b"app\0other", url="https://b/y", tags=["v"])
    assert await one.share(stored)
    assert await one.share(other)
    assert await two.link.purge(kind, text) == (0, True)
    for node in (one, two):
        assert await node.look(stored) == 0
        assert await node.look(other) == (kind != "all")
    assert two.link.counters.lookup_purged == 1 + (kind == "all")
    # What is stored from now on is good again.
    assert await one.share(stored)
    assert await two.look(stored) == 1


async def test_the_memory_of_other_nodes_is_purged_too(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    for node in (one, two):
        node.store.hold(FakeObject(tags=["t"]))
    assert await one.link.purge("tag", "t", soft=True) == (1, True)
    await scene.goes_on(two)
    await until(lambda: two.store.purges, "the order arrived")
    assert one.store.purges == two.store.purges == [("tag", "t", True)]
    assert (one.link.counters.purges_sent, two.link.counters.purges_received, one.link.counters.purges_received) == (1, 1, 0)


async def test_what_was_made_before_a_purge_is_not_shared_after_it(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    stored = FakeObject(tags=["t"])
    mark = one.link.mark
    await one.link.purge("tag", "t")
    assert not await one.link.store(stored.key, stored.blob(), 60, mark, url=stored.url, tags=stored.tags)
    assert one.link.counters.store_unfit == 1
    # A node that has not heard of it stores it all the same; it is found out when it is looked up.
    assert await two.link.store(stored.key, stored.blob(), 60, mark, url=stored.url, tags=["t"]) or two.link.counters.store_unfit
    assert await two.look(stored) == 0


async def test_a_node_that_was_away_catches_up_before_it_loads(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    stored = FakeObject(tags=["t"])
    two.store.hold(stored)
    await two.link._tasks.close()                 # it no longer listens
    two.link._tasks = type(two.link._tasks)(scene.clock)
    assert await one.share(FakeObject(key=b"app\0n", tags=["t"]))
    await one.link.purge("tag", "t")
    assert await two.look(FakeObject(key=b"app\0n")) == 0
    assert two.store.purges == [("tag", "t", False)]


async def test_purges_wait_for_the_server(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    stored = FakeObject(tags=["t"])
    one.store.hold(FakeObject(tags=["t"]))
    assert await two.share(stored)
    await scene.server.stop()
    one.hurry()
    assert await one.link.purge("tag", "t") == (1, False)
    assert one.link.unsent == 1
    await scene.server.start()
    one.relax()
    assert await one.look(stored) == 0, "it knows better than the server"
    await until_recovered(scene, one)
    await until_true(scene, lambda: one.link.unsent == 0)
    assert one.link.counters.purges_late == 1
    await until_recovered(scene, two)
    assert await two.look(stored) == 0


async def test_too_many_that_wait_become_one_of_everything(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyd.cachetier.link.UNSENT_MOST", 10)
    node = await scene.node()
    await scene.server.stop()
    node.hurry()
    for number in range(12):
        await node.link.purge("tag", str(number))
    assert node.link.unsent == 2


async def test_a_purge_that_no_store_can_carry_out_does_not_end_the_log(scene: Scene) -> None:
    """Half a surrogate is a text of JSON and none of a store: all nodes would read it again and again, and get no further."""
    one, two = await scene.node(), await scene.node()
    stored = two.store.hold(FakeObject(tags=["t"]))
    assert await one.link.purge("tag", "\ud800") == (0, True)
    assert await one.link.purge("tag", "t") == (0, True)
    await until_true(scene, lambda: not two.store.objects)
    await until_true(scene, lambda: one.link.mark == two.link.mark)
    assert await one.share(stored)
    assert await two.look(stored) == 1
    assert two.link.counters.failures == 0


async def test_a_server_that_lost_its_data(scene: Scene) -> None:
    """Orders that were given meanwhile are found in its new log, and what carries the old token counts for nothing."""
    one, two = await scene.node(), await scene.node()
    for each in ("a", "b"):
        await one.link.purge("tag", each)
    old = FakeObject(key=b"app\0old")
    raw = wrap(Envelope(old.key, one.link.mark.token, one.link.mark.serial, old.url, [], old.blob()))
    scene.server.wipe()
    await one.link.purge("tag", "t")
    await scene.goes_on(two)
    await until_true(scene, lambda: ("tag", "t", False) in two.store.purges)
    put(scene, old.key, raw)
    assert await two.look(old) == 0
    assert await two.share(old)
    assert await one.look(old) == 1


async def test_history_that_is_lost_empties_memory(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyd.cachetier.redis_tier.LOG_MOST", 3)
    monkeypatch.setattr("proxyd.cachetier.memcached_tier.LOG_MOST", 3)
    one, two = await scene.node(), await scene.node()
    await two.link._tasks.close()
    two.link._tasks = type(two.link._tasks)(scene.clock)
    stored = two.store.hold(FakeObject())
    assert await two.share(stored)
    for number in range(5):
        await one.link.purge("tag", str(number))
    assert await two.look(stored) == 0
    assert two.store.purges == [("all", "", False)]
    assert two.link.counters.history_lost == 1


async def test_a_node_that_starts_need_not_purge_its_empty_memory(scene: Scene) -> None:
    one = await scene.node()
    await one.link.purge("tag", "t")
    two = await scene.node()
    assert two.store.purges == []
    three = await scene.node(empty=False)
    assert three.store.purges == [("tag", "t", False)]


async def test_what_was_purged_while_a_node_was_down(scene: Scene) -> None:
    one = await scene.node()
    await one.link.purge("tag", "before")
    await until_true(scene, lambda: one.link.mark.serial)
    mark = one.link.mark
    await one.link.purge("tag", "after")
    two = await scene.node()
    assert await two.link.replay(mark)
    assert two.store.purges == [("tag", "after", False)]


# ---------------------------------------------------------------------- trouble
async def until_true(scene: Scene, condition: object) -> None:
    """Until it holds, while the clock of the nodes goes on."""
    assert callable(condition)
    for _ in range(2_000):
        if condition():
            return
        await scene.clock.advance(1.0)
        await asyncio.sleep(0.001)
    raise AssertionError("it did not happen")


async def until_recovered(scene: Scene, node: Node) -> None:
    await until_true(scene, lambda: not node.link.circuit_open)


def put(scene: Scene, key: bytes, raw: bytes) -> None:
    """Write what nobody stored, as the answer under `key`."""
    if isinstance(scene.server, FakeRedis):
        scene.server.hashes[b"proxyd:o:" + digest(key).encode()] = {b"vary": b"", digest(b"").encode(): raw}
    else:
        scene.server.put(b"proxyd:o:" + digest(key, b"").encode(), raw)


@pytest.mark.parametrize("mood", ["silent", "garbage", "errors", "hangs up"])
async def test_trouble_opens_the_circuit_and_recovery_closes_it(scene: Scene, mood: Mood) -> None:
    node = await scene.node()
    stored = FakeObject()
    assert await node.share(stored)
    if isinstance(scene.server, FakeRedis):
        await until(lambda: scene.server.commands.count(b"EXEC") >= 3, "it has read the log twice, and listens")
    scene.server.mood = mood
    node.hurry()
    counters = node.link.counters
    for _ in range(3):
        began = time.monotonic()
        assert await node.look(stored) == 0
        assert time.monotonic() - began < 1.0
    assert node.link.circuit_open
    assert counters.circuit_opened == 1
    assert counters.lookup_timeout + counters.lookup_error + counters.lookup_invalid + counters.lookup_skipped == 3
    asked = len(scene.server.commands)
    assert await node.look(stored) == 0
    assert not await node.share(stored)
    assert len(scene.server.commands) == asked, "nobody asks while it is open"
    assert (counters.lookup_skipped >= 1, counters.store_skipped) == (True, 1)
    assert node.link.last_error
    scene.server.mood = "well"
    node.relax()
    await until_recovered(scene, node)
    assert await node.look(stored) == 1


async def test_a_dead_server_is_no_reason_not_to_start(scene: Scene) -> None:
    await scene.server.stop()
    node = await scene.node(up=False)
    await until_true(scene, lambda: node.link.circuit_open)
    assert await node.look(FakeObject()) == 0
    node.store.hold(FakeObject(tags=["t"]))
    assert await node.link.purge("tag", "t") == (1, False)
    await scene.server.start()
    node.relax()
    await until_recovered(scene, node)
    await until_true(scene, lambda: node.link.mark.token)
    assert await node.share(FakeObject())
    assert await node.look(FakeObject()) == 1


async def test_a_restart_of_the_server_is_noticed_by_itself(scene: Scene) -> None:
    node = await scene.node()
    await scene.server.stop()
    await scene.server.start()
    await until_true(scene, lambda: not node.link.circuit_open)
    assert await node.share(FakeObject()) or await node.share(FakeObject())
    assert await node.look(FakeObject()) == 1


async def test_a_late_answer_reaches_nobody(redis: Scene) -> None:
    node = await redis.node()
    assert await node.share(FakeObject(text="first"))
    other = FakeObject(key=b"app\0other", text="other")
    assert await node.share(other)
    assert isinstance(redis.server, FakeRedis)
    redis.server.mood = "silent"
    node.hurry()
    assert await node.look(FakeObject()) == 0
    redis.server.speak()
    node.relax()
    assert await node.look(other) == 1
    assert node.store.texts() == ["other"]


async def test_damaged_and_foreign_answers(scene: Scene) -> None:
    node = await scene.node()
    mark, stored = node.link.mark, FakeObject()
    good = wrap(Envelope(stored.key, mark.token, mark.serial, stored.url, [], stored.blob()))
    misplaced = wrap(Envelope(b"app\0secret", mark.token, mark.serial, stored.url, [], stored.blob()))
    no_blob = wrap(Envelope(stored.key, mark.token, mark.serial, stored.url, [], b"[]"))
    counters = node.link.counters
    for raw in (good[:-1], b"x" + good, b"", misplaced, no_blob):
        put(scene, stored.key, raw)
        assert await node.look(stored) == 0
        # A good answer in between: damage alone does not open the circuit unless nothing else comes.
        put(scene, stored.key, good)
        assert await node.look(stored) == 1
    assert (counters.lookup_invalid, counters.circuit_opened, counters.lookup_hit) == (5, 0, 5)
    put(scene, stored.key, b"PXT9" + good[4:])
    assert await node.look(stored) == 0
    assert counters.lookup_miss == 1, "of another version: no trouble"
    put(scene, stored.key, misplaced)
    for _ in range(3):
        await node.look(stored)
    assert node.link.circuit_open


async def test_too_old_by_now(scene: Scene) -> None:
    node = await scene.node()
    assert await node.share(FakeObject())
    node.store.too_old = True
    assert await node.look(FakeObject()) == 0
    assert node.link.counters.lookup_miss == 1


async def test_too_large_for_memcached(memcached: Scene) -> None:
    node = await memcached.node()
    stored = FakeObject()
    assert not await node.link.store(stored.key, bytes(1 << 20), 60, node.link.mark)
    assert (node.link.counters.store_refused, node.link.counters.failures) == (1, 0)


async def test_another_node_is_faster_at_the_log(memcached: Scene) -> None:
    one, two = await memcached.node(), await memcached.node()
    server = memcached.server
    assert isinstance(server, FakeMemcached)
    turns = iter([True, True])

    def another(key: bytes) -> None:
        if key == b"proxyd:log" and next(turns, False):
            server.put(key, server.items[key][0])

    server.before_swap = another
    assert await one.link.purge("tag", "t") == (0, True)
    await until_true(memcached, lambda: two.store.purges == [("tag", "t", False)])


async def test_one_lock_among_nodes(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    assert await one.link.lock(b"k", b"one", 10.0) is True
    assert await two.link.lock(b"k", b"two", 10.0) is False
    await two.link.unlock(b"k", b"two")
    assert await two.link.lock(b"k", b"two", 10.0) is False, "it was not its to give back"
    await one.link.unlock(b"k", b"one")
    assert await two.link.lock(b"k", b"two", 10.0) is True
    await scene.server.stop()
    one.hurry()
    assert await one.link.lock(b"k", b"one", 10.0) is None
    await scene.server.start()
