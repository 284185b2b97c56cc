"""Clients and origins that do anything at any time, under reloads and a clock that jumps. Nothing is expected of any
single answer, but when all is over the engine must be as empty as when it began (`Rig.finish`)."""

from __future__ import annotations

import random

import pytest

from proxyd_ext.snapshot.spec import ConsultAction, HeadersFilter, ProxyAction, RespondAction, RetrySpec, RouteSpec, TargetSpec
from tests.support.engine import Rig
from tests.support.wire import Origin, Peer

UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def body(draw: random.Random) -> bytes:
    return b"b" * draw.choice([0, 1, 10, 1_000, 20_000, 70_000, 200_000, 700_000])


def framed(draw: random.Random, data: bytes) -> bytes:
    """Field and body in one of the framings, now and then broken."""
    kind = draw.random()
    if kind < 0.5:
        return b"Content-Length: %d\r\n\r\n%s" % (len(data), data)
    if kind < 0.9:
        size = draw.choice([7, 4096, 100_000])
        pieces = [data[at : at + size] for at in range(0, min(len(data), 200 * size), size)]
        trailer = draw.choice([b"", b"X-Sum: 1\r\n"])
        return (
            b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n" + trailer + b"\r\n"
        )
    return b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX"


def request(draw: random.Random) -> bytes:
    start = draw.choice(
        [b"GET /p"] * 20
        + [b"HEAD /p", b"POST /p", b"PUT /p"] * 4
        + [b"OPTIONS *", b"GET /here", b"GET /ask", b"GET /none", b"TRACE /", b"BAD"]
    )
    version = draw.choice([b"1.1"] * 40 + [b"1.0", b"1.0", b"2.0"])
    head = b"%s HTTP/%s\r\nHost: %s\r\n" % (start, version, draw.choice([b"a"] * 30 + [b"a b"]))
    if draw.random() < 0.1:
        head += draw.choice([b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Expect: 100-continue\r\n"])
    if draw.random() < 0.1:
        return head + UPGRADE + b"\r\n" + b"t" * draw.choice([0, 5, 90_000])
    if start.startswith((b"POST", b"PUT")):
        return head + framed(draw, body(draw))
    return head + b"\r\n"


def answer(draw: random.Random) -> bytes:
    interim = draw.choice([b"", b"", b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * draw.choice([1, 5])])
    kind = draw.random()
    if kind < 0.1:
        return interim + SWITCH + b"t" * draw.choice([0, 5, 90_000])
    if kind < 0.2:
        return interim + draw.choice(
            [
                b"HTTP/1.1 204 No Content\r\n\r\n",
                b"HTTP/1.1 304 Not Modified\r\n\r\n",
                b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
                b"garbage\r\n\r\n",
                b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
                b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
            ]
        )
    close = draw.choice([b"", b"", b"", b"Connection: close\r\n"])
    return interim + b"HTTP/1.1 200 OK\r\n" + close + framed(draw, body(draw))


def pieces(draw: random.Random, data: bytes) -> list[bytes]:
    """Whole, or cut in a few places, or without its end."""
    if draw.random() < 0.05:
        data = data[: draw.randrange(len(data) + 1)]
    cuts = sorted(draw.randrange(len(data) + 1) for _ in range(draw.choice([0, 0, 1, 3])))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


class Chaos:
    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig, self.draw = rig, random.Random(seed)
        self.origins = [rig.origin(receive_bytes=draw_size, send_bytes=draw_size) for draw_size in (0, 0, 32_768)]
        self.dead = rig.origin()
        self.dead.refuse()
        rig.listen(send_bytes=32_768)
        self.clients: list[Peer] = []
        self.waiting: list[tuple[Peer, bytes]] = []  # pieces still to be sent
        self.reload()

    def reload(self) -> None:
        draw = self.draw
        members: list[Origin] = draw.sample(self.origins, draw.randrange(1, 4)) + [self.dead] * draw.randrange(2)
        app = self.rig.upstream(
            *members,
            balance=draw.choice(["round_robin", "least_conn", "p2c", "random", "hash"]),
            pool_max=draw.choice([0, 2, 100]),
            passive_failures=draw.choice([0, 3]),
            eject_ms=2_000,
        )
        route = RouteSpec(
            "p",
            ProxyAction(
                [TargetSpec(0, retry=RetrySpec(attempts=draw.randrange(4)))],
                first_byte_ms=2_000,
                between_bytes_ms=2_000,
                total_ms=draw.choice([0, 0, 5_000]),
            ),
            path="/p",
            filters=[HeadersFilter(b"X-A: 1\r\n", b"X-B: 1\r\n")] * draw.randrange(2),
        )
        star = RouteSpec("star", ProxyAction([TargetSpec(0)], first_byte_ms=2_000, between_bytes_ms=2_000), path="*")
        self.rig.publish(
            [
                route,
                star,
                RouteSpec("here", RespondAction(200, b"h" * draw.choice([2, 100_000])), path="/here"),
                RouteSpec("ask", ConsultAction("live"), path="/ask"),
            ],
            [app],
            buffer=draw.choice([16_384, 131_072]),
            body_size=draw.choice([0, 0, 100_000]),
            header_size=draw.choice([4_096, 16_384]),
            wait=draw.random() < 0.5,
        )

    def step(self) -> None:
        draw = self.draw
        kind = draw.random()
        if kind < 0.1 and len(self.clients) < 30:
            self.clients.append(self.rig.connect(receive_bytes=draw.choice([0, 32_768])))
        elif kind < 0.3 and self.clients:
            client = draw.choice(self.clients)
            data = b"".join(self.ask() for _ in range(draw.choice([1, 1, 1, 4])))
            self.waiting += [(client, piece) for piece in pieces(draw, data)]
        elif kind < 0.6:
            self.send(draw.choice([1, 10]))
        elif kind < 0.9:
            self.let_origins_speak()
        elif kind < 0.92:
            self.end(draw.choice([*self.clients, *(peer for origin in self.origins for peer in origin.peers)] or [None]))
        elif kind < 0.93:
            if self.rig.mode == "inline":
                self.rig.advance(draw.choice([1, 500, 3_000, 20_000, 70_000]))
        elif kind < 0.95:
            self.reload()
        else:
            self.answer_consults()
        for _ in range(draw.choice([0, 1, 5])):
            self.rig.turn()
        for client in self.clients:
            if draw.random() < 0.5 and client.sock.fileno() >= 0:
                client.take(draw.choice([100, 100_000]))
                if len(client.received) > 100_000:
                    client.received.clear()

    def ask(self) -> bytes:
        return request(self.draw)

    def tell(self) -> bytes:
        return answer(self.draw)

    def send(self, count: int) -> None:
        for peer, piece in self.waiting[:count]:
            if peer.sock.fileno() >= 0:
                peer.send(piece)
        del self.waiting[:count]

    def let_origins_speak(self) -> None:
        """Where a request seems to have come, an answer; now and then where none has."""
        for origin in self.origins:
            origin.maybe_accept()
            for peer in origin.peers:
                if peer.sock.fileno() >= 0 and (b"\r\n\r\n" in peer.got() or self.draw.random() < 0.01):
                    peer.received.clear()
                    self.waiting += [(peer, piece) for piece in pieces(self.draw, self.tell())]

    def end(self, peer: Peer | None) -> None:
        if peer is None or peer.sock.fileno() < 0:
            return
        how = self.draw.choice(["close", "reset", "half_close", "half_close"])
        getattr(peer, how)()
        if how != "half_close" and peer in self.clients:
            self.clients.remove(peer)

    def answer_consults(self) -> None:
        for engine, event in self.rig.events:
            if event[0] == "consult" and self.draw.random() < 0.7:
                self.rig.engines[engine].answer(event[1], event[2], 200, b"c" * self.draw.choice([0, 100_000]), "text/plain")
        self.rig.events.clear()


@pytest.mark.parametrize("seed", range(8))
def test_anything_at_any_time(rig: Rig, seed: int) -> None:
    chaos = Chaos(rig, seed)
    for _ in range(3_000):
        chaos.step()
    exchanges = sum(sum(stats.stats()["requests"].values()) for stats in rig.route_stats.values())
    assert exchanges > 30, "it did something"
