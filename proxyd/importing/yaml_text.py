"""Plain values with comments → YAML that people read: one line where it fits, blocks where it does not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Union

WIDTH = 120
Value = Union[str, int, bool, Mapping[str, "Value"], Sequence["Value"], "Noted"]

# What YAML 1.2 reads as the same text, also within braces, and nobody could take for a number or a word of YAML's.
_PLAIN = re.compile(r"(?!(?:true|false|null|yes|no|on|off|none)\Z)[A-Za-z/][A-Za-z0-9_./*+-]*\Z", re.IGNORECASE)
_QUANTITY = re.compile(r"[0-9]+(?:ms|s|m|h|d|B|KiB|MiB|GiB|TiB|%|/s|/m)(?:[0-9]+(?:ms|s|m|h))*\Z")
_NETWORK = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:/[0-9]{1,2}|-[0-9]{1,5})?\Z")
_ADDRESS = re.compile(r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[A-Za-z][A-Za-z0-9.-]*):[0-9]{1,5}\Z")
_WORDS = frozenset({"none", "on"})  # of proxyd's config, which YAML 1.2 leaves alone


@dataclass(frozen=True, slots=True)
class Noted:
    """A value with a comment above it."""

    value: Value
    note: str


def to_yaml(value: Mapping[str, Value]) -> str:
    return "\n".join(_mapping(value, "")) + "\n"


def _mapping(value: Mapping[str, Value], indent: str) -> Iterator[str]:
    for key, entry in value.items():
        yield from _entry(f"{indent}{_key(key)}:", entry, indent)


def _entry(head: str, entry: Value, indent: str) -> Iterator[str]:
    """What stands behind `key:` or `-`, the comment above it."""
    if isinstance(entry, Noted):
        yield from (f"{indent}# {line}" for line in entry.note.splitlines())
        entry = entry.value
    line = f"{head} {_flow(entry)}" if not _noted(entry) else ""
    whole = not entry or not isinstance(entry, Mapping | list | tuple)
    if line and (whole or (len(line) <= WIDTH and (indent or not isinstance(entry, Mapping)))):
        yield line
    elif isinstance(entry, Mapping) and head.endswith("-"):
        first, *rest = _mapping(entry, f"{indent}  ")
        yield f"{indent}- {first.lstrip()}" if not first.lstrip().startswith("#") else f"{indent}-\n{first}"
        yield from rest
    elif isinstance(entry, Mapping):
        yield head
        yield from _mapping(entry, f"{indent}  ")
    elif isinstance(entry, Sequence) and not isinstance(entry, str):
        yield head
        for item in entry:
            yield from _entry(f"{indent}  -", item, f"{indent}  ")


def _noted(value: Value) -> bool:
    if isinstance(value, Noted):
        return True
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return any(_noted(one) for one in inner)


def _flow(value: Value) -> str:
    if isinstance(value, Noted):
        return _flow(value.value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)}: {_flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, bool | int):
        return json.dumps(value)
    if isinstance(value, str):
        return _text(value)
    return "[" + ", ".join(_flow(entry) for entry in value) + "]"


def _key(text: str) -> str:
    return text if re.match(r"[1-5][0-9x]{2}\Z", text) else _text(text)


def _text(text: str) -> str:
    """`${` begins a variable of the config's own, so it is written as `$${`."""
    if text in _WORDS or _PLAIN.match(text) or _QUANTITY.match(text) or _ADDRESS.match(text) or _NETWORK.match(text):
        return text
    return json.dumps(text.replace("${", "$${"), ensure_ascii=False)
