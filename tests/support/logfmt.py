"""A strict reader of logfmt, after the grammar of go-logfmt's decoder: pairs with one blank between; a value in quotes is a JSON string;
one without holds no blank, quote, backslash or `=`."""
from __future__ import annotations

import json
import re

_PAIR = re.compile(r'(?P<key>[^\s="\\]+)=(?:(?P<quoted>"(?:[^"\\\x00-\x1f]|\\.)*")|(?P<bare>[^\s="\\]+))(?: |\Z)')


def read_logfmt(line: str) -> list[tuple[str, str]]:
    """The pairs, in their order, none twice; ValueError for a line that is no such."""
    pairs: list[tuple[str, str]] = []
    at = 0
    while at < len(line):
        found = _PAIR.match(line, at)
        if found is None:
            raise ValueError(f"not logfmt: {line[at:]!r}")
        quoted = found["quoted"]
        pairs.append((found["key"], found["bare"] if quoted is None else json.loads(quoted)))
        at = found.end()
    if line.endswith(" ") or len({key for key, _ in pairs}) < len(pairs):
        raise ValueError(f"not logfmt: {line!r}")
    return pairs
