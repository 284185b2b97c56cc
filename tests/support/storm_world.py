"""A small web for storms over the cache: pages whose bodies tell which page, version and variant they are, origins that serve them as badly
as origins do, and clients that check every byte.

A page's version grows; whoever makes it grow may raise its floor afterwards, once the cache has been told to forget what is older. An
answer to a request that was sent when the floor was n must be version n or later.
"""

from __future__ import annotations

import contextlib
import random
import re
import socket
import socketserver
import struct
import threading
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

NOISE: Final = random.Random(4).randbytes(5 << 20)
SIZES: Final = (100, 100, 700, 700, 5_000, 14_000, 20_000, 33_000, 70_000, 130_000, 300_000, 900_000, 3_000_000)
HOST: Final = "test"
PAGES: Final = 240
GZIP: Final = b"gz:"  # stands for a coding: in front of the body
RANGES: Final = ("0-0", "10-2000", "-50", "50000-200000", "70-90,0-5,60-65", "200000-299999,0-99", "9999999-")
DIRECTIVES: Final = ("no-cache", "no-store", "only-if-cached", "max-age=0", "min-fresh=30")
FRAMINGS: Final = ("length", "length", "chunked", "chunked", "close")
_REASONS: Final = {200: "OK", 206: "Partial Content", 304: "Not Modified"}


class Broken(Exception):
    """The answer broke off, visibly: what came of it was checked."""


@dataclass(frozen=True, slots=True)
class Tag:
    """What an ETag says: page, version, variant."""

    page: int
    version: int
    variant: int

    @property
    def text(self) -> str:
        return f'"{self.page}.{self.version}.{self.variant}"'

    @property
    def body(self) -> bytes:
        size = SIZES[self.page % len(SIZES)] + self.version % 50
        line = b"%d %d %d\n" % (self.page, self.version, self.variant)
        start = (self.page * 7_919 + self.version * 104_729 + self.variant * 31) % (1 << 20)
        return line + NOISE[start : start + size - len(line)]


def parse_tag(text: str) -> Tag:
    page, version, variant = (int(word) for word in text.removeprefix("W/").strip('"').split("."))
    return Tag(page, version, variant)


@dataclass(slots=True)
class Web:
    """All pages: their versions, and the oldest that may still be seen."""

    versions: list[int] = field(default_factory=lambda: [1] * PAGES)
    floors: list[int] = field(default_factory=lambda: [1] * PAGES)
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)
    seen: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def change(self, pages: range | list[int]) -> list[tuple[int, int]]:
        """New versions of these pages."""
        with self.lock:
            for page in pages:
                self.versions[page] += 1
            return [(page, self.versions[page]) for page in pages]

    def forget(self, changed: list[tuple[int, int]]) -> None:
        """Nobody who asks from now on may see an older one."""
        with self.lock:
            for page, version in changed:
                self.floors[page] = max(self.floors[page], version)

    def wrong(self, what: str) -> None:
        self.faults.append(what)
        self.over.set()


def path_of(page: int) -> str:
    """Three ways to be cached: plain, served stale for a while, and with compressed forms and a second tier."""
    return f"/{'psc'[page % 3]}/{page}"


# ---- origin ----


