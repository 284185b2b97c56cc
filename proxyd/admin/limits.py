"""Limits: what they do, what they say to one key, and forgetting. Each reset leaves one audit record."""
from __future__ import annotations

from dataclasses import asdict

from aiohttp import web

from proxyd.admin import problem
from proxyd.admin.control import Control
from proxyd.admin.guard import json_answer
from proxyd.admin.problem import Problem
from proxyd.admin.request import JSON, View, audited, json_object
from proxyd.limits.masking import shown_texts
from proxyd.limits.service import LimitError


class LimitViews:
    def __init__(self, control: Control) -> None:
        self._control = control
        self.table: tuple[View, ...] = (
            View("GET", "/limits", self.every, "limits with their busiest keys, places of routes, the shared store"),
            View("GET", "/limits/{policy}", self.one, "one limit; key=TEXT (once for each part): what it says to that key",
                 query={"key": "once for each part that the limit counts by"}),
            View("POST", "/limits/{policy}/reset", self.reset, "forget: {key: TEXT or [TEXT]}, or all keys", action="limit.reset",
                 takes=JSON),
        )

    async def every(self, request: web.Request) -> web.Response:
        return json_answer(asdict(self._control.limits()))

    async def one(self, request: web.Request) -> web.Response:
        policy, key = request.match_info["policy"], request.query.getall("key", [])
        try:
            return json_answer(asdict(self._control.limit_key(policy, key) if key else self._control.limit(policy)))
        except LimitError as error:
            raise Problem(problem.CHANGES[error.code.code], str(error)) from error

    async def reset(self, request: web.Request) -> web.Response:
        policy, key = request.match_info["policy"], _key((await json_object(request)).get("key", []))
        try:
            parts = self._control.limit(policy).key
            done = await self._control.reset_limit(policy, key)
        except LimitError as error:
            raise Problem(problem.CHANGES[error.code.code], str(error)) from error
        audited(request, policy, keys=list(shown_texts(parts, key)) if key else "all", forgotten=done.forgotten)
        return json_answer(asdict(done))


def _key(value: object) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Problem(problem.PARAMETER_INVALID, '`key` is a text, or a list with one for each part: ["192.0.2.1", "/login"]')
    return texts
