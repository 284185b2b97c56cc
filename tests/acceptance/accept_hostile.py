"""Acceptance 5: no input makes proxyd crash, hang or grow without bound, and service goes on meanwhile."""
from __future__ import annotations

import contextlib
import re
import select
import selectors
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.stage import OriginProcess, Process, Proxyd, Wrk, allow_descriptors, ending, exchange, free_port, until

SLOW_SOCKETS = 5_000
ENDLESS_BYTES = 64 << 20     # a refused client may say a few megabytes more before it is cut off, so that it gets to see its answer
OK = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /asked HTTP/1.1\r\nHost: a\r\n"

# Each could be read as one request by one reader and as two by another (or as another request): refused, and the connection closed.
AMBIGUOUS = {
    "CL.TE": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE.CL": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 36\r\n\r\n" + SMUGGLED,
    "the same length twice": POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "list of lengths": POST + b"Content-Length: 0, 36\r\n\r\n" + SMUGGLED,
    "signed length": POST + b"Content-Length: +0\r\n\r\n" + SMUGGLED,
    "hexadecimal length": POST + b"Content-Length: 0x0\r\n\r\n" + SMUGGLED,
    "length that overflows": POST + b"Content-Length: 18446744073709551616\r\n\r\n" + SMUGGLED,
    "TE not ending in chunked": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE obfuscated by a tab": POST + b"Transfer-Encoding:\tchunked\x0b\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE with a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE in a folded line": POST + b"X-A: b\r\n Transfer-Encoding: chunked\r\n\r\n" + SMUGGLED,
    "TE quoted": POST + b"Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE of HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "bare LF after a field": POST + b"X-A: b\nContent-Length: 36\r\n\r\n" + SMUGGLED,
    "bare LF after the head": b"GET / HTTP/1.1\nHost: a\n\n" + SMUGGLED,
    "bare CR in a field": POST + b"X-A: b\rContent-Length: 36\r\n\r\n" + SMUGGLED,
    "NUL in a field": POST + b"X-A: \0\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "Host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "Host with userinfo": b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "chunk size that overflows": POST + b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n" + SMUGGLED,
    "chunk size with a sign": POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n" + SMUGGLED,
    "chunk with a bare LF": POST + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n" + SMUGGLED,
    "chunk longer than its size": POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n" + SMUGGLED,
    "chunk extension with a bare LF": POST + b"Transfer-Encoding: chunked\r\n\r\n3;a\nb\r\nabc\r\n0\r\n\r\n" + SMUGGLED,
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "control in the target": b"GET /a\x01b HTTP/1.1\r\nHost: a\r\n\r\n",
    "above the root": b"GET /../etc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "escape above the root": b"GET /%2e%2e/etc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "escaped NUL": b"GET /a%00b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS on a plain port": bytes.fromhex("16030100a5010000a10303") + bytes(100),
    "not HTTP at all": b"\x00\x01\x02\x03\xff\xfe" * 20 + b"\r\n\r\n",
}


