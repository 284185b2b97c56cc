"""Paths of nginx's locations as patterns of routes; and both a prefix and a regular expression as one expression.

nginx compares prefixes as text and runs regular expressions over the decoded path; routes are compared with the path in its normal form,
in which what a path cannot hold is escaped. So prefixes are escaped here; expressions are taken as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import reduce
from operator import or_
from urllib.parse import quote

from proxyd_ext.route.pattern import Begin, Byte, Chain, Either, End, Node, RegexError, Repeat, literal_prefix, parse_pattern

_PATH_SAFE = "-._~!$&'()*+,;=:@/[]"
_NAMED_GROUP = re.compile(r"\(\?P?<([A-Za-z_]\w*)>")

PathPattern = str | dict[str, str]
"""As `match.path` has it; empty for any."""


@dataclass(frozen=True, slots=True)
class Overlap(Exception):
    """Whether the expression is found cannot be said behind the prefix alone: it may begin within it."""

    regex: str


def prefix_pattern(prefix: str) -> PathPattern:
    escaped = quote(prefix, safe=_PATH_SAFE)
    if escaped == "/":
        return ""
    return f"{escaped}*" if "*" not in escaped else {"regex": f"^{re.escape(escaped)}"}


def exact_pattern(path: str) -> PathPattern:
    escaped = quote(path, safe=_PATH_SAFE)
    return escaped if "*" not in escaped else {"regex": f"^{re.escape(escaped)}$"}


def regex_pattern(pattern: str, *, ignore_case: bool) -> PathPattern:
    plain = _NAMED_GROUP.sub("(", pattern)
    return {"regex": f"(?i){plain}" if ignore_case else plain}


def within(prefix: str, pattern: str, *, ignore_case: bool) -> PathPattern | None:
    """The paths that begin with the prefix and in which the expression is found; None for none. Raises Overlap."""
    plain = _NAMED_GROUP.sub("(", pattern)
    if prefix in ("", "/"):
        return regex_pattern(pattern, ignore_case=ignore_case)
    if plain.startswith("^"):
        return _anchored(prefix, plain, ignore_case=ignore_case)
    if may_begin_with(plain, prefix, ignore_case=ignore_case):
        raise Overlap(pattern)
    escaped = re.escape(quote(prefix, safe=_PATH_SAFE)).replace(r"\-", "-")
    group = f"(?i:{plain})" if ignore_case else f"(?:{plain})" if "|" in plain else plain
    return {"regex": f"^{escaped}.*{group}"}


def _anchored(prefix: str, plain: str, *, ignore_case: bool) -> PathPattern | None:
    try:
        head = literal_prefix(parse_pattern(plain))
    except RegexError:
        return regex_pattern(plain, ignore_case=ignore_case)  # the model says what is wrong with it
    if head is None or ignore_case:
        raise Overlap(plain)
    wanted = prefix.encode()
    if head.startswith(wanted):
        return regex_pattern(plain, ignore_case=ignore_case)
    if not wanted.startswith(head):
        return None
    raise Overlap(plain)


def may_begin_with(pattern: str, prefix: str, *, ignore_case: bool) -> bool:
    """Whether a match could begin at some character of the prefix. True, too, where the expression cannot be read."""
    try:
        first, empty = _first(parse_pattern(f"(?i){pattern}" if ignore_case else pattern))
    except RegexError:
        return True
    return empty or any(first >> byte & 1 for byte in prefix.encode())


def _first(node: Node) -> tuple[int, bool]:
    """The bytes that a match can begin with, and whether it may be empty."""
    match node:
        case Byte(of):
            return of, False
        case Begin() | End():
            return 0, True
        case Chain(parts):
            found = 0
            for part in parts:
                one, empty = _first(part)
                found |= one
                if not empty:
                    return found, False
            return found, True
        case Either(options):
            each = [_first(option) for option in options]
            return reduce(or_, (one for one, _ in each), 0), any(empty for _, empty in each)
        case Repeat(part, least, _):
            one, empty = _first(part)
            return one, empty or not least

