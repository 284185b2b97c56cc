"""What of the config and of the running daemon is worth a word. Facts come from the config file and the admin API."""
from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxyd.codes import FILE_DIFFERS
from proxyd.doctor.finding import Finding
from proxyd.doctor.machine import file_facts

if TYPE_CHECKING:
    from proxyd.config.model import Config
    from proxyd.loading import Loaded

LAG_MOST = 0.1                 # seconds that an engine may be late
SOCKET_MODE = 0o077            # what others may not do with the admin socket


def examine_config(loaded: Loaded, path: Path) -> Iterator[Finding]:
    errors = sum(1 for entry in loaded.diagnostics if entry.severity == "error")
    warnings = len(loaded.diagnostics) - errors
    if errors:
        yield Finding("error", "config", f"{path} has {_plural(errors, 'error')}", f"proxyd check -c {path}")
    elif warnings:
        yield Finding("warning", "config", f"{path} has {_plural(warnings, 'warning')}", f"proxyd check -c {path}")
    else:
        yield Finding("good", "config", f"{path} is valid")
    if loaded.config is not None:
        yield from examine_files(loaded.config)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def examine_files(config: Config) -> Iterator[Finding]:
    """Files that the daemon writes, by the rights of who asks."""
    access, snapshot = config.log.access, config.cache.memory.snapshot
    targets = {"access log": access.to if access else "", "cache snapshot": snapshot.file if snapshot else "",
               "usage file": config.usage.file if config.usage else ""}
    for subject, name in targets.items():
        if name.startswith("/"):
            yield writable(subject, Path(name))


def writable(subject: str, path: Path) -> Finding:
    """A file that is written, or its folder where it is not there yet."""
    place = path if path.exists() else path.parent
    if not place.exists():
        return Finding("error", subject, f"{path}: the folder is missing", f"mkdir -p {place}")
    if os.access(place, os.W_OK):
        return Finding("good", subject, f"{path} can be written")
    advice = f"chown it to the user that runs proxyd: {place} is {file_facts(place)}"
    return Finding("warning", subject, f"{path} cannot be written by us", advice)


def examine_socket(address: str) -> Iterator[Finding]:
    """The admin socket's file; nothing for a TCP address."""
    path = Path(address.removeprefix("unix:"))
    if address.startswith("unix:") and path.exists():
        if path.stat().st_mode & SOCKET_MODE:
            yield Finding("warning", "admin socket", f"{path} is open to others: {file_facts(path)}", f"chmod 600 {path}")
        else:
            yield Finding("good", "admin socket", f"{path} is its user's alone")


def examine_daemon(status: Mapping[str, Any], installed: str) -> Iterator[Finding]:
    """The answer of /status."""
    running = f"process {status['pid']}, version {status['version']}, {status['threads']} engines"
    if status["version"] == installed:
        yield Finding("good", "daemon", running)
    else:
        yield Finding("note", "daemon", f"{running}; installed is {installed}", "proxyd upgrade")
    if status["ready"]:
        yield Finding("good", "readiness", "traffic may come")
    for reason in status["not_ready"]:
        yield Finding("error", "readiness", reason, "proxyd status")
    for text in status["warnings"]:
        yield Finding("warning", "running config", text, "proxyd diff" if FILE_DIFFERS.code in text else "proxyd check")
    yield from _engines(status["engines"])
    yield from _rejected(status["listeners"])
    last = status["last_reload"]
    if last is not None and not last["ok"]:
        yield Finding("warning", "last reload", f"was refused: {last['summary']}", "proxyd check, then proxyd reload")


def _engines(engines: list[Mapping[str, Any]]) -> Iterator[Finding]:
    dead = [str(engine["index"]) for engine in engines if not engine["alive"]]
    lag = max((engine["loop_lag_seconds"] for engine in engines), default=0.0)
    if dead:
        yield Finding("error", "engines", f"engine {', '.join(dead)} has ended", "restart proxyd, and report it with the log")
    elif lag > LAG_MOST:
        advice = "give proxyd more CPU, or shed load (`runtime.overload`)"
        yield Finding("warning", "engines", f"the slowest is {lag * 1000:.0f} ms behind", advice)
    else:
        yield Finding("good", "engines", f"all turn, {lag * 1000:.1f} ms behind at most")


def _rejected(listeners: list[Mapping[str, Any]]) -> Iterator[Finding]:
    advice = {"fd_exhausted": "raise the limit of open files (LimitNOFILE=)", "memory": "give the machine more memory",
              "client_limit": "if these are your own clients, raise `limits.per_client`"}
    for listener in listeners:
        for reason, count in listener["rejected"].items():
            if reason in advice:
                yield Finding("warning", f"listener {listener['name']}", f"{count} refused: {reason}", advice[reason])


def examine_drops(metrics: Mapping[str, float]) -> Iterator[Finding]:
    """Records that a log or a ring had no room for."""
    for name, value in metrics.items():
        if name.startswith("proxyd_log_dropped_total") and value:
            advice = "its sink is full, gone or too slow: look at it, or sample"
            yield Finding("warning", "log", f"{value:.0f} records were dropped: {name}", advice)
