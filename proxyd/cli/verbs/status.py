"""`proxyd status`: one screen (`cli/glance.py`), and with -v every listener, server and engine.

The rates of the long form come from two looks at the daemon's counters, half a second apart: it tells each server by itself.
"""
from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import click

from proxyd.admin.client import Client
from proxyd.cli.glance import glance, serving_text
from proxyd.cli.output import ago, count, duration, paint, plural, print_json, size, table
from proxyd.cli.overrides import override_line
from proxyd.cli.overview import headline
from proxyd.cli.settings import Settings, common, pass_settings
from proxyd.cli.trial import trial_line

INTERVAL_S = 0.5
STATE_STYLES = {"up": "good", "down": "error", "ejected": "error", "unresolved": "error"}


@dataclass(frozen=True, slots=True)
class Look:
    """The daemon at one moment."""

    at: float
    status: dict[str, Any]
    routes: list[dict[str, Any]]


@click.command("status", short_help="what is wrong now, and how busy listeners, routes and upstreams are")
@common
@pass_settings
def command(settings: Settings) -> None:
    """What is wrong now, and how busy listeners, routes and upstreams are, on one screen; -v: all of it, with every server and engine."""
    client = settings.client()
    if settings.json:
        print_json(client.get("/status"))
        return
    if settings.quiet:
        print(headline(client.get("/status")))
        return
    if not settings.verbose:
        print("\n".join(glance(client.get("/status"), client.get("/stats"), client.get("/limits"))))
        return
    before = look(client)
    time.sleep(INTERVAL_S)
    now = look(client)
    print("\n".join([*screen(before, now), *error_lines(now.status), *check_lines(now.status), *audit_lines(now.status)]))


def look(client: Client) -> Look:
    return Look(time.monotonic(), client.get("/status"), client.get("/routes"))


def screen(before: Look, now: Look) -> list[str]:
    """The lines of the screen. `before` is an earlier look, for the rates."""
    status, seconds = now.status, max(now.at - before.at, 1e-3)
    lines = [headline(status)]
    if status["last_reload"] is not None:
        reload = status["last_reload"]
        word = paint("refused", "error") if not reload["ok"] else "taken"
        serving = f"{serving_text(status)}, generation {status['generation']}"
        lines.append(f"{serving}; last reload {word} {ago(reload['at'])}: {reload['summary']}")
    if status["serving"]["trial"] is not None:
        lines.append(paint(trial_line(status["serving"]["trial"]), "warning"))
    lines += [paint(f"warning: {text}", "warning") for text in status["warnings"]]
    for shown in (listener_lines(before, now, seconds), flow_lines(before.status, status, seconds)):
        lines += ["", *shown] if shown else []
    lines += ["", *upstream_lines(before.status, status, seconds)]
    lines += ["", *engine_lines(before.status, status, seconds)]
    return lines


def audit_lines(status: dict[str, Any]) -> list[str]:
    """Where the audit trail ends (-v): what `proxyd audit verify --head` can be held against later."""
    audit = status["audit"]
    if audit is None:
        return []
    return ["", f"audit: {plural(audit['records'], 'record')} in {audit['file'] or 'memory'}, the last is {audit['head']}"]


def head(*names: str) -> list[str]:
    return [paint(name, "dim") for name in names]


def listener_lines(before: Look, now: Look, seconds: float) -> list[str]:
    rows = [head("LISTENER", "ADDRESS", "REQ/S", "OPEN", "IN FLIGHT", "ACCEPTED", "REJECTED")]
    shown: set[str] = set()
    listeners = [listener for listener in now.status["listeners"] if listener["flow"] is None]
    if not listeners and now.status["listeners"]:
        return []
    for listener in listeners:
        name = listener["name"]
        rate = ""                                    # requests are counted by listener name, which may have several addresses
        if name not in shown:
            rate = f"{max(requests_of(now, name) - requests_of(before, name), 0) / seconds:.0f}"
            shown.add(name)
        rejected = reasons(listener["rejected"])
        figures = [count(listener[key]) for key in ("open", "in_flight", "accepted")]
        rows.append([name, listener["address"], rate, *figures, rejected])
    return table(rows, indent="")