class Stage:
    def __init__(self, folder: Path) -> None:
        allow_descriptors()
        self.port = free_port()
        self.origin = OriginProcess(folder, "app")
        self.proxyd = Proxyd(folder, (
            "log: {access: none}\n"
            f"listeners: {{web: {{bind: ['127.0.0.1:{self.port}'], limits: {{header_timeout: 5s, per_client: 20000}}}}}}\n"
            f"upstreams: {{app: {{servers: ['{self.origin.address}']}}}}\nroutes: [{{to: app}}]\n"
        ))
        self.processes: list[Process] = [self.origin, self.proxyd]

    def serves(self) -> None:
        before = time.monotonic()
        assert exchange(self.port, OK).startswith(b"HTTP/1.1 200"), self.proxyd.output()
        assert time.monotonic() - before < 1

    def open_connections(self) -> float:
        return self.proxyd.total("proxyd_connections_open")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Still there and serving when the script is over, and left in good order."""
    stage = Stage(tmp_path)
    with ending(*stage.processes):
        yield stage
        stage.serves()
        assert stage.proxyd.end() == 0


def test_ambiguous_requests(stage: Stage) -> None:
    wrong = {}
    for name, request in AMBIGUOUS.items():
        answer = exchange(stage.port, request)
        # One answer, 400 or its kin, and nothing behind it counts. (The chunked bodies that break late were on their way to the origin.)
        answers = re.findall(rb"^HTTP/1.1 (\d+)", answer, re.MULTILINE)
        if len(answers) != 1 or answers[0] not in (b"400", b"501", b"505") or b"/smuggled" in answer:
            wrong[name] = answer
    assert wrong == {}


def test_a_byte_at_a_time(stage: Stage) -> None:
    head = b"POST /asked?x=y HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nX-A:  b \r\nConnection: close\r\n\r\n"
    request = head + b"3\r\nabc\r\n0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", stage.port), timeout=10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(request)):
            client.sendall(request[i : i + 1])
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\nabc")
    assert b"POST /asked?x=y\n" in answer
    for name in ("CL.TE", "bare CR in a field", "two Hosts"):
        with socket.create_connection(("127.0.0.1", stage.port), timeout=10) as client, contextlib.suppress(ConnectionError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(len(AMBIGUOUS[name])):
                client.sendall(AMBIGUOUS[name][i : i + 1])
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 400"), name


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X-%d: endless\r\n"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: ", b"%d"),
        (b"GET /", b"%d"),
        (b"", b"\r\n"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1", b";x%d=y"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1;%d\r\na\r\n"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-%d: trailer\r\n"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    ],
    ids=["fields", "field", "target", "empty lines", "extension", "extensions", "trailers", "zeros"],
)
def test_endless(stage: Stage, head: bytes, piece: bytes) -> None:
    stage.serves()
    before = stage.proxyd.memory_bytes()
    sent, answer = 0, b""
    with socket.create_connection(("127.0.0.1", stage.port), timeout=20) as client:
        client.sendall(head)
        number = 0
        with contextlib.suppress(ConnectionError):
            while sent < ENDLESS_BYTES:
                block = b"".join(piece % i if b"%" in piece else piece for i in range(number, number + 1000))
                number += 1000
                client.sendall(block)
                sent += len(block)
                # Read meanwhile: the reset that ends it may take away what was not.
                if select.select([client], [], [], 0)[0]:
                    answer += client.recv(65536)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 414", b"HTTP/1.1 431")), answer
    assert sent < ENDLESS_BYTES, "nobody stopped it"
    assert stage.proxyd.memory_bytes() - before < 4 << 20


def test_thousands_of_slow_sockets(stage: Stage, tmp_path: Path) -> None:
    stage.serves()
    before = stage.proxyd.memory_bytes()
    sockets: list[socket.socket] = []
    selector = selectors.DefaultSelector()
    wrk = Wrk(tmp_path, f"http://127.0.0.1:{stage.port}/", connections=8)
    with ending(wrk), contextlib.ExitStack() as stack:
        for number in range(SLOW_SOCKETS):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", stage.port), timeout=10))
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: %d" % number)
            sockets.append(client)
            selector.register(client, selectors.EVENT_READ, client)
        until(lambda: stage.open_connections() > SLOW_SOCKETS * 0.9, "all are there")
        grown = stage.proxyd.memory_bytes() - before
        closed: set[socket.socket] = set()
        deadline = time.monotonic() + 30
        while len(closed) < SLOW_SOCKETS:
            assert time.monotonic() < deadline, f"{SLOW_SOCKETS - len(closed)} are still open"
            stage.serves()
            for key, _ in selector.select(0):
                ended: socket.socket = key.data
                with contextlib.suppress(ConnectionError):
                    answer = ended.recv(4096)
                    assert answer == b"" or answer.startswith(b"HTTP/1.1 408"), answer
                selector.unregister(ended)
                closed.add(ended)
            # A byte more from each that is left does not keep it.
            for client in set(sockets[::50]) - closed:
                with contextlib.suppress(ConnectionError):
                    client.sendall(b".")
        load = wrk.stop()
    assert load.failed == 0, load
    assert load.requests > 100
    print(f"\n{SLOW_SOCKETS} slow sockets took {grown / SLOW_SOCKETS:.0f} bytes each while {load.requests} requests were served")
    assert grown < SLOW_SOCKETS * 20_000
    until(lambda: stage.open_connections() < 50, "they are gone")
