"""Engines under test, and the small world around them: listeners, origins, clients, snapshots.

A `Rig` runs in one of two ways, and most tests run in both: *inline*, one engine turned by the test itself under a clock that the test
moves, and *threads*, two engines on threads of their own under the real clock. When a test is over, `Rig.finish` closes everything and
holds the engines to it: nothing open, nothing counted as open, no buffer out, and in a debug build no native object alive.
"""

from __future__ import annotations

import contextlib
import gc
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from proxyd_ext.balance.pool import UpstreamState
from proxyd_ext.balance.server import Server
from proxyd_ext.core.live import counting, live_counts
from proxyd_ext.engine import Engine
from proxyd_ext.io.listener import Listener
from proxyd_ext.route.stats import RouteStats
from proxyd_ext.snapshot import Snapshot
from proxyd_ext.snapshot.spec import ListenerSpec, MemberSpec, ProxyAction, RouteSpec, SnapshotSpec, TargetSpec, UpstreamSpec
from tests.support.wire import WAIT_SECONDS, Origin, Peer

if TYPE_CHECKING:
    from proxyd_ext.balance.server import ServerStats

T = TypeVar("T")
Mode = Literal["inline", "threads"]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def get(path: str = "/", *fields: str, method: str = "GET", version: str = "1.1", host: str | None = "test") -> bytes:
    """The bytes of a request without a body."""
    lines = [f"{method} {path} HTTP/{version}", *([f"Host: {host}"] if host is not None else []), *fields]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def _unused(server: Server) -> bool:
    stats = server.stats()
    return (stats["connections_active"], stats["in_flight"]) == (0, 0)


def post(path: str = "/", body: bytes = b"", *fields: str, method: str = "POST", version: str = "1.1") -> bytes:
    """The bytes of a request with a Content-Length body."""
    return get(path, *fields, f"Content-Length: {len(body)}", method=method, version=version) + body


