"""nginx's choice of a location, as an order in which the first that matches wins.

nginx (ngx_http_core_find_location) takes an exact location at once; else it remembers the longest prefix, looks into the locations nested
in it, and then asks the regular expressions in their order: those of the nested level first, then those of the outer ones, but none of a
level whose longest prefix is marked with `^~`. If none is found, the longest prefix is it.

As a list: exact ones; prefixes, the longest first, each behind the expressions that nginx would ask for its paths; then what no prefix
took. An expression that stands before a prefix for its paths alone holds both (patterns.py). Prefixes without any of their own can wait
behind the expressions of their level, which then need to stand there once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from proxyd.importing.nginx.patterns import Overlap, PathPattern, exact_pattern, prefix_pattern, regex_pattern, within
from proxyd.importing.nginx.tree import Directive, Scope
from proxyd.importing.report import Report

_MODIFIERS = ("=", "^~", "~", "~*")


@dataclass(frozen=True, slots=True)
class Location:
    modifier: str  # one of _MODIFIERS, `@` for a named one, or empty: a prefix
    pattern: str
    scope: Scope

    @property
    def is_prefix(self) -> bool:
        return self.modifier in ("", "^~")

    @property
    def is_regex(self) -> bool:
        return self.modifier in ("~", "~*")

    @property
    def directive(self) -> Directive:
        return self.scope.block


@dataclass(frozen=True, slots=True)
class Placed:
    """A location with the paths that it takes at its place in the list."""

    path: PathPattern
    location: Location
    adds_slash: bool = False  # only its text without the `/` at the end, which nginx redirects to where it passes requests on


def locations_of(scope: Scope) -> list[Location]:
    """Those of a server or a location; named ones too."""
    return [_location(scope.inner(one)) for one in scope.block.all("location") if one.args]


def _location(scope: Scope) -> Location:
    args = scope.block.args
    if len(args) > 1:
        return Location(args[0], args[1], scope)
    for modifier in ("@", "^~", "~*", "~", "="):  # nginx takes them without a blank, too
        if args[0].startswith(modifier):
            return Location(modifier, args[0].removeprefix(modifier), scope)
    return Location("", args[0], scope)


def in_order(scope: Scope, report: Report) -> Iterator[Placed]:
    """The locations of a server, in the order in which the first that matches is nginx's."""
    yield from _level(scope, "", (), report)


def _level(scope: Scope, under: str, asked_after: Sequence[Location], report: Report) -> Iterator[Placed]:
    """What takes paths below the prefix `under`, but for its own location; `asked_after`: expressions of outer levels."""
    own = locations_of(scope)
    prefixes = sorted((one for one in own if one.is_prefix), key=lambda one: len(one.pattern), reverse=True)
    regexes = [one for one in own if one.is_regex]
    chain = (*regexes, *asked_after)
    for one in own:
        if one.modifier == "=":
            yield Placed(exact_pattern(one.pattern), one)
    known = {one.pattern for one in own if not one.is_regex}
    for one in own:
        if _adds_slash(one) and one.pattern[:-1] not in known:
            yield Placed(exact_pattern(one.pattern[:-1]), one, adds_slash=True)
    waiting = [one for one in prefixes if _may_wait(one, prefixes)]
    for one in prefixes:
        if one not in waiting:
            yield from _level(one.scope, one.pattern, asked_after if one.modifier == "^~" else chain, report)
            yield Placed(prefix_pattern(one.pattern), one)
    if not any(one.pattern in ("/", under) for one in prefixes if one not in waiting):  # else nothing is left for them
        for regex in chain:
            yield from _regex(regex, under, report)
    for one in waiting:
        yield Placed(prefix_pattern(one.pattern), one)


def _adds_slash(one: Location) -> bool:
    return not one.is_regex and len(one.pattern) > 1 and one.pattern.endswith("/") and one.directive.one("proxy_pass") is not None


def _may_wait(one: Location, prefixes: Sequence[Location]) -> bool:
    """Whether nothing that stands before the expressions could take its requests."""
    above = [other for other in prefixes if one.pattern.startswith(other.pattern)]
    return all(not other.modifier and not locations_of(other.scope) for other in above)


def _regex(regex: Location, under: str, report: Report) -> Iterator[Placed]:
    ignore_case = regex.modifier == "~*"
    for inner in locations_of(regex.scope):
        report.left_out(inner.directive.origin, "it is nested in a regular expression", "write one expression for both, beside it")
    try:
        path = within(under, regex.pattern, ignore_case=ignore_case) if under else regex_pattern(regex.pattern, ignore_case=ignore_case)
    except Overlap:
        reason = f"whether it is found in paths under `{under}` cannot be written as one expression: there it is not asked"
        report.changed(regex.directive.origin, reason, f"add a route for these paths before that of `{under}`")
        return
    if path is not None:
        yield Placed(path, regex)