class _Speaker(socketserver.StreamRequestHandler):
    server: OriginServer

    def handle(self) -> None:
        draw = random.Random(self.client_address[1])
        with contextlib.suppress(OSError):
            while self._one(draw):
                pass

    def _one(self, draw: random.Random) -> bool:
        line = self.rfile.readline()
        if not line:
            return False
        method, target, _ = line.decode().split(" ")
        fields: dict[str, str] = {}
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            fields[name.lower()] = value.strip()
        page = int(target.rpartition("/")[2].partition("?")[0])
        self.server.web.seen[f"origin {method}"] += 1
        if method == "POST":
            self.server.web.change([page])
        return self._answer(draw, method, page, fields)

    def _answer(self, draw: random.Random, method: str, page: int, fields: dict[str, str]) -> bool:
        varies = page % 7 == 3
        tag = Tag(page, self.server.web.versions[page], int(fields.get("x-variant", "0")) if varies else 0)
        kind = draw.random()
        if kind < 0.02:
            self.wfile.write(b"HTTP/1.1 %d Oops\r\nContent-Length: 4\r\n\r\noops" % draw.choice([500, 502, 503]))
            return True
        if kind < 0.03:
            return False  # not a word
        if kind < 0.035:
            return self._stall()
        lines = [f"ETag: {tag.text}", "Content-Type: text/plain", f"Surrogate-Key: t{page % 10} p{page} all", *self._lifetime(draw, page)]
        if varies:
            lines.append("Vary: X-Variant")
        if fields.get("if-none-match") == tag.text:
            self._head(304, lines)
            return True
        return self._body(draw, method, tag, lines)

    def _lifetime(self, draw: random.Random, page: int) -> list[str]:
        if page % 11 == 5 and draw.random() < 0.5:
            return [f"Cache-Control: {draw.choice(['no-store', 'private'])}"]
        if page % 3 == 1:
            return [f"Cache-Control: max-age={draw.choice([0, 1])}, stale-while-revalidate=5, stale-if-error=5"]
        return [f"Cache-Control: {draw.choice(['max-age=60', 'max-age=60', 'max-age=1', 'max-age=0', 'no-cache'])}"]

    def _head(self, status: int, lines: list[str]) -> None:
        self.wfile.write("\r\n".join([f"HTTP/1.1 {status} {_REASONS[status]}", *lines, "", ""]).encode())

    def _body(self, draw: random.Random, method: str, tag: Tag, lines: list[str]) -> bool:
        body, framing = tag.body, FRAMINGS[(tag.page // 13) % len(FRAMINGS)]
        if framing == "length":
            lines.append(f"Content-Length: {len(body)}")
        elif framing == "chunked":
            lines.append("Transfer-Encoding: chunked")
        self._head(200, lines)
        if method == "HEAD":
            return framing != "close"
        cut = draw.randrange(len(body)) if draw.random() < 0.03 and framing != "close" else len(body)
        stalls = cut < len(body) and draw.random() < 0.3
        step = draw.choice([500, 20_000, 200_000]) if len(body) < 100_000 else 200_000
        for at in range(0, cut, step):
            piece = body[at : min(at + step, cut)]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if framing == "chunked" else piece)
        if cut < len(body):
            return self._stall() if stalls else False
        if framing == "chunked":
            self.wfile.write(b"0\r\n\r\n")
        return framing != "close"

    def _stall(self) -> bool:
        """Says nothing more until the other side loses patience."""
        self.rfile.read(1)
        return False


class OriginServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128
    block_on_close = False

    def __init__(self, web: Web) -> None:
        self.web = web
        super().__init__(("127.0.0.1", 0), _Speaker)
        self.port: int = self.socket.getsockname()[1]
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True, name="origin").start()

    def handle_error(self, request: object, client_address: object) -> None:
        self.web.wrong(traceback.format_exc())


# ---- client ----


@dataclass(slots=True)
class Reply:
    status: int
    fields: dict[str, str]
    body: bytes = b""


