"""What several engines do to the exact round-robin sequence: `python bench/sequence.py --help`.

All engines take the next entry of one sequence by one atomic step, so whatever number of engines there is, the picks of any stretch are
a stretch of the sequence. What several engines change is the order in which the picks reach the servers: each works on its own at the same
time. Measured here: how many places a server's k-th request arrived before or behind its place in the sequence, and by how many requests
the servers' counts were off their due at any time (the sequence itself is off by what the first line says).
"""

from __future__ import annotations

import argparse
import select
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from proxyd_ext.balance.pool import Pool, UpstreamState
from proxyd_ext.balance.server import Server
from proxyd_ext.engine import Engine
from proxyd_ext.io.listener import Listener
from proxyd_ext.route.stats import RouteStats
from proxyd_ext.snapshot import Snapshot
from proxyd_ext.snapshot.spec import ListenerSpec, MemberSpec, ProxyAction, RouteSpec, SnapshotSpec, TargetSpec, UpstreamSpec

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True)
class Deviation:
    moved: int                 # requests that arrived at another place than in the sequence
    farthest: int              # places
    share: float               # farthest that a server's count was from its due, in requests, at any time
    counts: tuple[int, ...]    # at the end


class World:
    """Engines on threads, each with as many clients. This thread turns clients and origins, and writes down who is asked in which order."""

    def __init__(self, weights: Sequence[int], engines: int, clients: int) -> None:
        self.weights = weights
        self.arrived: list[int] = []
        self.engine_of: dict[int, int] = {}        # by a client's descriptor
        self.poll = select.epoll()
        self.doors: dict[int, tuple[socket.socket, int]] = {}
        self.origins: dict[int, tuple[socket.socket, int]] = {}
        self.engines = [Engine(i, engines) for i in range(engines)]
        self.threads = [threading.Thread(target=engine.run, daemon=True) for engine in self.engines]
        for thread in self.threads:
            thread.start()
        self._publish()
        self.clients: dict[int, socket.socket] = {}
        spare = []
        while len(self.clients) < clients:
            client, engine = self._connect()
            if sum(which == engine for which in self.engine_of.values()) < -(-clients // engines):
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.clients[client.fileno()] = client
                self.engine_of[client.fileno()] = engine
                self.poll.register(client, select.EPOLLIN)
            else:
                spare.append(client)
        for client in spare:
            client.close()

    def _connect(self) -> tuple[socket.socket, int]:
        """A connection, and which engine has it: SO_REUSEPORT deals them out by a hash of their ports."""
        before = [engine.stats()["connections"] for engine in self.engines]
        client = socket.create_connection(("127.0.0.1", self.port))
        while True:
            for i, engine in enumerate(self.engines):
                if engine.stats()["connections"] > before[i]:
                    return client, i

    def _publish(self) -> None:
        members = []
        for i, weight in enumerate(self.weights):
            door = socket.create_server(("127.0.0.1", 0), backlog=256)
            self.doors[door.fileno()] = (door, i)
            self.poll.register(door, select.EPOLLIN)
            members.append(MemberSpec(Server("app", f"s{i}", door.getsockname()), weight=weight))
        self.upstream = UpstreamSpec("app", UpstreamState("app"), members, pool_max=1024)
        listeners: list[socket.socket] = []
        self.port = 0
        for _ in self.engines:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(("127.0.0.1", self.port))
            sock.listen(512)
            sock.setblocking(False)
            self.port = sock.getsockname()[1]
            listeners.append(sock)
        listener = Listener("web", f"127.0.0.1:{self.port}", [sock.detach() for sock in listeners], False)
        stats = [RouteStats("web", "all"), RouteStats("web", "-")]
        routes = [RouteSpec("all", ProxyAction([TargetSpec(0)]))]
        snapshot = Snapshot(SnapshotSpec(1, "", [ListenerSpec(listener, "web", 0, stats)], [routes], [self.upstream]))
        for engine in self.engines:
            engine.publish(snapshot)
        for engine in self.engines:
            while not any(event[0] == "ack" for event in engine.take_events()):
                select.select([engine.events_fileno()], [], [], 1)

    def serve(self, count: int) -> None:
        """So many requests; every client has one under way at a time."""
        for client in self.clients.values():
            client.send(REQUEST)
        asked, answered = len(self.clients), 0
        while answered < count:
            for fd, _ in self.poll.poll(5):
                if fd in self.doors:
                    door, i = self.doors[fd]
                    connection, _ = door.accept()
                    self.origins[connection.fileno()] = (connection, i)
                    self.poll.register(connection, select.EPOLLIN)
                elif fd in self.origins:
                    connection, i = self.origins[fd]
                    if connection.recv(4096):
                        self.arrived.append(i)
                        connection.send(ANSWER)
                elif fd in self.clients and self.clients[fd].recv(4096).endswith(b"ok"):
                    answered += 1
                    if asked < count:
                        self.clients[fd].send(REQUEST)
                        asked += 1

    def close(self) -> None:
        for engine in self.engines:
            engine.close()
        for thread in self.threads:
            thread.join()
        for sock in [*self.clients.values(), *(each for each, _ in [*self.doors.values(), *self.origins.values()])]:
            sock.close()
        self.poll.close()


def deviation(arrived: Sequence[int], sequence: Sequence[int], weights: Sequence[int]) -> Deviation:
    places: list[list[int]] = [[] for _ in weights]
    for place, i in enumerate(sequence):
        places[i].append(place)
    counts = [0] * len(weights)
    moved = farthest = 0
    share = 0.0
    for place, i in enumerate(arrived):
        away = abs(places[i][counts[i]] - place) if counts[i] < len(places[i]) else len(sequence)
        moved += away > 0
        farthest = max(farthest, away)
        counts[i] += 1
        share = max(share, *(abs(count - weight * (place + 1) / sum(weights)) for count, weight in zip(counts, weights, strict=True)))
    return Deviation(moved, farthest, share, tuple(counts))


def measure(weights: Sequence[int], engines: int, clients: int, requests: int) -> Deviation:
    world = World(weights, engines, clients)
    try:
        world.serve(requests)
    finally:
        world.close()
    return deviation(world.arrived, exact(weights, requests), weights)


def exact(weights: Sequence[int], count: int) -> list[int]:
    members = [MemberSpec(Server("app", f"s{i}", ("127.0.0.1", 9)), weight=weight) for i, weight in enumerate(weights)]
    return Pool(UpstreamSpec("app", UpstreamState("app"), members)).sequence(count)


def main(arguments: Sequence[str]) -> int:
    p = argparse.ArgumentParser(prog="bench/sequence.py", description="How far several engines bend the round-robin sequence.")
    p.add_argument("--weights", default="5,1,1")
    p.add_argument("--periods", type=int, default=2_000, help="requests, in periods of the sequence (default 2000)")
    options = p.parse_args(arguments)
    weights = [int(each) for each in options.weights.split(",")]
    requests = sum(weights) * options.periods
    print(f"| weights {options.weights}, {requests:,} requests | out of place | farthest, places | off its due, requests | counts |")
    print("|---|--:|--:|--:|---|")
    sequence = exact(weights, requests)
    lines = [("the sequence itself", deviation(sequence, sequence, weights))]
    for engines, clients in ((1, 1), (1, 16), (2, 2), (2, 16), (2, 64)):
        lines.append((f"{engines} engine{'s' * (engines > 1)}, {clients} at a time", measure(weights, engines, clients, requests)))
    for title, found in lines:
        part = found.moved * 100 / requests
        print(f"| {title} | {part:.1f} % | {found.farthest} | {found.share:.2f} | {', '.join(f'{count:,}' for count in found.counts)} |")
    due = tuple(weight * options.periods for weight in weights)
    return 0 if all(found.counts == due for _, found in lines) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
