"""A TCP proxy that stands before an origin and does to its answers what networks and dying processes do.

    counting = rig.origin().serve()
    proxy = FaultProxy(rig, counting)           # the engine is told the proxy's address
    proxy.strike(FAULTS["reset"])               # from the next request on
    ...
    proxy.recover()                             # as if nothing had been

Without a fault it passes bytes on both ways. With one, it waits until a whole request has come, and from there on does what the fault says:
pass the request to the origin or lose it, let through as much of the answer as is stated, then end the connection in the stated way. So the
origin behind it knows for certain what was executed, whatever the engine was made to believe.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.support.wire import Origin, Peer, Pump

BUSY = b"come again later"
DRIBBLE_BYTES = 5
"""What a slow answer brings at a time."""


def whole_size(message: bytes | bytearray) -> int:
    """The size of the message that stands at the beginning, by Content-Length or chunks; 0 as long as it is not whole."""
    end = message.find(b"\r\n\r\n") + 4
    if end < 4:
        return 0
    fields = bytes(message[: end - 2]).lower().split(b"\r\n")
    if b"transfer-encoding: chunked" in fields:
        last = message.find(b"0\r\n\r\n", end)     # the bodies of these tests have no such bytes within a chunk
        return last + 5 if last >= 0 else 0
    length = next((int(field.partition(b":")[2]) for field in fields if field.startswith(b"content-length:")), 0)
    return end + length if len(message) >= end + length else 0


def nothing(answer: bytes) -> bytes:
    return b""


def half_head(answer: bytes) -> bytes:
    return answer[: answer.index(b"\r\n\r\n") // 2]


def head(answer: bytes) -> bytes:
    return answer[: answer.index(b"\r\n\r\n") + 4]


def half_body(answer: bytes) -> bytes:
    size = len(head(answer))
    return answer[: size + (len(answer) - size) // 2]


def everything(answer: bytes) -> bytes:
    return answer


def garbage(answer: bytes) -> bytes:
    return b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n"


def garbage_body(answer: bytes) -> bytes:
    """A chunk, and then what is none."""
    size = len(head(answer))
    return answer[:size] + b"3\r\nabc\r\nno chunk\r\n" + answer[size:]


def two_lengths(answer: bytes) -> bytes:
    return answer.replace(b"\r\nContent-Length", b"\r\nContent-Length: 1\r\nContent-Length", 1)


def unavailable(answer: bytes) -> bytes:
    return b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n%s" % (len(BUSY), BUSY)


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of a connection once a request has come on it."""

    passes: Callable[[bytes], bytes] = nothing     # of the origin's answer to the engine
    ends: Literal["reset", "close", "half_close", "stall", "never"] = "never"    # and then; never: it serves on
    executes: bool = True                          # the origin gets the request; else it is lost with the connection
    chunked: bool = False                          # the origin answers in chunks
    slow: bool = False                             # a few bytes at a time
    refuses: bool = False                          # from then on nobody listens
    hangs: bool = False                            # from then on nobody accepts, and the queue is full
    accepts: bool = True                           # else a new connection is reset at once
    once: bool = False                             # the next request fares well again

    @property
    def before_request(self) -> bool:
        """Whether connections that were open are closed before the next request comes."""
        return self.hangs or (self.refuses and self.ends == "never")

    @property
    def takes_time(self) -> bool:
        """Whether only a timeout ends it."""
        return self.hangs or self.ends == "stall"


FAULTS = {
    # Dead before the request: nobody listens, and what was open has been closed.
    "refuse": Fault(refuses=True),
    # Gone with its host: what was open has been closed, and whoever connects waits for ever.
    "hang": Fault(hangs=True),
    # Dead with the request in its hands.
    "die": Fault(ends="reset", executes=False, refuses=True),
    # A server that is overwhelmed: it accepts, and resets before it has read.
    "reset_on_accept": Fault(ends="reset", executes=False, accepts=False),
    # Before the head of the answer; the request lost, or executed with its answer lost.
    "reset_lost": Fault(ends="reset", executes=False),
    "reset": Fault(ends="reset"),
    "reset_once": Fault(ends="reset", once=True),
    "close_lost": Fault(ends="half_close", executes=False),
    "close": Fault(ends="half_close"),
    "close_once": Fault(ends="half_close", once=True),
    "stall": Fault(ends="stall"),
    "stall_lost": Fault(ends="stall", executes=False),
    # Within the head.
    "close_in_head": Fault(half_head, ends="half_close"),
    "stall_in_head": Fault(half_head, ends="stall"),
    # Behind the head.
    "reset_after_head": Fault(head, ends="reset"),
    "reset_after_head_chunked": Fault(head, ends="reset", chunked=True),
    "close_after_head": Fault(head, ends="half_close"),
    "close_after_head_chunked": Fault(head, ends="half_close", chunked=True),
    "stall_after_head": Fault(head, ends="stall"),
    # Within the body.
    "close_in_body": Fault(half_body, ends="close"),
    "close_in_body_chunked": Fault(half_body, ends="close", chunked=True),
    "reset_in_body": Fault(half_body, ends="reset"),
    "reset_in_body_chunked": Fault(half_body, ends="reset", chunked=True),
    "stall_in_body": Fault(half_body, ends="stall"),
    # Not HTTP.
    "garbage": Fault(garbage),
    "two_lengths": Fault(two_lengths),
    "garbage_chunk": Fault(garbage_body, chunked=True),
    # No fault of the connection at all, though it may look like one.
    "slow": Fault(everything, slow=True),
    "slow_chunked": Fault(everything, slow=True, chunked=True),
    "close_after_answer": Fault(everything, ends="half_close"),
    "busy": Fault(unavailable),
}


