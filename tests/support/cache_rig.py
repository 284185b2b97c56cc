"""A caching route between a client and an origin that keeps count: what is asked, after how long, and what comes.

    cache.play(Row(
        Answer("Cache-Control: max-age=60", "ETag: \\"a\\""),
        Ask(1),                                     # the answer of the origin's first request
        Ask(1, after=59, gets=["Age: 59"]),         # the same 59 s later, from the cache
        Ask(1, after=2, asked=2),                   # stale: the origin was asked, and said 304
    ))

Each answer's body is "#n", n being the number of the request at the origin, so that a client sees by itself whose answer it got. The origin
is a good one: it answers conditions on its validators with 304 and 412. In fields, "@+60" stands for the HTTP date of a minute after the
row began.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from typing import Any

from proxyd_ext.cache.store import Cache
from proxyd_ext.snapshot.spec import CacheSpec, ProxyAction, RetrySpec, RouteSpec, SnapshotSpec, TargetSpec
from tests.support.engine import Rig, get
from tests.support.wire import Message, Peer

_TIME = re.compile(r"@([+-]\d+)")
_REASONS = {200: "OK", 304: "Not Modified", 412: "Precondition Failed"}


class Answer:
    """What the origin has. `renewed`: fields of a 304 on it, if other than its validators and Cache-Control; `body` None: "#n"."""

    def __init__(self, *fields: str, status: int = 200, body: bytes | None = None, renewed: Sequence[str] | None = None) -> None:
        self.fields, self.status, self.body, self.renewed = fields, status, body, renewed

    def value(self, name: str) -> str | None:
        for line in self.fields:
            known, _, value = line.partition(":")
            if known.lower() == name.lower():
                return value.strip()
        return None


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, and what is expected of its answer. Paths are behind the row's own; lines of fields are whole ("Age: 5")."""

    sees: int | None = None  # the n of the body "#n"; None: not looked at
    asked: int | None = None  # requests the origin has had by then; None: no more than the bodies seen tell
    after: int = 0  # seconds that go by before
    status: int = 200
    text: bytes | None = None  # the whole body
    fields: Sequence[str] = ()
    method: str = "GET"
    path: str = ""
    host: str = "test"
    body: bytes = b""  # of the request
    gets: Sequence[str] = ()  # lines that the answer has, each the only one of its name
    lacks: Sequence[str] = ()  # names that it has not
    heard: Sequence[str] = ()  # lines of the last request that the origin heard
    unheard: Sequence[str] = ()
    answer: Answer | None = None  # from here on the origin has this
    down: bool = False  # from here on nobody answers there


@dataclass(frozen=True, slots=True, init=False)
class Row:
    answer: Answer
    asks: Sequence[Ask]
    spec: dict[str, Any] = field(default_factory=dict)  # of CacheSpec

    def __init__(self, answer: Answer, *asks: Ask, **spec: Any) -> None:
        object.__setattr__(self, "answer", answer)
        object.__setattr__(self, "asks", asks)
        object.__setattr__(self, "spec", spec)


def stored(*fields: str, **spec: Any) -> Row:
    """Such an answer is used again."""
    return Row(Answer(*fields), Ask(1), Ask(1), **spec)


def refused(*fields: str, **spec: Any) -> Row:
    """Such an answer is not used again without a word from the origin."""
    return Row(Answer(*fields), Ask(1), Ask(2), **spec)


def answer(body: bytes, *fields: str) -> bytes:
    """What a scripted origin sends: 200 with this body."""
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *fields]).encode() + b"\r\n\r\n" + body


def _tags(text: str) -> list[str]:
    return [tag.strip() for tag in text.split(",")]


def _bare(tag: str) -> str:
    return tag.removeprefix("W/")


