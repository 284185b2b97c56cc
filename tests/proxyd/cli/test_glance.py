"""One screen of status."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.testing import Result

from proxyd.cli.glance import bar, glance, limits_line, route_lines, short, wrong_lines
from tests.proxyd.admin.fake_daemon import FakeDaemon
from tests.proxyd.cli.samples import route, sample, server, upstream

Run = Callable[..., Result]
STATUS: dict[str, Any] = {
    "config_path": "/etc/proxyd/proxyd.yaml", "version": "0.1.0", "phase": "serving", "pid": 42, "uptime_seconds": 100.0, "ready": True,
    "not_ready": [], "config_hash": "abcdef0123456789", "last_reload": {"ok": True, "at": 1.0, "summary": "3 changes"},
    "serving": {"entry": 3, "restores": 0, "trial": None},
}
LIMITS: dict[str, Any] = {"limits": [
    {"policy": "per-ip", "decisions": {"passed": 9, "refused": 40}}, {"policy": "login", "decisions": {"passed": 9, "refused": 0}}]}


def screen(stats: dict[str, Any]) -> list[str]:
    return [click.unstyle(line) for line in glance(STATUS, stats, LIMITS)]


def line_with(lines: list[str], word: str) -> list[str]:
    return next(line for line in lines if word in line).split()


def test_a_usual_config_fits_the_screen() -> None:
    routes = [route(f"route-{number}", 10_000, errors=3, times=0.0042) for number in range(30)]
    upstreams = [upstream(f"up-{number}", *(server(f"10.0.{number}.{i}:8000", requests=500) for i in range(8))) for number in range(5)]
    cache = {"objects": 45_100, "bytes": 120 << 20, "limit_bytes": 2 << 30}
    lines = screen(sample(routes=routes, upstreams=upstreams, wrong=["app/10.0.0.1:80 is down for 3 min: check failed"], cache=cache))
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_what_it_says() -> None:
    stats = sample(
        routes=[route("api", 4_000, errors=40, recent=1_000, times=0.0042), route("-")],
        upstreams=[upstream("app", server("10.0.0.1:80", requests=5), server("10.0.0.2:80", "down"))],
        cache={"objects": 5, "bytes": 1 << 20, "limit_bytes": 2 << 30},
    )
    lines = screen(stats)
    assert line_with(lines, "127.0.0.1:8080") == ["web", "127.0.0.1:8080", "2", "1", "7", "3"]
    assert line_with(lines, "web/api") == ["web/api", "100", "1.0%", "4.2ms", "4.2ms", "4000"]
    assert not any("web/-" in line for line in lines), "nobody asked for what is not there"
    assert line_with(lines, "app")[:4] == ["app", "#####.....", "1/2", "0.5"]
    assert "cache: 5 objects, 1.0M of 2.0G" in lines
    assert "limits: refused per-ip 40" in lines
    assert "nothing is wrong" in lines


def test_the_busiest_routes_come_first_and_the_others_are_counted() -> None:
    lines = route_lines(sample(routes=[route(f"r{number}", number) for number in range(9)]), 10.0)
    assert [line.split()[0] for line in lines[1:4]] == ["web/r8", "web/r7", "web/r6"]
    assert click.unstyle(lines[-1]) == "  and 4 more routes (-v shows all)"
    assert route_lines(sample(routes=[route("-")]), 10.0) == []


def test_what_is_wrong_is_wrapped_and_bounded() -> None:
    lines = [click.unstyle(line) for line in wrong_lines([f"number {number} " + "long " * 20 for number in range(9)])]
    assert lines[0].startswith("! number 0 ")
    assert lines[1].startswith("  ")
    assert lines[-1] == "! and 3 more"
    assert max(map(len, lines)) <= 80


def test_small_words() -> None:
    assert [click.unstyle(bar(upstream("u", *servers))) for servers in ([], [server("a")])] == [".......... 0/0", "########## 1/1"]
    assert [short(value) for value in (None, 0.0042, 0.31, 1.5)] == ["-", "4.2ms", "310ms", "1.5s"]
    assert limits_line([{"policy": "a", "decisions": {"passed": 1}}]) == "1 limit: none has refused anything"


def test_the_command(run: Run, daemon: FakeDaemon) -> None:
    daemon.history.look()
    result = run("status")
    assert result.exit_code == 0
    assert result.stdout.startswith("proxyd 0.1.0 is serving")
    assert "10.0.0.2:80" in result.stdout, "a server that is out is among what is wrong"
