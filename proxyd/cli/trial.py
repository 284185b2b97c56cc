"""Configs on trial, on the command line: what they are tried by, and waiting for how it ends."""
from __future__ import annotations

import time
from typing import Any

from proxyd.admin.client import Client
from proxyd.cli.errors import CliError, Exit
from proxyd.cli.output import duration

POLL_S = 0.1


def trial_line(trial: dict[str, Any], now: float | None = None) -> str:
    """`config 7 is on trial: back to 6 if errors > 2% for 30s (28s left), or unless confirmed within 1m 58s`."""
    now = time.time() if now is None else now
    parts = []
    if trial["guard_until"]:
        parts.append(f"if {trial['guard']} ({duration(max(trial['guard_until'] - now, 0))} left)")
    if trial["confirm_until"]:
        parts.append(f"unless `proxyd confirm` comes within {duration(max(trial['confirm_until'] - now, 0))}")
    return f"config {trial['entry']} is on trial: back to {trial['back_to']} {', or '.join(parts)}"


def await_guard(client: Client, trial: dict[str, Any], *, say: bool) -> str:
    """Wait until the guard has decided; what became of the config, as a sentence. CliError (exit 6): it was rolled back."""
    if say:
        print(trial_line(trial), flush=True)
    number = trial["entry"]
    while True:
        status = client.get("/status")["serving"]["trial"]
        if status is None or status["entry"] != number or not status["guard_until"]:
            break
        time.sleep(POLL_S)
    entry = client.get(f"/config/history/{number}")
    match entry["result"]:
        case "rolled back":
            raise CliError(f"config {number} was rolled back to {trial['back_to']}: {entry['note']}", Exit.RELOAD_REFUSED,
                           hint="the file still holds what was rolled back; `proxyd diff` shows what it would change")
        case "on trial":
            return f"the guard held; {trial_line(status)}"
        case _:
            return f"config {number} is kept: {entry['note']}"
