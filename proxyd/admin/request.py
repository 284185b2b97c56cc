"""What a request to the admin API carries, checked: who asks, flags of the query, the body as text or as a JSON object."""
from __future__ import annotations

import asyncio
import json
import pwd
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from proxyd.admin import problem
from proxyd.admin.forwarded import client_of
from proxyd.admin.guard import Handler, peer_of
from proxyd.admin.problem import Problem

Role = Literal["viewer", "operator", "admin"]

RANKS: Mapping[Role, int] = {"viewer": 0, "operator": 1, "admin": 2}

JSON, YAML, EVENTS = "application/json", "application/yaml", "text/event-stream"
DIGITS_MAX = 18            # of a number
CONFIG_BYTES = 16 * 1024 * 1024
JSON_BYTES = 1024 * 1024   # of an order or a question, which is read on the event loop
BODY_S = 30.0              # in which a body must arrive


@dataclass(frozen=True, slots=True)
class View:
    """One path of the API and what answers it."""

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    handler: Handler
    summary: str
    at_root: bool = False      # also without /api/v1, where scrapers and probes look
    role: Role | None = None   # that it takes at least; None: viewer to read, operator to change
    action: str = ""           # what is changed, as the audit trail calls it: `server.change`; "": nothing
    vital: bool = False        # answered even where every place is taken: what tells whether proxyd is well
    heavy: bool = False        # takes the event loop for tens of milliseconds where the config is large
    public: bool = False       # also for those who have not said who they are: the log-in itself
    query: Mapping[str, str] = field(default_factory=dict)      # parameters, each with what it says
    takes: str = ""            # media type of the body; "": it takes none
    answers: str = JSON        # media type; EVENTS: a stream, which ends when its asker may no longer see it

    @property
    def needs(self) -> Role:
        return self.role or ("viewer" if self.method == "GET" else "operator")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, as far as it matters for what they may do."""

    role: Role
    name: str = ""             # of a user of the config; "": nobody was asked for one


_IDENTITY: web.RequestKey[Identity] = web.RequestKey("identity", Identity)


def identify(request: web.Request, identity: Identity) -> None:
    request[_IDENTITY] = identity


def maybe_identity(request: web.Request) -> Identity | None:
    """None: it has not been said, and the view is for everybody."""
    return request.get(_IDENTITY)


def role_of(request: web.Request) -> Role:
    """Of one who was let in."""
    identity = maybe_identity(request)
    return identity.role if identity is not None else "viewer"


def demand(request: web.Request, role: Role, what: str) -> None:
    """Raise Problem unless the asker has that role: for a part of a view, `what`, that takes more than the view itself."""
    identity = maybe_identity(request)
    if identity is None or RANKS[identity.role] < RANKS[role]:
        raise Problem(problem.ROLE_TOO_LOW, f"{what} takes the role {role}, and {user(request)} is {role_of(request)}")


@dataclass(frozen=True, slots=True)
class Audited:
    """What the audit trail says of a request beside its action."""

    target: str
    detail: dict[str, object]


AUDITED: web.RequestKey[Audited | None] = web.RequestKey("audited")


def asker(request: web.Request) -> str:
    """Who asks: `user id 0 (pid 4242)` at the unix socket, `ops at 10.0.0.9` or `127.0.0.1` over TCP."""
    sock = request.get_extra_info("socket")
    if sock is None or sock.family != socket.AF_UNIX:
        identity = maybe_identity(request)
        return f"{identity.name} at {client_of(request)}" if identity is not None and identity.name else client_of(request)
    pid, uid = peer_of(sock)
    return f"user id {uid} (pid {pid})"


def user(request: web.Request) -> str:
    """The same, short, as changes are signed: `ops`, `127.0.0.1`."""
    sock = request.get_extra_info("socket")
    if sock is None or sock.family != socket.AF_UNIX:
        identity = maybe_identity(request)
        return (identity.name if identity is not None else "") or client_of(request)
    uid = peer_of(sock)[1]
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"


def origin(request: web.Request) -> str:
    """Where the request came from: `unix pid 4242`, `127.0.0.1`."""
    sock = request.get_extra_info("socket")
    if sock is None or sock.family != socket.AF_UNIX:
        return client_of(request)
    return f"unix pid {peer_of(sock)[0]}"


def audited(request: web.Request, target: str, **detail: object) -> None:
    """What the audit trail says of this request beside its action. Nothing secret: it stays on the disk for good."""
    request[AUDITED] = Audited(target, detail)


def unaudited(request: web.Request) -> None:
    """The request changes nothing after all (a dry run)."""
    request[AUDITED] = None


def flag(request: web.Request, name: str) -> bool:
    """A query parameter that is on or off; present without a value means on."""
    if name not in request.query:
        return False
    value = request.query[name].lower()
    if value in {"", "1", "true", "yes"}:
        return True
    if value in {"0", "false", "no"}:
        return False
    raise Problem(problem.PARAMETER_INVALID, f"{name} is `{value}`; it may be 1 or 0")


def number(request: web.Request, name: str, default: int, least: int, most: int | None = None) -> int:
    """A query parameter that is a whole number."""
    text = request.query.get(name, "")
    if not text:
        return default
    # So many digits are not even read: int() refuses some thousands by itself.
    if not (text.isascii() and text.isdigit()) or len(text) > DIGITS_MAX or not least <= int(text) <= (int(text) if most is None else most):
        bounds = f"{least} to {most}" if most is not None else f"{least} or more"
        raise Problem(problem.PARAMETER_INVALID, f"{name} is `{text[:40]}`; it may be {bounds}")
    return int(text)


async def body_text(request: web.Request, most: int = CONFIG_BYTES) -> str | None:
    """The body as UTF-8 text, of `most` bytes; None when there is none."""
    try:
        async with asyncio.timeout(BODY_S):
            body = await request.clone(client_max_size=most).read()
    except TimeoutError:
        raise Problem(problem.TOO_SLOW, f"the body has not arrived within {BODY_S:g} s") from None
    if not body:
        return None
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Problem(problem.PARAMETER_INVALID, f"the body is not UTF-8: byte {error.start} is {body[error.start]:#04x}") from error


async def json_object(request: web.Request, most: int = JSON_BYTES) -> dict[str, Any]:
    """The JSON object of the body; an empty body is an empty object."""
    text = await body_text(request, most)
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise Problem(problem.PARAMETER_INVALID, f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise Problem(problem.PARAMETER_INVALID, "the body must be a JSON object")
    return value


def text_member(value: dict[str, Any], name: str, default: str) -> str:
    found = value.get(name, default)
    if not isinstance(found, str):
        raise Problem(problem.PARAMETER_INVALID, f"`{name}` must be text")
    return found


def text_pairs(value: dict[str, Any], name: str) -> list[tuple[str, str]]:
    """A member that is a list of pairs of text, as `[["X-Env", "prod"]]`; a name may come several times."""
    found = value.get(name, [])
    if not isinstance(found, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair) for pair in found
    ):
        raise Problem(problem.PARAMETER_INVALID, f"`{name}` must be a list of pairs of text, as [[\"X-Env\", \"prod\"]]")
    return [(pair[0], pair[1]) for pair in found]


def texts_member(value: dict[str, Any], name: str) -> list[str]:
    found = value.get(name, [])
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise Problem(problem.PARAMETER_INVALID, f"`{name}` must be a list of texts")
    return found
