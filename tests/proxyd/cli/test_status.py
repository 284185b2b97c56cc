from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from click.testing import Result

from proxyd.cli.verbs import status
from proxyd.cli.verbs.status import Look, check_lines, error_lines, screen, why
from tests.proxyd.admin.fake_daemon import FakeDaemon

Run = Callable[..., Result]


def look_at(daemon: FakeDaemon, at: float) -> Look:
    """As the API would tell it: through JSON."""
    facts = json.loads(json.dumps([asdict(daemon.status()), [asdict(route) for route in daemon.routes()]]))
    return Look(at, facts[0], facts[1])


@pytest.fixture
def looks() -> tuple[Look, Look]:
    daemon = FakeDaemon()
    return look_at(daemon, 10.0), look_at(daemon, 12.0)


def line_with(lines: list[str], word: str) -> list[str]:
    return next(line for line in lines if word in line).split()


def test_rates_come_from_two_looks(looks: tuple[Look, Look]) -> None:
    before, now = looks
    now.routes[0]["requests"] += 100
    now.status["upstreams"][0]["servers"][0]["requests"] += 50
    now.status["engines"][0]["cpu_seconds"] += 0.5
    lines = screen(before, now)
    assert line_with(lines, "127.0.0.1:8080") == ["web", "127.0.0.1:8080", "50", "2", "1", "7", "per_client", "3"]
    assert line_with(lines, "10.0.0.1:80")[:4] == ["10.0.0.1:80", "up", "1", "25"]
    assert line_with(lines, "1.0 ms")[:3] == ["0", "25%", "1.0"]


def test_flows_have_lines_of_their_own() -> None:
    daemon = FakeDaemon(flows=3)
    before, now = look_at(daemon, 10.0), look_at(daemon, 12.0)
    now.status["listeners"][1]["accepted"] += 8
    now.status["listeners"][1]["flow"]["bytes_in"] += 4096
    now.status["upstreams"][0]["servers"][0]["flows"] += 8
    lines = screen(before, now)
    assert line_with(lines, ":5432") == [
        "pg", ":5432", "tcp", "4", "3", "20", "2.0K", "0", "6.0K", "5.0M", "client", "9", "denied", "4"]
    assert line_with(lines, "127.0.0.1:8080")[0] == "web"
    assert not any(":5432" in line for line in lines if "web" in line)
    assert line_with(lines, "10.0.0.1:80")[3:7] == ["4", "0", "0+0", "0+11"]
    assert line_with(lines, "1.0 ms")[4:6] == ["2", "1"]
    assert "FLOWS" in line_with(lines, "ENGINE")


def test_without_flows_nothing_speaks_of_them(looks: tuple[Look, Look]) -> None:
    assert "FLOWS" not in "\n".join(screen(*looks))


def test_only_flows(looks: tuple[Look, Look]) -> None:
    before, now = (look_at(FakeDaemon(flows=1), at) for at in (1.0, 2.0))
    for seen in (before, now):
        del seen.status["listeners"][0]
    assert "REQ/S" not in "\n".join(screen(before, now))


def test_a_server_that_is_down_says_why(looks: tuple[Look, Look]) -> None:
    line = next(line for line in screen(*looks) if "10.0.0.2:80" in line)
    assert " down " in line
    assert "connection refused" in line
    assert next(line for line in screen(*looks) if line.startswith("app")).split()[:3] == ["app", "1/2", "up"]


def test_what_there_is_to_worry_about(looks: tuple[Look, Look]) -> None:
    before, now = looks
    facts: dict[str, Any] = now.status
    facts["ready"], facts["not_ready"] = False, ["upstream app has no usable server"]
    facts["warnings"] = ["threads: takes effect at the next start"]
    facts["last_reload"] = {"ok": False, "at": 1.0, "summary": "1 error"}
    facts["engines"][0]["alive"] = False
    facts["upstreams"][0]["servers"][1].update(state="ejected", reason="5 failures; back in 12 s")
    text = "\n".join(screen(before, now))
    for words in ("not ready: upstream app has no usable server", "warning: threads", "last reload refused", "0 dead", "back in 12 s"):
        assert words in text


