"""What a location asks of its clients, as policies: allow and deny, passwords, a service that is asked, limits, the size of bodies."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from proxyd.config.builtin import BUILT_IN
from proxyd.config.match import METHODS
from proxyd.config.password_hashes import check_hash
from proxyd.config.policies import Policy
from proxyd.importing.nginx.tree import Directive, Scope
from proxyd.importing.nginx.upstreams import NAMED
from proxyd.importing.nginx.values import parse_size, size, words_of
from proxyd.importing.report import Origin, Report
from proxyd.importing.yaml_text import Noted, Value

LIMITED = {
    "remote_addr": "client.ip", "binary_remote_addr": "client.ip", "host": "host", "http_host": "host", "server_name": "host",
    "uri": "path", "document_uri": "path", "request_method": "method", "remote_user": "user",
}  # fmt: skip
LOCKS = (
    "auth_jwt", "auth_oidc", "secure_link", "access_by_lua", "access_by_lua_block", "access_by_lua_file", "js_access", "auth_ldap",
    "auth_pam", "auth_digest",
)  # fmt: skip
CLOSED: dict[str, Value] = {"access": {"deny": "all"}}
_SHUT = "routes that need it refuse everybody until it is replaced"
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(slots=True)
class Policies:
    """Those that routes use, one for each content."""

    report: Report
    taken: dict[str, Value] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def name_of(self, wanted: str, policy: dict[str, Value], origin: Origin) -> str:
        """Empty for one that proxyd would refuse; a policy that lets somebody in then is one that lets nobody in."""
        reason = _refused(policy)
        if reason:
            self.report.left_out(origin, reason)
            if not {"access", "auth"} & policy.keys():
                return ""
            wanted, policy = "closed", CLOSED
        content = json.dumps(policy, sort_keys=True)
        if content not in self._names:
            plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", wanted)[:90] or "policy"
            name, number = plain, 1
            while name in self.taken or name in BUILT_IN:
                number += 1
                name = f"{plain}-{number}"
            self.taken[name] = Noted(policy, f"{origin} {origin.text}")
            self._names[content] = name
        return self._names[content]


def _refused(policy: dict[str, Value]) -> str:
    """Why the config's model does not take it; files of passwords have been looked at before."""
    auth = policy.get("auth")
    if isinstance(auth, dict) and "basic" in auth:
        return ""
    try:
        Policy.model_validate(policy)
    except ValidationError as error:
        return error.errors()[0]["msg"]
    return ""


def access_policy(rules: Iterable[Directive], report: Report) -> dict[str, Value] | None:
    """nginx takes the first rule that fits, a policy the longest network: the same, without the rules that an earlier one hides."""
    before: list[_Network] = []
    sides: dict[str, list[Value]] = {"allow": [], "deny": []}
    for one in rules:
        if one.first == "all":
            sides[one.name].append("all")
            break
        try:
            network = ipaddress.ip_network(one.first, strict=False)
        except ValueError:
            report.left_out(one.origin, f"`{one.first}` is not a network", "allow or deny on the listener: `unix` stands there")
            continue
        if not any(_holds(other, network) for other in before):
            sides[one.name].append(str(network))
        before.append(network)
    else:
        if sides["allow"] and sides["deny"]:
            sides["allow"].append("all")
    if not sides["deny"]:
        return None
    said: dict[str, Value] = {side: clients if len(clients) > 1 else clients[0] for side, clients in sides.items() if clients}
    return {"access": said}


def _holds(outer: _Network, inner: _Network) -> bool:
    return outer.version == inner.version and outer.prefixlen <= inner.prefixlen and inner.network_address in outer


def basic_policy(scope: Scope, folder: Path, report: Report) -> dict[str, Value] | None:
    """Of `auth_basic`; a policy that refuses everybody where the passwords cannot be taken over."""
    realm = scope.one("auth_basic")
    if realm is None or realm.first == "off":
        return None
    file = scope.one("auth_basic_user_file")
    if file is None or "$" in file.first:
        report.left_out(realm.origin, f"it has no file of passwords; {_SHUT}", "`auth: {basic: FILE}`")
        return CLOSED
    path = folder / file.first
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        report.left_out(file.origin, f"{path} cannot be read; {_SHUT}", "`auth: {basic: FILE}`")
        return CLOSED
    for line in lines:
        name, colon, hashed = line.strip().partition(":")
        if line.strip() and not line.strip().startswith("#") and not (name and colon and _good_hash(hashed)):
            reason = f"`{name}` has a hash that is not bcrypt or argon2id; {_SHUT}"
            report.left_out(file.origin, reason, "make passwords anew with `htpasswd -B`, then `auth: {basic: FILE}`")
            return CLOSED
    return {"auth": {"basic": {"file": str(path), "realm": realm.first}}}


def _good_hash(text: str) -> bool:
    try:
        check_hash(text.partition(":")[0])
    except ValueError:
        return False
    return True


