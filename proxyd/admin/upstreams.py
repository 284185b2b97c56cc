"""Upstreams and their servers: what they are, and the changes that operators make at run time. Each change leaves one audit record."""
from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import asdict

from aiohttp import web

from proxyd import codes
from proxyd.admin import problem
from proxyd.admin.control import Control
from proxyd.admin.guard import json_answer
from proxyd.admin.problem import Problem
from proxyd.admin.request import JSON, View, audited, flag, json_object, user
from proxyd.overrides import OverrideError
from proxyd.state import ServerChange

FORCE = {"force": "1: although no usable server would be left"}
SERVER = "/upstreams/{upstream}/servers/{server:.+}"      # a label may hold a slash: unix:/run/app.sock


class UpstreamViews:
    def __init__(self, control: Control) -> None:
        self._control = control
        self.table: tuple[View, ...] = (
            View("GET", "/upstreams", self.every, "the upstreams with the state of every server", heavy=True),
            View("GET", "/upstreams/{upstream}", self.one, "one upstream"),
            View("POST", "/upstreams/{upstream}/servers", self.add, "add a server: {address, weight, backup}, as in the config",
                 action="server.add", takes=JSON),
            View("PATCH", SERVER, self.change, "change a server: {state: ready, drain or maint; weight}; force=1", action="server.change",
                 takes=JSON, query=FORCE),
            View("DELETE", SERVER, self.remove, "remove a server; force=1", action="server.remove", query=FORCE),
        )

    async def every(self, request: web.Request) -> web.Response:
        return json_answer([asdict(view) for view in self._control.upstreams()])

    async def one(self, request: web.Request) -> web.Response:
        name = request.match_info["upstream"]
        view = self._control.upstream(name)
        if view is None:
            raise Problem(problem.CHANGES[codes.NO_UPSTREAM.code], f"there is no upstream `{name}`")
        return json_answer(asdict(view))

    async def add(self, request: web.Request) -> web.Response:
        server = await json_object(request)
        upstream, name = request.match_info["upstream"], str(server.get("address", ""))
        return await _answer(request, name, self._control.add_server(upstream, server, by=user(request)), 201)

    async def change(self, request: web.Request) -> web.Response:
        upstream, server = request.match_info["upstream"], request.match_info["server"]
        orders, force = await json_object(request), flag(request, "force")
        return await _answer(request, server, self._control.set_server(upstream, server, orders, by=user(request), force=force))

    async def remove(self, request: web.Request) -> web.Response:
        upstream, server = request.match_info["upstream"], request.match_info["server"]
        return await _answer(request, server, self._control.remove_server(upstream, server, by=user(request), force=flag(request, "force")))


async def _answer(request: web.Request, server: str, order: Awaitable[ServerChange], status: int = 200) -> web.Response:
    target, forced = f"{request.match_info['upstream']}/{server}", {"forced": True} if flag(request, "force") else {}
    audited(request, target, **forced)
    try:
        change = await order
    except OverrideError as error:
        kind = problem.CHANGES[error.code.code]
        raise Problem(kind, str(error), [entry.as_dict() for entry in error.diagnostics]) from error
    audited(request, target, text=change.text, changed=change.changed, **forced)
    return json_answer(asdict(change), status)