def reasons(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count(times)}" for reason, times in counts.items() if times) or "-"


def flow_lines(before: dict[str, Any], status: dict[str, Any], seconds: float) -> list[str]:
    """Listeners that pass on connections and datagrams."""
    def figures(listener: dict[str, Any]) -> tuple[int, int, int]:
        return listener["accepted"], listener["flow"]["bytes_in"], listener["flow"]["bytes_out"]

    earlier = {(item["name"], item["address"]): figures(item) for item in before["listeners"] if item["flow"] is not None}
    rows = [head("LISTENER", "ADDRESS", "MODE", "FLOWS/S", "OPEN", "FLOWS", "IN/S", "OUT/S", "IN", "OUT", "ENDED", "REJECTED")]
    for listener in status["listeners"]:
        if listener["flow"] is None:
            continue
        now = figures(listener)
        then = earlier.get((listener["name"], listener["address"]), now)
        flows, received, sent = (max(here - there, 0) / seconds for here, there in zip(now, then, strict=True))
        rows.append([
            listener["name"], listener["address"], listener["mode"], f"{flows:.0f}", count(listener["flow"]["open"]), count(now[0]),
            size(received), size(sent), size(now[1]), size(now[2]), reasons(listener["flow"]["ended"]), reasons(listener["rejected"]),
        ])
    return table(rows, indent="") if len(rows) > 1 else []


def requests_of(seen: Look, listener: str) -> int:
    return sum(route["requests"] for route in seen.routes if route["listener"] == listener)


def upstream_lines(before: dict[str, Any], status: dict[str, Any], seconds: float) -> list[str]:
    if not status["upstreams"]:
        return ["no upstreams"]
    earlier = {(up["name"], server["label"]): taken(server) for up in before["upstreams"] for server in up["servers"]}
    flows = any(server["flows"] for upstream in status["upstreams"] for server in upstream["servers"])
    does = ("REQ+FLOWS/S", "REQ+FLOWS") if flows else ("REQ/S", "REQUESTS")
    rows = [head("UPSTREAM/SERVER", "STATE", "WEIGHT", does[0], "IN FLIGHT", "CONNS", does[1], "ERRORS", "SINCE", "WHY")]
    for upstream in status["upstreams"]:
        servers = upstream["servers"]
        usable = f"{upstream['usable']}/{len(servers)} up"
        state = paint(usable, "good" if upstream["usable"] == len(servers) else "warning" if upstream["usable"] else "error")
        rows.append([upstream["name"], state, upstream["balance"], "", "", "", "", "", "", governed(upstream)])
        for server in servers:
            done = taken(server) - earlier.get((upstream["name"], server["label"]), taken(server))
            name = server["label"] if server["source"] in {"", server["label"]} else f"{server['label']} ({server['source']})"
            rows.append([
                "  " + name,
                paint(server["state"], STATE_STYLES.get(server["state"], "warning")),
                f"{server['weight']}{' backup' if server['backup'] else ''}",
                f"{max(done, 0) / seconds:.0f}",
                count(server["in_flight"]),
                f"{server['connections_active']}+{server['connections_idle']}",
                figures_of(server),
                count(sum(server["errors"].values())),
                duration(max(status["started_at"] + status["uptime_seconds"] - server["since"], 0)),
                why(server),
            ])
        rows += [
            ["  " + server["label"], paint("leaving", "warning"), "", "", count(server["in_flight"]), str(server["connections_active"])]
            for server in upstream["leaving"]
        ]
    return [*table(rows, indent=""), *(override_line(entry) for upstream in status["upstreams"] for entry in upstream["overrides"])]


def taken(server: dict[str, Any]) -> int:
    return int(server["requests"] + server["flows"])


def figures_of(server: dict[str, Any]) -> str:
    """`12.3k`; `0+8` of a server that has flows."""
    return f"{count(server['requests'])}+{count(server['flows'])}" if server["flows"] else count(server["requests"])


