"""What the daemon and a worker say to one another: frames over a stream socket, and what stands in them.

    length (4 bytes, of what follows the head) · kind (1) · number of the call (8) · body            all in network order

The daemon asks (ASK_*: the deadline by CLOCK_MONOTONIC, which all processes of a machine share, and what the engine told of the request);
the worker tells once whether it has loaded (READY, BROKEN), and answers each call once, in any order. The daemon does not trust a worker:
user code can write to any descriptor. What is no frame, or too long a one, ends that worker.
"""
from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from proxyd.filters.api import Changes, Headers, Request, Response, ResponseHead, pairs_of

HEAD = struct.Struct("!IBQ")
_DEADLINE = struct.Struct("!d")
_CHANGE = struct.Struct("!HBHHI")        # status, has a query, lengths of path, query and names to drop; the rest: lines
_REPLY = struct.Struct("!HI")            # status, length of the head; the rest: the body

ASK_REQUEST, ASK_RESPONSE = 1, 2
READY, BROKEN, PASS, CHANGE, REPLY, FAIL = 16, 17, 18, 19, 20, 21

FRAME_MAX = 1_114_112                    # bytes: the longest answer is a body of 1 MiB with its fields
TEXT_MAX = 4_096                         # characters of what is told about a failure

HookWord = Literal["request", "response"]
HOOKS: tuple[HookWord, ...] = get_args(HookWord)
_ASK = {"request": ASK_REQUEST, "response": ASK_RESPONSE}
_HOOK: dict[int, HookWord] = {ASK_REQUEST: "request", ASK_RESPONSE: "response"}
FailWord = Literal["error", "timeout"]
_FAIL_WORDS: tuple[FailWord, ...] = get_args(FailWord)


class ProtocolError(Exception):
    """The other side said something that is no frame."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A worker is ready. `files`: path -> digest of the content, for the filter's file and the modules beside it that it has imported."""

    hooks: frozenset[HookWord]
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Broken:
    """The file cannot be used. `message` names file and line."""

    message: str
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """The arguments of Engine.change."""

    lines: bytes = b""
    drop: bytes = b""
    path: str = ""
    query: str | None = None
    status: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """The arguments of Engine.reply."""

    status: int
    head: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Failure:
    word: FailWord
    message: str
    trace: str = ""


Answer = Change | Reply | Failure
PASSED = Change()


class Frames:
    """The stream of one direction, cut into frames."""

    __slots__ = ("_buffer", "_longest")

    def __init__(self, longest: int = FRAME_MAX) -> None:
        self._buffer = bytearray()
        self._longest = longest

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """(kind, number of the call, body) of each frame that is complete now. ProtocolError: one is too long."""
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= HEAD.size:
            length, kind, call = HEAD.unpack_from(buffer, at)
            if length > self._longest:
                raise ProtocolError(f"a frame of {length} bytes")
            end = at + HEAD.size + length
            if len(buffer) < end:
                break
            yield kind, call, bytes(buffer[at + HEAD.size : end])
            at = end
        del buffer[:at]


def frame(kind: int, call: int, body: bytes = b"") -> bytes:
    return HEAD.pack(len(body), kind, call) + body


# ---------------------------------------------------------------------- the daemon's side
def ask(call: int, hook: HookWord, deadline: float, request: bytes) -> bytes:
    """`deadline`: seconds by time.monotonic(); `request`: the payload of the engine's "filter" event."""
    return HEAD.pack(_DEADLINE.size + len(request), _ASK[hook], call) + _DEADLINE.pack(deadline) + request


def parse_loaded(kind: int, body: bytes) -> Loaded | Broken:
    """Of the first frame. ProtocolError: it is none."""
    try:
        told = json.loads(body)
        if kind == READY:
            return Loaded(frozenset(hook for hook in HOOKS if hook in told["hooks"]), {str(k): str(v) for k, v in told["files"].items()})
        if kind == BROKEN:
            return Broken(str(told["message"])[:TEXT_MAX], str(told["trace"])[:TEXT_MAX])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProtocolError(f"a frame of kind {kind} that means nothing") from error
    raise ProtocolError(f"a frame of kind {kind} before the worker was ready")


