"""What is wrong now, as sentences, and in which order."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

from proxyd.events.ring import Events
from proxyd.state import CircuitView, EngineView, GovernorView, LastReload, ServerView, StatusView, UpstreamView
from proxyd.stats.wrong import span, wrong_now
from tests.proxyd.admin.fake_daemon import server_view
from tests.proxyd.stats.world import Route, World
from tests.support.clock import FakeClock

WELL = StatusView(
    version="0.1.0", pid=42, phase="serving", started_at=0.0, uptime_seconds=1_000.0, config_path="", config_hash="abc", generation=1,
    threads=1, ready=True, not_ready=(), last_reload=None, listeners=(), upstreams=(), engines=(EngineView(0, 1, 0.0, 0.0, 0, 0, 1, True),),
)


def server(label: str, state: Any = "down", reason: str = "", since: float = 800.0) -> ServerView:
    return replace(server_view(label, state=state, reason=reason), since=since)


def upstream(*servers: ServerView, circuit: CircuitView | None = None) -> UpstreamView:
    return UpstreamView("app", "p2c", servers, sum(entry.usable for entry in servers), "", GovernorView(circuit))


def wrong(**changes: Any) -> list[str]:
    return wrong_now(replace(WELL, **changes), [], [])


def test_nothing_is() -> None:
    assert wrong() == []
    assert wrong(last_reload=LastReload(True, 1.0, "3 changes"), upstreams=(upstream(server("a:1", "up"), server("b:1", "drain")),)) == []


def test_servers_that_are_out() -> None:
    servers = (server("a:1", "up"), server("b:1", reason="check failed: connection refused"), server("c:1", "unresolved", since=940.0))
    assert wrong(upstreams=(upstream(*servers),)) == [
        "app/b:1 is down for 3 min: check failed: connection refused", "app/c:1 does not resolve for 1 min"]


def test_many_servers_are_counted_and_what_was_told_is_not_told_again() -> None:
    servers = tuple(server(f"{number}:1") for number in range(9))
    assert wrong(upstreams=(upstream(*servers, server("up:1", "up")),))[-1] == "4 more servers are out"
    told = "upstream app has no usable server: 0:1 is down"
    assert wrong(upstreams=(upstream(*servers),), not_ready=(told,)) == [told]


def test_circuits_reloads_engines_and_warnings() -> None:
    found = wrong(
        engines=(EngineView(0, 1, 0.0, 0.0, 0, 0, 1, False),), warnings=("threads: at the next start",),
        upstreams=(upstream(server("a:1", "up"), circuit=CircuitView("half_open", 1.0, "trying 3 requests")),),
        last_reload=LastReload(False, 1.0, "proxyd.yaml:1:1: unknown option"),
    )
    assert found == [
        "engine 0 is dead", "the circuit of app is half open: trying 3 requests",
        "the last reload was refused, the config of before serves on: proxyd.yaml:1:1: unknown option", "threads: at the next start",
    ]


def test_events_that_are_not_over() -> None:
    events = Events(FakeClock())
    events.note("engine.stuck", "engine 0 stuck", engine=0, over=False)
    events.note("engine.stuck", "engine 1 stuck", engine=1, over=False)
    events.note("log.drops", "dropping", dropped=1, over=False)
    events.note("engine.stuck", "engine 0 turns again", engine=0, over=True)
    assert wrong_now(WELL, [], events.after()) == ["engine 1 stuck", "dropping"]
    events.note("log.drops", "no more", dropped=9, over=True)
    assert wrong_now(WELL, [], events.after()) == ["engine 1 stuck"]


def test_answers_that_fail_and_the_routes_that_they_are_of() -> None:
    world = World()
    world.routes = [Route(route="good"), Route(route="bad"), Route(route="worse")]
    world.look()
    world.routes[0].answer(times=900)
    world.routes[1].answer(503, times=10)
    world.routes[1].answer(times=70)
    world.routes[2].answer(502, times=20)
    world.second()
    found, = wrong_now(WELL, world.history.points(1), [])
    assert found == "3 % of the answers of the last 1 s are 5xx: web/worse 100 %, web/bad 12 %"


def test_a_few_errors_among_many_answers_are_not_worth_a_word() -> None:
    world = World()
    world.routes = [Route()]
    world.look()
    world.routes[0].answer(502, times=4)
    world.second()
    world.routes[0].answer(502, times=9)
    world.routes[0].answer(times=1_000)
    world.second()
    points = world.history.points(2)
    assert wrong_now(WELL, points[:1], []) == wrong_now(WELL, points[1:], []) == []


def test_spans() -> None:
    assert [span(seconds) for seconds in (0, 59, 60, 7_200, 200_000)] == ["0 s", "59 s", "1 min", "2 h", "2 d"]
