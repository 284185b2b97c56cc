"""nginx's `stream`: servers that pass connections and datagrams on, as listeners of the modes tcp, udp and tls_passthrough."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from pydantic import ValidationError

from proxyd.config.base import Model
from proxyd.config.flows import TcpListener, TlsListener, UdpListener
from proxyd.importing.nginx.listens import Listen, parse_listen
from proxyd.importing.nginx.tree import Directive, Scope
from proxyd.importing.nginx.upstreams import Upstreams
from proxyd.importing.nginx.values import duration, variables
from proxyd.importing.report import Report
from proxyd.importing.yaml_text import Noted, Value

_SERVER_NAME = "$ssl_preread_server_name"


@dataclass(slots=True)
class Flows:
    upstreams: Upstreams
    report: Report
    maps: dict[str, Directive]
    taken: Container[str]
    made: dict[str, Value] = field(default_factory=dict)
    addresses: set[tuple[str, bool]] = field(default_factory=set)


def build_flows(stream: Scope, upstreams: Upstreams, report: Report, taken: Container[str]) -> dict[str, Value]:
    """The listeners by name."""
    upstreams.declare(stream.block, None)
    maps = {one.args[1]: one for one in stream.block.all("map") if len(one.args) == 2}
    flows = Flows(upstreams, report, maps, taken)
    for server in stream.block.all("server"):
        for one in server.all("listen"):
            _listener(stream.inner(server), one, flows)
    return flows.made


def _listener(scope: Scope, one: Directive, flows: Flows) -> None:
    listen, passed, report = parse_listen(one), scope.block.one("proxy_pass"), flows.report
    if passed is None:
        answers = scope.block.one("return") or one
        report.left_out(answers.origin, "a listener passes flows on, and does nothing else", "let a server do it")
        return
    if listen is None or (not one.first.startswith("unix:") and listen.address.endswith(":80") and ":80" not in f":{one.first}"):
        report.left_out(one.origin, "proxyd cannot listen there", "an address of this machine and one port for each listener")
        return
    if listen.tls:
        report.left_out(one.origin, "TLS is not there yet", "pass it through, by `mode: tls_passthrough`")
        return
    if (listen.address, listen.udp) in flows.addresses:
        report.left_out(one.origin, "another server listens there", "")
        return
    made = _made(scope, listen, passed, flows)
    if made is None:
        return
    kinds: dict[str, type[Model]] = {"udp": UdpListener, "tls_passthrough": TlsListener, "tcp": TcpListener}
    try:
        kinds[str(made["mode"])].model_validate(made)
    except ValidationError as error:
        report.left_out(one.origin, error.errors()[0]["msg"])
        return
    flows.addresses.add((listen.address, listen.udp))
    name, number = f"{'udp' if listen.udp else 'tcp'}-{listen.port or 'unix'}", 1
    while name in flows.made or name in flows.taken:
        number += 1
        name = f"{name.rstrip('0123456789').rstrip('-')}-{listen.port}-{number}"
    flows.made[name] = Noted(made, f"{one.origin} {one.origin.text}")


def _made(scope: Scope, listen: Listen, passed: Directive, flows: Flows) -> dict[str, Value] | None:
    report = flows.report
    made: dict[str, Value] = {"bind": [listen.address]}
    mapped = flows.maps.get(passed.first)
    if mapped is not None and mapped.first == _SERVER_NAME and not listen.udp:
        routes = _by_name(mapped, flows)
        if not routes:
            report.left_out(passed.origin, "no name leads to a server", "")
            return None
        made |= {"mode": "tls_passthrough", "routes": routes}
    elif variables(passed.first):
        reason = "where to send cannot be told from its variables"
        report.left_out(passed.origin, reason, "`mode: tls_passthrough` chooses by server name; else a listener for each port")
        return None
    else:
        to = flows.upstreams.use(passed.first, passed.origin)
        if to is None:
            return None
        made |= {"mode": "udp" if listen.udp else "tcp", "to": to}
    made |= _options(scope, listen, report)
    _server_side(scope, flows)
    return made


def _by_name(mapped: Directive, flows: Flows) -> list[Value]:
    """A hello without a name is nginx's empty text, which `default` takes, too."""
    found: list[Value] = []
    default: list[Value] = []
    wild: list[tuple[int, Value]] = []
    for one in mapped.block:
        if not one.args or one.name in ("hostnames", "volatile"):
            continue
        to = flows.upstreams.use(one.first, one.origin) if one.first else None
        if to is None:
            continue
        if one.name == "default":
            default = [{"to": to}]
        elif one.name == "":
            found.append({"match": {"sni": "none"}, "to": to})
        elif one.name.startswith("~") or one.name.endswith(".*"):
            flows.report.left_out(one.origin, "server names are compared as text", "write the names, or `*.example.com`")
        elif one.name.startswith("*."):
            wild.append((len(one.name), {"match": one.name.lower(), "to": to}))
        elif one.name.startswith("."):
            found.append({"match": one.name[1:].lower(), "to": to})
            wild.append((len(one.name), {"match": f"*{one.name.lower()}", "to": to}))
        else:
            found.append({"match": one.name.lower(), "to": to})
    wild.sort(key=lambda entry: -entry[0])
    return [*found, *(route for _, route in wild), *default]


def _options(scope: Scope, listen: Listen, report: Report) -> dict[str, Value]:
    made: dict[str, Value] = {}
    for side in ("allow", "deny"):
        networks = [one.first for one in scope.all(side) if one.first != "all"]
        if networks:
            made[side] = networks
    rules = scope.all("allow", "deny")
    if rules and rules[0].name == "deny" and rules[0].first == "all":
        made["deny"] = ["0.0.0.0/0", "::/0"]
    if listen.proxy_protocol:
        trust = [one.first for one in scope.all("set_real_ip_from")]
        if not trust:
            trust = ["0.0.0.0/0", "::/0"]
            where = scope.block.all("listen")[0]
            report.changed(where.origin, "the header is believed from everybody, as nginx does", "name the balancer in `client_ip.trust`")
        made["client_ip"] = {"proxy_protocol": True, "trust": trust}
    flow: dict[str, Value] = {"idle_timeout": duration(scope.first("proxy_timeout", "10m"), "100ms", "1d") or "10m"}
    responses = scope.first("proxy_responses")
    if listen.udp and responses.isdigit() and responses != "0":
        flow["responses"] = min(int(responses), 1_000_000)
    made["flow"] = flow
    for one in scope.all("limit_conn"):
        if len(one.args) == 2 and one.args[1].isdigit():
            made["limits"] = {"per_client": max(1, min(int(one.args[1]), 1_000_000))}
    return made


def _server_side(scope: Scope, flows: Flows) -> None:
    """What nginx says of the server's connections, and proxyd of the upstream."""
    options: dict[str, Value] = {}
    if scope.first("proxy_protocol") == "on":
        options["proxy_protocol"] = "v1"
    connect = scope.one("proxy_connect_timeout")
    if connect is not None and (time := duration(connect.first, "1ms", "10m")):
        options["timeout"] = {"connect": time}
    if scope.first("proxy_next_upstream") == "off":
        options["retry"] = "none"
    passed = scope.block.one("proxy_pass")
    if options and passed is not None:
        mapped = flows.maps.get(passed.first)
        targets = [one.first for one in mapped.block if one.args] if mapped is not None else [passed.first]
        for target in targets:
            flows.upstreams.add_options(target, options, passed.origin)

