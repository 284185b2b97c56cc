"""What a route matches: host, path and method; the string form is `[METHODS] [host]/path`."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from proxyd.config.base import ONE_OR_MORE, STRING, Model, Short
from proxyd.config.text import Text, as_text
from proxyd.diagnostics.fail import fail, shown
from proxyd.diagnostics.suggest import closest

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*\Z")
_IPV6_HOST = re.compile(r"\[[0-9a-f:.]+\]\Z")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})?")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PATH_BYTES = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@%/\[\]]*\Z")


def check_host(text: str) -> str:
    """The host in lower case: `example.com`, or `*.example.com` for every name below it; empty for any."""
    host = text.strip().lower().rstrip(".")
    if host in ("", "*"):
        return ""
    if not host.isascii():
        try:
            help = f"write its ASCII form: `{host.encode('idna').decode()}`"
        except UnicodeError:
            help = "write its ASCII form (`xn--…`)"
        raise fail("PXD-037", f"the host {shown(text)} is not ASCII", help)
    if re.search(r":[0-9]+\Z", host) and not _IPV6_HOST.match(host):
        raise fail("PXD-037", f"the host {shown(text)} carries a port, which is never compared", f"write `{host.rpartition(':')[0]}`")
    if len(host) > 253 or not (_HOST.match(host) or _IPV6_HOST.match(host)):
        help = "`*` stands for whole labels at the front: `*.example.com`" if "*" in host else "like `example.com` or `*.example.com`"
        raise fail("PXD-037", f"{shown(text)} is not a host to match", help)
    return host


def check_path(text: str) -> str:
    """A path, exact, or a prefix with `*` at its end, in the normal form to which requests are brought before they are compared."""
    path = text.strip()
    if path in ("", "*", "/*"):
        return ""
    if not path.startswith("/"):
        raise fail("PXD-037", f"the path {shown(text)} does not begin with `/`", f"write `/{path}`")
    if "*" in path[:-1]:
        raise fail(
            "PXD-037", f"`*` inside the path {shown(text)}: it stands for the rest and comes last", f"write `{path[: path.index('*') + 1]}`"
        )
    for mark, what in (("?", "the query"), ("#", "a fragment")):
        if mark in path:
            raise fail("PXD-037", f"{what} is not part of what a route matches, in {shown(text)}", f"write `{path.partition(mark)[0]}`")
    if not _PATH_BYTES.match(path):
        raise fail("PXD-037", f"the path {shown(text)} has characters that a URL path cannot have", "write them as `%XX`")
    normal = _normal_escapes(path)
    if normal != path:
        raise fail("PXD-037", f"the path {shown(text)} can never match: requests are compared in their normal form", f"write `{normal}`")
    if any(segment in (".", "..") for segment in path.split("/")):
        raise fail("PXD-037", f"the path {shown(text)} can never match: dot segments are removed from requests before they are compared")
    return path


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


def check_method(value: object) -> str:
    text = as_text(value).strip()
    if text in METHODS:
        return text
    near = text.upper() if text.upper() in METHODS else closest(text.upper(), METHODS)
    hint = f"did you mean `{near}`? " if near else ""
    if text.upper() in ("TRACE", "CONNECT"):
        hint = "requests with it are refused; "
    raise fail("PXD-037", f"the method {shown(text)} cannot be matched", f"{hint}allowed: {', '.join(METHODS)}")


Host = Annotated[Text, AfterValidator(check_host)]
PathPattern = Annotated[Text, AfterValidator(check_path)]
Method = Annotated[Literal["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"], BeforeValidator(check_method)]


class Match(Model):
    host: Host = Field(
        "", description="Host of the request, without port; `*.example.com` is every name below; empty: any.", examples=["example.com"]
    )
    path: PathPattern = Field("", description="Path, exact, or a prefix with `*` at the end; empty: any.", examples=["/api/*"])
    method: Annotated[tuple[Method, ...], ONE_OR_MORE] = Field(
        (), description="Methods; a route that names GET takes HEAD too; empty: any.", examples=[["GET", "POST"]]
    )

    @property
    def path_exact(self) -> bool:
        """Whether the whole path is compared (else a prefix)."""
        return bool(self.path) and not self.path.endswith("*")

    @property
    def path_text(self) -> str:
        """The path to compare: without the `*` of a prefix."""
        return self.path.removesuffix("*")

    def __str__(self) -> str:
        where = self.host + (self.path or "/*")
        return f"{','.join(self.method)} {where}" if self.method else where


def parse_match(value: object) -> object:
    """The mapping that a match string stands for; what is no string is left alone."""
    if not isinstance(value, str):
        return value
    words = value.split()
    if len(words) > 2:
        raise fail(
            "PXD-037",
            f"{shown(value)} is not a match",
            "write `[METHODS] [host]/path`, methods joined by commas: `GET,HEAD example.com/api/*`",
        )
    if not words:
        raise fail("PXD-037", "an empty match", "leave `match` out to match everything, or write `/*`")
    where, methods = words[-1], words[0].split(",") if len(words) == 2 else []
    if len(words) == 1 and where in METHODS:
        raise fail("PXD-037", f"the match {shown(value)} lacks a path", f"write `{value} /*`")
    host, slash, path = where.partition("/")
    if not slash and where != "*":
        raise fail("PXD-037", f"the match {shown(value)} has no `/`", f"write `{host}/*` for all of that host, or `/{host}` for a path")
    return {"host": host, "path": slash + path, "method": methods}


MatchField = Annotated[Match, Short(parse_match, (STRING,))]
