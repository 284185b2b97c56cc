"""The engines as the control plane sees them: their threads, their doors, and which snapshot each of them still uses.

With threads, every engine runs on a thread of its own and never returns to Python until it is closed. Without (`threads: 0`), one engine
is polled by the event loop. Either way its events come through one descriptor that the loop watches.
"""
from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from proxyd import codes
from proxyd.diagnostics import Diagnostic
from proxyd.process import privileges
from proxyd.state import DaemonError, EngineView
from proxyd_ext.engine import Engine
from proxyd_ext.snapshot import Snapshot

if TYPE_CHECKING:
    from proxyd.caching.service import Answering
    from proxyd.filters.protocol import HookWord
    from proxyd_ext.cache.store import CachedObject
    from proxyd_ext.engine.engine import Event
    from proxyd_ext.log import AccessLog
    from proxyd_ext.snapshot.spec import SnapshotSpec

Answer = Callable[[int, bytes, str], None]     # status, body, content type
SLOW_ACK = 10.0        # seconds after which a missing acknowledgement is worth a line in the log
JOIN_TIMEOUT = 10.0    # seconds that a closed engine has to leave its thread

log = logging.getLogger("proxyd.engines")


@dataclass(slots=True)
class _Held:
    """A snapshot that some engine may use: it must not be freed."""

    spec: SnapshotSpec
    snapshot: Snapshot
    waiting: set[int]                  # engines that have not acknowledged it
    using: set[int]                    # engines that have not retired it
    news: asyncio.Event = field(default_factory=asyncio.Event)    # the last one acknowledged it, or one died


@dataclass(slots=True)
class Callbacks:
    """Who hears of what the engines tell. All are called on the loop."""

    on_ejected: Callable[[str, str], None]              # (upstream, server label)
    on_consult: Callable[[str, bytes, Answer], None]    # (kind, payload, what takes the answer, at once or later)
    on_released: Callable[[], None]                     # a snapshot is used by no engine any more
    on_death: Callable[[int, BaseException | None], None]   # an engine left its thread unasked
    on_lookup: Callable[[Answering, int, int, bytes, bytes | None], None]    # (engine, slot, generation, key, variant): then `proceed`
    on_stored: Callable[[CachedObject], None]
    on_invalidated: Callable[[str], None]               # a URL: other nodes may have it, too
    on_decide: Callable[[Engine, int, int, int, bytes, bytes, bytes], None]     # see Event: then `decide` or `fail`
    on_filter: Callable[[Engine, int, int, int, HookWord, bytes], None]         # then `change`, `reply` or `fail`


