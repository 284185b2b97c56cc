"""The bench's side of load/l4wire.h: what is asked of a contestant before it is measured, and what the origin has seen meanwhile."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from typing import Any

from harness.model import L4, Load, Workload

# kind, length of the request, bytes that are wanted, tag
HEAD = struct.Struct("=4I")
ECHO, BULK, WHO, STATS = (int.from_bytes(word, "little") for word in (b"ECHO", b"BULK", b"WHO?", b"STAT"))
STATS_BYTES = 128
SECONDS = 5.0  # for one answer
PROBE_FLOWS = 8
PROBE_ROUNDS = 4
TAGS = (1, 4095, 77_777)  # of large answers: they begin at different places
LOST_ONE_IN = 1000  # datagrams: more than that, and a run says something about its buffers, not about its price


def message_of(kind: int, size: int = HEAD.size, wanted: int = 0, tag: int = 0) -> bytes:
    body = bytes((tag + i) % 251 for i in range(size - HEAD.size))
    return HEAD.pack(kind, size, wanted, tag) + body


def receive(client: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes. EOFError when the connection ends before."""
    held = bytearray()
    while len(held) < size:
        got = client.recv(size - len(held))
        if not got:
            raise EOFError(f"the connection ended after {len(held)} of {size} bytes")
        held += got
    return bytes(held)


def connect(port: int, source: str = "") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), SECONDS, (source, 0) if source else None)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def origin_seen(port: int, l4: L4) -> tuple[int, int]:
    """(requests, connections) that the origin has seen; of UDP (datagrams, 0). The connection that asks is among them."""
    with connect(port) as client:
        client.sendall(message_of(STATS))
        stats: dict[str, Any] = json.loads(receive(client, STATS_BYTES))
    return (stats["datagrams"], 0) if l4.protocol == "udp" else (stats["requests"], stats["connections"])


def open_flow(port: int, source: str) -> socket.socket:
    """A connection on which a message has come back. OSError or EOFError when it did not."""
    client = connect(port, source)
    try:
        message = message_of(ECHO, 64)
        client.sendall(message)
        if receive(client, len(message)) != message:
            raise EOFError("what came back is not what was sent")
    except (OSError, EOFError):
        client.close()
        raise
    return client


def answers(port: int) -> bool:
    """Whether a datagram comes back: the sign that a UDP contestant is there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.1)
        try:
            client.connect(("127.0.0.1", port))
            client.send(message_of(ECHO, 64))
            return client.recv(2048) == message_of(ECHO, 64)
        except OSError:
            return False


def faults_of(port: int, workload: Workload, origin_ports: Sequence[int]) -> list[str]:
    """What is wrong with the way a contestant passes bytes on; an empty list when nothing is."""
    assert workload.l4
    try:
        if workload.l4.protocol == "udp":
            return _datagram_faults(port, workload.l4, origin_ports)
        return _echo_faults(port, workload.l4) or _bulk_faults(port, workload.l4, origin_ports[0])
    except (OSError, EOFError) as error:
        return [f"probe: {error!r}"]


def _echo_faults(port: int, l4: L4) -> list[str]:
    """Two connections at a time: small messages and large ones, a message cut in two, one that waits behind another."""
    with connect(port) as one, connect(port) as other:
        for tag, size in enumerate((HEAD.size, l4.message, 1024, 65_536)):
            messages = [message_of(ECHO, size, tag=2 * tag + i) for i in range(2)]
            for client, message in zip((one, other), messages, strict=True):
                client.sendall(message[: size // 3])
                client.sendall(message[size // 3 :] + message)
            for client, message in zip((one, other), messages, strict=True):
                if receive(client, 2 * size) != message * 2:
                    return [f"probe: messages of {size} bytes came back changed"]
    return []


def _bulk_faults(port: int, l4: L4, origin_port: int) -> list[str]:
    if not l4.answer:
        return []
    with connect(port) as client, connect(origin_port) as direct:
        for tag in TAGS:
            for one in (client, direct):
                one.sendall(message_of(BULK, l4.message, l4.answer, tag))
            if receive(client, l4.answer) != receive(direct, l4.answer):
                return [f"probe: {l4.answer} bytes came that are not the origin's"]
    return []


def _datagram_faults(port: int, l4: L4, origin_ports: Sequence[int]) -> list[str]:
    """Each flow must come back whole, stay on one server, reach it from one port that is its own; and flows must reach all servers."""
    clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(max(PROBE_FLOWS, 2 * len(origin_ports)))]
    try:
        for client in clients:
            client.settimeout(SECONDS)
            client.connect(("127.0.0.1", port))
        seen: list[set[tuple[int, int]]] = [set() for _ in clients]
        for number in range(PROBE_ROUNDS):
            for client, places in zip(clients, seen, strict=True):
                message = message_of(ECHO, l4.message, tag=number)
                client.send(message)
                if client.recv(2048) != message:
                    return ["probe: a datagram came back changed"]
                client.send(message_of(WHO))
                _, _, sender, server = HEAD.unpack(client.recv(2048))
                places.add((sender, server))
    finally:
        for client in clients:
            client.close()
    return place_faults(seen, origin_ports)


def place_faults(seen: Sequence[set[tuple[int, int]]], origin_ports: Sequence[int]) -> list[str]:
    """`seen`: of each flow the (port it was sent from, server's port) that servers saw."""
    faults = []
    if moved := [places for places in seen if len(places) > 1]:
        faults.append(f"probe: a flow did not stay on one server and one socket: {sorted(moved[0])}")
    if len({place for places in seen for place in places}) < len(seen):
        faults.append("probe: flows share a socket towards a server")
    servers = {server for places in seen for _, server in places}
    if servers != set(origin_ports):
        faults.append(f"probe: flows went to {len(servers)} servers of {len(origin_ports)}")
    return faults


def load_faults(load: Load) -> list[str]:
    return [
        f"{count} {kind} errors" for kind, count in load.errors.items() if count > (load.requests // LOST_ONE_IN if kind == "lost" else 0)
    ]


def origin_faults(workload: Workload, load: Load, asked: int, opened: int) -> list[str]:
    """Holds what the load says against what the origin saw. The load leaves nothing unanswered, so the counts are the same."""
    assert workload.l4
    faults = []
    twice = load.errors.get("lost", 0)
    if not load.requests <= asked <= load.requests + twice:
        faults.append(f"the load counted {load.requests} answers, the origin {asked} requests")
    wanted = load.requests if workload.l4.fresh else workload.connections
    if workload.l4.protocol == "tcp" and opened - 1 != wanted:  # one was opened to ask
        faults.append(f"{opened - 1} connections to the origin for {wanted} of clients")
    return faults
