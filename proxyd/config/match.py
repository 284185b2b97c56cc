"""What a route matches: host, path, method, and conditions on fields, parameters, cookies and the client's address.

The string form is `[METHODS] [host]/path`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from proxyd.config.address import check_network
from proxyd.config.base import ONE_OR_MORE, STRING, Model, Short
from proxyd.config.cookies import CookieName
from proxyd.config.headers import HeaderName
from proxyd.config.hosts import check_host
from proxyd.config.matchers import Demand, TestField, ValueTest
from proxyd.config.paths import check_path
from proxyd.config.regex import REGEX_FORM, Regex, parse_regex
from proxyd.config.text import Text, as_text
from proxyd.diagnostics.fail import fail, shown
from proxyd.diagnostics.suggest import closest

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")


def parse_host(value: object) -> str | Regex:
    if isinstance(value, Regex):
        return value
    return parse_regex(value) if isinstance(value, dict) else check_host(as_text(value))


def parse_path(value: object) -> str | Regex:
    if isinstance(value, Regex):
        return value
    return parse_regex(value) if isinstance(value, dict) else check_path(as_text(value))


def check_parameter(text: str) -> str:
    if not re.match(r"[^\s&=#\x00-\x1f]{1,256}\Z", text):
        raise fail("PXD-037", f"{shown(text)} cannot be the name of a query parameter")
    return text


def check_source(value: object) -> str:
    return check_network(as_text(value).strip())


def known_method(value: object, code: str, what: str) -> str:
    """One of METHODS, else an error with this code: `the method … WHAT`."""
    text = as_text(value).strip()
    if text in METHODS:
        return text
    near = text.upper() if text.upper() in METHODS else closest(text.upper(), METHODS)
    hint = f"did you mean `{near}`? " if near else ""
    if text.upper() in ("TRACE", "CONNECT"):
        hint = "requests with it are refused on every route; "
    raise fail(code, f"the method {shown(text)} {what}", f"{hint}allowed: {', '.join(METHODS)}")


def check_method(value: object) -> str:
    return known_method(value, "PXD-037", "cannot be matched")


_PATTERN = WithJsonSchema({"anyOf": [STRING, REGEX_FORM]})
HostPattern = Annotated[str | Regex, PlainValidator(parse_host), _PATTERN]
PathPattern = Annotated[str | Regex, PlainValidator(parse_path), _PATTERN]
Method = Annotated[Literal["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"], BeforeValidator(check_method)]
ParameterName = Annotated[Text, AfterValidator(check_parameter)]
Network = Annotated[str, BeforeValidator(check_source), WithJsonSchema(STRING)]


class Match(Model):
    """All of it must hold."""

    host: HostPattern = Field(
        "",
        description="Host of the request, without port; `*.example.com` is every name below; `{regex: …}`; empty: any.",
        examples=["example.com"],
    )
    path: PathPattern = Field(
        "",
        description="Path, exact, or a prefix with `*` at the end; or `{regex: …}`, found anywhere but for `^` and `$`; empty: any.",
        examples=["/api/*"],
    )
    method: Annotated[tuple[Method, ...], ONE_OR_MORE] = Field(
        (), description="Methods; a route that names GET takes HEAD too; empty: any.", examples=[["GET", "POST"]]
    )
    header: dict[HeaderName, TestField] = Field(
        {},
        description="Fields by name, each with the text that it must be, or a test of it. Of several values one must pass.",
        examples=[{"X-Env": "prod"}],
    )
    query: dict[ParameterName, TestField] = Field({}, description="Parameters of the query, the same way.", examples=[{"debug": "1"}])
    cookie: dict[CookieName, TestField] = Field({}, description="Cookies, the same way.", examples=[{"beta": {"present": True}}])
    source: Annotated[tuple[Network, ...], ONE_OR_MORE] = Field(
        (), description="Networks of the client's address, one of which must hold it; empty: any.", examples=[["10.0.0.0/8"]]
    )

    @property
    def host_text(self) -> str:
        """The host to compare; empty for any, and for a regular expression, which is a demand."""
        return "" if isinstance(self.host, Regex) else self.host

    @property
    def path_exact(self) -> bool:
        """Whether the whole path is compared (else a prefix)."""
        return isinstance(self.path, str) and bool(self.path) and not self.path.endswith("*")

    @property
    def path_text(self) -> str:
        """The path to compare: without the `*` of a prefix; empty for any, and for a regular expression, which is a demand."""
        return "" if isinstance(self.path, Regex) else self.path.removesuffix("*")

    @property
    def demands(self) -> tuple[Demand, ...]:
        """What else a request must bring."""
        return tuple(self._demands())

    def _demands(self) -> Iterator[Demand]:
        if isinstance(self.host, Regex):
            yield Demand("host", "regex", value=self.host.pattern)
        if isinstance(self.path, Regex):
            yield Demand("path", "regex", value=self.path.pattern)
        if self.source:
            yield Demand("source", "network", networks=tuple(sorted(set(self.source))))
        for name, test in self.header.items():
            yield Demand("header", test.kind, name.lower(), test.value, negate=test.negate)
        for name, test in self.query.items():
            yield Demand("query", test.kind, name, test.value, negate=test.negate)
        for name, test in self.cookie.items():
            yield Demand("cookie", test.kind, name, test.value, negate=test.negate)

    def __str__(self) -> str:
        """`GET,HEAD example.com/api/*`, `~^/v[0-9]+/ (header X-Env = prod, source 10.0.0.0/8)`."""
        where = f"{self.host}{self.path or '/*'}"
        said = [*_tests("header", self.header), *_tests("query", self.query), *_tests("cookie", self.cookie)]
        said += [f"source {' '.join(self.source)}"] if self.source else []
        return f"{','.join(self.method)} {where}".lstrip() + (f" ({', '.join(said)})" if said else "")


def _tests(of: str, tests: Mapping[str, ValueTest]) -> Iterator[str]:
    for name, test in tests.items():
        yield f"{of} {name} {test}"


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
    if "://" in where:
        rest = where.partition("://")[2]
        help = f"write `{rest if '/' in rest else f'{rest}/*'}`"
        raise fail("PXD-037", f"the match {shown(value)} has a scheme, which routes do not look at", help)
    host, slash, path = where.partition("/")
    if not slash and where != "*":
        raise fail("PXD-037", f"the match {shown(value)} has no `/`", f"write `{host}/*` for all of that host, or `/{host}` for a path")
    return {"host": host, "path": slash + path, "method": methods}


MatchField = Annotated[Match, Short(parse_match, (STRING,))]
