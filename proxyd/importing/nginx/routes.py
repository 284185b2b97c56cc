"""One server of nginx's: its locations, in order, as routes without their host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from proxyd.importing.nginx.caching import Caches
from proxyd.importing.nginx.locations import Location, Placed, in_order, locations_of
from proxyd.importing.nginx.maps import Maps
from proxyd.importing.nginx.patterns import Overlap, PathPattern, within
from proxyd.importing.nginx.policies import Policies, Zones, access_policy, asked_policy, basic_policy, body_size, other_lock
from proxyd.importing.nginx.proxying import Passed, fields_to_clients, fields_to_servers, parse_pass, path_rewrite, retries, timeouts
from proxyd.importing.nginx.rewriting import Answer, Rewriting, Tests, not_imported, rewriting_of
from proxyd.importing.nginx.tree import Directive, Scope
from proxyd.importing.nginx.upstreams import Upstreams
from proxyd.importing.nginx.values import fill_in, parse_size, size
from proxyd.importing.report import Report
from proxyd.importing.yaml_text import Value

STATIC = ("root", "alias", "try_files", "index", "autoindex")
HANDLERS = ("fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass", "memcached_pass", "stub_status", "content_by_lua_block", "js_content",
            "empty_gif", "flv", "mp4", "perl")


@dataclass(slots=True)
class Draft:
    """What all servers share."""

    folder: Path
    report: Report
    upstreams: Upstreams
    policies: Policies
    zones: Zones
    caches: Caches
    maps: Maps


@dataclass(slots=True)
class Step:
    """A route to be: which paths, under what conditions, and the rest of it. `body` is its bound on bodies, where it has one."""

    path: PathPattern
    tests: Tests
    route: dict[str, Value]
    origin: Directive
    body: int | None = None


@dataclass(slots=True)
class Server:
    scope: Scope
    draft: Draft
    tls: bool
    _values: dict[str, str] = field(default_factory=dict)

    def steps(self) -> Iterator[Step]:
        """The first whose path and conditions fit is what nginx would do."""
        report = self.draft.report
        phase = rewriting_of(self.scope, report, tls=self.tls, outer={})
        self._values = phase.values
        if phase.rewrite is not None:
            one = self.scope.block.all("rewrite")[0]
            report.left_out(one.origin, "a path that is rewritten before the choice of a location", "write `rewrite` into each route")
        yield from (self._answered(answer, "", self.scope) for answer in phase.answers)
        if phase.final is not None:
            yield self._answered(phase.final, "", self.scope)
            return
        for placed in in_order(self.scope, report):
            yield from self._location(placed)
        if not any(one.is_prefix and one.pattern == "/" for one in locations_of(self.scope)):
            yield from self._nowhere()

    def _nowhere(self) -> Iterator[Step]:
        """What no location takes: files, and else nothing."""
        files = next((one for one in self.scope.block.block if one.name in ("root", "try_files")), None)
        if files is not None:
            self._files(files)
        yield Step("", {}, {"respond": {"status": 404, "body": "404 Not Found\n"}}, files or self.scope.block)

    def _files(self, one: Directive) -> None:
        self.draft.report.left_out(one.origin, "proxyd serves no files", "run a static server behind it, and send the route there")

    def _answered(self, answer: Answer, path: PathPattern, scope: Scope) -> Step:
        route = dict(answer.route)
        changes = fields_to_clients(scope, self.draft.report)
        changes.pop("remove", None)
        if changes:
            route["rewrite"] = {"headers": {"response": changes}}
        return Step(path if answer.path is None else answer.path, answer.tests, route, answer.origin)

    def _location(self, placed: Placed) -> Iterator[Step]:
        scope, location = placed.location.scope, placed.location
        if placed.adds_slash:
            yield Step(placed.path, {}, {"redirect": {"to": f"{location.pattern}{{query}}", "status": 301}}, scope.block)
            return
        if scope.one("internal") in scope.block.block:
            yield Step(placed.path, {}, {"respond": {"status": 404, "body": "404 Not Found\n"}}, scope.block)
            return
        phase = rewriting_of(scope, self.draft.report, tls=self.tls, outer=self._values)
        for answer in phase.answers:
            yield from self._within(answer, placed)
        if phase.final is not None:
            yield self._answered(phase.final, placed.path, scope)
            return
        yield from self._content(placed, location, phase)

    def _within(self, answer: Answer, placed: Placed) -> Iterator[Step]:
        """An answer under conditions, for the paths of its location alone."""
        path, own = placed.path, answer.path
        if own is not None and path != "":
            location = placed.location
            if isinstance(own, str) and location.is_prefix and own.startswith(location.pattern):
                path = own
            elif isinstance(own, dict) and location.is_prefix:
                try:
                    both = within(location.pattern, str(own["regex"]), ignore_case=False)
                except Overlap:
                    self.draft.report.left_out(answer.origin.origin, "it cannot be said together with its location", "write a route for it")
                    return
                if both is None:
                    return
                path = both
            elif own != path:
                return
            answer = Answer(answer.route, answer.origin, answer.tests)
        yield self._answered(answer, path, placed.location.scope)

    def _content(self, placed: Placed, location: Location, phase: Rewriting) -> Iterator[Step]:
        scope, report = location.scope, self.draft.report
        passed = scope.block.one("proxy_pass")
        tried = scope.block.one("try_files")
        if passed is None and tried is not None and tried.args[-1].startswith("@"):
            named = next((one for one in locations_of(self.scope) if f"@{one.pattern.removeprefix('@')}" == tried.args[-1]), None)
            if named is not None and named.scope.block.one("proxy_pass"):
                report.changed(tried.origin, f"proxyd serves no files: all goes to `{tried.args[-1]}`")
                scope, passed = named.scope, named.scope.block.one("proxy_pass")
                location = Location("@", "", scope)
        if passed is not None:
            yield from self._proxied(placed, location, passed, phase)
            return
        one = next((one for one in scope.block.block if one.name in (*HANDLERS, *STATIC)), None) or scope.one("root")
        if one is None:
            yield Step(placed.path, {}, {"respond": {"status": 404, "body": "404 Not Found\n"}}, scope.block)
            return
        if one.name in ("root", "try_files"):
            self._files(one if one in scope.block.block else scope.block)
        if self._is_error_page(location):
            yield Step(placed.path, {}, {"respond": {"status": 404, "body": "404 Not Found\n"}}, scope.block)
        else:
            yield Step(placed.path, {}, not_imported(scope.block), scope.block)

    def _is_error_page(self, location: Location) -> bool:
        pages = [one for one in self.scope.all("error_page") if one.args[-1] == location.pattern]
        return location.modifier == "=" and bool(pages)

    def _proxied(self, placed: Placed, location: Location, passed: Directive, phase: Rewriting) -> Iterator[Step]:
        """One step; several where a `map` chooses the upstream."""
        text = fill_in(passed.first, phase.values)
        for tests, weights in self.draft.maps.choices(text, passed):
            route = self._route(location, passed, weights, phase)
            if route is None:
                yield Step(placed.path, tests, not_imported(passed), passed)
            else:
                yield Step(placed.path, tests, route, passed if location.modifier == "@" else location.directive, body_size(location.scope))

    def _route(self, location: Location, one: Directive, weights: dict[str, int], phase: Rewriting) -> dict[str, Value] | None:
        report, scope = self.draft.report, location.scope
        to: dict[str, Value] = {}
        first = None
        for text, weight in weights.items():
            passed = parse_pass(text)
            if passed is None or passed.scheme != "http":
                reason = "TLS to servers is not there yet" if passed else "where to send cannot be told from its variables"
                report.left_out(one.origin, f"{reason}; the route answers 501", "name an upstream that is spoken to in plain HTTP")
                return None
            name = self.draft.upstreams.use(passed.place, one.origin)
            if name is None:
                return None
            to[name] = weight
            first = first or passed
        if first is None:
            return None
        route: dict[str, Value] = {"to": to if len(to) > 1 else next(iter(to))}
        if use := self._use(scope):
            route["use"] = use
        if rewrite := self._rewrite(location, first, one, phase):
            route["rewrite"] = rewrite
        if (cache := self.draft.caches.route_cache(scope)) is not None:
            route["cache"] = cache
        route["timeout"] = timeouts(scope, report)
        if (retry := retries(scope, report)) is not None:
            route["retry"] = retry
        if pages := self._error_pages(scope):
            route["error_pages"] = pages
        return route

    def _rewrite(self, location: Location, passed: Passed, one: Directive, phase: Rewriting) -> dict[str, Value]:
        report, scope = self.draft.report, location.scope
        made: dict[str, Value] = dict(phase.rewrite or path_rewrite(location, passed.uri, one, report))
        host, request = fields_to_servers(scope, passed, phase.values, report)
        if host is not None:
            made["host"] = host
        response = fields_to_clients(scope, report)
        headers: dict[str, Value] = {side: changes for side, changes in (("request", request), ("response", response)) if changes}
        redirected = scope.one("proxy_redirect")
        if redirected is not None and redirected.first not in ("off", "default"):
            report.left_out(redirected.origin, "Location of servers' answers is passed on as it is", "let servers send paths")
        return made | ({"headers": headers} if headers else {})

    def _use(self, scope: Scope) -> list[Value]:
        policies, report, zones = self.draft.policies, self.draft.report, self.draft.zones
        found: list[Value] = []
        rules = scope.all("allow", "deny")
        if rules and (access := access_policy(rules, report)):
            found.append(policies.name_of("access", access, rules[0].origin))
        for made, wanted, one in (
            (asked_policy(scope, self.scope, report), "asked", scope.one("auth_request")),
            (basic_policy(scope, self.draft.folder, report), "passwords", scope.one("auth_basic")),
        ):
            if made is not None and one is not None:
                found.append(policies.name_of(wanted if "auth" in made else "closed", made, one.origin))
        if (lock := other_lock(scope, report)) is not None:
            found.append(policies.name_of("closed" if "access" in lock else "methods", lock, scope.block.origin))
        for one in scope.all("limit_req"):
            if (limit := zones.rate_limit(scope, one)) is not None:
                found.append(policies.name_of(limit[0], limit[1], one.origin))
        for one in scope.all("limit_conn"):
            if (limit := zones.concurrency(scope, one)) is not None:
                found.append(policies.name_of(limit[0], limit[1], one.origin))
        on = scope.one("gzip")
        if on is not None and (packed := self._compress(scope, on)) is not None:
            found.append(policies.name_of("gzip", packed, on.origin))
        return [name for name in dict.fromkeys(found) if name]

    def _compress(self, scope: Scope, on: Directive) -> dict[str, Value] | None:
        if on.first != "on":
            return None
        cached = scope.first("proxy_cache", "off") != "off"
        if not cached:
            self.draft.report.left_out(on.origin, "only what the cache stores is compressed", "add `cache` to the route")
            return None
        made: dict[str, Value] = {"encodings": ["gzip"]}
        least = parse_size(scope.first("gzip_min_length", "20"))
        if least:
            made["min_size"] = size(least)
        types = scope.one("gzip_types")
        if types is not None and types.args:
            made["types"] = ["text/html", *types.args] if "*" not in types.args else ["text/*", "application/*", "image/svg+xml"]
        return {"compress": made}

    def _error_pages(self, scope: Scope) -> dict[str, Value]:
        """Pages that lie on this machine, in a location of their own: the usual `location = /50x.html { root …; }`."""
        made: dict[str, Value] = {}
        intercept: dict[str, Value] = {"intercept": True} if scope.first("proxy_intercept_errors") == "on" else {}
        for one in scope.all("error_page"):
            statuses = [word for word in one.args[:-1] if re.match(r"[45][0-9]{2}\Z", word)]
            file = self._page_file(one.args[-1]) if len(one.args) == len(statuses) + 1 else None
            if file is None:
                self.draft.report.left_out(one.origin, "only a file of this machine can be a page", "`error_pages: {5xx: {file: FILE}}`")
            elif statuses:
                made[",".join(statuses)] = {"file": str(file), **intercept}
        return made

    def _page_file(self, uri: str) -> Path | None:
        for one in locations_of(self.scope):
            root = one.scope.one("root")
            if one.pattern == uri and one.modifier in ("=", "") and root is not None:
                path = self.draft.folder / root.first / uri.lstrip("/")
                return path if path.is_file() and path.stat().st_size <= 2**20 else None
        return None