class EngineSet:
    """All engines of the daemon. `threads` 0: one, inline."""

    def __init__(self, threads: int, callbacks: Callbacks) -> None:
        self.inline = threads == 0
        self.engines = [Engine(index, max(threads, 1), inline=self.inline) for index in range(max(threads, 1))]
        self._callbacks = callbacks
        self._held: dict[int, _Held] = {}
        self._threads: list[threading.Thread] = []
        self._alive: set[int] = set()
        self._leaving: set[int] = set()
        self._drained = [asyncio.Event() for _ in self.engines]
        self._loop = asyncio.get_running_loop()
        self._reviewing = False            # the engines will be told to look at their flows
        self._closed = False

    # ------------------------------------------------------------------ life
    def start(self) -> None:
        """Let them run. They serve nothing before the first `publish`."""
        for index, engine in enumerate(self.engines):
            self._alive.add(index)
            self._loop.add_reader(engine.events_fileno(), self._on_events, index)
            if self.inline:
                self._loop.add_reader(engine.fileno(), engine.poll)
                continue
            thread = threading.Thread(target=self._run, args=(index,), name=f"proxyd-engine-{index}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, index: int) -> None:
        """Body of an engine thread."""
        error: BaseException | None = None
        try:
            privileges.renounce_capabilities()
            self.engines[index].run()
        except BaseException as caught:
            error = caught
        # The loop is gone only when the process leaves without having closed us: then nobody is left to tell.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._on_left, index, error)

    def _on_left(self, index: int, error: BaseException | None) -> None:
        self._on_events(index)
        self._alive.discard(index)
        self._drained[index].set()
        for held in self._held.values():
            held.news.set()
        if index not in self._leaving:
            self._callbacks.on_death(index, error)

    async def drain(self, seconds: float, *, hand_over: bool = False) -> bool:
        """Stop accepting, let exchanges and flows finish. False when some were still there at the deadline. `hand_over`: another process
        serves our listening sockets."""
        self._leaving.update(range(len(self.engines)))
        for engine in self.engines:
            if hand_over:
                engine.hand_over()
            else:
                engine.drain()
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(event.wait() for event in self._drained))
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Abort what is left, wait for the threads, forget every snapshot."""
        if self._closed:
            return
        self._closed = True
        self._leaving.update(range(len(self.engines)))
        for engine in self.engines:
            engine.close()
            if self.inline:
                engine.poll()
        for thread in self._threads:
            await asyncio.to_thread(thread.join, JOIN_TIMEOUT)
            if thread.is_alive():
                log.error("%s does not leave", thread.name)
        for index, engine in enumerate(self.engines):
            if self.inline:
                self._loop.remove_reader(engine.fileno())
            self._on_events(index)
            self._loop.remove_reader(engine.events_fileno())
        self._alive.clear()
        self._held.clear()

    # ------------------------------------------------------------------ snapshots
    async def publish(self, spec: SnapshotSpec, snapshot: Snapshot, access_log: AccessLog | None) -> None:
        """Hand a snapshot to every engine; returns when the last one has taken it. DaemonError when an engine died instead.

        Records of requests go to `access_log` from then on, and no longer to the one before.
        """
        everyone = set(range(len(self.engines)))
        held = self._held[spec.generation] = _Held(spec, snapshot, waiting=set(everyone), using=everyone)
        for engine in self.engines:
            engine.publish(snapshot, log=access_log)
        while held.waiting:
            if not held.waiting <= self._alive:
                message = "an engine died before it took the new config"
                raise DaemonError(message, [Diagnostic(codes.ENGINE_DIED.code, message, help=codes.ENGINE_DIED.help)])
            held.news.clear()
            try:
                async with asyncio.timeout(SLOW_ACK):
                    await held.news.wait()
            except TimeoutError:
                missing = ", ".join(map(str, sorted(held.waiting)))
                log.warning("engine %s has not taken config generation %d for %.0f s", missing, spec.generation, SLOW_ACK)

    def review(self) -> None:
        """States of servers have changed: engines are to look at their flows. All that changes in one turn of the loop makes one look."""
        if not self._reviewing:
            self._reviewing = True
            self._loop.call_soon(self._review)

    def _review(self) -> None:
        self._reviewing = False
        if not self._closed:
            for engine in self.engines:
                engine.review()

    def specs(self) -> Iterator[SnapshotSpec]:
        """What some engine may still use."""
        for held in self._held.values():
            yield held.spec

    # ------------------------------------------------------------------ events
    def _on_events(self, index: int) -> None:
        released = False
        for event in self.engines[index].take_events():
            try:
                released |= self._on_event(index, event)
            except Exception:
                log.exception("event %r of engine %d", event, index)
        if released:
            self._callbacks.on_released()

    def _on_event(self, index: int, event: Event) -> bool:
        """True when it released a snapshot."""
        match event:
            case ("ack", generation):
                held = self._held[generation]
                held.waiting.discard(index)
                if not held.waiting:
                    held.news.set()
            case ("retired", generation):
                held = self._held[generation]
                held.using.discard(index)
                if not held.using:
                    del self._held[generation]
                    log.debug("generation %d is let go: no engine uses it any more", generation)
                    return True
            case ("ejected", label, upstream):
                self._callbacks.on_ejected(upstream, label)
            case ("consult", slot, generation, kind, payload):
                answer = functools.partial(self.engines[index].answer, slot, generation)
                self._callbacks.on_consult(kind, payload, answer)
            case ("lookup", slot, generation, key, variant):
                self._callbacks.on_lookup(self.engines[index], slot, generation, key, variant)
            case ("stored", stored):
                self._callbacks.on_stored(stored)
            case ("invalidated", url):
                self._callbacks.on_invalidated(url)
            case ("decide", slot, generation, number, request, credential, digest):
                self._callbacks.on_decide(self.engines[index], slot, generation, number, request, credential, digest)
            case ("filter", slot, generation, hooks, hook, request):
                self._callbacks.on_filter(self.engines[index], slot, generation, hooks, hook, request)
            case ("drained",):
                self._drained[index].set()
            case _:
                raise ValueError("unknown event")
        return False

    # ------------------------------------------------------------------ facts
    def heartbeats(self) -> list[int]:
        """Each engine's count of turns. An inline engine is turned once for it: it has no turns of its own while nothing happens."""
        if self.inline:
            self.engines[0].poll()
        return [engine.heartbeat for engine in self.engines]

    def views(self) -> tuple[EngineView, ...]:
        return tuple(self._view(index, engine.stats()) for index, engine in enumerate(self.engines))

    def _view(self, index: int, stats: dict[str, Any]) -> EngineView:
        return EngineView(
            index=index,
            heartbeat=stats["heartbeat"],
            loop_lag_seconds=stats["loop_lag_seconds"],
            cpu_seconds=stats["cpu_seconds"],
            connections=stats["connections"],
            exchanges=stats["exchanges"],
            snapshot=stats["snapshot"],
            alive=index in self._alive,
            flows=stats["flows"],
        )
