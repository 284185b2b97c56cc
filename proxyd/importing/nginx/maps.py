"""`map` and `split_clients` where they choose the upstream of a `proxy_pass`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from proxyd.importing.nginx.rewriting import Tests, condition
from proxyd.importing.nginx.tree import Directive
from proxyd.importing.nginx.values import fill_in, variables
from proxyd.importing.report import Report

_BUILT_IN = ("$http_upgrade",)  # whose maps say what WebSockets need
_MOST = 200  # entries that become routes


@dataclass(slots=True)
class Maps:
    report: Report
    _maps: dict[str, Directive] = field(default_factory=dict)
    _splits: dict[str, Directive] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)

    def declare(self, block: Directive) -> None:
        for one in block.block:
            if one.name in ("map", "split_clients") and len(one.args) == 2:
                (self._maps if one.name == "map" else self._splits)[one.args[1].removeprefix("$")] = one

    def choices(self, text: str, passed: Directive) -> Iterator[tuple[Tests, dict[str, int]]]:
        """What the text comes to under which conditions; the first that hold decide. The last has none."""
        name = next((name for name in variables(text) if name in self._maps or name in self._splits), None)
        if name is None:
            yield {}, {text: 100}
        elif name in self._splits:
            yield {}, self._split(self._splits[name], text, name)
        else:
            yield from self._mapped(self._maps[name], text, name, passed)

    def tell_unused(self) -> None:
        for name, one in (*self._maps.items(), *self._splits.items()):
            if name not in self._used and one.first not in _BUILT_IN:
                self.report.left_out(one.origin, "only what chooses an upstream is translated", "see `proxyd explain routes.match`")

    def _split(self, one: Directive, text: str, name: str) -> dict[str, int]:
        self._used.add(name)
        self.report.changed(one.origin, "each request is drawn anew", "`sticky` of the route keeps clients with what they got")
        shares: dict[str, int] = {}
        rest = 10_000
        for entry in one.block:
            share = rest if entry.name == "*" else round(float(entry.name.removesuffix("%")) * 100)
            rest -= share
            if entry.args and share > 0:
                target = fill_in(text, {name: entry.first})
                shares[target] = shares.get(target, 0) + share
        return shares

    def _mapped(self, one: Directive, text: str, name: str, passed: Directive) -> Iterator[tuple[Tests, dict[str, int]]]:
        self._used.add(name)
        default = ""
        entries = [entry for entry in one.block if entry.args and entry.name not in ("hostnames", "volatile", "include")]
        exact = [entry for entry in entries if not entry.name.startswith("~")]
        for entry in [*exact, *(entry for entry in entries if entry.name.startswith("~"))][:_MOST]:
            if entry.name == "default":
                default = entry.first
                continue
            tests = self._tests(one, entry)
            if tests is None:
                self.report.left_out(entry.origin, "routes have no such condition", "see `proxyd explain routes.match`")
            else:
                yield tests, {fill_in(text, {name: entry.first}): 100}
        if default:
            yield {}, {fill_in(text, {name: default}): 100}
        else:
            self.report.left_out(passed.origin, f"`${name}` has no default: other requests get 501", "")
            yield {}, {text: 100}

    def _tests(self, one: Directive, entry: Directive) -> Tests | None:
        key = entry.name.removeprefix("\\")
        if key.startswith("~"):
            operator, value = ("~*", key[2:]) if key.startswith("~*") else ("~", key[1:])
        elif one.all("hostnames") and ("*" in key or key.startswith(".")):
            operator, value = "~", host_regex(key)
        else:
            operator, value = "=", key
        found = condition((one.first, operator, value), tls=False)
        return found[0].tests if found is not None and len(found) == 1 and found[0].path is None else None


def host_regex(name: str) -> str:
    """Of nginx's `*.example.com`, `.example.com` and `www.example.*`."""
    if name.startswith("*."):
        return rf"^.+\.{re.escape(name[2:])}$"
    if name.startswith("."):
        return rf"^(.+\.)?{re.escape(name[1:])}$"
    return rf"^{re.escape(name[:-2])}\..+$"