class Rig:
    def __init__(self, mode: Mode, *, engines: int = 2, fake_clock: bool = True) -> None:
        self.mode: Mode = mode
        self.born = live_counts()
        count = 1 if mode == "inline" else engines
        self.engines = [Engine(i, count, inline=mode == "inline", fake_clock=mode == "inline" and fake_clock) for i in range(count)]
        self.threads: list[threading.Thread] = []
        if mode == "threads":
            self.threads = [threading.Thread(target=engine.run, name=f"engine-{engine.index}", daemon=True) for engine in self.engines]
            for thread in self.threads:
                thread.start()
        self.generation = 0
        self.events: list[tuple[int, tuple[Any, ...]]] = []  # (engine, event), oldest first
        self.clients: list[Peer] = []
        self.origins: list[Origin] = []
        self.listeners: dict[str, Listener] = {}
        self.ports: dict[str, int] = {}
        self.servers: dict[tuple[str, str], Server] = {}
        self.states: dict[str, UpstreamState] = {}
        self.route_stats: dict[tuple[str, str], RouteStats] = {}
        self.spec: SnapshotSpec | None = None

    # ---- time ----

    def until(self, condition: Callable[[], T], what: str = "", watch: Sequence[socket.socket] = (), seconds: float = WAIT_SECONDS) -> T:
        """Turn everything until the condition holds, and return its value."""
        end = time.monotonic() + seconds
        quick = 50
        while True:
            self.turn()
            value = condition()
            if value:
                return value
            assert time.monotonic() < end, f"did not happen within {seconds:g} s: {what or condition}"
            quick -= 1
            self._wait(watch, 0 if quick > 0 and self.mode == "inline" else 0.002)

    def turn(self) -> None:
        for peer in self.clients:
            peer.flush()
        for origin in self.origins:
            for peer in origin.peers:
                peer.flush()
            origin.turn()
        for engine in self.engines:
            if self.mode == "inline":
                engine.poll()
            self.events += [(engine.index, event) for event in engine.take_events()]

    def _wait(self, watch: Sequence[socket.socket], seconds: float) -> None:
        """Something to do, or a moment gone by: a descriptor that is ready ends the wait."""
        inline = self.mode == "inline"
        ready = [engine.fileno() if inline else engine.events_fileno() for engine in self.engines]
        select.select(ready + [sock.fileno() for sock in watch if sock.fileno() >= 0], [], [], seconds)

    def settle(self) -> None:
        """Inline: turn until nothing moves any more. What a client or origin sent before has then been dealt with."""
        assert self.mode == "inline"
        quiet = 0
        while quiet < 10:
            self.turn()
            quiet = 0 if select.select([self.engines[0].fileno()], [], [], 0)[0] else quiet + 1

    def at_rest(self, figure: Callable[[], object], seconds: float = 0.15) -> None:
        """Turn until a figure has not changed for a while: the kernel's own TCP timers have then had their say."""
        last, since = figure(), time.monotonic()

        def resting() -> bool:
            nonlocal last, since
            now = figure()
            if now != last:
                last, since = now, time.monotonic()
            return time.monotonic() - since >= seconds

        self.until(resting, "the figure comes to rest")

    def advance(self, ms: int) -> None:
        """Inline: let time go by, from one deadline to the next."""
        engine = self.engines[0]
        self.settle()
        while ms > 0:
            step = min(ms, max(engine.next_deadline_ms(), 1))
            ms -= step
            engine.advance(step)
            self.settle()

    def event(self, kind: str, *rest: object) -> tuple[Any, ...]:
        """Wait for an event that begins so, and take it."""
        wanted = (kind, *rest)

        def find() -> tuple[Any, ...] | None:
            for at, (_, event) in enumerate(self.events):
                if event[: len(wanted)] == wanted:
                    del self.events[at]
                    return event
            return None

        event = self.until(find, f"event {wanted}; there are {self.events}")
        assert event is not None
        return event

    # ---- the world ----

    def origin(self, **settings: Any) -> Origin:
        origin = Origin(self, **settings)
        self.origins.append(origin)
        return origin

    def server(self, upstream: str, origin: Origin) -> Server:
        """The handle of an origin in an upstream: the same one for every snapshot."""
        key = (upstream, origin.label)
        if key not in self.servers:
            self.servers[key] = Server(upstream, origin.label, origin.address)
        return self.servers[key]

    def upstream(
        self, *origins: Origin, name: str = "app", weights: Sequence[int] = (), backups: Sequence[Origin] = (), **settings: Any
    ) -> UpstreamSpec:
        members = [MemberSpec(self.server(name, origin), weight=weights[i] if weights else 1) for i, origin in enumerate(origins)]
        members += [MemberSpec(self.server(name, origin), tier=1) for origin in backups]
        return UpstreamSpec(name=name, state=self.states.setdefault(name, UpstreamState(name)), members=members, **settings)

    def listen(
        self,
        name: str = "web",
        *,
        path: str | None = None,
        host: str = "127.0.0.1",
        send_bytes: int = 0,
        receive_bytes: int = 0,
        sockets: int = 0,
        passed: Callable[[int], object] = lambda fd: None,
    ) -> Listener:
        """A listener of that name: one socket an engine, or one that they share for a unix socket. What it accepts inherits how much the
        kernel may keep either way; else that grows with the traffic, to tens of megabytes. `sockets`: another number of them, as a process
        with other engines had; `passed` sees each descriptor."""
        if name in self.listeners:
            return self.listeners[name]
        socks: list[socket.socket] = []
        port = 0
        for _ in range(1 if path else sockets or len(self.engines)):
            sock = socket.socket(socket.AF_UNIX if path else socket.AF_INET6 if ":" in host else socket.AF_INET)
            if not path:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if send_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_bytes)
            if receive_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            sock.bind(path if path else (host, port))
            sock.listen(512)
            sock.setblocking(False)
            port = 0 if path else sock.getsockname()[1]
            socks.append(sock)
        self.ports[name] = port
        address = f"unix:{path}" if path else f"{host}:{port}"
        for sock in socks:
            passed(sock.fileno())
        shared = path is not None or 0 < sockets < len(self.engines)
        self.listeners[name] = Listener(name, address, [sock.detach() for sock in socks], shared)
        return self.listeners[name]

    def stats_of(self, listener: str, route: str) -> RouteStats:
        return self.route_stats.setdefault((listener, route), RouteStats(listener, route))

    def listener_spec(self, routes: Sequence[RouteSpec], name: str = "web", table: int = 0, **settings: Any) -> ListenerSpec:
        stats = [self.stats_of(name, route.name) for route in routes] + [self.stats_of(name, "-")]
        return ListenerSpec(listener=self.listen(name), name=name, table=table, stats=stats, **settings)

    def publish(
        self,
        routes: Sequence[RouteSpec],
        upstreams: Sequence[UpstreamSpec] = (),
        *,
        listeners: Sequence[str] = ("web",),
        wait: bool = True,
        **settings: Any,
    ) -> SnapshotSpec:
        """Compile a snapshot in which every listener has these routes and settings, hand it over, and wait for the acknowledgements."""
        specs = [self.listener_spec(routes, name, **settings) for name in listeners]
        return self.publish_spec(SnapshotSpec(0, "test", specs, [routes], upstreams), wait=wait)

    def publish_spec(self, spec: SnapshotSpec, *, wait: bool = True) -> SnapshotSpec:
        self.generation += 1
        self.spec = replace(spec, generation=self.generation)
        snapshot = Snapshot(self.spec)
        for engine in self.engines:
            engine.publish(snapshot)
        del snapshot
        if wait:
            for _ in self.engines:
                self.event("ack", self.generation)
        return self.spec

    def serve(
        self,
        *origins: Origin,
        filters: Sequence[Any] = (),
        upstream: Mapping[str, Any] | None = None,
        action: Mapping[str, Any] | None = None,
        target: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        """The usual: everything that comes goes to one upstream, "app", of these origins."""
        app = self.upstream(*origins, **(upstream or {}))
        route = RouteSpec("all", ProxyAction([TargetSpec(0, **(target or {}))], **(action or {})), filters=filters)
        self.publish([route], [app], **settings)

    def connect(
        self,
        listener: str = "web",
        *,
        receive_bytes: int = 0,
        send_bytes: int = 0,
        source: str | None = None,
        sock: socket.socket | None = None,
    ) -> Peer:
        """A client's connection, over a socket that was made before if one is given."""
        address = self.listeners[listener].address
        sock = sock or socket.socket(
            socket.AF_UNIX if address.startswith("unix:") else socket.AF_INET6 if address.count(":") > 1 else socket.AF_INET
        )
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        if send_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_bytes)
        if source:
            sock.bind((source, 0))
        sock.settimeout(WAIT_SECONDS)
        sock.connect(address.removeprefix("unix:") if address.startswith("unix:") else (address.rpartition(":")[0], self.ports[listener]))
        peer = Peer(self, sock)
        self.clients.append(peer)
        return peer

    # ---- counters ----

    def total(self, word: str) -> float:
        """A figure of Engine.stats, summed over the engines."""
        return sum(engine.stats()[word] for engine in self.engines)

    def requests(self, route: str = "all", listener: str = "web") -> dict[tuple[str, int], int]:
        """Exchanges of a route so far: {(method, status): count}."""
        counts: dict[tuple[str, int], int] = self.stats_of(listener, route).stats()["requests"]
        return counts

    def errors(self, route: str = "all", listener: str = "web") -> dict[str, int]:
        counts: dict[str, int] = self.stats_of(listener, route).stats()["errors"]
        return counts

    def counted(self, method: str, status: int, count: int = 1, route: str = "all") -> None:
        """Wait until the route has counted so many exchanges of that kind."""
        self.until(
            lambda: self.requests(route).get((method, status), 0) >= count,
            f"{method} {status} counted {count} times, not {self.requests(route)}",
        )
        assert self.requests(route)[(method, status)] == count

    def of(self, origin: Origin, upstream: str = "app") -> ServerStats:
        """Server.stats of an origin."""
        return self.server(upstream, origin).stats()

    # ---- the end ----

    def finish(self) -> None:
        """Close everything; nothing must be left."""
        try:
            self._close_clients()
        finally:
            self._close_engines()
        # Whoever failed holds on to frames; only a test that passed can say that nothing lives on.
        self.listeners.clear()
        self.servers.clear()
        self.states.clear()
        self.route_stats.clear()
        self.spec = None
        self.engines.clear()
        self.clients.clear()
        self.origins.clear()
        gc.collect()
        if counting():
            alive = live_counts()
            assert all(alive[kind] <= self.born[kind] for kind in alive), f"{alive} are alive, {self.born} were"

    def _close_clients(self) -> None:
        for peer in self.clients:
            if peer.sock.fileno() >= 0:
                peer.reset()  # a FIN alone would be a half-close, and an exchange goes on behind it
        for origin in self.origins:
            for peer in origin.peers:
                peer.close()
        self.until(lambda: self.total("connections") == 0, f"connections gone: {[engine.stats() for engine in self.engines]}")
        self.until(lambda: self.total("exchanges") == 0, "exchanges gone")
        self.until(lambda: self.total("flows") == 0, "flows gone")
        self.until(lambda: self.total("buffers_bytes") == 0, f"buffers given back: {[engine.stats() for engine in self.engines]}")
        for listener in self.listeners.values():
            stats = listener.stats()
            assert (stats["open"], stats["in_flight"]) == (0, 0), stats
        for server in self.servers.values():
            self.until(partial(_unused, server), f"origin connections gone: {server.stats()}")

    def _close_engines(self) -> None:
        for engine in self.engines:
            engine.close()
            if self.mode == "inline":
                engine.poll()
        for thread in self.threads:
            thread.join(WAIT_SECONDS)
            assert not thread.is_alive(), f"{thread.name} did not leave"
        for origin in self.origins:
            with contextlib.suppress(OSError):
                origin.close()
