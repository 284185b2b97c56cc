"""A plain value on one line of YAML, for samples in messages and documents."""

from __future__ import annotations

import re

from proxyd.diagnostics.scalars import resolve

_NEEDS_QUOTES = re.compile(r"[{}\[\],\"\\]|^[-*&!%@`:?#|>'=\s]|: |:$| #|\s$|^$|^---|^\.\.\.")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def flow(value: object) -> str:
    """YAML in flow style; text is quoted only where it has to be."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(str(key))}: {flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(entry) for entry in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return str(value)
    if _NEEDS_QUOTES.search(value) or not value.isprintable() or not isinstance(resolve(value), str):
        return '"' + "".join(map(_escaped, value)) + '"'
    return value


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    return char if char.isprintable() else f"\\U{ord(char):08X}"
