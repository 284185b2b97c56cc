"""UDP through an engine: clients and servers whose every datagram a test decides, over a `Rig`.

A client asks (`Client.ask`), a server takes the question with the address that it came from (`Party.take`), sends its answer there, and the
client receives it, from where it asked (`Client.receive`). Whatever waits keeps the engines turning.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from proxyd_ext.balance.pool import UpstreamState
from proxyd_ext.balance.server import Server
from proxyd_ext.io.listener import Listener
from proxyd_ext.snapshot.spec import FlowRoute, FlowSpec, ListenerSpec, MemberSpec, RetrySpec, SnapshotSpec, TargetSpec, UpstreamSpec
from tests.support.engine import Rig

if TYPE_CHECKING:
    from proxyd_ext.io.listener import ListenerStats

Address = tuple[str, int]


def new_socket(host: str = "127.0.0.1", port: int = 0, *, shared: bool = False, family: int | None = None) -> socket.socket:
    """A bound, non-blocking datagram socket. `shared`: others may be bound there, too."""
    sock = socket.socket(family or (socket.AF_INET6 if ":" in host else socket.AF_INET), socket.SOCK_DGRAM)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, port))
    sock.setblocking(False)
    return sock


@dataclass(frozen=True, slots=True)
class Received:
    data: bytes
    peer: Address


class Party:
    """One datagram socket. `receive` waits while it keeps the engines turning."""

    def __init__(self, rig: Rig, host: str = "127.0.0.1", port: int = 0) -> None:
        self.rig = rig
        self.sock = new_socket(host, port)
        name = self.sock.getsockname()
        self.address: Address = (name[0], name[1])

    @property
    def label(self) -> str:
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def maybe_receive(self) -> Received | None:
        try:
            data, peer = self.sock.recvfrom(65_536)
        except (BlockingIOError, ConnectionRefusedError):
            return None
        return Received(data, (peer[0], peer[1]))

    def take(self) -> Received:
        """The next datagram, and who sent it."""
        got = self.rig.until(self.maybe_receive, f"a datagram to {self.label}", [self.sock])
        assert got is not None
        return got

    def take_all(self, count: int) -> list[bytes]:
        return [self.take().data for _ in range(count)]

    def send(self, data: bytes, to: Address) -> None:
        self.sock.sendto(data, to)

    def send_joined(self, data: bytes, size: int, to: Address) -> None:
        """Several datagrams of that size in one call (UDP_SEGMENT), which stay one piece on their way through the kernel."""
        self.sock.sendmsg([data], [(socket.IPPROTO_UDP, 103, struct.pack("H", size))], 0, to)

    def silent(self) -> bool:
        """Whether nothing waits here, now."""
        got = self.maybe_receive()
        assert got is None, got
        return True

    def close(self) -> None:
        """Nobody listens any more: what comes now is refused."""
        self.sock.close()


class Client(Party):
    """A client of one listener."""

    def __init__(self, rig: Rig, to: Address, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(rig, host, port)
        self.to = to

    def ask(self, *datagrams: bytes) -> None:
        for data in datagrams:
            self.send(data, self.to)

    def receive(self) -> bytes:
        """The next answer, which must come from where the question went."""
        got = self.take()
        assert got.peer == self.to, got.peer
        return got.data


class Datagrams:
    """Listeners of UDP in front of servers. What a test leaves open ends with it: the servers are taken out, which ends their flows."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.parties: list[Party] = []
        self.flow = FlowSpec("udp", (), idle_ms=30_000)
        self.upstream: dict[str, Any] = {}
        self.handles: list[Server] = []

    # ---- who takes part ----

    def server(self, host: str = "127.0.0.1", port: int = 0) -> Party:
        party = Party(self.rig, host, port)
        self.parties.append(party)
        return party

    def client(self, host: str = "127.0.0.1", *, port: int = 0, to: str | None = None, listener: str = "dns") -> Client:
        bound = self.rig.listeners[listener].address.rpartition(":")[0]
        client = Client(self.rig, (to or bound, self.rig.ports[listener]), host, port)
        self.parties.append(client)
        return client

    def handle(self, server: Party, upstream: str = "app") -> Server:
        key = (upstream, server.label)
        if key not in self.rig.servers:
            self.rig.servers[key] = Server(upstream, server.label, server.address)
            self.handles.append(self.rig.servers[key])
        return self.rig.servers[key]

    # ---- config ----

    def listen(
        self,
        name: str = "dns",
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        sockets: int = 0,
        passed: Callable[[socket.socket], object] = lambda sock: None,
    ) -> Listener:
        """A listener of that name; several may be bound to one port. `sockets`: more than one an engine; `passed` sees each."""
        if name not in self.rig.listeners:
            socks: list[socket.socket] = []
            for _ in range(sockets or len(self.rig.engines)):
                socks.append(new_socket(host, port, shared=True))
                passed(socks[-1])
                port = socks[0].getsockname()[1]
            self.rig.ports[name] = port
            self.rig.listeners[name] = Listener(name, f"{host}:{port}", [sock.detach() for sock in socks], False)
        return self.rig.listeners[name]

    def serve(
        self,
        *servers: Party,
        listeners: Sequence[str] = ("dns",),
        host: str = "127.0.0.1",
        flow: dict[str, Any] | None = None,
        upstream: dict[str, Any] | None = None,
        retry: RetrySpec | None = None,
        **settings: Any,
    ) -> None:
        """Publish: everything that comes to the listeners goes to one upstream, "app", of these servers."""
        target = TargetSpec(0, retry=retry or RetrySpec())
        spec = replace(self.flow, routes=[FlowRoute("dns", [target])], **(flow or {}))
        members = [MemberSpec(self.handle(server)) for server in servers]
        state = self.rig.states.setdefault("app", UpstreamState("app"))
        options: dict[str, Any] = {"balance": "round_robin", "on_down_close": True, **(upstream or {})}
        app = UpstreamSpec(name="app", state=state, members=members, **options)
        specs = [ListenerSpec(listener=self.listen(name, host), name=name, flow=spec, **settings) for name in listeners]
        self.rig.publish_spec(SnapshotSpec(0, "test", specs, [], [app]))

    # ---- figures ----

    def stats(self, listener: str = "dns") -> ListenerStats:
        return self.rig.listeners[listener].stats()

    def ended(self, word: str, count: int = 1, listener: str = "dns") -> None:
        """Wait until so many flows have ended so."""
        self.rig.until(
            lambda: self.stats(listener)["ended"].get(word, 0) >= count, f"{count} flows ended as {word}: {self.stats(listener)}"
        )
        assert self.stats(listener)["ended"][word] == count

    def rejected(self, word: str, count: int = 1, listener: str = "dns") -> None:
        """Wait until so many datagrams or flows have been refused for that reason."""
        self.rig.until(
            lambda: self.stats(listener)["rejected"].get(word, 0) >= count, f"{count} rejected as {word}: {self.stats(listener)}"
        )
        assert self.stats(listener)["rejected"][word] == count

    def flows(self) -> int:
        return int(self.rig.total("flows"))

    def review(self) -> None:
        for engine in self.rig.engines:
            engine.review()

    def finish(self) -> None:
        for handle in self.handles:
            handle.set_down("maint", True)
        self.review()
        self.rig.until(lambda: self.flows() == 0, "flows of servers that were taken out end")
        for party in self.parties:
            party.close()
        self.handles.clear()


@contextlib.contextmanager
def datagrams(rig: Rig) -> Iterator[Datagrams]:
    world = Datagrams(rig)
    yield world
    world.finish()


def echo(world: Datagrams, server: Party) -> Callable[[], bool]:
    """A step that answers what waits at the server with itself; for conditions of `Rig.until`."""

    def step() -> bool:
        while (asked := server.maybe_receive()) is not None:
            server.send(asked.data, asked.peer)
        return True

    return step
