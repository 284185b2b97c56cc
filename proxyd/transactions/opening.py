"""Which config a daemon starts with: that of its file or, if it is asked to, the last good one where the file is broken."""
from __future__ import annotations

import logging

from proxyd.loading import Loaded, load_again
from proxyd.state import DaemonError
from proxyd.transactions.history import ConfigHistory
from proxyd.words import one_line

log = logging.getLogger("proxyd.daemon")


def choose(own: Loaded, history: ConfigHistory, *, last_good: bool) -> Loaded:
    """`own`: what the daemon's file holds. DaemonError: nothing can be served."""
    if own.config is not None:
        return own
    entry = history.last_good()
    if not last_good:
        hint = f"until it is repaired, `proxyd run --last-good` serves config {entry.number}, the last good one" if entry else ""
        raise DaemonError("the config is not valid", own.diagnostics, help=hint)
    bundle = history.bundle(entry.number) if entry is not None else None
    if entry is None or bundle is None:
        raise DaemonError("the config is not valid, and there is no last good one", own.diagnostics)
    kept = load_again(bundle)
    if kept.config is None:
        raise DaemonError(f"the config is not valid, and neither is config {entry.number}, the last good one, any more", kept.diagnostics)
    for diagnostic in own.diagnostics:
        log.error("%s", one_line(diagnostic))
    log.error("the config is not valid: config %d, the last good one, serves instead", entry.number)
    return kept
