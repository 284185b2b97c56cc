"""`proxyd status` on one screen: what is wrong now, then listeners, the busiest routes, upstreams, cache, limits and engines.

For a usual config it fits 24 lines of 80 columns. Rates are those of the last ten seconds, as the daemon has them.
"""
from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from proxyd.cli.output import ago, count, paint, plural, size, table
from proxyd.cli.overview import headline
from proxyd.cli.trial import trial_line

WIDTH = 80
WRONG_SHOWN, LISTENERS_SHOWN, ROUTES_SHOWN, UPSTREAMS_SHOWN = 6, 4, 5, 6
BAR = 10                 # cells of a bar of servers

Facts = dict[str, Any]


def glance(status: Facts, stats: Facts, limits: Facts) -> list[str]:
    """The lines, from the answers of /status, /stats and /limits."""
    seconds = max(stats["recent_seconds"], 1e-3)
    return [
        headline(status),
        reload_line(status),
        *trial_lines(status),
        *wrong_lines(stats["wrong"]),
        "",
        *listener_lines(stats),
        *route_lines(stats, seconds),
        *upstream_lines(stats, seconds),
        *rest_lines(stats, limits),
    ]


def reload_line(status: Facts) -> str:
    serving, reload = serving_text(status), status["last_reload"]
    if reload is None:
        return f"{serving}, not reloaded since the start"
    word, what = ("taken", f": {clipped(reload['summary'], 32)}") if reload["ok"] else (paint("refused", "error"), "")
    return f"{serving}; last reload {word} {ago(reload['at'])}{what}"


def serving_text(status: Facts) -> str:
    """`config 7 (as 5, a1b2c3d4e5f6)`: its number in the history, and that of the entry that a rollback went back to."""
    serving = status["serving"]
    restored = f"as {serving['restores']}, " if serving["restores"] else ""
    return f"config {serving['entry']} ({restored}{status['config_hash'][:12]})"


def trial_lines(status: Facts) -> list[str]:
    trial = status["serving"]["trial"]
    return [paint(trial_line(trial), "warning")] if trial is not None else []


def wrong_lines(wrong: Sequence[str]) -> list[str]:
    lines = [paint(line, "error") for text in wrong[:WRONG_SHOWN] for line in textwrap.wrap(f"! {text}", WIDTH, subsequent_indent="  ")]
    more = [paint(f"! and {len(wrong) - WRONG_SHOWN} more", "error")] if len(wrong) > WRONG_SHOWN else []
    return [*lines, *more] or [paint("nothing is wrong", "good")]


def head(*names: str) -> list[str]:
    return [paint(name, "dim") for name in names]


def listener_lines(stats: Facts) -> list[str]:
    rows = [head("LISTENER", "ADDRESS", "OPEN", "IN FLIGHT", "ACCEPTED", "REJECTED")]
    for listener in stats["listeners"][:LISTENERS_SHOWN]:
        mode = "" if listener["mode"] == "http" else f" ({listener['mode']})"
        rejected = sum(listener["rejected"].values())
        rows.append([clipped(listener["name"], 16), clipped(listener["address"] + mode, 28), *map(count, (
            listener["open"], listener["in_flight"], listener["accepted"], rejected))])
    return [*table(rows, indent=""), *left_out(len(stats["listeners"]) - LISTENERS_SHOWN, "listener")]


def route_lines(stats: Facts, seconds: float) -> list[str]:
    """The busiest; none where no listener takes requests."""
    served = [route for route in stats["routes"] if route["route"] != "-" or route["requests"]]
    if not served:
        return []
    busiest = sorted(served, key=lambda route: (-route["recent"]["requests"], -route["requests"]))[:ROUTES_SHOWN]
    rows = [head("ROUTE", "REQ/S", "5XX", "P50", "P99", "REQUESTS")]
    rows += [
        [clipped(f"{route['listener']}/{route['route']}", 30), *rates(route["recent"], seconds), count(route["requests"])]
        for route in busiest
    ]
    return [*table(rows, indent=""), *left_out(len(served) - len(busiest) + stats["routes_left_out"], "route")]


def upstream_lines(stats: Facts, seconds: float) -> list[str]:
    if not stats["upstreams"]:
        return []
    rows = [head("UPSTREAM", "SERVERS", "REQ/S", "ERRORS", "P50", "P99", "IN FLIGHT", "")]
    for upstream in stats["upstreams"][:UPSTREAMS_SHOWN]:
        rows.append([
            clipped(upstream["name"], 16), bar(upstream), *rates(upstream["recent"], seconds), count(upstream["in_flight"]),
            f"{count(upstream['pending'])} wait" if upstream["pending"] else "",
        ])
    return [*table(rows, indent=""), *left_out(len(stats["upstreams"]) - UPSTREAMS_SHOWN, "upstream")]


def bar(upstream: Facts) -> str:
    """`##########  4/4`, `#####.....  1/2`: the share of servers that may be chosen."""
    servers = len(upstream["servers"])
    filled = round(BAR * upstream["usable"] / servers) if servers else 0
    style = "good" if upstream["usable"] == servers else "warning" if upstream["usable"] else "error"
    return f"{paint('#' * filled + '.' * (BAR - filled), style)} {upstream['usable']}/{servers}"


def rates(recent: Facts, seconds: float) -> list[str]:
    """Requests a second, errors, and times."""
    errors = f"{recent['errors'] / recent['requests'] * 100:.1f}%" if recent["errors"] else "0"
    shown = paint(errors, "error") if recent["errors"] else errors
    return [rate(recent["requests"] / seconds), shown, short(recent["p50"]), short(recent["p99"])]


def rate(value: float) -> str:
    return f"{value:.1f}" if 0 < value < 10 else count(value)


def short(seconds: float | None) -> str:
    """`4.2ms`, `310ms`, `1.5s`; `-`: there was none."""
    if seconds is None:
        return "-"
    return f"{seconds * 1e3:.1f}ms" if seconds < 0.01 else f"{seconds * 1e3:.0f}ms" if seconds < 1 else f"{seconds:.1f}s"


def rest_lines(stats: Facts, limits: Facts) -> list[str]:
    lines = []
    if stats["cache"] is not None:
        cache, asked = stats["cache"], stats["total"]["cache_asked"]
        share = f", {stats['total']['cache_answered'] / asked * 100:.0f} % of {count(asked)} look-ups answered" if asked else ""
        lines.append(f"cache: {count(cache['objects'])} objects, {size(cache['bytes'])} of {size(cache['limit_bytes'])}{share}")
    if limits["limits"]:
        lines.append(clipped(limits_line(limits["limits"]), WIDTH))
    lag = max((engine["loop_lag_seconds"] for engine in stats["engines"]), default=0.0)
    connections = sum(engine["connections"] for engine in stats["engines"])
    lines.append(f"{plural(len(stats['engines']), 'engine')}: {plural(connections, 'connection')}, {lag * 1000:.1f} ms behind")
    return lines


def limits_line(limits: Sequence[Facts]) -> str:
    refused = [(entry["decisions"].get("refused", 0), entry["policy"]) for entry in limits]
    most = ", ".join(f"{name} {count(times)}" for times, name in sorted(refused, reverse=True) if times)
    return f"limits: refused {most}" if most else f"{plural(len(limits), 'limit')}: none has refused anything"


def left_out(number: int, noun: str) -> list[str]:
    return [paint(f"  and {plural(number, f'more {noun}')} (-v shows all)", "dim")] if number > 0 else []


def clipped(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[:width - 1]}~"
