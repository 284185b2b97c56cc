"""Findings for people (a block with the source line and carets) and for machines (one JSON object a line)."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from proxyd.diagnostics.diagnostic import Diagnostic, Span

_WIDEST = 160  # of a source line that is shown; longer ones are cut around the caret
_MARGIN = 40
HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Paint:
    """Terminal colours; `Paint.plain()` has none."""

    error: str = "\x1b[1;31m"
    warning: str = "\x1b[1;33m"
    rule: str = "\x1b[34m"
    bold: str = "\x1b[1m"
    reset: str = "\x1b[0m"

    @classmethod
    def plain(cls) -> Paint:
        return cls("", "", "", "", "")


def render(item: Diagnostic, *, color: bool = False) -> str:
    """The block of one finding, without a line end behind it."""
    paint = Paint() if color else Paint.plain()
    tint = paint.error if item.severity == "error" else paint.warning
    lines = [f"{tint}{item.severity}[{item.code}]{paint.reset}{paint.bold}: {item.message}{paint.reset}"]
    indent = " "
    if item.span is not None:
        number = str(item.span.line + 1)
        indent = " " * (len(number) + 1)
        text, carets = _excerpt(item.span, item.hidden)
        bar = f"{paint.rule}|{paint.reset}"
        lines += [
            f"{indent[:-1]}{paint.rule}-->{paint.reset} {item.span.source.name}:{item.span.line + 1}:{item.span.column + 1}",
            f"{indent}{bar}",
            f"{paint.rule}{number}{paint.reset} {bar} {text}".rstrip(),
            f"{indent}{bar} {tint}{carets}{paint.reset}",
        ]
    if item.help:
        lines.append(f"{indent}{paint.rule}={paint.reset} help: {item.help}")
    return "\n".join(lines)


def render_all(items: Iterable[Diagnostic], *, color: bool = False) -> str:
    """All blocks, a blank line between them, and a count at the end; empty text when there are none."""
    listed = list(items)
    if not listed:
        return ""
    return "\n\n".join(render(item, color=color) for item in listed) + f"\n\n{summary(listed)}\n"


def summary(items: Iterable[Diagnostic]) -> str:
    """`2 errors, 1 warning`."""
    count = Counter(item.severity for item in items)
    words = [f"{number} {kind}{'s' if number != 1 else ''}" for kind in ("error", "warning") if (number := count[kind])]
    return ", ".join(words) or "no errors"


def render_json(items: Iterable[Diagnostic]) -> str:
    """One object a line, in the same order."""
    return "".join(json.dumps(item.as_dict(), ensure_ascii=False) + "\n" for item in items)


def _excerpt(span: Span, hidden: Iterable[Span]) -> tuple[str, str]:
    """The source line and the carets below it, secrets hidden, tabs widened, long lines cut, control characters made visible."""
    lines = span.source.lines
    line = lines[span.line] if span.line < len(lines) else ""
    start = min(span.column, len(line))
    end = span.end_column if span.end_line == span.line else len(line.rstrip())
    end = max(min(end, len(line)), start + 1)
    for secret in sorted(hidden, key=lambda secret: secret.column, reverse=True):
        if secret.source is span.source and secret.line <= span.line <= secret.end_line:
            line, start, end = _hide(line, start, end, secret, span.line)
    cut = max(0, start - _MARGIN) if len(line) > _WIDEST else 0
    kept = line[cut : cut + _WIDEST]
    prefix = "…" if cut else ""
    suffix = "…" if cut + _WIDEST < len(line) else ""
    shown_start = prefix + _visible(line[cut:start])
    marked = _visible(line[start : min(end, cut + _WIDEST)])
    return prefix + _visible(kept) + suffix, " " * _width(shown_start) + "^" * max(1, _width(marked))


def _hide(line: str, start: int, end: int, secret: Span, number: int) -> tuple[str, int, int]:
    """The line of this number without its part of the secret, and where its marked range is then."""
    begin = secret.column if secret.line == number else len(line) - len(line.lstrip())
    stop = secret.end_column if secret.end_line == number else len(line)

    def moved(column: int, inside: int) -> int:
        return column if column <= begin else inside if column < stop else column - stop + begin + len(HIDDEN)

    return line[:begin] + HIDDEN + line[stop:], moved(start, begin), moved(end, begin + len(HIDDEN))


def _visible(text: str) -> str:
    return "".join("    " if char == "\t" else char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _width(text: str) -> int:
    """Terminal columns: combining marks take none, East Asian wide characters two."""
    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
