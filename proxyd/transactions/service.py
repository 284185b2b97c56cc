"""Reloads, rollbacks and confirmations, in turn: each is tried, written into the history, and perhaps on trial afterwards.

Whoever asks by the admin API has the change recorded there; what nobody asked for (SIGHUP, `--watch`, a guard) is recorded here.
"""
from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from proxyd import codes
from proxyd.audit.record import Note
from proxyd.audit.record import Result as Recorded
from proxyd.audit.trail import Audit
from proxyd.clock import Clock
from proxyd.diagnostics import Diagnostic
from proxyd.loading import Loaded, load_again
from proxyd.process.upgrade import UpgradeError
from proxyd.state import Phase, ReloadResult, ServingView
from proxyd.tasks import Tasks
from proxyd.transactions.entry import CHANGES_MAX, GOOD, Entry, Result, Tried
from proxyd.transactions.guard import Figures
from proxyd.transactions.history import ConfigHistory
from proxyd.transactions.opening import Opening
from proxyd.transactions.reloading import Reloading
from proxyd.transactions.terms import BY_ITSELF, UNCONDITIONAL, By, How, Terms
from proxyd.transactions.trial import Trial, Verdict
from proxyd.words import one_line, own_version, summary

if TYPE_CHECKING:
    from proxyd.config.model import Config

LOOK_EVERY = 0.25      # seconds between looks at a trial
RESTARTED = "the daemon was restarted meanwhile"

T = TypeVar("T")

log = logging.getLogger("proxyd.daemon")


