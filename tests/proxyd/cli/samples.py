"""What `/stats` tells, as tests of the command line want it."""
from __future__ import annotations

from typing import Any

Facts = dict[str, Any]


def row(requests: int = 0, errors: int = 0, *, recent: int | None = None, times: float | None = None) -> Facts:
    """Sums since the start; `recent`: requests of the last ten seconds, with the same share of errors."""
    lately = requests if recent is None else recent
    figures = {"proxy_errors": 0, "bytes_in": 0, "bytes_out": 0, "cache_asked": 0, "cache_answered": 0, "classes": {}}
    late = figures | dict.fromkeys(("mean", "p50", "p95", "p99"), times)
    late |= {"requests": lately, "errors": errors * lately // requests if requests else 0}
    return figures | {"requests": requests, "errors": errors, "recent": late}


def route(name: str, requests: int = 0, **more: Any) -> Facts:
    return {"listener": "web", "route": name, **row(requests, **more)}


def server(label: str, state: str = "up", requests: int = 0, **more: Any) -> Facts:
    facts = {"server": label, "state": state, "reason": "", "since": 0.0, "weight": 1, "backup": False, "in_flight": 0, "connections": 0,
             "flows": 0}
    return facts | row(requests, **more)


def upstream(name: str, *servers: Facts, **more: Any) -> Facts:
    usable = sum(entry["state"] == "up" for entry in servers)
    facts = {"name": name, "balance": "round_robin", "usable": usable, "warning": "", "circuit": None, "in_flight": 0, "pending": 0}
    return facts | row(sum(entry["requests"] for entry in servers), **more) | {"servers": list(servers)}


def sample(
    *, routes: list[Facts] | None = None, upstreams: list[Facts] | None = None, wrong: list[str] | None = None, **more: Any
) -> Facts:
    listener = {"name": "web", "address": "127.0.0.1:8080", "mode": "http", "accepted": 7, "open": 2, "in_flight": 1,
                "rejected": {"per_client": 3}, "bytes_in": None, "bytes_out": None}
    engine = {"index": 0, "connections": 2, "loop_lag_seconds": 0.001, "alive": True, "cpu_seconds": 1.0}
    found = {"recent_seconds": 10.0, "wrong": wrong or [], "listeners": [listener], "routes": routes or [], "routes_left_out": 0,
             "upstreams": upstreams or [], "engines": [engine], "logs": [], "cache": None}
    return found | {"total": row(sum(entry["requests"] for entry in routes or []))} | more
