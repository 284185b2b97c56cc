"""Paths as the config writes them: in the normal form to which requests are brought before they are compared."""

from __future__ import annotations

import re

from proxyd.diagnostics.fail import fail, shown

_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})?")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PATH_BYTES = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@%/\[\]]*\Z")


def check_path(text: str) -> str:
    """A path, exact, or a prefix with `*` at its end, in the normal form to which requests are brought before they are compared."""
    path = text.strip()
    if path in ("", "*", "/*"):
        return ""
    if not path.startswith("/"):
        raise fail("PXD-037", f"the path {shown(text)} does not begin with `/`", f"write `/{path}`")
    if "*" in path[:-1]:
        help = f"write `{path[: path.index('*') + 1]}`, or a mapping with `path: {{regex: …}}`"
        raise fail("PXD-037", f"`*` inside the path {shown(text)}: it stands for the rest and comes last", help)
    for mark, what in (("?", "the query"), ("#", "a fragment")):
        if mark in path:
            raise fail("PXD-037", f"{what} is not part of what a route matches, in {shown(text)}", f"write `{path.partition(mark)[0]}`")
    if not _PATH_BYTES.match(path):
        raise fail("PXD-037", f"the path {shown(text)} has characters that a URL path cannot have", "write them as `%XX`")
    normal = _without_dots(_normal_escapes(path))
    if normal != path:
        raise fail("PXD-037", f"the path {shown(text)} can never match: requests are compared in their normal form", f"write `{normal}`")
    return path


def _without_dots(path: str) -> str:
    """RFC 3986 §5.2.4."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for number, segment in enumerate(segments):
        if segment == ".." and kept:
            kept.pop()
        if segment not in (".", ".."):
            kept.append(segment)
        elif number == len(segments) - 1:
            kept.append("")
    return "/" + "/".join(kept)


def _normal_escapes(path: str) -> str:
    """Unreserved characters decoded, other escapes in upper case (RFC 3986 §6.2.2)."""

    def one(escape: re.Match[str]) -> str:
        if escape[1] is None:
            raise fail("PXD-037", f"`%` without two hexadecimal digits in the path {shown(path)}", "write `%25` for a percent sign")
        char = chr(int(escape[1], 16))
        if char == "\0":
            raise fail("PXD-037", f"the path {shown(path)} holds a NUL", "requests with one are refused")
        return char if char in _UNRESERVED else escape[0].upper()

    return _ESCAPE.sub(one, path)


def check_prefix(text: str) -> str:
    """A literal beginning of paths, without a `/` at its end: `/api`; or the root, `/`."""
    path = text.strip()
    if path.endswith("*"):
        raise fail("PXD-037", f"{shown(text)} is a prefix by itself", f"write `{path.rstrip('*').rstrip('/') or '/'}`")
    if not path:
        raise fail("PXD-022", "the prefix is empty", "like `/api`")
    return "/" if path == "/" else check_path(path).rstrip("/") or "/"
