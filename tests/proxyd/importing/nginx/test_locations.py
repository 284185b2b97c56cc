"""The order of locations, held against nginx's own search, written down as it is in ngx_http_core_find_location."""
from __future__ import annotations

import re
from collections.abc import Sequence

from hypothesis import assume, given
from hypothesis import strategies as st

from proxyd.importing.nginx.locations import Location, in_order, locations_of
from proxyd.importing.nginx.tree import Directive, Scope
from proxyd.importing.report import Origin, Report


def location(args: Sequence[str], inner: Sequence[Directive] = ()) -> Directive:
    return Directive("location", tuple(args), Origin("nginx.conf", 1, f"location {' '.join(args)}"), tuple(inner))


def nginx(scope: Scope, path: str) -> tuple[Location | None, bool]:
    """The location, and whether the search is over (an exact one, or an expression)."""
    own = locations_of(scope)
    for one in own:
        if one.modifier == "=" and one.pattern == path:
            return one, True
    longest = max((one for one in own if one.is_prefix and path.startswith(one.pattern)), key=lambda one: len(one.pattern), default=None)
    found: Location | None = longest
    if longest is not None:
        inner, over = nginx(longest.scope, path)
        found = inner or longest
        if over:
            return found, True
    if longest is None or longest.modifier != "^~":
        for one in own:
            if one.is_regex and re.search(one.pattern, path):
                return one, True
    return found, False


def ours(scope: Scope, path: str, report: Report) -> Location | None:
    for placed in in_order(scope, report):
        pattern = placed.path
        if isinstance(pattern, dict):
            if re.search(pattern["regex"], path):
                return placed.location
        elif not pattern or path == pattern or (pattern.endswith("*") and path.startswith(pattern[:-1])):
            return placed.location
    return None


NAMES = ["/", "/a", "/a/", "/a/b", "/a/b/", "/b/", "/b/a"]
REGEXES = [r"\.p$", r"\.p\.q$", r"^/a/b.*\.q$", r"^/b/"]
PREFIX = st.tuples(st.sampled_from(["", "^~"]), st.sampled_from(NAMES)).map(lambda pair: [part for part in pair if part])
LEAF = st.one_of(PREFIX, st.sampled_from(NAMES).map(lambda name: ["=", name]), st.sampled_from(REGEXES).map(lambda one: ["~", one]))


@st.composite
def levels(draw: st.DrawFn, under: str = "", depth: int = 2) -> list[Directive]:
    found = []
    for args in draw(st.lists(LEAF, max_size=5, unique_by=lambda args: (args[-1], args[0] in ("=", "~")))):
        plain = args[0] not in ("=", "~")
        if args[0] != "~" and not args[-1].startswith(under):
            continue                     # nginx refuses it
        inner = draw(levels(args[-1], depth - 1)) if depth and plain and draw(st.booleans()) else []
        inner = [one for one in inner if one.args != tuple(args)]
        found.append(location(args, inner))
    return found


BEGINNINGS = st.sampled_from(["/", "/a", "/a/", "/a/b", "/a/b/", "/b", "/b/", "/b/a", "/c"])
PATHS = st.tuples(BEGINNINGS, st.sampled_from(["", "x", "x.p", "x.p.q", ".q"]))


@given(levels(), st.lists(PATHS.map("".join), min_size=5, max_size=10))
def test_the_same_location(found: list[Directive], paths: list[str]) -> None:
    scope = Scope(Directive("server", (), Origin("nginx.conf", 1, "server"), tuple(found)))
    report = Report()
    chosen = [ours(scope, path, report) for path in paths]
    assume(not report.findings)
    for path, mine in zip(paths, chosen, strict=True):
        theirs = nginx(scope, path)[0]
        assert (mine and mine.directive) == (theirs and theirs.directive), path


def test_slashes_are_added_where_requests_are_passed_on() -> None:
    passed = Directive("proxy_pass", ("http://a",), Origin("nginx.conf", 2, "proxy_pass"))
    server = Directive("server", (), Origin("nginx.conf", 1, "server"), (location(["/a/"], [passed]), location(["/b/"])))
    assert [(placed.path, placed.adds_slash) for placed in in_order(Scope(server), Report())] == [
        ("/a", True), ("/a/*", False), ("/b/*", False),
    ]
