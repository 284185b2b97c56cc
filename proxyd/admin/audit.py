"""The audit trail of the admin API: one record for every request that changes something, or would have, and what one can read of it."""
from __future__ import annotations

from dataclasses import asdict
from typing import Any

from aiohttp import web

from proxyd.admin import problem
from proxyd.admin.access import VIEWS
from proxyd.admin.control import AuditTrail, Control
from proxyd.admin.guard import Handler, json_answer
from proxyd.admin.problem import Problem
from proxyd.admin.request import AUDITED, Audited, View, origin, user
from proxyd.audit.record import Note, Result
from proxyd.clock import Clock

LIMIT, LIMIT_MAX = 50, 1_000
STRANGERS_A_MINUTE = 60
"""Refusals of those who may not change anything that are recorded; of more there is a count, so that nobody fills the disk."""


class AuditViews:
    def __init__(self, control: Control) -> None:
        self._control = control
        self.table: tuple[View, ...] = (
            View("GET", "/audit", self.last, "the newest audit records, and where the chain ends", role="admin",
                 query={"limit": f"how many records, 1 to {LIMIT_MAX} (default {LIMIT})"}),
        )

    async def last(self, request: web.Request) -> web.Response:
        text = request.query.get("limit", str(LIMIT))
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LIMIT_MAX:
            raise Problem(problem.PARAMETER_INVALID, f"limit is `{text[:40]}`; it may be 1 to {LIMIT_MAX}")
        records = await self._control.audit.last(int(text))
        return json_answer(asdict(self._control.audit.view()) | {"last": records})


def record_changes(audit: AuditTrail, clock: Clock) -> Any:
    """The middleware. It stands outside of all that refuses, so that refusals are recorded, too; the answer waits for the record."""
    strangers = _Strangers(clock)

    @web.middleware
    async def recording(request: web.Request, handler: Handler) -> web.StreamResponse:
        view = request.app[VIEWS].get(request.match_info.route)
        if view is None or not view.action:
            return await handler(request)
        try:
            answer = await handler(request)
        except Exception as error:
            await _record(audit, strangers, request, view.action, "refused", _code(error))
            raise
        await _record(audit, strangers, request, view.action, "ok" if answer.status < 400 else "refused", "")
        return answer

    return recording


async def _record(audit: AuditTrail, strangers: _Strangers, request: web.Request, action: str, result: Result, code: str) -> None:
    told = request.get(AUDITED, Audited("/".join(request.match_info.values()), {}))
    if told is None:
        return
    detail = told.detail
    if code in STRANGE:
        unrecorded = strangers.admit()
        if unrecorded is None:
            return
        detail = detail | ({"unrecorded_before": unrecorded} if unrecorded else {})
    await audit.note(Note(user(request), origin(request), action, told.target, result, code, detail))


def _code(error: Exception) -> str:
    if isinstance(error, Problem):
        return error.kind.code
    return (problem.BODY_TOO_LARGE if isinstance(error, web.HTTPRequestEntityTooLarge) else problem.INTERNAL).code


STRANGE = frozenset(kind.code for kind in (
    problem.HOST_REFUSED, problem.CROSS_SITE, problem.PEER_REFUSED, problem.LOGIN_NEEDED, problem.LOGIN_REFUSED, problem.TOO_MANY_ATTEMPTS,
))
"""Refusals of those of whom nobody knows who they are."""


class _Strangers:
    """A bucket of records, which fills again by one a second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left, self._at = float(STRANGERS_A_MINUTE), clock.monotonic()
        self._unrecorded = 0

    def admit(self) -> int | None:
        """How many were not recorded since the last that was; None: this one is not."""
        now = self._clock.monotonic()
        self._left, self._at = min(self._left + (now - self._at) * STRANGERS_A_MINUTE / 60, STRANGERS_A_MINUTE), now
        if self._left < 1:
            self._unrecorded += 1
            return None
        self._left -= 1
        unrecorded, self._unrecorded = self._unrecorded, 0
        return unrecorded