class Client:
    """One connection. Whatever it reads, it checks; what is wrong is told to the web."""

    def __init__(self, web: Web, address: tuple[str, int], draw: random.Random) -> None:
        self.web, self.draw = web, draw
        self.sock = socket.socket()
        if draw.random() < 0.3:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        self.sock.settimeout(20)
        self.sock.connect(address)
        self.file = self.sock.makefile("rb")
        self.known: dict[str, str] = {}

    def close(self, *, hard: bool = False) -> None:
        if hard:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.file.close()
        self.sock.close()

    def send(self, page: int) -> tuple[str, int, int, list[str]]:
        """A request; its method, page, the page's floor, and the fields."""
        draw, path = self.draw, path_of(page)
        method = draw.choice(["GET"] * 30 + ["HEAD", "HEAD", "GET" if page % 3 == 2 else "POST"])  # no tier hears of a POST
        fields = [f"X-Variant: {draw.randrange(4)}"]
        if method == "POST":
            fields.append("Content-Length: 0")
        elif draw.random() < 0.1:
            fields.append(f"Range: bytes={draw.choice(RANGES)}")
        elif draw.random() < 0.1 and path in self.known:
            fields.append(f"If-None-Match: {self.known[path]}")
        elif draw.random() < 0.06:
            fields.append(f"Cache-Control: {draw.choice(DIRECTIVES)}")
        if draw.random() < 0.4:
            fields.append("Accept-Encoding: gzip, br;q=0.5")
        floor = self.web.floors[page]
        self.sock.sendall("\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {HOST}", *fields, "", ""]).encode())
        return method, page, floor, fields

    def receive(self, method: str, page: int, floor: int, fields: list[str]) -> bool:
        """The answer to it. False: the connection has ended."""
        told = f"{method} {path_of(page)} {fields}, floor {floor}"
        reply = Reply(0, {})
        try:
            self._read(reply, method)
        except Broken:
            self.web.seen["broken"] += 1
            if reply.status in (200, 206) and "etag" in reply.fields:
                self._check(reply, told, page, floor, whole=False)
            return False
        except TimeoutError:
            self.web.wrong(f"nothing more came: {told}; {reply.status} {reply.fields}, {len(reply.body)} bytes")
            return False
        self.web.seen[str(reply.status)] += 1
        self.web.seen[re.sub(r"ttl=.*|proxyd; ", "", reply.fields.get("cache-status", "none"))] += 1
        if method == "POST":
            if reply.status == 200:
                self.web.forget([(page, parse_tag(reply.fields["etag"]).version)])
        elif reply.status in (200, 206, 304):
            self._check(reply, told, page, floor, whole=method == "GET" and reply.status != 304)
        elif reply.status not in (416, 500, 502, 503, 504):
            self.web.wrong(f"status {reply.status}: {told}")
        return reply.fields.get("connection", "") != "close"

    def _line(self) -> bytes:
        try:
            line = self.file.readline()
        except ConnectionError:
            line = b""
        if not line.endswith(b"\r\n"):
            raise Broken
        return line[:-2]

    def _bytes(self, reply: Reply, size: int) -> None:
        try:
            while size > 0:
                data = self.file.read1(min(size, 262_144))
                if not data:
                    raise Broken
                reply.body += data
                size -= len(data)
        except ConnectionError:
            raise Broken from None

    def _read(self, reply: Reply, method: str) -> None:
        status = self._line()
        while line := self._line():
            name, _, value = line.decode("latin-1").partition(":")
            reply.fields[name.lower()] = value.strip()
        reply.status = int(status.split(b" ")[1])
        if method == "HEAD" or reply.status in (204, 304):
            return
        if reply.fields.get("transfer-encoding") == "chunked":
            while size := int(self._line(), 16):
                self._bytes(reply, size)
                self._line()
            self._line()
        else:
            self._bytes(reply, int(reply.fields["content-length"]))

    def _check(self, reply: Reply, told: str, page: int, floor: int, *, whole: bool) -> None:
        """Of the right page, not too old, and every byte where it belongs."""
        tag = parse_tag(reply.fields["etag"])
        self.known[path_of(page)] = reply.fields["etag"]
        if tag.page != page or (page % 7 == 3 and f"X-Variant: {tag.variant}" not in told):
            self.web.wrong(f"the answer to another question, {tag}: {told}")
        if tag.version < floor:
            self.web.wrong(f"too old, {tag}: {told}; {reply.fields}")
        expected = GZIP + tag.body if reply.fields.get("content-encoding") == "gzip" else tag.body
        if reply.status == 206:
            expected = _parts(reply, expected)
        if reply.status == 304:
            expected = b""
        if reply.body != (expected if whole else expected[: len(reply.body)]):
            self.web.wrong(f"wrong bytes, {tag}, {len(reply.body)} of {len(expected)}: {told}; {reply.fields}")


def _parts(reply: Reply, body: bytes) -> bytes:
    """What of a body a 206 has to contain."""
    kind = reply.fields.get("content-type", "")
    if not kind.startswith("multipart/byteranges"):
        first, last = (int(word) for word in reply.fields["content-range"].removeprefix("bytes ").partition("/")[0].split("-"))
        return body[first : last + 1]
    mark = b"--" + kind.partition("boundary=")[2].encode()
    out, at = b"", 0
    head = re.compile(rb"(?:\r\n)?%s\r\n(?:.+\r\n)*?Content-Range: bytes (\d+)-(\d+)/.*\r\n(?:.+\r\n)*\r\n" % mark)
    while match := head.match(reply.body, at):
        out += match[0] + body[int(match[1]) : int(match[2]) + 1]
        at = len(out)
    return out + b"\r\n" + mark + b"--\r\n"
