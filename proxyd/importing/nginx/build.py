"""From a file of nginx's to a config of proxyd's, and what there is to tell about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from proxyd.importing.nginx.caching import Caches
from proxyd.importing.nginx.listens import parse_listen
from proxyd.importing.nginx.maps import Maps
from proxyd.importing.nginx.policies import Policies, Zones
from proxyd.importing.nginx.routes import Draft
from proxyd.importing.nginx.servers import build_listeners
from proxyd.importing.nginx.stream import build_flows
from proxyd.importing.nginx.tree import Directive, NotRead, Scope, read_tree
from proxyd.importing.nginx.upstreams import Upstreams
from proxyd.importing.nginx.words import survey
from proxyd.importing.report import Report
from proxyd.importing.yaml_text import Value, to_yaml

_HEAD = """\
# Made from {file} by `proxyd import nginx`. Each part says from which line it comes.
# Where nginx says nothing, proxyd's own defaults hold; those that differ most: an unanswered connect is given up after 3 s (nginx: 60 s),
# a server is left alone for a while after five failures in a row (nginx: one), and two further servers are tried (nginx: all).
"""


@dataclass(frozen=True, slots=True)
class Imported:
    text: str
    report: Report


def import_nginx(path: Path) -> Imported:
    """Raises NotRead where there is nothing that could be translated."""
    report = Report()
    main = read_tree(path, report)
    made: dict[str, Value] = {}
    _runtime(main, made)
    upstreams = Upstreams(report)
    policies = Policies(report)
    listeners: dict[str, Value] = {}
    ports = [found.port for stream in main.all("stream") for one in listens_of(stream) if (found := parse_listen(one)) and not found.udp]
    for http in main.all("http"):
        upstreams.declare(http)
        listeners |= build_listeners(Scope(main).inner(http), _draft(http, path, upstreams, policies), ports)
        _access_log(http, made)
    for stream in main.all("stream"):
        listeners |= build_flows(Scope(main).inner(stream), upstreams, report, listeners)
    if not listeners:
        raise NotRead(f"{path} has no server that could be translated")
    survey(main, report)
    made["listeners"] = listeners
    if policies.taken:
        made["policies"] = policies.taken
    if upstreams.taken:
        made["upstreams"] = upstreams.taken
    return Imported(_HEAD.format(file=path.name) + "\n" + to_yaml(made), report)


def listens_of(stream: Directive) -> list[Directive]:
    return [one for server in stream.all("server") for one in server.all("listen")]


def _draft(http: Directive, path: Path, upstreams: Upstreams, policies: Policies) -> Draft:
    report = policies.report
    zones, caches, maps = Zones(report), Caches(report), Maps(report)
    for one in (zones, caches, maps):
        one.declare(http)
    return Draft(path.resolve().parent, report, upstreams, policies, zones, caches, maps)


def _runtime(main: Directive, made: dict[str, Value]) -> None:
    workers = main.one("worker_processes")
    if workers is not None and re.match(r"[1-9][0-9]?\Z", workers.first):
        made["runtime"] = {"threads": min(int(workers.first), 64)}


def _access_log(http: Directive, made: dict[str, Value]) -> None:
    """nginx's own format, to stdout: where it goes is for the new machine to say."""
    log = http.one("access_log")
    if log is not None and log.first == "off":
        made["log"] = {"access": "none"}
    elif log is not None and (len(log.args) == 1 or log.args[1] in ("combined", "main")):
        made["log"] = {"access": {"format": "combined"}}