class CacheRig:
    """One store, and one row after the other on it. Every row has a path, an origin and a snapshot of its own."""

    def __init__(self, rig: Rig, size: int = 8 << 20) -> None:
        self.rig = rig
        self.store = Cache(size)
        self.rows = 0
        self.passed = 0  # seconds, since `began`
        self.answer = Answer()
        self.origin = rig.origin()
        self.begin({})
        self.began = parsedate_to_datetime(self.ask(Ask(path="?clock")).field("date") or "").timestamp()

    def begin(self, spec: dict[str, Any], *, scripted: bool = False, **settings: Any) -> None:
        """A path of its own, and an origin that has been asked nothing; `scripted`: the test itself speaks for it."""
        if self.origin in self.rig.origins:
            self.rig.origins.remove(self.origin)
            self.origin.close()
        self.rows += 1
        self.origin = self.rig.origin()
        if not scripted:
            self.origin.serve(self._respond)
        self.row_began = self.passed
        cache = CacheSpec("app", **spec)
        target = TargetSpec(0, retry=RetrySpec(attempts=0))
        route = RouteSpec("all", ProxyAction([target], cache=cache, **settings))
        listener = self.rig.listener_spec([route])
        self.rig.publish_spec(SnapshotSpec(0, "test", [listener], [[route]], [self.rig.upstream(self.origin)], cache=self.store))

    def finish(self) -> None:
        self.store.purge("all")
        del self.store

    # ---- time ----

    def date(self, seconds: int) -> str:
        """The HTTP date so many seconds after the row began."""
        return formatdate(self.began + self.row_began + seconds, usegmt=True)

    def dated(self, line: str) -> str:
        return _TIME.sub(lambda found: self.date(int(found[1])), line)

    def wait(self, seconds: int) -> None:
        """In one leap: what was due on the way is done behind it."""
        self.rig.settle()
        self.rig.engines[0].advance(seconds * 1000)
        self.passed += seconds
        self.rig.settle()

    # ---- origin ----

    def _respond(self, request: Message) -> bytes:
        answer, number = self.answer, len(self.origin.requests)
        status = self._condition(answer, request)
        lines, body = list(answer.fields), answer.body
        if status == 304:
            kept = ("etag", "last-modified", "cache-control", "vary", "date", "expires")
            lines = [line for line in lines if line.partition(":")[0].lower() in kept] if answer.renewed is None else list(answer.renewed)
        if body is None:
            body = b"#%d" % number
        head = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Word')}", *(self.dated(line) for line in lines)]
        bodiless = status in (204, 304)
        if not bodiless:
            head.append(f"Content-Length: {len(body)}")
        return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + (b"" if bodiless or request.method == "HEAD" else body)

    def _condition(self, answer: Answer, request: Message) -> int:
        """RFC 9110 section 13.2.2, as far as a row needs it."""
        tag, modified = answer.value("etag"), answer.value("last-modified")
        match, none = request.field("if-match"), request.field("if-none-match")
        since = request.field("if-modified-since")
        if answer.status != 200:
            return answer.status
        if match is not None and match != "*" and tag not in _tags(match):
            return 412
        if none is not None:
            known = tag is not None and _bare(tag) in [_bare(one) for one in _tags(none)]
            return (304 if request.method in ("GET", "HEAD") else 412) if known else 200
        if since is not None and modified is not None and request.method in ("GET", "HEAD"):
            known = parsedate_to_datetime(self.dated(modified)) <= parsedate_to_datetime(since)
            return 304 if known else 200
        return 200

    # ---- client ----

    def connect(self, ask: Ask) -> Peer:
        """A client that has sent this."""
        fields = [self.dated(line) for line in ask.fields]
        if ask.body:
            fields.append(f"Content-Length: {len(ask.body)}")
        client = self.rig.connect()
        client.send(get(f"/{self.rows}{ask.path}", *fields, method=ask.method, host=ask.host) + ask.body)
        return client

    def ask(self, ask: Ask) -> Message:
        """One request on a connection of its own, and its answer."""
        client = self.connect(ask)
        response = client.response(ask.method)
        self.rig.settle()
        assert client.silent() or client.eof, f"behind the answer: {bytes(client.received[:100])!r}"
        client.close()
        self.rig.clients.remove(client)
        return response

    def play(self, row: Row) -> None:
        self.begin(row.spec)
        self.answer = row.answer
        most = 0
        for at, ask in enumerate(row.asks):
            if ask.after:
                self.wait(ask.after)
            if ask.answer is not None:
                self.answer = ask.answer
            if ask.down:
                self.shut()
            response = self.ask(ask)
            asked = len(self.origin.requests)
            told = f"request {at + 1} of the row, the origin was asked {asked} times:\n{response.head.decode('latin-1')}{response.body!r}"
            most = max(most, ask.sees or 0, ask.asked or 0)
            self._check(ask, response, told)
            assert asked == (most if ask.asked is None else ask.asked), told

    def shut(self) -> None:
        """From here on nobody answers at the origin."""
        self.origin.refuse()
        for peer in self.origin.peers:
            peer.close()
        self.rig.settle()

    def _check(self, ask: Ask, response: Message, told: str) -> None:
        assert response.status == ask.status, told
        if ask.sees is not None and ask.method != "HEAD":
            assert response.body == b"#%d" % ask.sees, told
        if ask.text is not None:
            assert response.body == ask.text, told
        for line in ask.gets:
            name, _, value = self.dated(line).partition(":")
            assert response.all(name) == [value.strip()], f"{line!r} in {told}"
        for name in ask.lacks:
            assert response.all(name) == [], f"no {name!r} in {told}"
        heard = self.origin.requests[-1] if self.origin.requests else Message(b"")
        for line in ask.heard:
            name, _, value = self.dated(line).partition(":")
            assert heard.all(name) == [value.strip()], f"the origin heard {heard.head!r}, not {line!r}"
        for name in ask.unheard:
            assert heard.all(name) == [], f"the origin heard {heard.head!r}, with {name!r}"
