"""The page of a real daemon: engines count, a scrape shows, a reload takes nothing back."""
from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxyd.daemon import Daemon
from proxyd.metrics.exposition import Exposition
from tests.support.client import get
from tests.support.daemon import port_of, running, whole_config
from tests.support.origin import Origin
from tests.support.wait import until

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

FAMILIES = (
    "http_requests", "http_request_duration_seconds", "http_response_ttfb_seconds", "http_request_bytes", "http_response_bytes",
    "http_errors", "http_requests_in_flight", "http_retries", "connections_accepted", "connections_open", "connections_rejected",
    "upstream_requests", "upstream_response_duration_seconds", "upstream_connect_duration_seconds", "upstream_errors",
    "upstream_server_up", "upstream_server_weight", "upstream_server_requests_in_flight", "upstream_server_state",
    "upstream_connections", "upstream_connections_opened", "upstream_health_checks", "upstream_ejections",
    "config_last_reload_successful", "config_last_reload_success_timestamp_seconds", "config_reloads", "config_info", "build_info",
    "engine_cpu_seconds", "engine_loop_lag_seconds", "log_dropped",
)


async def scrape(exposition: Exposition) -> tuple[Samples, dict[str, str]]:
    """All samples, and the type of every family."""
    families = list(text_string_to_metric_families((await exposition.render(""))[0].decode()))
    samples = {(sample.name, frozenset(sample.labels.items())): sample.value for family in families for sample in family.samples}
    return samples, {family.name: family.type for family in families}


def total(samples: Samples, name: str, **labels: str) -> float:
    """The sum of a metric over the samples that have these labels."""
    return sum(value for (known, has), value in samples.items() if known == f"proxyd_{name}" and set(labels.items()) <= has)


def config(*servers: str, extra: str = "", more: str = "") -> str:
    listed = ", ".join(f'"{server}"' for server in servers)
    return f'listen: "127.0.0.1:0"\nroutes: [{extra} {{to: app, name: rest}}]\nupstreams: {{app: {{servers: [{listed}]}}}}\n{more}'


@pytest.mark.parametrize("threads", [0, 2])
async def test_a_request_is_counted_everywhere(threads: int) -> None:
    async with Origin("one") as one, running(config(one.address), threads=threads) as daemon:
        exposition = Exposition(daemon, "1.2.3")
        assert (await get(port_of(daemon), "/x")).status == 200
        await until(lambda: sum(view.requests for view in daemon.routes()), "the request is counted when its answer is out")
        samples, types = await scrape(exposition)
        assert {f"proxyd_{name}" for name in FAMILIES} <= types.keys()
        assert total(samples, "http_requests_total", listener="default", route="rest", method="GET", code="200") == 1
        assert total(samples, "http_request_duration_seconds_bucket", route="rest", le="+Inf") == 1
        assert total(samples, "http_request_duration_seconds_count", route="rest") == 1
        assert 0 < total(samples, "http_request_duration_seconds_sum", route="rest") < 10
        assert total(samples, "http_response_bytes_total", route="rest") >= len(b"one")
        assert total(samples, "connections_accepted_total", listener="default") == 1
        assert total(samples, "upstream_requests_total", upstream="app", server=one.address, code="200") == 1
        assert total(samples, "upstream_connections_opened_total", upstream="app") == 1
        assert total(samples, "upstream_response_duration_seconds_count", upstream="app") == 1
        assert total(samples, "upstream_connect_duration_seconds_count", upstream="app") == 1
        assert total(samples, "upstream_server_up", upstream="app", server=one.address) == 1
        assert len([key for key in samples if key[0] == "proxyd_engine_cpu_seconds_total"]) == max(threads, 1)
        assert total(samples, "config_info", hash=daemon.config_hash) == 1


async def test_failures_are_counted_with_their_words() -> None:
    async with Origin("one") as one, running(config("127.0.0.1:1", one.address)) as daemon:
        exposition = Exposition(daemon, "1")
        for _ in range(2):                           # the dead server's turn comes within two requests
            assert (await get(port_of(daemon))).status == 200
        samples, _ = await scrape(exposition)
        assert total(samples, "upstream_errors_total", server="127.0.0.1:1", error="connect_refused") >= 1
        assert total(samples, "http_retries_total", upstream="app") >= 1
        assert total(samples, "http_errors_total") == 0
    async with running(config("127.0.0.1:1")) as daemon:
        assert (await get(port_of(daemon))).status == 502
        samples, _ = await scrape(Exposition(daemon, "1"))
        assert total(samples, "http_errors_total", route="rest", error="connection_refused") == 1


async def test_no_counter_falls_over_twenty_reloads() -> None:
    """Each reload takes a server, a route, a whole upstream or a listener away, or brings it back."""
    async with Origin("one") as one, Origin("two") as two:
        side = f'listeners: {{side: {{bind: "127.0.0.1:0", to: "{two.address}"}}}}\n'
        plain = config(one.address, two.address)
        configs = (plain, config(one.address), config(two.address, extra='{match: /a, to: app, name: a},'), plain + side)
        async with running(plain) as daemon:
            exposition = Exposition(daemon, "1")
            seen: Samples = {}
            for number in range(20):
                result = await daemon.reload(whole_config(configs[number % 4]))
                assert result.ok
                assert result.changed or number == 0
                for _ in range(4):
                    assert (await get(port_of(daemon), "/a")).status == 200
                if number % 4 == 3:
                    assert (await get(port_of(daemon, "side"))).status == 200
                await compare(exposition, seen)
            assert total(seen, "http_requests_total", listener="default", code="200") == 80
            assert total(seen, "http_requests_total", listener="side", code="200") == 5
            assert total(seen, "http_requests_total", route="a", code="200") == 20
            assert total(seen, "upstream_requests_total", code="200") == 85
            assert total(seen, "config_reloads_total", result="ok") == 19
            assert total(seen, "config_reloads_total", result="unchanged") == 1


async def compare(exposition: Exposition, seen: Samples) -> None:
    """Scrape; no sample of a counter or histogram may be below what was seen of it. `seen` takes the new values."""
    samples, types = await scrape(exposition)
    growing = {f"{name}{suffix}" for name, kind in types.items() for suffix in ("_total", "_bucket", "_count", "_sum") if kind != "gauge"}
    for key, value in samples.items():
        if key[0] in growing:
            assert value >= seen.get(key, 0.0), key
            seen[key] = value


async def test_a_listener_that_left_is_let_go_by_the_metrics(tmp_path: object) -> None:
    """Its port is free again although it was scraped: nothing here holds the native object."""
    plain = 'listeners: {default: {bind: "127.0.0.1:0"}}\nroutes: [{respond: 200}]\n'
    more = 'listeners: {default: {bind: "127.0.0.1:0"}, side: {bind: "127.0.0.1:0"}}\nroutes: [{respond: 200}]\n'
    async with running(more) as daemon:
        exposition = Exposition(daemon, "1")
        await scrape(exposition)
        port = port_of(daemon, "side")
        assert (await daemon.reload(whole_config(plain))).ok
        await until(lambda: names_of(daemon) == {"default"}, "no engine has it any more")
        assert not listens(port)
        samples, _ = await scrape(exposition)
        assert total(samples, "connections_accepted_total", listener="side") == 0


def listens(port: int) -> bool:
    """Whether some socket of this machine listens on the port, without connecting to it."""
    with open("/proc/net/tcp") as table:
        return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in table)


def names_of(daemon: Daemon) -> set[str]:
    return {entry.name for entry in daemon.listener_entries()}
