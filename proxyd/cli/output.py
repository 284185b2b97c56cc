"""What a command prints: colour only on a terminal and never with NO_COLOR, nothing but JSON with --json, nothing needless with -q."""
from __future__ import annotations

import json
import os
import re
import sys
import time
from typing import IO, Any

import click

STEERING = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What JSON leaves as it is: controls beyond ASCII, line separators, marks that turn text round, halves of pairs."""
STYLES = {"error": "red", "warning": "yellow", "good": "green", "dim": "bright_black"}


def colored(stream: IO[str] | None = None) -> bool:
    stream = stream or sys.stdout
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str, stream: IO[str] | None = None) -> str:
    return click.style(text, fg=STYLES[style]) if colored(stream) else text


def json_text(value: object, indent: int | None = None) -> str:
    """JSON as people read it, without what steers a terminal: paths and names in it are those of others."""
    return STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False, indent=indent))


def print_json(value: object) -> None:
    print(json_text(value, indent=2))


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration(seconds: float) -> str:
    """`3.2s`, `4m 10s`, `5h 3m`, `12d 4h`: two units at most."""
    if seconds < 60:
        return f"{seconds:.0f}s" if seconds >= 10 else f"{max(seconds, 0):.1f}s"
    for size, unit, small, small_unit in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s")):
        if seconds >= size:
            return f"{seconds // size:.0f}{unit} {seconds % size // small:.0f}{small_unit}"
    return ""


def ago(at: float, now: float | None = None) -> str:
    """How long ago a wall time was; "never" for 0."""
    return f"{duration((time.time() if now is None else now) - at)} ago" if at else "never"


def count(value: float) -> str:
    """A figure for a narrow column: 950, 12.3k, 4.5M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if unit == 'k' else size):.1f}{unit}"
    return f"{value:.0f}"


def size(value: float) -> str:
    """Bytes for a narrow column: 950, 12.3K, 4.5M, in units of 1024."""
    for unit, letter in ((1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")):
        if value >= unit:
            return f"{value / unit:.1f}{letter}"
    return f"{value:.0f}"


def table(rows: list[list[str]], indent: str = "  ") -> list[str]:
    """Rows as aligned lines. Colour codes do not count as width; the last column is left ragged."""
    widths = [max((len(click.unstyle(row[i])) for row in rows if i < len(row)), default=0) for i in range(max(map(len, rows), default=0))]
    lines = []
    for row in rows:
        cells = [cell + " " * (widths[i] - len(click.unstyle(cell))) for i, cell in enumerate(row)]
        lines.append((indent + "  ".join(cells)).rstrip())
    return lines


def render_diagnostics(entries: list[dict[str, Any]]) -> str:
    """Diagnostics that came as JSON from the daemon, as text; `rendered` holds the daemon's own rendering with line and caret."""
    return "\n\n".join(str(entry.get("rendered") or _plain(entry)).rstrip("\n") for entry in entries)


def _plain(entry: dict[str, Any]) -> str:
    place = f"\n --> {entry['file']}:{entry['line']}:{entry['column']}" if "line" in entry else ""
    help_ = f"\n  = help: {entry['help']}" if entry.get("help") else ""
    return f"{entry.get('severity', 'error')}[{entry.get('code', '')}]: {entry.get('message', '')}{place}{help_}"