class TransactionError(Exception):
    """The order makes no sense now; nothing was changed."""

    def __init__(self, code: codes.Code, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Parts:
    """What the transactions of a daemon work with."""

    reloading: Reloading
    history: ConfigHistory
    audit: Audit
    figures: Figures                   # what guards look at
    clock: Clock
    tasks: Tasks
    lock: asyncio.Lock                 # of all that changes what serves
    phase: Callable[[], Phase]


class Transactions:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._reloading, self._history, self._clock = parts.reloading, parts.history, parts.clock
        self._trial: Trial | None = None
        self._serving = 0                  # the entry whose config serves
        self._restores = 0                 # the entry that it was gone back to

    async def begin(self, opening: Opening) -> None:
        """It serves since the start."""
        await self._begin(opening)
        detail = {"entry": self._serving, "last_good": opening.last_good, "version": own_version(), "pid": os.getpid()}
        await self._note("daemon.start", By(how="start"), target=opening.loaded.hash, detail=detail)

    async def _begin(self, opening: Opening) -> None:
        """A start with the config that served last goes on with its entry."""
        loaded, newest = opening.loaded, self._history.last_good()
        if opening.trial is not None and opening.trial.tried is not None:
            await self._go_on(opening.trial, opening.trial.tried, opening.verdict, loaded)
            return
        for entry in self._history.entries:
            if entry.result == "on trial":
                log.warning("config %d was on trial when the daemon ended; what it starts with is on none", entry.number)
        await asyncio.to_thread(self._history.end_trials)
        if newest is not None and newest.hash == loaded.hash:
            await self._change(newest.number, result="serving")
            self._serving, self._restores = newest.number, newest.restores
        else:
            await self._enter(By(how="start"), loaded, ReloadResult(True, True, False, 1, loaded.hash), of_file=not opening.last_good)

    async def leave(self) -> None:
        """The daemon leaves, and nobody has taken over: the next one shall serve its file. What is on trial stays so."""
        await asyncio.to_thread(self._history.leave)

    def check_upgrade(self) -> None:
        """UpgradeError: a process that takes over would not serve what serves now."""
        if self._trial is not None:
            raise UpgradeError(f"config {self._trial.entry} is on trial: confirm it, or roll it back, before")
        if not self._history.durable and not self._reloading.serves_file:
            serves = f"config {self._restores or self._serving}"
            raise UpgradeError(f"{serves} serves, not what the new process would read, and there is no state folder that would tell it so: "
                               f"write {serves} back (`proxyd history` prints it), or reload, before")

    # ------------------------------------------------------------------ orders
    async def reload(
        self,
        text: str | None = None,
        path: Path | None = None,
        *,
        dry_run: bool = False,
        terms: Terms = UNCONDITIONAL,
        by: By = BY_ITSELF,
    ) -> ReloadResult:
        """Take a config on these terms: `text`, else the file `path`, else what the daemon was started from, read again.

        Never raises for a bad config: `ok` False, the diagnostics in the result, nothing changed. Answers after the last engine took it.
        Concurrent calls take turns. TransactionError: the terms make no sense.
        """
        if self._parts.phase() != "serving":
            return self._takes_none(dry_run)
        return await self._in_turn("reload", lambda: self._reload(text, path, dry_run, terms, by))

    async def rollback(self, number: int | None, *, by: By) -> ReloadResult:
        """Serve the config of an entry again; None: of the one before. The file stays as it is. TransactionError: there is none."""
        if self._parts.phase() != "serving":
            return self._takes_none()
        return await self._in_turn("rollback", lambda: self._rollback(number, by))

    async def confirm(self, *, by: By) -> Entry:
        """Keep the config that is on trial. TransactionError: none is."""
        return await self._in_turn("confirm", lambda: self._confirm(by))

    def _takes_none(self, dry_run: bool = False) -> ReloadResult:
        message = f"proxyd is {self._parts.phase()}: it takes no config"
        return self._reloading.refused([Diagnostic(codes.SERVICE_FAILED.code, message)], dry_run)

    async def _in_turn(self, name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def turn() -> T:
            async with self._parts.lock:
                return await work()

        # A caller that goes away (a client of the admin API, say) must not leave a config half taken.
        return await self._parts.tasks.shielded(name, turn())

    async def _reload(self, text: str | None, path: Path | None, dry_run: bool, terms: Terms, by: By) -> ReloadResult:
        began = self._clock.monotonic()
        # On a thread: a config of thousands of routes takes its time, and health checks (and an inline engine) must not wait for it.
        loaded = await asyncio.to_thread(self._reloading.load, text, path)
        if loaded.config is not None:
            check_names(terms, loaded.config)
            if self._trial is not None and not dry_run and self._reloading.changes(loaded):
                return self._refused_for(self._trial)
        before = self._serving
        result = await self._reloading.attempt(loaded, of_file=text is None and path is None, dry_run=dry_run)
        result = replace(result, seconds=self._clock.monotonic() - began)
        if dry_run:
            return result
        self._reloading.note(result)
        if result.ok and not result.changed:
            return result
        tried = Tried(before, terms) if result.ok and terms else None
        entry = await self._enter(by, loaded, result, tried=tried, of_file=text is None and path is None)
        trial = self._begin_trial(entry.number, tried).view() if tried is not None else None
        return replace(result, entry=entry.number, trial=trial)

    def _refused_for(self, trial: Trial) -> ReloadResult:
        message = f"config {trial.entry} is on trial ({trial.terms}); another one is taken only after it was confirmed or rolled back"
        return self._reloading.refused([Diagnostic(codes.ON_TRIAL.code, message, help="`proxyd confirm`, or `proxyd rollback`")])

    async def _rollback(self, number: int | None, by: By) -> ReloadResult:
        began = self._clock.monotonic()
        target = self._target(number)
        result = await self._go_back(target, replace(by, how="rollback"))
        if self._trial is not None and result.ok:
            outcome: Result = "rolled back" if result.changed else "serving"       # to the very config that is on trial
            await self._end_trial(self._trial, outcome, f"rolled back to {target.number} by {by.who}")
        return replace(result, seconds=self._clock.monotonic() - began)

    async def _confirm(self, by: By) -> Entry:
        if self._trial is None:
            raise TransactionError(codes.NO_TRIAL, "no config is on trial")
        number = self._trial.entry
        await self._end_trial(self._trial, "serving", f"confirmed by {by.who}")
        log.info("config %d was confirmed by %s", number, by.who)
        return self._entry(number)

    # ------------------------------------------------------------------ trials
    def _begin_trial(self, entry: int, tried: Tried, *, elapsed: float | None = None) -> Trial:
        trial = self._trial = Trial(entry, tried, now=self._clock.monotonic(), wall=self._clock.wall(), elapsed=elapsed)
        self._parts.tasks.spawn("trial", self._watch(trial))
        log.info("config %d is on trial: %s%s", entry, tried.terms, f" ({RESTARTED})" if trial.resumed else "")
        return trial

    async def _watch(self, trial: Trial) -> None:
        """A daemon that leaves takes no config: it would listen anew. The next one goes on with the trial."""
        while self._is_on(trial):
            verdict = trial.look(self._clock.monotonic(), self._parts.figures)
            if verdict is None:
                await self._clock.sleep(LOOK_EVERY)
                continue
            async with self._parts.lock:
                if self._is_on(trial):
                    await self._obey(trial, verdict)

    def _is_on(self, trial: Trial) -> bool:
        return self._trial is trial and self._parts.phase() in ("starting", "serving")

    async def _end_trial(self, trial: Trial, result: Result, note: str) -> None:
        """The last step: whoever sees that no trial is on finds what became of it, and serving what should."""
        await self._change(trial.entry, result=result, note=f"{note} ({RESTARTED})" if trial.resumed else note)
        self._trial = None

    async def _obey(self, trial: Trial, verdict: Verdict) -> None:
        if verdict.kept:
            log.info("config %d is kept: %s", trial.entry, verdict.why)
            await self._end_trial(trial, "serving", verdict.why)
            return
        by = _order_of(verdict)
        log.error("config %d is rolled back to %d: %s", trial.entry, trial.back_to, verdict.why)
        result = await self._go_back(self._entry(trial.back_to), by, f"config {trial.entry}: {verdict.why}")
        if result.ok:
            await self._end_trial(trial, "rolled back", verdict.why)
        else:
            await self._end_trial(trial, "serving", f"{verdict.why}; but the rollback failed: {summary(result)}")
        await self._note_rollback(by, trial.entry, trial.back_to, verdict.why, ok=result.ok)

    async def _go_on(self, entry: Entry, tried: Tried, verdict: Verdict | None, loaded: Loaded) -> None:
        """With a trial that the process before has left."""
        self._serving, self._restores = entry.number, entry.restores
        if verdict is None:
            await self._change(entry.number, note=RESTARTED)
            self._begin_trial(entry.number, tried, elapsed=self._clock.wall() - entry.at)
        elif verdict.kept:
            log.error("config %d is kept: %s", entry.number, verdict.why)
            await self._change(entry.number, result="serving", note=verdict.why)
        else:
            by, target = _order_of(verdict), self._entry(tried.back_to)
            log.error("config %d is rolled back to %d: %s", entry.number, target.number, verdict.why)
            taken = ReloadResult(True, True, False, 1, loaded.hash)
            await self._enter(by, loaded, taken, restores=target.restores or target.number, note=f"config {entry.number}: {verdict.why}")
            await self._change(entry.number, result="rolled back", note=verdict.why)
            await self._note_rollback(by, entry.number, target.number, verdict.why, ok=True)

    async def _note_rollback(self, by: By, entry: int, target: int, why: str, *, ok: bool) -> None:
        await self._note("config.rollback", by, target=str(target), ok=ok, detail={"from": entry, "to": target, "why": why})

    async def _go_back(self, target: Entry, by: By, note: str = "") -> ReloadResult:
        """Serve the files of an entry. What is refused is in the result, and what served before serves on."""
        bundle = await asyncio.to_thread(self._history.bundle, target.number)
        if bundle is None:
            message = f"the files of config {target.number} are not there any more"
            result = self._reloading.refused([Diagnostic(codes.NOT_KEPT.code, message, help=codes.NOT_KEPT.help)])
            self._reloading.note(result)
            return result
        loaded = await asyncio.to_thread(load_again, bundle)
        result = await self._reloading.attempt(loaded)
        self._reloading.note(result)
        if not result.ok:
            log.error("%s", codes.ROLLBACK_FAILED.help)
        elif not result.changed:
            return result
        entry = await self._enter(by, loaded, result, restores=target.restores or target.number, note=note)
        return replace(result, entry=entry.number, restores=entry.restores)

    # ------------------------------------------------------------------ the history
    async def _enter(
        self, by: By, loaded: Loaded, result: ReloadResult, *,
        tried: Tried | None = None, restores: int = 0, note: str = "", of_file: bool = False,
    ) -> Entry:
        """Write what happened into the history."""
        draft = Entry(
            0, self._clock.wall(), by.who, by.how, loaded.hash,
            result="refused" if not result.ok else "on trial" if tried is not None else "serving",
            plan=result.summary,
            note=note if result.ok else "; ".join([*([note] if note else []), summary(result)]),
            changes=tuple(change.text for change in result.plan[:CHANGES_MAX]),
            restores=restores,
            terms=str(tried.terms) if tried is not None else "",
            of_file=of_file,
            tried=tried,
        )
        entry = await asyncio.to_thread(self._history.add, draft, loaded.bundle if result.ok else None)
        if result.ok:
            self._serving, self._restores = entry.number, restores
        return entry

    async def _change(self, number: int, **changes: Any) -> None:
        await asyncio.to_thread(self._history.change, number, **changes)

    def _entry(self, number: int) -> Entry:
        entry = self._history.entry(number)
        if entry is None:
            raise TransactionError(codes.NO_ENTRY, f"the history has no entry {number}; `proxyd history` lists what there is")
        return entry

    def _target(self, number: int | None) -> Entry:
        """The entry that is to be gone back to."""
        if number is not None:
            target = self._entry(number)
            if not target.kept:
                raise TransactionError(codes.NOT_KEPT, f"config {number} cannot be gone back to: it was {target.result}")
            return target
        if self._trial is not None:
            return self._entry(self._trial.back_to)
        serving = self._reloading.loaded.hash
        for entry in reversed(self._history.entries):
            if entry.result in GOOD and entry.kept and entry.hash != serving:
                return entry
        raise TransactionError(codes.NOTHING_BEFORE, "no other config has served before")

    async def _note(self, action: str, by: By, *, target: str = "", ok: bool = True, detail: dict[str, Any]) -> None:
        await self._parts.audit.note(Note(by.who, by.origin, action, target, "ok" if ok else "refused", detail=detail))

    async def note_reload(self, result: ReloadResult, by: By) -> None:
        """The record of a reload that came by no API. Nothing changed: there is none, unless somebody asked by a signal."""
        if result.changed or not result.ok or by.how == "signal":
            error = next((found for found in result.diagnostics if found.severity == "error"), None)
            what = {"plan": result.summary or "nothing has changed"} if error is None else {"error": one_line(error)}
            code = error.code if error is not None else ""
            outcome: Recorded = "ok" if result.ok else "refused"
            await self._parts.audit.note(
                Note(by.who, by.origin, "config.reload", result.config_hash, outcome, code, {"entry": result.entry, **what}))

    # ------------------------------------------------------------------ facts
    def entries(self) -> tuple[Entry, ...]:
        """Oldest first."""
        return self._history.entries

    async def text(self, number: int) -> tuple[Entry, dict[str, str]]:
        """An entry, and its files as far as they are kept: name → text. TransactionError."""
        entry = self._entry(number)
        bundle = await asyncio.to_thread(self._history.bundle, number) if entry.kept else None
        files = bundle.files if bundle is not None else {}
        return entry, {name: content.decode("utf-8", "replace") for name, content in files.items()}

    def view(self) -> ServingView:
        trial = self._trial.view() if self._trial is not None else None
        return ServingView(self._serving, self._restores, self._reloading.file_differs, trial)

    def warnings(self) -> list[str]:
        found = [f"{self._history.warning} [{codes.STATE_UNUSABLE.code}]"] if self._history.warning else []
        if self._reloading.file_differs:
            serves = f"config {self._restores or self._serving}"
            found.append(f"{self._reloading.path} is not what serves ({serves} does): a start or a reload would take it [PXD-258]")
        return found + self._parts.audit.warnings()


def _order_of(verdict: Verdict) -> By:
    """Who goes back."""
    how: How = "guard" if verdict.by_guard else "confirm"
    return By("proxyd", how, how)


def check_names(terms: Terms, config: Config) -> None:
    """A guard must speak of routes (`NAME`, `LISTENER/NAME`) and upstreams that there are. TransactionError."""
    if terms.guard is None:
        return
    routes = [(name, route.name) for name, listener in config.listeners.items() for route in config.routes_of(listener)]
    known = {
        "route": {text for listener, route in routes for text in (route, f"{listener}/{route}")},
        "upstream": set(config.upstreams),
    }
    for kind, name in terms.guard.names():
        if name not in known[kind]:
            raise TransactionError(codes.GUARD_INVALID, f"the guard speaks of {kind} `{name}`, and the config has none of that name")