def error_lines(status: dict[str, Any]) -> list[str]:
    """Every server's failures since the start, by proxyd's word for them (-v)."""
    servers = [(upstream["name"], server) for upstream in status["upstreams"] for server in upstream["servers"]]
    rows = [[f"{name}/{server['label']}", word, count(times)] for name, server in servers for word, times in server["errors"].items()]
    return ["", *table([head("SERVER", "ERROR", "TIMES"), *rows], indent="")] if rows else []


def governed(upstream: dict[str, Any]) -> str:
    """The upstream's warning, and what was found for it from its traffic."""
    governor = upstream["governor"]
    parts = [upstream["warning"]] if upstream["warning"] else []
    if governor["limit"]:
        parts.append(f"{count(governor['limit'])} requests at a time")
    if governor["hedge_ms"]:
        parts.append(f"hedges after {governor['hedge_ms']} ms")
    return ", ".join(parts)


def why(server: dict[str, Any]) -> str:
    """Why the server is not up, what real requests told, and how its last check went."""
    parts = [server["reason"]] if server["reason"] else []
    if server["consecutive_failures"] and server["state"] != "ejected":
        parts.append(f"{plural(server['consecutive_failures'], 'failure')} in a row")
    if server["ejections"] and server["state"] != "ejected":
        parts.append(f"was ejected {plural(server['ejections'], 'time')}")
    checks = [check for check in server["checks"] if check["at"]]
    if checks:
        check = next((check for check in checks if check["result"] == "failed"), checks[0])
        title = "check" if len(server["checks"]) == 1 else f"{len(server['checks'])} checks, {check['title']}"
        parts.append(f"{title}{'' if check['result'] in server['reason'] else ' ' + check['result']} {ago(check['at'])}")
    return ", ".join(parts)


def check_lines(status: dict[str, Any]) -> list[str]:
    """Every server's active checks (-v)."""
    rows = [head("SERVER", "CHECK", "VERDICT", "LAST", "TOOK", "WHEN", "PASSED", "FAILED", "WHY")]
    for upstream in status["upstreams"]:
        for server in upstream["servers"]:
            for check in server["checks"]:
                took, when = (f"{check['duration_seconds'] * 1000:.0f} ms", ago(check["at"])) if check["at"] else ("-", "never")
                rows.append([
                    f"{upstream['name']}/{server['label']}", check["title"],
                    paint(check["verdict"], {"up": "good", "down": "error"}.get(check["verdict"], "warning")), check["result"], took, when,
                    count(check["passed"]), count(check["failed"]), check["reason"],
                ])
    return ["", *table(rows, indent="")] if len(rows) > 1 else []


def engine_lines(before: dict[str, Any], status: dict[str, Any], seconds: float) -> list[str]:
    earlier = {engine["index"]: engine["cpu_seconds"] for engine in before["engines"]}
    flows = any(listener["flow"] is not None for listener in status["listeners"]) or any(engine["flows"] for engine in status["engines"])
    rows = [head("ENGINE", "CPU", "LAG", "CONNECTIONS", "EXCHANGES", *(["FLOWS"] if flows else []), "GENERATION")]
    for engine in status["engines"]:
        used = (engine["cpu_seconds"] - earlier.get(engine["index"], engine["cpu_seconds"])) / seconds
        name = str(engine["index"]) if engine["alive"] else paint(f"{engine['index']} dead", "error")
        rows.append([
            name, f"{max(used, 0) * 100:.0f}%", f"{engine['loop_lag_seconds'] * 1000:.1f} ms", count(engine["connections"]),
            count(engine["exchanges"]), *([count(engine["flows"])] if flows else []), str(engine["snapshot"]),
        ])
    lines = table(rows, indent="")
    if status["threads"] == 0:
        lines.append("runtime.threads is 0: the engine runs inside the event loop")
    lag = [engine for engine in status["engines"] if not engine["alive"]]
    return [*lines, paint(f"{plural(len(lag), 'engine')} without a heartbeat", "error")] if lag else lines
