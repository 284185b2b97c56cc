"""nginx's `upstream` blocks, and the addresses that `proxy_pass` names by themselves, as upstreams."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pydantic import ValidationError

from proxyd.config.address import Address
from proxyd.config.keys import check_key
from proxyd.config.upstreams import Upstream
from proxyd.importing.nginx.tree import Directive
from proxyd.importing.nginx.values import duration, words_of
from proxyd.importing.report import Origin, Report
from proxyd.importing.yaml_text import Noted, Value

HASHED = {
    "remote_addr": "client.ip", "binary_remote_addr": "client.ip", "host": "host", "http_host": "host", "uri": "path",
    "document_uri": "path", "request_uri": "uri",
}  # fmt: skip
NAMED = {"http_": "header", "cookie_": "cookie", "arg_": "query"}
_WITHOUT_COUNTERPART = {
    "queue": ("requests wait where the upstream says how many", "write `circuit: {max_requests: …, max_pending: …}`"),
    "sticky_route": ("routes are not read from requests", "`sticky` has a cookie, a field, or the source address"),
    "ntlm": ("connections to servers are shared by clients", ""),
    "state": ("servers at run time: `proxyd upstream add`", ""),
}


@dataclass(slots=True)
class Upstreams:
    """Those that routes use, by the names that they have in the result."""

    report: Report
    default_port: int | None = 80
    _blocks: dict[str, Directive] = field(default_factory=dict)
    taken: dict[str, Value] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def declare(self, http_or_stream: Directive, default_port: int | None = 80) -> None:
        """Each of the two has upstreams of its own."""
        self.default_port = default_port
        self._blocks = {one.first.lower(): one for one in http_or_stream.all("upstream")}
        self._names = {}

    def use(self, target: str, origin: Origin) -> str | None:
        """The name of the upstream for what `proxy_pass` says behind the scheme; None where it has no server."""
        known = self._names.get(target.lower())
        if known is not None:
            return known
        block = self._blocks.get(target.lower())
        if block is not None:
            made = self._build(block)
            made_from, label = block.origin, block.first
        else:
            address = self._address(target)
            made = {"servers": [address]} if address else {}
            made_from, label = origin, target.removeprefix("unix:").replace(":", "-")
        if not made.get("servers"):
            self.report.left_out(made_from, "no server is left of it", "name servers that can be reached")
            return None
        name = self._free(re.sub(r"[^A-Za-z0-9_.-]+", "-", label).strip("-") or "servers")
        self.taken[name] = Noted(made, f"{made_from} {made_from.text}")
        self._names[target.lower()] = name
        return name

    def add_options(self, target: str, options: dict[str, Value], origin: Origin) -> None:
        """What listeners say of an upstream; of two that differ the first holds."""
        name = self._names.get(target.lower())
        noted = self.taken.get(name) if name is not None else None
        if name is None or not isinstance(noted, Noted) or not isinstance(noted.value, dict):
            return
        if any(noted.value.get(key, value) != value for key, value in options.items()):
            self.report.left_out(origin, "another server has other options for the same upstream", "write two upstreams")
            return
        self.taken[name] = Noted({**noted.value, **options}, noted.note)

    def _free(self, wanted: str) -> str:
        name, number = wanted[:90], 1
        while name in self.taken:
            number += 1
            name = f"{wanted[:90]}-{number}"
        return name

    def _address(self, text: str) -> str:
        """Empty for what cannot be connected to."""
        has_port = text.startswith("unix:") or re.search(r":[0-9]+\Z", text) is not None
        try:
            return str(Address.parse(text if has_port else f"{text}:{self.default_port or ''}"))
        except ValueError:
            return ""

    def _build(self, block: Directive) -> dict[str, Value]:
        servers = [one for one in block.all("server") if one.args]
        made: dict[str, Value] = {"servers": self._servers(servers)}
        for one in block.block:
            match one.name:
                case "server" | "zone" | "keepalive_requests" | "keepalive_time":
                    pass
                case "least_conn" | "ip_hash":
                    made["balance"] = one.name
                case "least_time":
                    made["balance"] = "ewma"
                case "random":
                    made["balance"] = "p2c" if "two" in one.args else "random"
                case "hash":
                    self._hash(one, made)
                case "keepalive" | "keepalive_timeout":
                    self._pool(one, made)
                case "sticky" if one.first == "cookie" and len(one.args) > 1:
                    made["sticky"] = {"cookie": one.args[1]}
                    self.report.changed(one.origin, "the cookie is proxyd's own, signed, and does not hold the address")
                case _:
                    said = _WITHOUT_COUNTERPART.get(one.name, ("the importer does not know it", ""))
                    self.report.left_out(one.origin, *said)
        self._passive(servers, made)
        try:
            Upstream.model_validate(made)
        except ValidationError as error:
            self.report.left_out(block.origin, f"of its options only the servers are left: {error.errors()[0]['msg']}")
            return {"servers": made["servers"]}
        return made

    def _pool(self, one: Directive, made: dict[str, Value]) -> None:
        before = made.get("pool")
        pool: dict[str, Value] = {**before} if isinstance(before, dict) else {}
        if one.name == "keepalive" and one.first.isdigit():
            pool["max"] = int(one.first)
        elif one.name == "keepalive_timeout" and (idle := duration(one.first, "1ms", "1d")):
            pool["idle"] = idle
        made["pool"] = pool

    def _servers(self, servers: list[Directive]) -> list[Value]:
        made: dict[str, Value] = {}
        for one in servers:
            options = dict(word.partition("=")[::2] for word in one.args[1:])
            address = self._address(one.first)
            if "down" in options:
                self.report.changed(one.origin, "a server that is marked as down is not in the result", "`proxyd upstream drain` does it")
                continue
            if not address:
                self.report.left_out(one.origin, "it is not an address with a port", "write it as HOST:PORT")
                continue
            if address in made:
                self.report.left_out(one.origin, "the server is there twice", "give it a larger `weight` instead")
                continue
            entry: dict[str, Value] = {"address": address}
            if options.get("weight", "1") != "1" and options["weight"].isdigit():
                entry["weight"] = min(int(options["weight"]), 65_535)
            if options.get("max_conns", "0") not in ("0", "") and options["max_conns"].isdigit():
                entry["max_requests"] = min(int(options["max_conns"]), 1_000_000)
            if "backup" in options:
                entry["backup"] = True
            made[address] = entry if len(entry) > 1 else address
        if made and all(isinstance(entry, dict) and entry.get("backup") for entry in made.values()):
            return [{key: value for key, value in entry.items() if key != "backup"} for entry in made.values() if isinstance(entry, dict)]
        return list(made.values())

    def _hash(self, one: Directive, made: dict[str, Value]) -> None:
        words = words_of(one.first, HASHED, NAMED)
        try:
            keys = [check_key(word) for word in words or ()]
        except ValueError:
            keys = []
        if not keys:
            reason = "there is no key for that part of a request"
            self.report.left_out(one.origin, reason, "see `proxyd explain upstreams.app.balance.hash`")
            return
        if len(keys) > 1:
            self.report.changed(one.origin, f"the key has one part: `{keys[0]}`")
        elif one.args[1:] != ("consistent",):
            self.report.changed(one.origin, "keys are spread consistently (ketama): other servers than nginx's, and fewer of them move")
        made["balance"] = {"hash": keys[0]}

    def _passive(self, servers: list[Directive], made: dict[str, Value]) -> None:
        """`max_fails` and `fail_timeout`, which in proxyd are the upstream's: those of the first server that has them."""
        for one in servers:
            options = dict(word.partition("=")[::2] for word in one.args[1:])
            if not {"max_fails", "fail_timeout"} & options.keys():
                continue
            fails, pause = options.get("max_fails", "1"), duration(options.get("fail_timeout", "10s"), "100ms", "1d") or "10s"
            if fails == "0":
                made["health"] = {"passive": "none"}
            elif fails.isdigit():
                reason = "it counts failures in a row of all servers of the upstream alike, and answers of 5xx too"
                self.report.changed(one.origin, reason, "see `proxyd explain upstreams.app.health.passive`")
                longest = {} if (duration(pause, "100ms", "5m") == pause) else {"eject_max": pause}
                made["health"] = {"passive": {"consecutive_5xx": min(int(fails), 1_000_000), "eject": pause, **longest}}
            return
