"""Everything at once on a cache that is too small for it: four engines, clients of all manners, bad origins, purges of every kind, and the
control plane that looks, loads, exports, compresses and resizes.

No single answer is expected; but no byte is wrong, nothing that was purged comes back, nothing hangs, and afterwards nothing is left.
PROXYD_STORM_SECONDS makes it longer, PROXYD_STORM_SEED another one.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from proxyd_ext.balance.pool import UpstreamState
from proxyd_ext.balance.server import Server
from proxyd_ext.cache.store import Cache, CachedObject
from proxyd_ext.snapshot.spec import (
    CacheSpec,
    CompressSpec,
    MemberSpec,
    ProxyAction,
    RetrySpec,
    RouteSpec,
    SnapshotSpec,
    TargetSpec,
    UpstreamSpec,
)
from tests.support.blobs import PurgeKind
from tests.support.engine import Rig
from tests.support.storm_world import GZIP, HOST, NOISE, PAGES, Client, OriginServer, Web, parse_tag, path_of

SECONDS = float(os.environ.get("PROXYD_STORM_SECONDS", "2"))
SEED = int(os.environ.get("PROXYD_STORM_SEED", "1"))
CLIENTS = 16
MIB = 1 << 20
PURGES: dict[PurgeKind, int] = {"url": 24, "tag": 6, "prefix": 1, "host": 1, "all": 1}


@dataclass(slots=True)
class Storm:
    rig: Rig
    web: Web
    store: Cache
    blobs: dict[int, bytes] = field(default_factory=dict)  # stands for the second tier
    fence: threading.Lock = field(default_factory=threading.Lock)  # the second tier's purges and loads, which `Sharing` orders
    threads: list[threading.Thread] = field(default_factory=list)
    held: deque[CachedObject] = field(default_factory=lambda: deque(maxlen=30))

    def start(self, name: str, run: Callable[[random.Random], None], seed: int) -> None:
        def guarded() -> None:
            draw = random.Random(seed)
            try:
                while not self.web.over.is_set():
                    run(draw)
            except Exception:
                self.web.wrong(f"{name}: {traceback.format_exc()}")

        self.threads.append(threading.Thread(target=guarded, name=name, daemon=True))
        self.threads[-1].start()

    # ---- what they do ----

    def ask(self, draw: random.Random) -> None:
        """A connection's life. Now and then an answer lies unread while another connection is served, or is left behind."""
        address = ("127.0.0.1", self.rig.ports["web"])
        client = Client(self.web, address, draw)
        for _ in range(draw.choice([1, 5, 30])):
            if self.web.over.is_set():
                break
            sent = client.send(page_of(draw))
            manner = draw.random()
            if manner < 0.03:
                client.close(hard=draw.random() < 0.5)
                return
            if manner < 0.1:
                self.other(draw, address)
            if not client.receive(*sent):
                break
        client.close()

    def other(self, draw: random.Random, address: tuple[str, int]) -> None:
        client = Client(self.web, address, draw)
        client.receive(*client.send(page_of(draw)))
        client.close()

    def purge(self, draw: random.Random) -> None:
        soft = draw.random() < 0.3
        kind: PurgeKind = draw.choices(list(PURGES), list(PURGES.values()))[0]
        page = draw.randrange(PAGES)
        pages, text = list(range(PAGES)), ""
        if kind == "url":
            pages, text = [page], f"http://{HOST}{path_of(page)}"
        elif kind == "tag" and draw.random() < 0.8:
            pages, text = list(range(page % 10, PAGES, 10)), f"t{page % 10}"
        elif kind == "tag":
            text = "all"
        elif kind == "prefix":
            pages, text = list(range(page % 3, PAGES, 3)), f"{HOST}/{'psc'[page % 3]}/"
        elif kind == "host":
            text = HOST
        with self.fence:
            changed = self.web.change(pages)
            self.store.purge(kind, text, soft=soft)
            # Softly purged answers may be served stale where their fields say so.
            self.web.forget([(page, version) for page, version in changed if not soft or page % 3 != 1])
        self.web.seen[f"purge {kind}"] += 1
        self.web.over.wait(draw.choice([0.001, 0.01, 0.1]))

    def look(self, draw: random.Random) -> None:
        """What the control plane and its tiers do."""
        page = draw.randrange(PAGES)
        kind = draw.randrange(5)
        if kind == 0:
            for found in self.store.find(f"http://{HOST}{path_of(page)}?"[: -1 if draw.random() < 0.9 else None]):
                self.examine(found)
                self.held.append(found)
        elif kind == 1:
            cursor, found_all = self.store.export(0, draw.choice([1, 20]))
            while cursor and draw.random() < 0.9:
                for found in found_all[:3]:
                    self.examine(found)
                cursor, found_all = self.store.export(cursor, draw.choice([1, 20, 256]))
        elif kind == 2:
            self.store.stats(), self.store.curve()
        elif kind == 3 and self.blobs:
            self.load(draw.choice(list(self.blobs)))
        elif draw.random() < 0.1:
            self.store.resize(draw.choice([4, 5, 8]) * MIB)
        self.web.over.wait(0.001)

    def load(self, page: int) -> None:
        with self.fence:
            blob = self.blobs.get(page)
            if blob is not None and parse_tag(_etag(blob)).version >= self.web.floors[page]:
                self.web.seen["loaded"] += self.store.load(blob)

    def examine(self, found: CachedObject) -> None:
        """What was found is what it says, whatever becomes of it."""
        state = found.state  # before the body: one that is being filled may be whole by the time that it is looked at
        if state == "marker" or found.key.startswith(b"\0") or not found.etag:
            assert state != "marker" or found.body == b""
            return
        tag, body = parse_tag(found.etag), found.body
        expected = GZIP + tag.body if found.encoding else tag.body
        assert expected[: len(body)] == body, f"{tag}: {len(body)} bytes of {state}"
        if state == "complete" and found.state == "complete":
            assert len(body) == len(expected) == found.size, f"{tag}: {len(body)} of {found.size}, {found.head!r}"
        assert path_of(tag.page) in found.url, f"{tag} is {found.url}"
        if found.share and state == "complete" and not found.encoding and found.key and not found.variant:
            with contextlib.suppress(ValueError):  # it has gone meanwhile
                self.blobs[tag.page] = found.blob()

    def aside(self, mine: dict[str, bytes | None], draw: random.Random) -> None:
        """The cache beside a database, with keys of one's own: never anything but what was put last."""
        key = f"{threading.get_ident()}-{draw.randrange(40)}"
        kind = draw.random()
        if kind < 0.4:
            at, size = draw.randrange(MIB), draw.choice([0, 10, 3_000, 40_000, 200_000])
            value = NOISE[at : at + size]
            tags = draw.choice([[], ["t1"], ["aside", "all", "t2"]])
            if self.store.put(key, value, draw.choice([1, 60_000]), tags):
                mine[key] = value
            else:
                self.store.delete(key)
                mine[key] = None
        elif kind < 0.5:
            self.store.delete(key)
            mine[key] = None
        else:
            got = self.store.get(key)
            assert got is None or got == mine.get(key), f"{key}: {len(got)} bytes that were not put last"
        self.web.over.wait(0.0005)

    # ---- the control plane's own thread ----

    def route(self, name: str, **settings: Any) -> RouteSpec:
        action = ProxyAction(
            [TargetSpec(0, retry=RetrySpec(attempts=1))],
            first_byte_ms=500,
            between_bytes_ms=250,
            cache=CacheSpec("app", collapse_ms=300, uncacheable_s=1, **settings),
        )
        return RouteSpec(name, action, path=f"/{name}/")

    def publish(self, draw: random.Random, origin: OriginServer) -> None:
        key = ("app", f"127.0.0.1:{origin.port}")
        server = self.rig.servers.setdefault(key, Server("app", key[1], ("127.0.0.1", origin.port)))
        state = self.rig.states.setdefault("app", UpstreamState("app"))
        upstream = UpstreamSpec(name="app", state=state, members=[MemberSpec(server)], passive_failures=0)
        compress = CompressSpec(["gzip"], 10, ["text/*"])
        routes = [
            self.route("p", variants=draw.choice([2, 32])),
            self.route("s"),
            self.route("c", share=True, share_ms=20, compress=compress),
        ]
        listener = self.rig.listener_spec(routes, buffer=draw.choice([16_384, 131_072]))
        self.rig.publish_spec(SnapshotSpec(0, "test", [listener], [routes], [upstream], cache=self.store))

    def hear(self, draw: random.Random) -> None:
        """Events of the engines: questions of the second tier, and what was stored."""
        events, self.rig.events = self.rig.events, []
        for number, event in events:
            if event[0] == "lookup":
                if draw.random() < 0.9:
                    page = int(event[3].rpartition(b"/")[2].partition(b"?")[0])
                    self.load(page)
                    self.rig.engines[number].proceed(event[1], event[2])
            elif event[0] == "stored":
                self.compress(draw, event[1])

    def compress(self, draw: random.Random, stored: CachedObject) -> None:
        self.examine(stored)
        if stored.compress and stored.size < 200_000 and draw.random() < 0.7:
            self.web.seen["compressed"] += self.store.put_encoded(stored, "gzip", GZIP + stored.body)
        if draw.random() < 0.1:
            self.held.append(stored)

    def finish(self) -> None:
        self.web.over.set()
        self.rig.until(lambda: not any(thread.is_alive() for thread in self.threads), "all threads end", seconds=30)
        self.rig.until(lambda: self.rig.total("exchanges") == 0, "exchanges end", seconds=30)
        self.rig.turn()
        self.rig.events.clear()
        self.held.clear()

    def empty(self) -> bool:
        """What nobody reads is not filled to its end; and what was stored last is still to be told."""
        self.rig.events.clear()
        self.store.purge("all")
        left = self.store.stats()
        return [left[name] for name in ("objects", "markers", "bases", "tags", "bytes")] == [0, 0, 0, 0, 0]