def parse_answer(kind: int, body: bytes) -> Answer:
    """ProtocolError: it is none."""
    try:
        if kind == PASS:
            return PASSED
        if kind == CHANGE:
            status, has_query, path, query, drop = _CHANGE.unpack_from(body)
            at = _CHANGE.size
            texts = body[at : at + path].decode("ascii"), body[at + path : at + path + query].decode("ascii")
            at += path + query
            if len(body) < at + drop:
                raise ProtocolError("a change that ends too early")
            return Change(body[at + drop :], body[at : at + drop], texts[0], texts[1] if has_query else None, status)
        if kind == REPLY:
            status, head = _REPLY.unpack_from(body)
            if len(body) < _REPLY.size + head:
                raise ProtocolError("a reply that ends too early")
            return Reply(status, body[_REPLY.size : _REPLY.size + head], body[_REPLY.size + head :])
        if kind == FAIL:
            message, _, trace = body[1:].decode("utf-8", "replace").partition("\0")
            return Failure(_FAIL_WORDS[body[0]], message[:TEXT_MAX], trace[:TEXT_MAX])
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise ProtocolError(f"a frame of kind {kind} that means nothing") from error
    raise ProtocolError(f"a frame of kind {kind}")


# ---------------------------------------------------------------------- the worker's side
def parse_ask(kind: int, body: bytes) -> tuple[HookWord, float, bytes]:
    """Hook, deadline, payload."""
    return _HOOK[kind], _DEADLINE.unpack_from(body)[0], body[_DEADLINE.size :]


def parse_payload(payload: bytes) -> tuple[Request, ResponseHead]:
    """What an engine tells: lines that end in \\n; behind an empty one stand the answer's, for `on_response`.

    method target scheme client id · host · user · fields …         status · fields …
    """
    lines = [*payload.decode("latin-1").split("\n"), ""]
    method, target, scheme, client, id = lines[0].split(" ")
    path, _, query = target.partition("?")
    end = lines.index("", 3)
    request = Request(
        method, path, query, headers=Headers(map(_field, lines[3:end])), scheme=scheme, host=lines[1], client=client, id=id, user=lines[2]
    )
    if len(lines) <= end + 2:
        return request, ResponseHead()
    return request, ResponseHead(int(lines[end + 1]), Headers(map(_field, lines[end + 2 : lines.index("", end + 2)])))


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name, value.strip(" \t")


def ready(loaded: Loaded) -> bytes:
    return frame(READY, 0, json.dumps({"hooks": sorted(loaded.hooks), "files": loaded.files}).encode())


def broken(found: Broken) -> bytes:
    return frame(BROKEN, 0, json.dumps({"message": found.message[:TEXT_MAX], "trace": found.trace[:TEXT_MAX]}).encode())


def failed(call: int, failure: Failure) -> bytes:
    text = failure.message[:TEXT_MAX].replace("\0", " ") + "\0" + failure.trace[:TEXT_MAX]
    return frame(FAIL, call, bytes([_FAIL_WORDS.index(failure.word)]) + text.encode("utf-8", "replace"))


def answer(call: int, hook: HookWord, result: object) -> bytes:
    """The frame for what a hook has returned. TypeError, ValueError: it may not return that."""
    if result is None:
        return frame(PASS, call)
    if isinstance(result, Response):
        return frame(REPLY, call, _reply(result))
    if not isinstance(result, Changes):
        raise TypeError(f"on_{hook} returned {type(result).__name__}; it returns None, Changes or Response")
    if hook == "request" and result.status is not None:
        raise ValueError("on_request cannot change the status: there is none yet; return a Response, or do it in on_response")
    if hook == "response" and (result.path is not None or result.query is not None):
        raise ValueError("on_response cannot change path or query: the server has been asked")
    return frame(CHANGE, call, _change(result))


def _change(changes: Changes) -> bytes:
    fields = (*changes.set.items(), *pairs_of(changes.add))
    path, query = (changes.path or "").encode(), (changes.query or "").encode()
    drop = "".join(f"{name.lower()}\n" for name in dict.fromkeys((*changes.remove, *changes.set))).encode()
    head = _CHANGE.pack(changes.status or 0, changes.query is not None, len(path), len(query), len(drop))
    return head + path + query + drop + field_lines(fields)


def _reply(response: Response) -> bytes:
    head = field_lines(pairs_of(response.headers))
    body = response.body if isinstance(response.body, bytes) else response.body.encode()
    return _REPLY.pack(response.status, len(head)) + head + body


def field_lines(fields: tuple[tuple[str, str], ...]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode("latin-1")
