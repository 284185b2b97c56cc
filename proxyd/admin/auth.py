"""Who is known: policies with what they remember, usage of quotas, and forgetting. Each revocation leaves one audit record."""
from __future__ import annotations

from dataclasses import asdict

from aiohttp import web

from proxyd import codes
from proxyd.admin import problem
from proxyd.admin.control import Control
from proxyd.admin.guard import json_answer
from proxyd.admin.problem import Problem
from proxyd.admin.request import JSON, View, audited, json_object, text_member


class AuthViews:
    def __init__(self, control: Control) -> None:
        self._control = control
        self.table: tuple[View, ...] = (
            View("GET", "/auth", self.policies, "auth policies: what they remember, decided, and where their keys come from"),
            View("GET", "/auth/usage", self.usage, "who has used what of a quota in the period that runs"),
            View("POST", "/auth/revoke", self.revoke, "forget who is known: {policy, user}; without user, everybody of the policy",
                 action="auth.revoke", takes=JSON),
        )

    async def policies(self, request: web.Request) -> web.Response:
        return json_answer(asdict(self._control.auth()))

    async def usage(self, request: web.Request) -> web.Response:
        return json_answer(asdict(self._control.auth_usage()))

    async def revoke(self, request: web.Request) -> web.Response:
        value = await json_object(request)
        policy, user = text_member(value, "policy", ""), text_member(value, "user", "")
        if not policy:
            raise Problem(problem.PARAMETER_INVALID, "`policy` is missing; GET /auth lists them")
        try:
            forgotten = self._control.revoke(policy, user or None)
        except KeyError:
            known = ", ".join(f"`{one.policy}`" for one in self._control.auth().policies) or "none"
            kind = problem.CHANGES[codes.NO_AUTH.code]
            raise Problem(kind, f"no route of the running config uses an `auth` policy `{policy}`; there is: {known}") from None
        audited(request, policy, user=user or "everybody", forgotten=forgotten)
        return json_answer({"forgotten": forgotten})
