"""Scripted sockets: a client or an origin whose every byte a test decides, all in the test's own thread.

    client.send(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
    asked = origin.accept()
    assert asked.request().target == "/"
    asked.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi")
    assert client.response().body == b"hi"

Nothing blocks: `send` queues what the kernel does not take, and whatever waits (`request`, `response`, `ended`, ...) pumps the engine and
all queues until its condition holds, or fails when its time is over.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

T = TypeVar("T")

WAIT_SECONDS = 10.0


class Pump(Protocol):
    """Who keeps the engine turning while a script waits."""

    def until(self, condition: Callable[[], T], what: str, watch: Sequence[socket.socket] = ()) -> T:
        """The condition's first true value; AssertionError naming `what` when it does not come in time."""
        ...


@dataclass(slots=True)
class Message:
    """One request or response, as it was on the wire."""

    head: bytes
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    chunks: list[int] = field(default_factory=list)  # sizes, when the body was chunked
    framing: str = "none"  # none, length, chunked, close

    @property
    def start(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")

    @property
    def fields(self) -> list[tuple[str, str]]:
        return _fields(self.head.split(b"\r\n")[1:])

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.fields if known.lower() == name.lower()]

    def field(self, name: str) -> str | None:
        """The one field of this name; None when there is none."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} stands {len(values)} times in {self.head!r}"
        return values[0] if values else None

    @property
    def status(self) -> int:
        return int(self.start.split(" ")[1])

    @property
    def method(self) -> str:
        return self.start.split(" ")[0]

    @property
    def target(self) -> str:
        return self.start.split(" ")[1]


def _fields(lines: Sequence[bytes]) -> list[tuple[str, str]]:
    return [
        (name.decode("latin-1"), value.strip().decode("latin-1")) for name, _, value in (line.partition(b":") for line in lines if line)
    ]


class Peer:
    """One connected, non-blocking socket with what was received from it and what waits to be sent."""

    def __init__(self, pump: Pump, sock: socket.socket) -> None:
        self.sock, self.pump = sock, pump
        self.received = bytearray()  # read from the socket, not yet consumed by the script
        self.eof = False
        self.broken = False  # the other side reset the connection, and all that came before was read
        self.refused = False  # nothing more can be sent
        self._outbox = bytearray()
        self._finish = False
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
            )  # pieces leave when they are sent, not when the last one was acknowledged

    # ---- sending ----

    def send(self, data: bytes) -> None:
        """Queue bytes; they leave as the kernel takes them."""
        self._outbox += data
        self.flush()

    def flush(self) -> None:
        while self._outbox and not self.refused and self.sock.fileno() >= 0:
            try:
                del self._outbox[: self.sock.send(memoryview(self._outbox)[: 1 << 18].tobytes())]
            except BlockingIOError:
                return
            except OSError:
                self.refused = True  # what the other side said before is still to be read
        if not self._outbox and self._finish and not self.refused:
            self._finish = False
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_WR)

    @property
    def unsent(self) -> int:
        return len(self._outbox)

    def unsent_dropped(self) -> None:
        """Think better of it: what is still queued is not sent."""
        self._outbox.clear()

    def half_close(self) -> None:
        """FIN behind what was queued."""
        self._finish = True
        self.flush()

    def close(self) -> None:
        self._outbox.clear()
        self.sock.close()

    def reset(self) -> None:
        """RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    # ---- receiving ----

    def take(self, limit: int = 1 << 20) -> None:
        """Read what is there now, up to `limit` bytes."""
        while limit > 0 and not self.eof and not self.broken:
            try:
                piece = self.sock.recv(min(limit, 1 << 18))
            except BlockingIOError:
                return
            except ConnectionError:
                self.broken = True
                return
            if not piece:
                self.eof = True
                return
            limit -= len(piece)
            self.received += piece

    def got(self) -> bytearray:
        """What is there now."""
        self.take()
        return self.received

    def read_on(self, total: int) -> None:
        """Read slowly, until so many bytes in all stand unconsumed."""

        def enough() -> bool:
            self.take(50_000)
            return len(self.received) >= total

        self.pump.until(enough, f"{total} bytes", [self.sock])

    def _until(self, condition: Callable[[], T], what: str) -> T:
        def taken() -> T:
            self.take()
            return condition()

        try:
            return self.pump.until(taken, what, [self.sock])
        except AssertionError as error:
            state = "reset" if self.broken else "ended" if self.eof else "open"
            raise AssertionError(
                f"{error}; connection {state}, {len(self.received)} bytes received: {bytes(self.received[:200])!r}"
            ) from None

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        self._until(lambda: len(self.received) >= size or self.eof or self.broken, f"{size} bytes")
        assert len(self.received) >= size, f"ended after {len(self.received)} of {size} bytes"
        return self._cut(size)

    def line(self) -> bytes:
        self._until(lambda: b"\r\n" in self.received or self.eof or self.broken, "a line")
        assert b"\r\n" in self.received, f"ended within a line: {bytes(self.received[:200])!r}"
        return self._cut(self.received.index(b"\r\n") + 2)

    def _cut(self, size: int) -> bytes:
        piece = bytes(self.received[:size])
        del self.received[:size]
        return piece

    def rest(self) -> bytes:
        """All bytes up to the end of the connection, which must be an orderly one."""
        self._until(lambda: self.eof or self.broken, "the end of the connection")
        assert not self.broken, "the connection was reset"
        return self._cut(len(self.received))

    def ended(self) -> bool:
        """Whether the other side says FIN next, with nothing before it."""
        return self.rest() == b""

    def over(self) -> bool:
        """Whether the connection has ended by now, in whatever way."""
        self.take()
        return self.eof or self.broken

    def was_reset(self) -> bool:
        """Whether the connection ends by a reset (bytes before it are kept in `received`)."""
        self._until(lambda: self.eof or self.broken, "the end of the connection")
        return self.broken

    # ---- messages ----

    def head(self) -> bytes:
        self._until(lambda: b"\r\n\r\n" in self.received or self.eof or self.broken, "a head")
        assert b"\r\n\r\n" in self.received, f"ended without a head: {bytes(self.received[:200])!r}, {'reset' if self.broken else 'eof'}"
        return self._cut(self.received.index(b"\r\n\r\n") + 4)

    def request(self) -> Message:
        """One whole request."""
        message = Message(self.head())
        self._body(message, "none")
        return message

    def response(self, to: str = "GET") -> Message:
        """One whole response to a request with method `to`; 1xx answers come one by one."""
        message = Message(self.head())
        if to != "HEAD" and message.status >= 200 and message.status not in (204, 304):
            self._body(message, "close")
        return message

    def _body(self, message: Message, otherwise: str) -> None:
        coding, length = message.field("transfer-encoding"), message.field("content-length")
        assert coding is None or length is None, f"two framings in {message.head!r}"
        if coding is not None:
            assert coding == "chunked", coding
            message.framing = "chunked"
            self._chunks(message)
        elif length is not None:
            message.framing = "length"
            message.body = self.read(int(length))
        elif otherwise == "close":
            message.framing = "close"
            message.body = self.rest()

    def _chunks(self, message: Message) -> None:
        while size := int(self.line().strip(), 16):
            message.body += self.read(size)
            message.chunks.append(size)
            assert self.read(2) == b"\r\n"
        lines = []
        while (line := self.line()) != b"\r\n":
            lines.append(line.rstrip(b"\r\n"))
        message.trailers = _fields(lines)

    def silent(self) -> bool:
        """Whether nothing has come that the script did not read, and the connection is open."""
        self.take()
        return not self.received and not self.eof and not self.broken