def asked_policy(scope: Scope, server: Scope, report: Report) -> dict[str, Value] | None:
    """Of `auth_request`, where its location passes to one address."""
    asked = scope.one("auth_request")
    if asked is None or asked.first == "off":
        return None
    for one in server.block.all("location"):
        passed = one.one("proxy_pass")
        if one.args[-1:] == (asked.first,) and passed is not None and re.match(r"http://[^$]+\Z", passed.first):
            url = passed.first if re.search(r"//[^/]+/", passed.first) else passed.first + asked.first
            if one.all("proxy_set_header"):
                report.changed(asked.origin, "the service gets Authorization, Cookie and X-Forwarded-*", "`request_fields` names others")
            return {"auth": {"forward": {"url": url}}}
    report.left_out(asked.origin, f"its location does not pass to one address; {_SHUT}", "`auth: {forward: URL}`")
    return CLOSED


def other_lock(scope: Scope, report: Report) -> dict[str, Value] | None:
    """Of what else keeps requests out: `limit_except` as the methods that are served; anything else as nobody."""
    for one in scope.block.all("limit_except"):
        if [(rule.name, rule.first) for rule in one.block] == [("deny", "all")] and set(one.args) <= set(METHODS):
            report.changed(one.origin, "other methods get 405, not 403")
            return {"request": {"methods": [*one.args]}}
        report.left_out(one.origin, f"it does more than to deny all other methods; {_SHUT}", "write a route for each set of methods")
        return CLOSED
    for name in LOCKS:
        lock = scope.one(name)
        if lock is not None and lock.first != "off":
            report.left_out(lock.origin, f"who it lets in cannot be told; {_SHUT}", "`auth: {jwt: …}`, or a filter in Python")
            return CLOSED
    return None


@dataclass(slots=True)
class Zones:
    """`limit_req_zone` and `limit_conn_zone`: name → key and rate."""

    report: Report
    rates: dict[str, Directive] = field(default_factory=dict)
    counts: dict[str, Directive] = field(default_factory=dict)

    def declare(self, http: Directive) -> None:
        for one in http.block:
            name = next((word.removeprefix("zone=").partition(":")[0] for word in one.args if word.startswith("zone=")), "")
            if one.name == "limit_req_zone":
                self.rates[name] = one
            elif one.name == "limit_conn_zone":
                self.counts[name] = one

    def rate_limit(self, scope: Scope, used: Directive) -> tuple[str, dict[str, Value]] | None:
        options = dict(word.partition("=")[::2] for word in used.args)
        zone = self.rates.get(options.get("zone", ""))
        rate = re.search(r"rate=([0-9]+)r/([sm])", " ".join(zone.args)) if zone else None
        key = self._key(zone)
        if zone is None or rate is None or key is None or rate[1] == "0":
            self.report.left_out(used.origin, "its zone, or the key of the zone, has no counterpart", "see `proxyd explain PXD-034`")
            return None
        made: dict[str, Value] = {"rate": f"{rate[1]}/{rate[2]}", "burst": int(options.get("burst", "0") or 0)}
        made |= key
        delay = int(options.get("delay", "0") or 0)
        if made["burst"] and "nodelay" not in options:
            made |= {"mode": "delay"} | ({"delay": min(delay, int(options["burst"]))} if delay else {})
        return options["zone"], {"rate_limit": made | self._refusal(scope, "limit_req")}

    def concurrency(self, scope: Scope, used: Directive) -> tuple[str, dict[str, Value]] | None:
        zone = self.counts.get(used.first)
        key = self._key(zone)
        if key is None or len(used.args) < 2 or not used.args[1].isdigit() or used.args[1] == "0":
            self.report.left_out(used.origin, "its zone, or the key of the zone, has no counterpart", "see `proxyd explain PXD-034`")
            return None
        return used.first, {"concurrency": {"max": min(int(used.args[1]), 1_000_000), **key, **self._refusal(scope, "limit_conn")}}

    def _key(self, zone: Directive | None) -> dict[str, Value] | None:
        words = words_of(zone.first, LIMITED, NAMED) if zone else None
        if not words or len(words) > 4:
            return None
        made: dict[str, Value] = {"key": words if len(words) > 1 else words[0]}
        return made | ({"ipv6": 128} if "client.ip" in words else {})

    def _refusal(self, scope: Scope, of: str) -> dict[str, Value]:
        status = scope.first(f"{of}_status", "503")
        made: dict[str, Value] = {"on_limit": int(status)} if re.match(r"[45][0-9]{2}\Z", status) and status != "429" else {}
        return made | ({"dry_run": True} if scope.first(f"{of}_dry_run") == "on" else {})


def body_size(scope: Scope) -> int:
    """Bytes of the largest body; 0: any. nginx's default is 1 MiB."""
    found = parse_size(scope.first("client_max_body_size", "1m"))
    return 2**20 if found is None else found


def body_policy(bound: int) -> dict[str, Value]:
    return {"request": {"body_size": size(bound) if bound else "none"}}
