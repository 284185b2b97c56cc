"""`proxy_cache` and what belongs to it, as the `cache` of a route."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from proxyd.importing.nginx.tree import Directive, Scope
from proxyd.importing.nginx.upstreams import NAMED
from proxyd.importing.nginx.values import duration, header_name, lifetime, variables, words_of
from proxyd.importing.report import Report
from proxyd.importing.yaml_text import Value

KEYED = {
    "scheme": "scheme", "host": "host", "http_host": "host", "server_name": "host", "proxy_host": "", "uri": "path",
    "document_uri": "path", "request_uri": "path,query", "args": "query", "query_string": "query", "is_args": "", "request_method": "",
}  # fmt: skip
_INACTIVE = "10m"  # nginx's default


@dataclass(slots=True)
class Caches:
    """`proxy_cache_path` by zone."""

    report: Report
    paths: dict[str, Directive] = field(default_factory=dict)

    def declare(self, http: Directive) -> None:
        for one in http.all("proxy_cache_path"):
            for word in one.args:
                if word.startswith("keys_zone="):
                    self.paths[word.removeprefix("keys_zone=").partition(":")[0]] = one

    def route_cache(self, scope: Scope) -> Value | None:
        zone = scope.one("proxy_cache")
        if zone is None or zone.first == "off" or "$" in zone.first:
            return None
        path = self.paths.get(zone.first)
        if path is not None:
            reason = "answers are kept in memory, not on disk, 256 MiB of them"
            self.report.changed(path.origin, reason, "`cache: {memory: SIZE}`; what is there outlives a restart with `snapshot: FILE`")
        made: dict[str, Value] = {"client_directives": False}  # nginx does not obey them
        self._lifetimes(scope, made)
        self._stale(scope, path, made)
        self._key(scope, made)
        self._bypass(scope, made)
        if scope.first("proxy_cache_lock") != "on":
            made["collapse"] = "none"
        elif timeout := duration(scope.first("proxy_cache_lock_timeout", "5s"), "1ms", "10m"):
            made["collapse"] = timeout
        methods = scope.one("proxy_cache_methods")
        if methods is not None and "POST" in methods.args:
            self.report.left_out(methods.origin, "answers to POST are not stored", "")
        return made

    def _lifetimes(self, scope: Scope, made: dict[str, Value]) -> None:
        ignored = scope.one("proxy_ignore_headers")
        told = "override" if ignored is not None and {"Cache-Control", "Expires"} & set(ignored.args) else "default"
        if ignored is not None and "Set-Cookie" in ignored.args:
            made["set_cookie"] = "strip"
            self.report.changed(ignored.origin, "answers with cookies are stored and served without these")
        for one in scope.all("proxy_cache_valid"):
            time = lifetime(one.args[-1]) if one.args else None
            statuses = one.args[:-1] or ("200", "301", "302")
            if time is None:
                if one.args and one.args[-1].strip("0smh") != "":
                    self.report.left_out(one.origin, "it is no time of a second or more")
                continue
            failures = [status for status in statuses if re.match(r"[45][0-9]{2}\Z", status)]
            if len(failures) < len(statuses):
                made["ttl"] = {told: time}
            if failures or "any" in statuses:
                made["negative"] = {"ttl": time, "statuses": ",".join(failures) or "4xx,5xx"}
            if "any" not in statuses and not {"200"} & set(statuses) and not failures:
                self.report.changed(one.origin, "one lifetime holds for all answers that are no failures")

    def _stale(self, scope: Scope, path: Directive | None, made: dict[str, Value]) -> None:
        stale = scope.one("proxy_cache_use_stale")
        if stale is None or stale.args == ("off",):
            made["grace"] = {"stale_while_revalidate": "none", "stale_if_error": "none"}
            return
        words = path.args if path is not None else ()
        inactive = next((word.removeprefix("inactive=") for word in words if word.startswith("inactive=")), _INACTIVE)
        time = lifetime(inactive) or _INACTIVE
        fails = [word for word in stale.args if word != "updating"]
        behind = time if "updating" in stale.args else "none"
        made["grace"] = {"stale_while_revalidate": behind, "stale_if_error": time if fails else "none"}
        self.report.changed(stale.origin, f"stale answers are used for {time} (`inactive` of the zone), and for all failures alike")

    def _key(self, scope: Scope, made: dict[str, Value]) -> None:
        key = scope.one("proxy_cache_key")
        if key is None:
            return
        words = words_of("".join(key.args), KEYED, NAMED)
        if words is None or not {"path"} & set(words):
            self.report.left_out(key.origin, "there is no key for all of its parts; the default is used", "see `proxyd explain PXD-034`")
        elif words != ["scheme", "host", "path", "query"]:
            whole = "query" in words
            made["key"] = [word for word in words if not (whole and word.startswith("query:"))][:16]

    def _bypass(self, scope: Scope, made: dict[str, Value]) -> None:
        rules = [*scope.all("proxy_cache_bypass"), *scope.all("proxy_no_cache")]
        found: list[Value] = []
        for one in rules:
            for word in one.args:
                part = self._part(word)
                if part is None:
                    reason = f"`{word}` is no field, cookie or parameter of the request"
                    self.report.left_out(one.origin, reason, "see `proxyd explain routes.cache.bypass`")
                elif part not in found:
                    found.append(part)
        if {one.name for one in rules} == {"proxy_cache_bypass"}:
            self.report.changed(rules[0].origin, "what goes past the cache is not stored either")
        if found:
            made["bypass"] = found

    @staticmethod
    def _part(text: str) -> str | None:
        names = variables(text)
        if len(names) != 1 or text not in (f"${names[0]}", f"${{{names[0]}}}"):
            return None
        for prefix, kind in NAMED.items():
            if names[0].startswith(prefix):
                rest = names[0].removeprefix(prefix)
                return f"{kind}:{header_name(rest) if kind == 'header' else rest}"
        return None