Answer = Callable[[Message], bytes]


class Origin:
    """A listening socket. Either the script accepts and speaks, or `serve` answers every request by a function."""

    def __init__(
        self, pump: Pump, host: str = "127.0.0.1", backlog: int = 128, path: str | None = None, receive_bytes: int = 0, send_bytes: int = 0
    ) -> None:
        self.pump = pump
        self.path = path
        family = socket.AF_UNIX if path else socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family)
        if receive_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)  # accepted sockets inherit it
        if send_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_bytes)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # accepted sockets inherit it
        self.sock.bind(path if path else (host, 0))
        self.reserve = socket.socket(family)  # bound as well, for `refuse`: nobody else gets the port between
        if not path:
            self.reserve.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.reserve.bind((host, self.sock.getsockname()[1]))
        self.sock.listen(backlog)
        self.sock.setblocking(False)
        self.host = host
        self.port: int = 0 if path else self.sock.getsockname()[1]
        self.peers: list[Peer] = []  # accepted so far
        self.requests: list[Message] = []  # read by `serve`
        self._answer: Answer | None = None
        self._read: dict[Peer, bytearray] = {}

    @property
    def listening(self) -> bool:
        return self.sock.fileno() >= 0 and bool(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))

    @property
    def label(self) -> str:
        return f"unix:{self.path}" if self.path else f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def address(self) -> tuple[str, int] | str:
        return self.path if self.path else (self.host, self.port)

    def maybe_accept(self) -> Peer | None:
        if not self.listening:
            return None
        try:
            sock, _ = self.sock.accept()
        except BlockingIOError:
            return None
        peer = Peer(self.pump, sock)
        self.peers.append(peer)
        return peer

    def accept(self) -> Peer:
        """The next connection."""
        peer = self.pump.until(self.maybe_accept, f"a connection to {self.label}", [self.sock])
        assert peer is not None
        return peer

    def asked(self) -> tuple[Peer, Message]:
        """The next connection, and the first request on it."""
        peer = self.accept()
        return peer, peer.request()

    def waiting(self) -> bool:
        """Whether a connection waits to be accepted."""
        return bool(select.select([self.sock], [], [], 0)[0])

    def serve(self, answer: Answer | bytes | None = None) -> Origin:
        """From now on answer every request (Content-Length bodies are read first): 200 with the origin's label unless told otherwise."""
        text = self.label.encode()
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)
        self._answer = (
            answer if callable(answer) else lambda request: answer or (whole if request.method != "HEAD" else whole[: -len(text)])
        )
        return self

    def turn(self) -> None:
        """What `serve` does whenever a script waits."""
        if self._answer is None:
            return
        while self.maybe_accept() is not None:
            pass
        for peer in self.peers:
            if peer.sock.fileno() < 0:
                continue
            peer.flush()
            peer.take()
            while (request := _maybe_request(peer.received)) is not None:
                self.requests.append(request)
                peer.send(self._answer(request))
            if peer.eof or peer.broken:
                peer.close()

    def refuse(self) -> None:
        """Nobody listens any more; what is open stays open. The port stays bound, so that no other socket can be given it."""
        family = self.sock.family
        self.sock.close()
        if self.path:
            return
        self.sock = self.reserve
        if self.sock.fileno() < 0 or self.listening:
            self.sock = socket.socket(family)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.sock.bind((self.host, self.port))

    def close(self) -> None:
        self.sock.close()
        self.reserve.close()
        for peer in self.peers:
            peer.close()
        if self.path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)


def _maybe_request(received: bytearray) -> Message | None:
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    message = Message(bytes(received[: end + 4]))
    size = int(message.field("content-length") or 0)
    if len(received) < end + 4 + size:
        return None
    message.body = bytes(received[end + 4 : end + 4 + size])
    del received[: end + 4 + size]
    return message
