"""What proxyd tells about itself: stdlib logging to stderr. (Access records: access.py.)"""
from __future__ import annotations

import logging
import os
import sys
from typing import TextIO


class PlainFormatter(logging.Formatter):
    """`14:02:11 warning api: 10.0.1.12:8000 left: ...`. A service manager's journal has its own clock, so only a terminal gets the time."""

    def __init__(self, *, clock: bool) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s" if clock else "%(levelname)s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        record.levelname = record.levelname.lower()
        return super().format(record)


def set_up_log(level: str, stream: TextIO | None = None) -> None:
    """Send the control plane's log to `stream` (stderr). Called again, it only sets the level."""
    root = logging.getLogger("proxyd")
    root.setLevel(level.upper())
    if not root.handlers:
        target = stream or sys.stderr
        handler = logging.StreamHandler(target)
        handler.setFormatter(PlainFormatter(clock=target.isatty() or "JOURNAL_STREAM" not in os.environ))
        root.addHandler(handler)
        root.propagate = False
