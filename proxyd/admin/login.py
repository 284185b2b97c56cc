"""Logging in, logging out, and who one is."""
from __future__ import annotations

import logging
from typing import Any

from aiohttp import web

from proxyd.admin import problem
from proxyd.admin.access import Access, by_https, cookie_name, is_unix, set_cookie
from proxyd.admin.forwarded import client_of
from proxyd.admin.guard import json_answer
from proxyd.admin.problem import Problem
from proxyd.admin.request import JSON, View, json_object, maybe_identity, text_member, user
from proxyd.admin.sessions import IDLE_S, LIFE_S

LOG_IN_BYTES = 16 * 1024

_log = logging.getLogger("proxyd.admin")


class LoginViews:
    def __init__(self, access: Access) -> None:
        self._access = access
        self.table: tuple[View, ...] = (
            View("GET", "/session", self.who, "who asks, and in which role; role null: nobody yet, and a user is asked for", public=True),
            View("POST", "/session", self.log_in, "log in: {user, password}; the answer sets a cookie", public=True, takes=JSON),
            View("DELETE", "/session", self.log_out, "log out", role="viewer", public=True),
        )

    async def who(self, request: web.Request) -> web.Response:
        return json_answer(self._facts(request))

    async def log_in(self, request: web.Request) -> web.Response:
        if not self._access.users or is_unix(request):
            raise Problem(problem.PARAMETER_INVALID, "nobody has to log in here: this address asks for no user")
        value = await json_object(request, LOG_IN_BYTES)      # from anybody: no more than this is kept of it
        name, password = text_member(value, "user", ""), text_member(value, "password", "")
        token, found = await self._access.log_in(request, name, password)
        self._end(request)
        _log.info("%s logged in at %s", name, client_of(request))
        answer = json_answer({"user": name, "role": found.role, "asks": True, "idle_seconds": IDLE_S, "life_seconds": LIFE_S})
        set_cookie(request, answer, token, secure=by_https(request))
        return answer

    async def log_out(self, request: web.Request) -> web.Response:
        self._end(request)
        answer = json_answer({"user": "", "role": None, "asks": bool(self._access.users)})
        answer.del_cookie(cookie_name(request), path="/")
        return answer

    def _facts(self, request: web.Request) -> dict[str, Any]:
        identity = maybe_identity(request)
        asks = bool(self._access.users) and not is_unix(request)
        return {"user": user(request) if identity else "", "role": identity.role if identity else None, "asks": asks}

    def _end(self, request: web.Request) -> None:
        """End the session that the request comes with."""
        session = self._access.sessions.find(request.cookies.get(cookie_name(request), ""))
        if session is not None:
            self._access.sessions.end(session)