def test_errors_by_word(looks: tuple[Look, Look]) -> None:
    _, now = looks
    assert error_lines(now.status) == []
    now.status["upstreams"][0]["servers"][1]["errors"] = {"connect_refused": 12_000, "upstream_reset": 1}
    assert [line.split() for line in error_lines(now.status)[2:]] == [
        ["app/10.0.0.2:80", "connect_refused", "12.0k"], ["app/10.0.0.2:80", "upstream_reset", "1"]]


def test_checks(looks: tuple[Look, Look]) -> None:
    _, now = looks
    server = now.status["upstreams"][0]["servers"][1]
    failed = server["checks"][0] | {"title": "tcp at port 81", "verdict": "down", "result": "failed", "reason": "connection refused"}
    assert why(server | {"reason": ""}).startswith("check passed ")
    told = why(server | {"checks": [failed], "reason": "check failed: connection refused"})
    assert told.startswith("check failed: connection refused, check ")
    server["checks"].append(failed)
    assert why(server | {"reason": ""}).startswith("2 checks, tcp at port 81 failed ")
    lines = [line.split() for line in check_lines(now.status)[2:]]
    assert [line[:4] for line in lines[:2]] == [["app/10.0.0.1:80", "GET", "/healthz", "up"], ["app/10.0.0.2:80", "GET", "/healthz", "up"]]
    assert lines[2][:6] == ["app/10.0.0.2:80", "tcp", "at", "port", "81", "down"]
    assert lines[2][-2:] == ["connection", "refused"]
    server["checks"][1]["at"] = 0.0
    assert "never" in check_lines(now.status)[-1]


def test_what_governs_an_upstream(looks: tuple[Look, Look]) -> None:
    before, now = looks
    now.status["upstreams"][0]["warning"] = "circuit open: 62 % of 340 requests failed within 10 s"
    now.status["upstreams"][0]["governor"] |= {"limit": 120, "hedge_ms": 35}
    line = next(line for line in screen(before, now) if line.startswith("app"))
    assert line.endswith("circuit open: 62 % of 340 requests failed within 10 s, 120 requests at a time, hedges after 35 ms")


def test_counters_of_a_restarted_daemon_give_no_negative_rate(looks: tuple[Look, Look]) -> None:
    before, now = looks
    before.routes[0]["requests"] += 500
    before.status["upstreams"][0]["servers"][0]["requests"] += 500
    before.status["engines"][0]["cpu_seconds"] += 5
    assert not [line for line in screen(before, now) if " -" in line.replace(" - ", " ").removesuffix(" -")]


def test_the_command(run: Run, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "INTERVAL_S", 0.0)
    result = run("status", "-v")
    assert result.exit_code == 0
    assert result.stdout.startswith("proxyd 0.1.0 is serving")
    assert "LISTENER" in result.stdout
    assert "ENGINE" in result.stdout
    assert all(len(line) < 140 for line in result.stdout.splitlines())


def test_json_is_the_answer_of_the_api(run: Run, daemon: FakeDaemon) -> None:
    assert json.loads(run("status", "--json").stdout) == look_at(daemon, 0.0).status


def test_quiet_is_one_line(run: Run, daemon: FakeDaemon) -> None:
    assert len(run("status", "-q").stdout.splitlines()) == 1


def test_what_operators_changed_and_what_leaves(looks: tuple[Look, Look]) -> None:
    before, now = looks
    upstream = now.status["upstreams"][0]
    upstream["overrides"] = [{"upstream": "app", "server": "10.0.0.1:80", "text": "drained", "by": "ops", "at": 1.0}]
    upstream["leaving"] = [{"label": "10.0.0.7:80", "in_flight": 3, "connections_active": 2}]
    lines = screen(before, now)
    assert line_with(lines, "10.0.0.7:80") == ["10.0.0.7:80", "leaving", "3", "2"]
    assert line_with(lines, "override:")[:5] == ["override:", "app/10.0.0.1:80", "drained", "by", "ops"]
