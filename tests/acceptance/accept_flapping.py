"""One of five servers answers 500 for ten seconds out of twenty, under load: clients hardly notice.

Passive health takes it out after five failures in a row, and what failed until then goes to another server. It comes back a second later,
and for longer each time it fails again, so that every phase of 500s meets it several times.
"""
from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from tests.acceptance.fickle import Fickle
from tests.acceptance.stage import Load, Proxyd, Wrk, ending, free_port

SERVERS, CONNECTIONS = 5, 64
DELAY_MS = 20           # of a good answer; a failure comes at once, and so draws more requests than its share
FAILS_S, EVERY_S, PHASES = 10.0, 20.0, 3
MOST_ERRORS = 0.001


def config(port: int, servers: Sequence[Fickle], *, retry: str, passive: str) -> str:
    members = ", ".join(f"'{server.address}'" for server in servers)
    return (
        f"listen: '127.0.0.1:{port}'\nlog: {{access: none}}\n"
        f"upstreams:\n  app:\n    servers: [{members}]\n    health: {{active: none, passive: {passive}}}\n    retry: {retry}\n"
        "routes: [{to: app}]\n"
    )


def flap(folder: Path, *, retry: str, passive: str, fails_s: float, every_s: float, phases: int) -> tuple[Load, int, dict[str, float]]:
    """What wrk counted, how many 500s the server gave, and proxyd's metrics, after so many phases."""
    port = free_port()
    servers = [Fickle(folder, f"app{i}") for i in range(SERVERS)]
    with ending(*servers):
        proxyd = Proxyd(folder, config(port, servers, retry=retry, passive=passive))
        with ending(proxyd):
            for server in servers:
                server.mood(200, delay_ms=DELAY_MS)
            wrk = Wrk(folder, f"http://127.0.0.1:{port}/", connections=CONNECTIONS)
            with ending(wrk):
                for _ in range(phases):
                    servers[0].mood(500)
                    time.sleep(fails_s)     # the load of so many seconds is what this is about
                    servers[0].mood(200, delay_ms=DELAY_MS)
                    time.sleep(every_s - fails_s)
                load = wrk.stop()
            failures = servers[0].requests()[500]
            metrics = proxyd.metrics()
            assert proxyd.end() == 0
    return load, failures, metrics


def test_without_help_clients_notice(tmp_path: Path) -> None:
    """The scene is what it is meant to be: with neither, a fifth of the requests fails while the server does."""
    load, failures, _ = flap(tmp_path, retry="{attempts: 0}", passive="none", fails_s=3.0, every_s=6.0, phases=1)
    assert abs(load.refused - failures) <= CONNECTIONS, (load, failures)     # wrk does not see what was under way at its end
    assert load.refused / load.requests > 0.05, load
    print(f"\nneither retries nor passive health: {load.refused} of {load.requests} failed, {load.refused / load.requests:.2%}")


def test_clients_hardly_notice(tmp_path: Path) -> None:
    load, failures, metrics = flap(
        tmp_path, retry='{when: [connect_failure, reset, "500"]}', passive="{eject: 1s}", fails_s=FAILS_S, every_s=EVERY_S, phases=PHASES)
    ejections, retries, refused = (
        sum(value for name, value in metrics.items() if name.startswith(f"proxyd_{family}_total"))
        for family in ("upstream_ejections", "http_retries", "upstream_refused")
    )
    print(f"\n{failures} answers of 500, {load.failed} of {load.requests} requests failed ({load.failed / load.requests:.4%}); "
          f"{retries:.0f} retries, {refused:.0f} refused by the budget, {ejections:.0f} ejections")
    assert ejections >= PHASES
    assert failures >= 5 * ejections, "every ejection has its five failures"
    assert sum(load.errors.values()) == 0, load
    assert load.refused <= refused, "only what came in such a burst that the budget was used up"
    assert load.failed / load.requests < MOST_ERRORS, load
