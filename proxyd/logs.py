"""Both logs: what proxyd tells about itself (stderr, stdlib logging), and where the native writer puts the access records."""
from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TextIO

from proxyd.state import DaemonError, LogEntry
from proxyd_ext.log import AccessLog

if TYPE_CHECKING:
    from proxyd.config.model import AccessLog as AccessConfig

Format = Literal["json", "combined", "pretty"]


class PlainFormatter(logging.Formatter):
    """`14:02:11 warning api: 10.0.1.12:8000 left: ...`. A service manager's journal has its own clock, so only a terminal gets the time."""

    def __init__(self, *, clock: bool) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s" if clock else "%(levelname)s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        record.levelname = record.levelname.lower()
        return super().format(record)


def set_up(level: str, stream: TextIO | None = None) -> None:
    """Send the control plane's log to `stream` (stderr). Called again, it only sets the level."""
    root = logging.getLogger("proxyd")
    root.setLevel(level.upper())
    if not root.handlers:
        target = stream or sys.stderr
        handler = logging.StreamHandler(target)
        handler.setFormatter(PlainFormatter(clock=target.isatty() or "JOURNAL_STREAM" not in os.environ))
        root.addHandler(handler)
        root.propagate = False


@dataclass(slots=True)
class AccessSink:
    """A native writer of access records, as `log.access` wants it. When that changes, another takes its place."""

    log: AccessLog
    config: AccessConfig | None    # None: no access log is wanted, and the records are for the tap alone

    @classmethod
    def open(cls, config: AccessConfig | None, engines: int) -> AccessSink:
        """Start the writer. DaemonError when the file cannot be opened."""
        if config is None:
            log = AccessLog(-1, "json", engines)
            log.start()
            return cls(log, None)
        fd = open_target(config.to)
        try:
            terminal = os.isatty(fd)
            chosen: Format = ("pretty" if terminal else "json") if config.format == "auto" else config.format
            log = AccessLog(fd, chosen, engines, color=terminal and "NO_COLOR" not in os.environ)
        finally:
            os.close(fd)       # the writer has its own duplicate
        log.start()
        return cls(log, config)

    def reopen(self) -> None:
        """Open the target by its name again (after a rotation). DaemonError leaves the old file in use."""
        if self.config is None:
            return
        fd = open_target(self.config.to)
        try:
            self.log.reopen(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Write what was submitted, and end; a sink that takes nothing is waited for two seconds."""
        self.log.stop()

    def entries(self) -> tuple[LogEntry, ...]:
        return (LogEntry("access", self.log.written, self.log.dropped),) if self.config is not None else ()


def open_target(to: str) -> int:
    """A descriptor of one's own for `stdout`, `stderr` or a file. The caller closes it."""
    if to in ("stdout", "stderr"):
        return os.dup(1 if to == "stdout" else 2)
    try:
        # O_NONBLOCK for the opening only: a pipe that nobody reads must be refused, not waited for.
        fd = os.open(to, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK, 0o640)
        os.set_blocking(fd, True)
        return fd
    except OSError as error:
        raise DaemonError(f"cannot open the access log {to}: {(error.strerror or str(error)).lower()}") from error