class Link:
    """A connection of the engine to the proxy, with the one that belongs to it from the proxy to the origin."""

    def __init__(self, proxy: FaultProxy, near: Peer, far: Peer) -> None:
        self.proxy, self.near, self.far = proxy, near, far
        self.fault: Fault | None = None       # done to this connection, from the request that met it on
        self.passing = bytearray()            # of the answer, what is still to be let through
        self.answered = False                 # what passes is decided
        self.over = False                     # ended the stated way

    def turn(self) -> None:
        self.near.take()
        self.far.take()
        if not self.over:
            self._pass_request()
            self._pass_answer()
        if self.near.eof or self.near.broken or self.near.refused:
            self.close()

    def _pass_request(self) -> None:
        size = whole_size(self.near.received)
        if not size or self.fault is not None:
            return
        request = bytes(self.near.received[:size])
        del self.near.received[:size]
        self.fault = self.proxy.struck_by()
        if self.fault is None or self.fault.executes:
            self.far.send(request)
        else:
            self.answered = True

    def _pass_answer(self) -> None:
        fault = self.fault
        if not self.answered and (size := whole_size(self.far.received)):
            answer = bytes(self.far.received[:size])
            del self.far.received[:size]
            self.passing += answer if fault is None else fault.passes(answer)
            self.answered = fault is not None
        size = DRIBBLE_BYTES if fault is not None and fault.slow else len(self.passing)
        if self.passing:
            self.near.send(bytes(self.passing[:size]))
            del self.passing[:size]
        if fault is not None and self.answered and not self.passing and not self.near.unsent and self.proxy.ripe():
            self._end(fault)

    def _end(self, fault: Fault) -> None:
        self.proxy.struck += 1
        if fault.ends == "never":
            self.fault, self.answered = None, False
            return
        self.over = True
        if fault.ends == "reset":
            self.near.reset()
        elif fault.ends == "close":
            self.near.close()
        elif fault.ends == "half_close":
            self.near.half_close()
        if fault.ends in ("reset", "close"):
            self.close()

    def close(self) -> None:
        self.over = True
        self.near.close()
        self.far.close()


class FaultProxy(Origin):
    """To the rig it is an origin; it is turned with all others."""

    def __init__(self, pump: Pump, behind: Origin) -> None:
        super().__init__(pump)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)     # connections inherit it, and `recover` can bind beside them
        self.behind = behind
        self.fault: Fault | None = None
        self.struck = 0                 # how often the fault was done to the end
        self.ripe: Callable[[], bool] = lambda: True    # what must hold before a connection is ended: what passed has been seen
        self.links: list[Link] = []
        self._fillers: list[socket.socket] = []     # of the queue, while nobody accepts

    def strike(self, fault: Fault) -> None:
        """From now on: what is dead is dead at once, all else waits for the next request."""
        self.fault = fault
        if fault.hangs:
            self._hang()
        elif fault.before_request:
            self.refuse()

    def struck_by(self) -> Fault | None:
        """What becomes of the request that has just come."""
        fault = self.fault
        if fault is not None and fault.once:
            self.fault = None
        if fault is not None and fault.refuses:
            super().refuse()
        return fault

    def turn(self) -> None:
        while not self._fillers and (near := self.maybe_accept()) is not None:
            if self.fault is not None and not self.fault.accepts:
                self.struck += 1
                near.reset()
                continue
            far = socket.create_connection((self.behind.host, self.behind.port))
            self.links.append(Link(self, near, Peer(self.pump, far)))
        for link in self.links:
            if link.near.sock.fileno() >= 0:
                link.far.flush()
                link.turn()

    def refuse(self) -> None:
        """The process is gone: its socket does not listen, its connections are closed."""
        super().refuse()
        self._close_links()

    def _hang(self) -> None:
        self._close_links()
        self.sock.listen(0)
        for _ in range(8):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((self.host, self.port))
            self._fillers.append(sock)

    def _close_links(self) -> None:
        for link in self.links:
            link.close()

    def recover(self) -> None:
        """All is well again, at the same address."""
        self.fault = None
        if self._fillers:
            self._end_fillers()
            self.sock.listen(128)
        if not self.listening:
            self.sock.listen(128)
            self.sock.setblocking(False)

    def _end_fillers(self) -> None:
        for sock in self._fillers:
            sock.close()
        self._fillers.clear()

    def close(self) -> None:
        super().close()
        self._end_fillers()
        self._close_links()