def page_of(draw: random.Random) -> int:
    """Few pages are asked for often, many rarely."""
    return int(PAGES * draw.random() ** 3)


def _etag(blob: bytes) -> str:
    return blob.partition(b"ETag: ")[2].partition(b"\r\n")[0].decode()


def test_nothing_is_wrong_in_a_storm_and_nothing_is_left_of_it() -> None:
    rig, web, draw = Rig("threads", engines=4), Web(), random.Random(SEED)
    storm = Storm(rig, web, Cache(8 * MIB))
    while storm.store.stats()["evictions_capacity"] == 0:
        assert storm.store.put(f"{storm.store.stats()['inserted']}", bytes(300_000), 60_000), "full from the beginning"
    with OriginServer(web) as origin:
        storm.publish(draw, origin)
        for number in range(CLIENTS):
            storm.start(f"client {number}", storm.ask, SEED * 1_000 + number)
        for number in range(2):
            storm.start("purge", storm.purge, SEED * 1_000 + 100 + number)
            storm.start("look", storm.look, SEED * 1_000 + 200 + number)
            storm.start("aside", partial(storm.aside, {}), SEED * 1_000 + 300 + number)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and not web.over.is_set():
            rig.until(lambda: rig.events or web.over.is_set() or time.monotonic() >= end, "something happens", seconds=SECONDS + 10)
            storm.hear(draw)
            if draw.random() < 0.001:
                storm.publish(draw, origin)
        storm.finish()
        stats = storm.store.stats()
        origin.shutdown()
    assert not web.faults, "\n".join(web.faults[:3])
    rig.until(storm.empty, f"nothing is left: {storm.store.stats()}")
    rig.finish()
    for name in ("inserted", "evictions_capacity", "evictions_purged", "collapsed", "purged_objects"):
        assert stats[name] > 0, f"it did something: {stats}"
    assert web.seen["hit; "] > 0, web.seen
    if "PROXYD_STORM_SECONDS" in os.environ:
        print(stats, web.seen)
