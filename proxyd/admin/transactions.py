"""The config that serves: what it is, taking another one, for good or on trial, and going back."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aiohttp import web

from proxyd import codes
from proxyd.admin import problem
from proxyd.admin.configs import show
from proxyd.admin.control import Control
from proxyd.admin.guard import json_answer
from proxyd.admin.problem import Problem
from proxyd.admin.request import YAML, View, audited, body_text, demand, flag, origin, unaudited, user
from proxyd.diagnostics import Diagnostic, render
from proxyd.state import ReloadResult
from proxyd.transactions.guard import GuardError, parse_duration, parse_guard, seconds_text
from proxyd.transactions.service import TransactionError
from proxyd.transactions.terms import By, How, Terms
from proxyd.words import one_line

CONFIG_VIEWS = ("file", "running", "full")
CONFIRM_MIN_S, CONFIRM_MAX_S = 1.0, 86_400.0
NUMBER_MAX = 1_000_000_000


class ConfigViews:
    def __init__(self, control: Control) -> None:
        self._control = control
        self.table: tuple[View, ...] = (
            View("GET", "/config", self.config, "the config as it serves", heavy=True, query={
                "view": "file (default, role admin), running, full"}),
            View("POST", "/config", self.reload, "take the config in the body, or the daemon's file again, for good or on trial",
                 role="admin", action="config.reload", takes=YAML, query={
                     "dry_run": "1: only say what would change", "path": "another file, absolute",
                     "guard": "roll back by itself when this holds: errors > 2% for 30s",
                     "confirm": "roll back by itself unless it is confirmed within this duration: 2m",
                 }),
            View("POST", "/config/confirm", self.confirm, "keep the config that is on trial", role="admin", action="config.confirm"),
            View("GET", "/config/diff", self.diff, "what the file would change, and what operators changed at run time",
                 query={"path": "another file, absolute (role admin)"}),
            View("GET", "/config/history", self.history, "the configs that served, and those that were refused; the newest first"),
            View("GET", "/config/history/{number}", self.entry, "one of them, with its files as they were written", role="admin"),
            View("POST", "/config/rollback", self.rollback, "serve the config before the one that serves", role="admin",
                 action="config.rollback"),
            View("POST", "/config/rollback/{number}", self.rollback, "serve the config of an entry of the history", role="admin",
                 action="config.rollback"),
        )

    async def config(self, request: web.Request) -> web.Response:
        view = request.query.get("view", "file")
        if view not in CONFIG_VIEWS:
            raise Problem(problem.PARAMETER_INVALID, f"view is `{view}`; it may be {', '.join(CONFIG_VIEWS)}")
        if view == "file":
            demand(request, "admin", "the config as it was written, with the secrets that stand in it (view=running hides them),")
        text = self._control.config_text if view == "file" else show(self._control.config, full=view == "full")
        path = self._control.config_path
        return json_answer({
            "view": view,
            "path": str(path) if path else "",
            "hash": self._control.config_hash,
            "generation": self._control.generation,
            "text": text,
        })

    async def reload(self, request: web.Request) -> web.Response:
        text, path = await body_text(request), maybe_path(request)
        if text is not None and path is not None:
            raise Problem(problem.PARAMETER_INVALID, "give a config in the body or a path, not both")
        dry_run, terms = flag(request, "dry_run"), terms_of(request)
        if dry_run:
            unaudited(request)
        try:
            result = await self._control.reload(
                text, path=path, dry_run=dry_run, terms=terms, by=by(request, "reload" if text is None else "api"))
        except TransactionError as error:
            raise _refused(error) from error
        if not dry_run:
            audited(request, result.config_hash, **_detail(result), **({"terms": str(terms)} if terms else {}))
        return _answer(result, "the old config serves on")

    async def rollback(self, request: web.Request) -> web.Response:
        number = _number(request) if "number" in request.match_info else None
        audited(request, str(number or "before"))
        try:
            result = await self._control.rollback(number, by=by(request, "rollback"))
        except TransactionError as error:
            raise _refused(error) from error
        audited(request, str(result.restores or number or "before"), **_detail(result))
        return _answer(result, "the rollback failed, and what served before serves on")

    async def confirm(self, request: web.Request) -> web.Response:
        try:
            entry = await self._control.confirm(by=by(request, "confirm"))
        except TransactionError as error:
            raise _refused(error) from error
        audited(request, str(entry.number))
        return json_answer(asdict(entry))

    async def history(self, request: web.Request) -> web.Response:
        return json_answer([asdict(entry) for entry in reversed(self._control.config_entries())])

    async def entry(self, request: web.Request) -> web.Response:
        try:
            entry, files = await self._control.config_entry(_number(request))
        except TransactionError as error:
            raise _refused(error) from error
        return json_answer(asdict(entry) | {"files": files})

    async def diff(self, request: web.Request) -> web.Response:
        path = maybe_path(request)
        if path is not None:
            demand(request, "admin", "reading another file")
        found = await self._control.diff(path)
        errors = sum(1 for entry in found.diagnostics if entry.severity == "error")
        return json_answer({
            "path": found.path,
            "ok": not errors,
            "summary": found.summary,
            "changes": [asdict(change) for change in found.changes],
            "diagnostics": diagnostic_facts(found.diagnostics),
            "overrides": [asdict(entry) for entry in found.overrides],
            "serving": asdict(self._control.status().serving),
        })


def by(request: web.Request, how: How) -> By:
    return By(user(request), origin(request), how)


def terms_of(request: web.Request) -> Terms:
    """What the query says of a trial."""
    guard_text, confirm_text = request.query.get("guard", ""), request.query.get("confirm", "")
    guard = None
    if guard_text:
        try:
            guard = parse_guard(guard_text)
        except GuardError as error:
            members: dict[str, Any] = {"column": error.column, "width": error.width, "rendered": error.rendered()}
            raise Problem(problem.CHANGES[codes.GUARD_INVALID.code], f"guard: {error}", (), **members) from error
    if not confirm_text:
        return Terms(guard)
    seconds = parse_duration(confirm_text)
    if seconds is None or not CONFIRM_MIN_S <= seconds <= CONFIRM_MAX_S:
        bounds = f"{seconds_text(CONFIRM_MIN_S)} to {seconds_text(CONFIRM_MAX_S)}"
        raise Problem(problem.PARAMETER_INVALID, f"confirm is `{confirm_text}`; it may be a duration of {bounds}, as `2m`")
    return Terms(guard, seconds)


def _answer(result: ReloadResult, serves_on: str) -> web.Response:
    facts = reload_facts(result)
    if result.ok:
        return json_answer(facts)
    count = sum(1 for entry in result.diagnostics if entry.severity == "error")
    diagnostics = facts.pop("diagnostics")
    raise Problem(problem.CONFIG_REFUSED, f"{plural(count, 'error')}; {serves_on}", diagnostics, **facts)


def _refused(error: TransactionError) -> Problem:
    return Problem(problem.CHANGES[error.code.code], str(error))


def _detail(result: ReloadResult) -> dict[str, Any]:
    """For the audit trail."""
    if not result.ok:
        error = next((entry for entry in result.diagnostics if entry.severity == "error"), None)
        return {"entry": result.entry} | ({"error": one_line(error)} if error is not None else {})
    return {"changed": result.changed} | ({"entry": result.entry, "plan": result.summary} if result.changed else {})


def _number(request: web.Request) -> int:
    text = request.match_info["number"]
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:20]) <= NUMBER_MAX:
        raise Problem(problem.PARAMETER_INVALID, f"`{text[:40]}` is not the number of an entry; `proxyd history` lists them")
    return int(text)


def reload_facts(result: ReloadResult) -> dict[str, Any]:
    return {
        "ok": result.ok,
        "changed": result.changed,
        "dry_run": result.dry_run,
        "generation": result.generation,
        "config_hash": result.config_hash,
        "seconds": round(result.seconds, 6),
        "summary": result.summary,
        "entry": result.entry,
        "restores": result.restores,
        "trial": asdict(result.trial) if result.trial is not None else None,
        "plan": [asdict(change) for change in result.plan],
        "diagnostics": diagnostic_facts(result.diagnostics),
    }


def diagnostic_facts(diagnostics: Iterable[Diagnostic]) -> list[dict[str, Any]]:
    """As `proxyd check --format json` prints them, and `rendered` for people: a client cannot read the lines of our files."""
    return [entry.as_dict() | {"rendered": render(entry)} for entry in diagnostics]


def maybe_path(request: web.Request) -> Path | None:
    """The file that the query names."""
    path = request.query.get("path", "")
    if path and not path.startswith("/"):
        raise Problem(problem.PARAMETER_INVALID, f"path is `{path}`; it must be absolute")
    return Path(path) if path else None


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
