"""Flows of every kind at once: clients and servers that say anything at any time, much or little, stall, leave and reset; snapshots that
take listeners away and bring others; servers that are taken out, and flows reviewed; limits, deadlines and descriptors that run out. What
arrives is what was sent, or its beginning; who sees an orderly end has seen everything (unless a deadline made that end); no datagram
reaches the wrong client; and afterwards nothing is left.

PROXYD_STORM_SECONDS makes it longer, PROXYD_STORM_SEED another one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

import pytest

from proxyd_ext.balance.pool import Pool, UpstreamState
from proxyd_ext.snapshot.spec import (
    AccessFilter,
    Balance,
    FlowRoute,
    FlowSpec,
    ListenerSpec,
    MemberSpec,
    RetrySpec,
    SnapshotSpec,
    StickySpec,
    TargetSpec,
    UpstreamSpec,
)
from tests.ext.io.test_acceptor import no_more_descriptors
from tests.ext.l4.test_tls import hello
from tests.support.datagrams import Client as Asker
from tests.support.datagrams import Datagrams
from tests.support.engine import Mode, Rig
from tests.support.wire import Origin, Peer

if TYPE_CHECKING:
    from proxyd_ext.balance.pool import Circuit
    from proxyd_ext.balance.server import DownReason

SECONDS = float(os.environ.get("PROXYD_STORM_SECONDS", "0.5"))  # of each mode
SEED = int(os.environ.get("PROXYD_STORM_SEED", "1"))
STEPS = 600  # of one storm; then the next begins
CLIENTS = 24
ASKERS = 12
MOST = 1 << 20  # bytes that one side says in one flow
UP, DOWN = hashlib.shake_128(b"up").digest(MOST), hashlib.shake_128(b"down").digest(MOST)
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ENDS = socket.inet_aton("192.0.2.7") + socket.inet_aton("198.51.100.1") + struct.pack("!HH", 4711, 5432)
HEADERS = [
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 5432\r\n",
    SIGNATURE + b"\x21\x11\0\x0c" + ENDS,
    SIGNATURE + b"\x20\0\0\0",
]
ASKED = SIGNATURE + b"\x21\x12\0\x0c" + ENDS
HELLOS = [hello("a.test"), hello("x.b.test", ("h2",)), hello("nobody.test"), hello(), hello("a.test", ("http/1.1",) * 40)]
DOWN_REASONS: list[DownReason] = ["health", "maint", "drain"]
Kind = Literal["tcp", "tls", "udp"]
CIRCUITS: list[tuple[Circuit, int]] = [("closed", 0), ("closed", 0), ("open", 0), ("half_open", 1)]
KINDS: tuple[Kind, ...] = get_args(Kind)


def unwrapped(data: bytes) -> tuple[bytes, bool]:
    """What comes behind PROXY headers and a ClientHello; False: what there is so far may be part of those."""
    while True:
        if data.startswith(SIGNATURE):
            size = 16 + int.from_bytes(data[14:16], "big")
            if len(data) < max(size, 16):
                return b"", False
        elif data.startswith(b"PROXY "):
            size = data.find(b"\r\n") + 2
            if size < 2:
                return b"", False
        else:
            size = next((len(each) for each in HELLOS if data.startswith(each)), 0)
            if size == 0:
                return data, not any(each.startswith(data) for each in (SIGNATURE, *HEADERS, *HELLOS))
        data = data[size:]


class Side:
    """One end of a flow, and what was said there."""

    def __init__(self, peer: Peer, stream: bytes, number: int = 0) -> None:
        self.peer, self.stream, self.number = peer, stream, number
        self.other: Side | None = None  # as far as it is known
        self.queued = 0  # bytes of the stream that were given to the peer
        self.wrapped = 0  # bytes before those
        self.given: int | None = None  # bytes of both that left, when it was closed
        self.gone = ""  # how it ended
        self.slow = 1 << 20  # bytes that it reads at a time

    @property
    def open(self) -> bool:
        return self.peer.sock.fileno() >= 0

    @property
    def said(self) -> int:
        given = self.given if self.given is not None else self.queued + self.wrapped - self.peer.unsent
        return max(0, given - self.wrapped)

    def wrap(self, data: bytes) -> None:
        self.wrapped += len(data)
        self.peer.send(data)

    def speak(self, size: int) -> None:
        if self.open and not self.gone:
            piece = self.stream[self.queued : self.queued + size]
            self.queued += len(piece)
            self.peer.send(piece)

    def end(self, how: str) -> None:
        if not self.open:
            return
        if how == "half_close":
            self.gone = self.gone or how
            self.peer.half_close()
            return
        self.given = self.queued + self.wrapped - self.peer.unsent
        if self.gone != "half_close" or self.peer.unsent > 0:
            self.gone = how  # else its FIN has left
        if how == "close":
            self.peer.take(1 << 24)  # what was not read makes a close a reset
            self.peer.close()
        else:
            self.peer.reset()


class Storm:
    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig, self.draw = rig, random.Random(seed)
        self.datagrams = Datagrams(rig)
        self.deadlines = seed % 2 == 0
        self.origins = [rig.origin(receive_bytes=size, send_bytes=size) for size in (0, 0, 16_384)]
        self.dead = rig.origin()
        self.dead.refuse()
        self.servers = [self.datagrams.server() for _ in range(3)]
        self.servers[2].close()
        self.listening: dict[Kind, str] = {}  # kind -> the name of its listener now
        self.names = Counter[str]()
        self.proxied: dict[str, bool] = {}
        self.clients: list[Side] = []
        self.served: dict[Peer, Side] = {}
        self.numbers: dict[int, Side] = {}
        self.askers: dict[int, Asker] = {}
        self.ports: dict[int, set[int]] = {}  # the askers that had a port one after another: an answer may come late
        self.specs: list[UpstreamSpec] = []
        self.ended: Counter[str] = Counter()
        self.reload()

    # ---- config ----

    def reload(self) -> None:
        draw = self.draw
        self.specs = [self.changed(self.fresh("app", self.origins)), self.changed(self.fresh("spare", self.origins)), self.asked()]
        for kind in KINDS:
            if draw.random() < 0.15:
                self.listening.pop(kind, None)
        listeners = [self.listener(kind) for kind in KINDS if kind in self.listening or draw.random() < 0.8]
        self.rig.publish_spec(SnapshotSpec(0, "test", listeners, [], self.specs), wait=draw.random() < 0.5)

    def listener(self, kind: Kind) -> ListenerSpec:
        draw = self.draw
        if kind not in self.listening:
            self.names[kind] += 1
            self.listening[kind] = f"{kind}{self.names[kind]}"
        name = self.listening[kind]
        self.proxied[name] = draw.random() < 0.3
        listen = self.datagrams.listen if kind == "udp" else self.rig.listen
        return ListenerSpec(
            listen(name),
            name,
            flow=self.flow(kind),
            access=draw.choice([None, None, None, AccessFilter(allow=["127.0.0.0/8", "192.0.2.0/24"], deny=["127.0.0.9/32"])]),
            proxy=["127.0.0.0/8"] if self.proxied[name] else None,
            connections=draw.choice([0, 0, 1, 5, 30]),
            per_client=draw.choice([0, 0, 0, 2, 10]),
            header_ms=draw.choice([30, 2_000]) if self.deadlines else 100_000,
            buffer=draw.choice([16_384, 131_072]),
        )

    def flow(self, kind: Kind) -> FlowSpec:
        draw = self.draw
        to = [TargetSpec(at, weight=draw.choice([1, 100]), connect_ms=draw.choice([50, 3_000]), retry=self.retry()) for at in range(2)]
        routes = [FlowRoute(kind, to[: draw.choice([1, 2])])]
        if kind == "tls":
            routes = [
                FlowRoute("none", [], names=[""]),
                FlowRoute("a", to, names=["a.test"]),
                FlowRoute("b", to[1:], names=["*.b.test"], alpn=["h2"]),
            ][draw.randrange(2) :]
        elif kind == "udp":
            routes = [FlowRoute(kind, [TargetSpec(2, retry=self.retry())])]
        return FlowSpec(
            kind,
            routes,
            idle_ms=draw.choice([20, 300]) if kind == "udp" else draw.choice([0, 40, 2_000]) if self.deadlines else 0,
            max_age_ms=draw.choice([0, 0, 100]) if self.deadlines else 0,
            drain_ms=draw.choice([0, 20, 500]),
            keepalive=draw.random() < 0.3,
            responses=draw.choice([0, 0, 1, 3]) if kind == "udp" else 0,
            amplification=draw.choice([0, 1, 10]) if kind == "udp" else 10,
        )

    def retry(self) -> RetrySpec:
        draw = self.draw
        return RetrySpec(
            attempts=draw.randrange(4),
            timeout=draw.random() < 0.5,
            backoff_ms=draw.choice([0, 1, 30]),
            budget_percent=draw.choice([0, 20, 100]),
            budget_min=draw.choice([0, 3, 100]),
        )

    def fresh(self, name: str, origins: Sequence[Origin]) -> UpstreamSpec:
        return self.rig.upstream(*origins, name=name)

    def asked(self) -> UpstreamSpec:
        """The upstream of the datagrams."""
        state = self.rig.states.setdefault("asked", UpstreamState("asked"))
        members = [MemberSpec(self.datagrams.handle(server, "asked")) for server in self.servers]
        return self.changed(UpstreamSpec("asked", state, members))

    def changed(self, spec: UpstreamSpec) -> UpstreamSpec:
        """The same upstream with other members and another way to choose among them."""
        draw = self.draw
        balances: tuple[Balance, ...] = get_args(Balance)
        if spec.name == "asked":
            handles = [self.datagrams.handle(server, "asked") for server in self.servers]
        else:
            handles = [self.rig.server(spec.name, origin) for origin in (*self.origins, self.dead)]
        members = [
            MemberSpec(
                handle,
                weight=draw.choice([1, 1, 5, 400]),
                tier=draw.choice([0, 0, 0, 1, 15]),
                local=draw.random() < 0.7,
                max_requests=draw.choice([0, 0, 1, 5]),
            )
            for handle in draw.sample(handles, draw.randrange(1, len(handles) + 1))
        ]
        return replace(
            spec,
            members=members,
            balance=draw.choice(balances),
            hash_key=draw.choice(["client.ip", "client.net", "flow"]),
            sticky=draw.choice([None, None, StickySpec("key", hash_key="flow")]),
            zone_only=draw.random() < 0.1,
            panic=draw.choice([0, 0, 60]),
            fail_open=draw.random() < 0.3,
            slow_start_ms=draw.choice([0, 5_000]),
            passive_failures=draw.choice([0, 1, 3]),
            eject_ms=draw.choice([1, 500]),
            max_ejected_percent=draw.choice([0, 50, 100]),
            max_requests=draw.choice([0, 0, 0, 3]),
            proxy=draw.choice([0, 0, 1, 2]),
            proxy_crc=draw.random() < 0.5,
            proxy_unique_id=draw.random() < 0.5,
            on_down_close=draw.random() < 0.5,
        )

    def stir(self) -> None:
        """What the control plane does between two publishes."""
        draw = self.draw
        spec = draw.choice(self.specs)
        server = draw.choice(spec.members).server
        kind = draw.randrange(8)
        if kind < 4:
            server.set_down(draw.choice(DOWN_REASONS), draw.random() < 0.5)
            for engine in self.rig.engines:
                engine.review()
        elif kind == 4:
            for every in self.rig.servers.values():
                for word in DOWN_REASONS:
                    every.set_down(word, False)
        elif kind == 5:
            spec.state.use(Pool(self.changed(spec), len(self.rig.engines)))
        elif kind == 6:
            draw.choice([lambda: server.eject(draw.choice([1, 500])), server.readmit, server.ramp, server.forgive])()
        else:
            spec.state.set_circuit(*draw.choice(CIRCUITS))

    # ---- who takes part ----

    def arrive(self, sock: socket.socket | None = None) -> None:
        """A client, with what must stand before its own bytes, most of the time."""
        draw = self.draw
        kinds = [kind for kind in self.listening if kind != "udp"]
        if not kinds or len(self.clients) >= CLIENTS:
            return
        kind = draw.choice(kinds)
        name = self.listening[kind]
        source = draw.choice([None, None, None, "127.0.0.9"]) if sock is None else None
        try:
            peer = self.rig.connect(name, receive_bytes=draw.choice([0, 0, 8_192]), source=source, sock=sock)
        except ConnectionError:
            return  # its listener is being left
        number = len(self.numbers) + 1
        client = Side(peer, b"\0" + number.to_bytes(3, "big") + UP, number)
        self.numbers[number] = client
        self.clients.append(client)
        client.slow = draw.choice([0, 500, 50_000, 1 << 20])
        wrapping = b""
        if self.proxied[name] != (draw.random() < 0.05):
            wrapping += draw.choice(HEADERS)
        if kind == "tls" and draw.random() < 0.95:
            wrapping += draw.choice(HELLOS[:2] * 4 + HELLOS)
        if draw.random() < 0.05:
            client.wrap(wrapping[: draw.randrange(len(wrapping) + 1)])
            client.gone = "nowhere"
            return  # and never the rest
        client.wrap(wrapping)
        client.speak(draw.choice([0, 10, 10, 5_000, 300_000]))

    def serve(self) -> None:
        draw = self.draw
        for origin in self.origins:
            peer = origin.maybe_accept() if draw.random() < 0.8 else None
            if peer is not None:
                side = self.served[peer] = Side(peer, DOWN)
                side.slow = draw.choice([0, 500, 50_000, 1 << 20])
                if draw.random() < 0.05:
                    side.end(draw.choice(["reset", "close", "half_close"]))

    def talk(self) -> None:
        draw = self.draw
        sides = [side for side in (*self.clients, *self.served.values()) if side.open]
        for side in draw.sample(sides, min(len(sides), 8)):
            kind = draw.random()
            if kind < 0.35:
                side.speak(draw.choice([1, 1, 50, 50, 3_000, 20_000, 60_000, 200_000, MOST]))
            elif kind < 0.38:
                side.slow = draw.choice([0, 500, 50_000, 1 << 20])
            elif kind < 0.41:
                side.end(draw.choice(["half_close", "half_close", "close", "reset"]))
        for side in sides:
            if side.open:
                side.peer.take(side.slow)

    def asker(self, listener: str) -> tuple[int, Asker]:
        asker = self.datagrams.client(listener=listener)
        number = sum(len(numbers) for numbers in self.ports.values()) + 1
        self.ports.setdefault(asker.address[1], set()).add(number)
        return number, asker

    def ask(self) -> None:
        draw = self.draw
        if "udp" not in self.listening:
            return
        name = self.listening["udp"]
        if len(self.askers) < ASKERS and draw.random() < 0.3:
            number, asker = self.asker(name)
            self.askers[number] = asker
        for number, asker in draw.sample(sorted(self.askers.items()), min(len(self.askers), 3)):
            if draw.random() < 0.03:
                asker.close()
                del self.askers[number]
                continue
            header = ASKED if self.proxied[name] != (draw.random() < 0.05) else b""
            for _ in range(draw.choice([1, 1, 2, 20])):
                data = number.to_bytes(4, "big") + UP[: draw.choice([0, 1, 100, 100, 1_200, 20_000])]
                with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                    asker.ask(header + data)

    def answer(self) -> None:
        """Each question none, once or a few times; and what comes back must be of a question of that client."""
        draw = self.draw
        for server in self.servers[:2]:
            if draw.random() < 0.1:
                continue
            while (asked := server.maybe_receive()) is not None:
                data, whole = unwrapped(asked.data)
                for _ in range(draw.choice([0, 1, 1, 1, 2, 12]) if whole else 0):
                    with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                        server.send(data, asked.peer)
        for asker in self.askers.values():
            while (told := asker.maybe_receive()) is not None:
                had = self.ports[asker.address[1]]
                assert told.peer == asker.to or len(had) > 1, (told.peer, asker.to)
                assert int.from_bytes(told.data[:4], "big") in had, (told.data[:4], had)
                assert UP.startswith(told.data[4:])
                self.ended["answers"] += 1

    # ---- the storm ----

    def step(self) -> None:
        draw = self.draw
        if draw.random() < 0.25:
            self.arrive()
        self.serve()
        self.talk()
        self.ask()
        if draw.random() < 0.7:
            self.answer()
        kind = draw.random()
        if kind < 0.02:
            self.reload()
        elif kind < 0.1:
            self.stir()
        elif kind < 0.11:
            self.run_out()
        elif kind < 0.13:
            origin = draw.choice(self.origins)
            if origin.listening:
                origin.refuse()
            else:
                origin.sock.listen(128)
                origin.sock.setblocking(False)
        elif kind < 0.18 and self.rig.mode == "inline":
            self.rig.advance(draw.choice([1, 20, 100, 1_000]) if self.deadlines else 1)
        for _ in range(draw.choice([0, 1, 3])):
            self.rig.turn()
        self.look()

    def run_out(self) -> None:
        """No descriptor is to be had for a while: accepts, connects, sockets of flows and pipes fail."""
        spare = [socket.socket() for _ in range(4)]
        number, asker = self.asker(self.listening["udp"]) if "udp" in self.listening else (0, None)
        with no_more_descriptors():
            for sock in spare:
                self.arrive(sock)
                self.talk()
                if asker is not None:
                    asker.ask(number.to_bytes(4, "big"))
                for _ in range(3):
                    self.rig.turn()
        for sock in spare:
            if not any(client.peer.sock is sock for client in self.clients):
                sock.close()
        if asker is not None:
            asker.close()
        self.ended["times without descriptors"] += 1

    def look(self) -> None:
        """Is what has come what was sent?  Those who are done with are let go."""
        for side in [side for side in self.served.values() if side.other is None and side.peer.received]:
            data, whole = unwrapped(bytes(side.peer.received[:4_096]))
            if whole and data[:1] == b"\0" and len(data) >= 4:
                side.other = self.numbers[int.from_bytes(data[1:4], "big")]
                assert side.other.other is None, "one client, one connection"
                side.other.other = side
        for client in [client for client in self.clients if client.gone in ("reset", "close") or client.peer.eof or client.peer.broken]:
            if client.open and not client.gone and client.peer.eof and self.draw.random() < 0.8:
                continue  # it may go on to speak
            client.end("close")
            self.clients.remove(client)

    def check(self) -> None:
        for client in self.numbers.values():
            got = bytes(client.peer.received)
            alert = len(got) == 7 and got.startswith(b"\x15\3\3\0\2\2")
            assert DOWN.startswith(got) or alert, (client.number, len(got), got[:100])
            self.ended["bytes down"] += len(got)
            if client.peer.eof and not client.peer.refused and client.other is not None:
                self.whole(client, client.other, len(got))
        for side in self.served.values():
            got, _ = unwrapped(bytes(side.peer.received))
            expected = side.other.stream if side.other is not None else got
            assert expected.startswith(got), (side.other and side.other.number, len(got), got[:100])
            self.ended["bytes up"] += len(got)
            if side.peer.eof and not side.peer.refused and side.other is not None:
                self.whole(side, side.other, len(got))

    def whole(self, side: Side, other: Side, size: int) -> None:
        """An orderly end was seen, and no send has taken the error of a reset before: nothing is missing before it."""
        self.ended["orderly ends"] += 1
        if not self.deadlines:
            assert other.gone in ("half_close", "close"), (side.number, other.number, other.gone)
            assert size == other.said, (side.number, other.number, size, other.said)

    def over(self) -> None:
        """Everybody leaves, and all comes to its end."""
        for side in (*self.clients, *self.served.values()):
            side.slow = 1 << 20
        if self.draw.random() < 0.5:
            for engine in self.rig.engines:
                engine.drain()
            self.until_quiet()
            for _ in self.rig.engines:
                self.rig.event("drained")
        else:
            self.until_quiet()
            self.count_anew()
        self.look()
        self.check()

    def count_anew(self) -> None:
        """Where nobody is any more there is room for one."""
        routes = [FlowRoute("all", [TargetSpec(0)])]
        listeners = [
            ListenerSpec(self.rig.listeners[name], name, flow=FlowSpec(kind, routes, idle_ms=20), connections=1)
            for kind, name in self.listening.items()
        ]
        state = self.rig.states["asked"]
        asked = UpstreamSpec("asked", state, [MemberSpec(self.datagrams.handle(self.servers[0], "asked"))])
        self.rig.publish_spec(SnapshotSpec(0, "test", listeners, [], [self.rig.upstream(*self.origins), asked]))
        for kind, name in self.listening.items():
            before = self.rig.listeners[name].stats()
            if kind == "udp":
                self.asker(name)[1].ask(b"one")
            else:
                self.numbers[len(self.numbers) + 1] = Side(self.rig.connect(name), UP)
            self.rig.until(partial(self.accepted, name, before["accepted"] + 1), f"one comes in at {name}")
            assert self.rig.listeners[name].stats()["rejected"].get("connections", 0) == before["rejected"].get("connections", 0), name
        self.until_quiet()

    def accepted(self, name: str, count: int) -> bool:
        return self.rig.listeners[name].stats()["accepted"] >= count

    def until_quiet(self) -> None:
        self.rig.until(self.quiet, f"all flows are over: {[engine.stats() for engine in self.rig.engines]}", seconds=20)

    def quiet(self) -> bool:
        """Half of those who are left close; the others only say that they have nothing to say any more, which is enough."""
        for origin in self.origins:
            while (peer := origin.maybe_accept()) is not None:
                self.served[peer] = Side(peer, DOWN)
        for number, side in enumerate((*self.numbers.values(), *self.served.values())):
            if side.open:
                side.peer.take()
                side.peer.flush()
                side.end("half_close" if number % 2 and not side.peer.broken and side.number else "close")
        for server in self.servers[:2]:
            while server.maybe_receive() is not None:
                pass
        if self.rig.mode == "inline":
            self.rig.advance(50)
        self.look()
        return self.rig.total("flows") == 0

    def give_up(self) -> None:
        """The engines are closed in the middle of all that."""
        for engine in self.rig.engines:
            engine.close()
        self.rig.until(lambda: self.rig.total("flows") == 0, "all is given up")
        self.look()
        self.check()

    def finish(self) -> None:
        for listener in self.rig.listeners.values():
            stats = listener.stats()
            assert stats["open"] == 0, stats
            self.ended.update({f"end {word}": count for word, count in stats["ended"].items()})
            self.ended.update({f"rejected {word}": count for word, count in stats["rejected"].items()})
        for state in self.rig.states.values():
            figures = state.stats()
            assert (figures["in_flight"], figures["retries_in_flight"]) == (0, 0), figures
        for party in self.datagrams.parties:
            party.close()
        self.datagrams.handles.clear()


def one_storm(mode: Mode, seed: int) -> Counter[str]:
    rig = Rig(mode)
    storm = Storm(rig, seed)
    for _ in range(STEPS):
        storm.step()
    if seed % 3:
        storm.over()
    else:
        storm.give_up()
    storm.finish()
    ended = storm.ended
    del storm
    rig.finish()
    return ended


MUST = ("answers", "bytes up", "bytes down", "orderly ends", "end refused")
PATIENCE = 20.0     # seconds


@pytest.mark.parametrize("mode", ["inline", "threads"])
def test_nothing_is_left_of_a_storm_of_flows(mode: Mode) -> None:
    until, seed, ended = time.monotonic() + SECONDS, SEED, Counter[str]()
    while True:
        try:
            ended += one_storm(mode, seed)
        except BaseException as error:
            error.add_note(f"again with PROXYD_STORM_SEED={seed}")
            raise
        seed += 1
        over = time.monotonic() - until
        if over >= 0 and (over >= PATIENCE or all(ended[word] > 0 for word in MUST)):   # on a busy machine a short one may miss something
            break
    for word in MUST:
        assert ended[word] > 0, f"it did something: {ended}"
    if "PROXYD_STORM_SECONDS" in os.environ:
        print(seed - SEED, "storms:", dict(ended))
