"""Which config a daemon starts with: that of its file, unless the process before it was killed, or hands over, while another one served.

    the file is broken          refused or, if that is asked for, the last good config
    the config is on trial      the trial goes on; or it is gone back from, when its time is over
    it was gone back from       what served instead, as long as nobody has changed the file since (so, too, where a text had been given)

What is kept was written by the owner of the state folder, or by who has taken him over. So who is root becomes him before anything of it is
loaded: then it can do what the daemon could that has kept it.
"""
from __future__ import annotations

import logging
from dataclasses import dataclass

from proxyd.loading import Loaded, load_again
from proxyd.process import privileges
from proxyd.state import DaemonError
from proxyd.transactions.entry import Entry, Tried
from proxyd.transactions.history import ConfigHistory
from proxyd.transactions.trial import Verdict, missed
from proxyd.words import one_line

log = logging.getLogger("proxyd.daemon")


@dataclass(frozen=True, slots=True)
class Opening:
    """What is to be served."""

    loaded: Loaded
    last_good: bool = False          # in place of a broken file
    trial: Entry | None = None       # that the process before left
    verdict: Verdict | None = None   # on it; None: it goes on. Where it is not kept, `loaded` is what it is gone back to


def choose(own: Loaded, history: ConfigHistory, *, last_good: bool, wall: float) -> Opening:
    """`own`: what the daemon's file holds. DaemonError: nothing can be served."""
    if own.config is None:
        return Opening(_last_good(own, history, last_good), last_good=True)
    live, aside = history.live(), history.aside(own.hash)
    if live is not None and live.tried is not None and live.result == "on trial" and (live.hash == own.hash or aside is live):
        return _trial(own, history, live, live.tried, wall)
    kept = _maybe_again(history, aside) if aside is not None else None
    if kept is None or aside is None:
        return Opening(own)
    log.warning("config %d serves on, as before the restart, and not what the file holds: a reload would take that", aside.number)
    return Opening(kept)


def _trial(own: Loaded, history: ConfigHistory, entry: Entry, tried: Tried, wall: float) -> Opening:
    elapsed = wall - entry.at
    verdict = missed(tried.terms, elapsed)
    if verdict is None:
        loaded = own if entry.hash == own.hash else _maybe_again(history, entry)
        return Opening(loaded, trial=entry) if loaded is not None else Opening(own)
    before = history.entry(tried.back_to)
    kept = _maybe_again(history, before) if before is not None else None
    if kept is None:
        return Opening(own, trial=entry, verdict=Verdict(True, f"{verdict.why}; but config {tried.back_to} cannot be loaded any more"))
    return Opening(kept, trial=entry, verdict=verdict)


def _maybe_again(history: ConfigHistory, entry: Entry) -> Loaded | None:
    """The config of an entry, if it can be loaded (again); why not stands in the log."""
    bundle = history.bundle(entry.number)
    if bundle is None:
        return None
    privileges.become_owner(history.folder)
    kept = load_again(bundle)
    for diagnostic in kept.diagnostics if kept.config is None else ():
        log.error("config %d cannot be loaded again: %s", entry.number, one_line(diagnostic))
    return kept if kept.config is not None else None


def _last_good(own: Loaded, history: ConfigHistory, asked: bool) -> Loaded:
    entry = history.last_good()
    if not asked:
        hint = f"until it is repaired, `proxyd run --last-good` serves config {entry.number}, the last good one" if entry else ""
        raise DaemonError("the config is not valid", own.diagnostics, help=hint)
    bundle = history.bundle(entry.number) if entry is not None else None
    if entry is None or bundle is None:
        raise DaemonError("the config is not valid, and there is no last good one", own.diagnostics)
    privileges.become_owner(history.folder)
    kept = load_again(bundle)
    if kept.config is None:
        raise DaemonError(f"the config is not valid, and neither is config {entry.number}, the last good one, any more", kept.diagnostics)
    for diagnostic in own.diagnostics:
        log.error("%s", one_line(diagnostic))
    log.error("the config is not valid: config %d, the last good one, serves instead", entry.number)
    return kept
