"""The handles that outlive snapshots, each under its full identity, so that a reload meets the same counters, health and connections.

    server      (upstream, address)         upstream    its name
    listener    (name, bind address, kind)  route       (listener, route)
    lane        route                       of a policy (kind, name, definition), see handles.py
    cache       there is one, as long as something is stored in it

A handle is made when a snapshot first needs it and let go when no engine can use it any more: the daemon calls `sweep` with every
snapshot that still serves somewhere. What it had counted stays in the tally of its kind.
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

from proxyd.config.address import BindAddress
from proxyd.snapshot.gates import lane_name, needs_lane
from proxyd.snapshot.handles import HandleKey, Handles, HandleStore
from proxyd.sockets import Bound, Kind
from proxyd.tally import GONE_LIMIT, Tallies
from proxyd_ext.balance.pool import UpstreamState
from proxyd_ext.balance.server import Server
from proxyd_ext.cache.store import Cache
from proxyd_ext.io.listener import Listener
from proxyd_ext.limit.gate import Gate, Lane
from proxyd_ext.limit.overload import Overload
from proxyd_ext.route.stats import RouteStats

if TYPE_CHECKING:
    from proxyd.config.model import Config, Route
    from proxyd_ext.snapshot.spec import SnapshotSpec

K = TypeVar("K")
V = TypeVar("V")

ServerKey = tuple[str, str]      # (upstream, label)
RouteKey = tuple[str, str]       # (listener, route)


class ListenerKey(NamedTuple):
    name: str
    bind: str                    # as the config spells it
    kind: Kind                   # one that changes its mode is another listener: it has other sockets, and its flows serve out


@dataclass(slots=True)
class HeldListener:
    listener: Listener
    bound: Bound                 # its fds belong to the listener; the socket file is still ours to remove


@dataclass(slots=True)
class Store:
    tallies: Tallies = field(default_factory=Tallies)
    listeners: dict[ListenerKey, HeldListener] = field(default_factory=dict)
    cache: Cache | None = None
    policies: HandleStore = field(default_factory=HandleStore)
    overload: Overload = field(default_factory=Overload)
    gate: Gate = field(default_factory=Gate)
    lanes: dict[str, Lane] = field(default_factory=dict)
    _departing: list[HeldListener] = field(default_factory=list)     # no longer in the config; some engine may still close them
    _departed_opened: dict[str, int] = field(default_factory=dict)   # upstream -> connections opened to servers that were let go

    @property
    def servers(self) -> dict[ServerKey, Server]:
        return self.tallies.servers.live

    @property
    def upstreams(self) -> dict[str, UpstreamState]:
        return self.tallies.upstreams.live

    @property
    def routes(self) -> dict[RouteKey, RouteStats]:
        return self.tallies.routes.live

    def server(self, upstream: str, label: str, address: tuple[str, int] | str) -> Server:
        return _held(self.servers, (upstream, label), lambda: Server(upstream, label, address))

    def upstream(self, name: str) -> UpstreamState:
        return _held(self.upstreams, name, lambda: UpstreamState(name))

    def route(self, listener: str, route: str) -> RouteStats:
        return _held(self.routes, (listener, route), lambda: RouteStats(listener, route))

    def handles(self) -> Handles:
        """For a snapshot that is going to be built."""
        return Handles(self.policies)

    def lane(self, config: Config, listener: str, route: Route) -> Lane | None:
        """The part of a route in the places of the gate; None where it needs none: nothing bounds it."""
        if route.to is None or not needs_lane(config, route):
            return None
        name = lane_name(config, listener, route)
        return _held(self.lanes, name, lambda: Lane(self.gate, name))

    def cache_for(self, config: Config) -> Cache | None:
        """The cache for a snapshot of `config`, made when the first one needs it; None where nothing is stored. One that is there keeps its
        size until the config serves (`resize_cache`): a reload that fails changes nothing."""
        if not config.stores:
            return None
        if self.cache is None:
            self.cache = Cache(int(config.cache.memory.size))
        return self.cache

    def resize_cache(self, config: Config) -> None:
        """`config` serves now."""
        if self.cache is not None and config.stores:
            self.cache.resize(int(config.cache.memory.size))

    def adopt(self, name: str, bind: str, bound: Bound) -> Listener:
        """Make a listener of bound sockets; from here on it owns them."""
        listener = Listener(name, bound.address, bound.fds, bound.shared)
        self.listeners[ListenerKey(name, bind, bound.kind)] = HeldListener(listener, bound)
        return listener

    def depart_others(self, kept: Collection[ListenerKey]) -> None:
        """Only these listeners serve from now on. One that left never returns: its engines close its sockets."""
        for key in self.listeners.keys() - set(kept):
            self._departing.append(self.listeners.pop(key))

    def departing(self) -> Sequence[HeldListener]:
        """Those that are not in the config any more, while some engine may use them."""
        return self._departing

    def leaving(self) -> Iterator[HeldListener]:
        """Those of them that serve connections or flows out."""
        return (held for held in self._departing if held.listener.stats()["open"])

    def is_leaving(self, bind: BindAddress, kept: Collection[ListenerKey], kind: Kind = "http") -> bool:
        """Whether `bind` is still held by a listener of ours that is not among `kept`, of a kind whose ports are those of `kind`."""
        leaving = [held.bound for key, held in self.listeners.items() if key not in kept] + [held.bound for held in self._departing]
        path, same = bind.path if bind.is_unix else None, [bound for bound in leaving if (bound.kind == "udp") == (kind == "udp")]
        return any(bound.file[0] == path if bound.file else bound.port == bind.port for bound in same)

    def bounds(self) -> list[Bound]:
        """The sockets of every listener that serves."""
        return [held.bound for held in self.listeners.values()]

    def place_files(self) -> None:
        """Put every unix socket's file where clients look for it."""
        for held in self.listeners.values():
            held.bound.place()

    def remove_files(self) -> None:
        """Remove every unix socket's file: nobody serves there any more."""
        for held in (*self.listeners.values(), *self._departing):
            held.bound.remove_file()

    def departed_opened(self, upstream: str, members: Iterable[Server]) -> int:
        """Connections opened to servers that are not among the upstream's members (any more)."""
        present = {id(server) for server in members}
        left = [server for key, server in self.servers.items() if key[0] == upstream and id(server) not in present]
        return self._departed_opened.get(upstream, 0) + sum(server.stats()["opened"] for server in left)

    def sweep(self, specs: Iterable[SnapshotSpec]) -> None:
        """Let go of every handle that none of these snapshots names."""
        listeners, routes, servers, upstreams = set[int](), set[int](), set[int](), set[int]()
        stored = False
        policies: list[HandleKey] = []
        lanes = set[int]()
        for spec in specs:
            policies += cast("Sequence[HandleKey]", spec.handles)
            lanes.update(id(route.lane) for table in spec.tables for route in table if route.lane is not None)
            stored |= spec.cache is not None
            for item in spec.listeners:
                listeners.add(id(item.listener))
                routes.update(id(stats) for stats in item.stats)
            for upstream in spec.upstreams:
                upstreams.add(id(upstream.state))
                servers.update(id(member.server) for member in upstream.members)
        if not stored:
            self.cache = None
        self.policies.keep_only(policies)
        for name, _ in _unnamed(self.lanes, lanes):
            del self.lanes[name]
        for key, server in _unnamed(self.servers, servers):
            self._departed_opened[key[0]] = self._departed_opened.get(key[0], 0) + server.stats()["opened"]
        self.tallies.servers.let_go([key for key, _ in _unnamed(self.servers, servers)])
        self.tallies.upstreams.let_go([name for name, _ in _unnamed(self.upstreams, upstreams)])
        self.tallies.routes.let_go([key for key, _ in _unnamed(self.routes, routes)])
        gone = [name for name in self._departed_opened if name not in self.upstreams]
        for name in gone[:max(0, len(gone) - GONE_LIMIT)]:
            del self._departed_opened[name]
        for listener_key, _ in [(key, held) for key, held in self.listeners.items() if id(held.listener) not in listeners]:
            self._let_go(self.listeners.pop(listener_key))
        for held in [held for held in self._departing if id(held.listener) not in listeners]:
            self._departing.remove(held)
            self._let_go(held)

    def _let_go(self, held: HeldListener) -> None:
        self.tallies.listeners.fold((held.listener.name, held.bound.kind), held.listener)
        held.bound.remove_file()


def _held(handles: dict[K, V], key: K, new: Callable[[], V]) -> V:
    return handles[key] if key in handles else handles.setdefault(key, new())


def _unnamed(handles: dict[K, V], named: set[int]) -> list[tuple[K, V]]:
    return [(key, handle) for key, handle in handles.items() if id(handle) not in named]
