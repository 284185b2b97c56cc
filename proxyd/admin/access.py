"""Who asks, and whether they may: the middleware behind the guard.

- At a unix socket, and over TCP while the config has no users: admin. The guard has seen to it that they are on this machine.
- With users, TCP asks for one: by HTTP Basic (RFC 7617), as commands and Prometheus send it, or by the cookie of a session, as the
  dashboard has it. The role that a path takes stands in its `View`.

A browser is never asked by `WWW-Authenticate: Basic`: it would put its own dialog over the dashboard, and then send the password by
itself, for as long as it runs.
"""
from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from proxyd.admin import problem
from proxyd.admin.forwarded import client_of
from proxyd.admin.guard import Handler
from proxyd.admin.problem import Problem
from proxyd.admin.request import EVENTS, RANKS, Identity, View, identify
from proxyd.admin.sessions import LIFE_S, Session, Sessions
from proxyd.admin.users import Users
from proxyd.clock import Clock
from proxyd.gateway.basic import parse_credential

if TYPE_CHECKING:
    from proxyd.config.admin import Admin, AdminUser

VIEWS: web.AppKey[dict[web.AbstractRoute, View]] = web.AppKey("views", dict)
CHALLENGE = 'Basic realm="proxyd", charset="UTF-8"'
FOR_BROWSERS = 'Session realm="proxyd"'      # RFC 9110 §11.6.1 wants some challenge; a scheme that no browser knows opens no dialog


@dataclass(slots=True, eq=False)
class _Stream:
    """An answer that goes on. It ends when the one who asked for it may no longer see it."""

    task: asyncio.Task[Any]
    user: str
    session: Session | None


class Access:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.users = Users(clock)
        self.sessions = Sessions(clock, self._on_session_end)
        self._streams: set[_Stream] = set()

    def use(self, admin: Admin) -> None:
        """Take the users of a config. Who is gone, or has another password, is logged out; so is who was not asked, where one is now."""
        nobody = [""] if admin.users else []
        for name in self.users.use(admin.users) + nobody:
            self.sessions.end_of(name)
            self._end_streams([stream for stream in self._streams if stream.user == name])

    async def close(self) -> None:
        await self.users.close()

    @web.middleware
    async def admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        view = request.app[VIEWS].get(request.match_info.route)
        if view is None:                             # files of the dashboard, and what is not there at all
            return await handler(request)
        if is_unix(request):
            identify(request, Identity("admin"))
            return await handler(request)
        if not self.users:
            identify(request, Identity("admin"))
            return await self._answer(request, handler, view, "", None)
        token = request.cookies.get(cookie_name(request), "")
        session = self.sessions.find(token) if token else None
        name = session.user if session is not None else await self._maybe_basic(request)
        user = self.users.get(name)
        if user is not None:
            identify(request, Identity(user.role, name))
        if not view.public:
            if user is None:
                raise self.unknown(request, problem.LOGIN_NEEDED, "this address of the admin API asks for a user and a password")
            if RANKS[user.role] < RANKS[view.needs]:
                raise Problem(problem.ROLE_TOO_LOW, f"this takes the role {view.needs}, and {name} is {user.role}")
        answer = await self._answer(request, handler, view, name, session)
        if session is not None and not answer.prepared and (renewed := self.sessions.renew(session, token)):
            set_cookie(request, answer, renewed, secure=session.secure)
        return answer

    async def _answer(self, request: web.Request, handler: Handler, view: View, name: str, session: Session | None) -> web.StreamResponse:
        if view.answers == EVENTS or EVENTS in request.headers.get("Accept", ""):
            with self._held(name, session):
                return await handler(request)
        return await handler(request)

    async def log_in(self, request: web.Request, name: str, password: str) -> tuple[str, AdminUser]:
        """The token of a new session, and whose it is. Raises Problem."""
        right = await self.users.check(name, password.encode("utf-8", "surrogatepass"), client_of(request))
        user = self.users.get(name) if right else None
        if user is None:
            raise self.unknown(request, problem.LOGIN_REFUSED, "the user or the password is wrong")
        return self.sessions.begin(name, secure=by_https(request)), user

    def unknown(self, request: web.Request, kind: problem.Kind, detail: str) -> Problem:
        found = Problem(kind, detail)
        found.fields["WWW-Authenticate"] = FOR_BROWSERS if is_browser(request) else CHALLENGE
        return found

    async def _maybe_basic(self, request: web.Request) -> str:
        """The user whose name and password stand in the request; "" when there are none. Raises Problem when they are wrong."""
        scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return ""
        name, password = parse_credential(credential.strip())
        if password is None or not await self.users.check(name, password, client_of(request)):
            raise self.unknown(request, problem.LOGIN_REFUSED, "the user or the password is wrong")
        return name

    @contextmanager
    def _held(self, user: str, session: Session | None) -> Iterator[None]:
        """The answer of this task is a stream of that user, no longer than the session may last."""
        task = asyncio.current_task()
        assert task is not None
        stream = _Stream(task, user, session)
        self._streams.add(stream)
        over = None
        if session is not None:
            left = session.began + LIFE_S - self._clock.monotonic()
            over = asyncio.get_running_loop().call_later(left, self.sessions.end, session)
        try:
            yield
        finally:
            self._streams.discard(stream)
            if over is not None:
                over.cancel()

    def _on_session_end(self, session: Session) -> None:
        self._end_streams([stream for stream in self._streams if stream.session is session])

    def _end_streams(self, streams: Sequence[_Stream]) -> None:
        for stream in streams:
            stream.task.cancel()


def is_unix(request: web.Request) -> bool:
    sock = request.get_extra_info("socket")
    return sock is not None and sock.family == socket.AF_UNIX


def is_browser(request: web.Request) -> bool:
    """Browsers send the first field to secure addresses and to localhost only, and call themselves Mozilla, all of them."""
    return "Sec-Fetch-Mode" in request.headers or request.headers.get("User-Agent", "").startswith("Mozilla/")


def cookie_name(request: web.Request) -> str:
    """Cookies know hosts, not ports: each daemon of a machine needs a name of its own for them."""
    port = request.url.port
    return f"proxyd_{port or 0}"


def by_https(request: web.Request) -> bool:
    """Whether the page that asks was fetched by https, from a proxy in front of us."""
    return request.headers.get("Origin", "").startswith("https:")


def set_cookie(request: web.Request, answer: web.StreamResponse, token: str, *, secure: bool) -> None:
    """Give the browser a token."""
    answer.set_cookie(cookie_name(request), token, httponly=True, samesite="Strict", path="/", secure=secure)
