"""Rows of `top`: figures, order, filter."""
from __future__ import annotations

from proxyd.cli.top.rows import arranged_routes, arranged_servers, headline, route_rows, server_groups
from tests.proxyd.cli.samples import route, sample, server, upstream

SAMPLE = sample(
    routes=[route("api", 4_000, errors=40, recent=100, times=0.0042), route("media", 900, times=0.5), route("-", 2)],
    upstreams=[
        upstream("app", server("10.0.0.1:80", requests=50, times=0.002), server("10.0.0.2:80", "down")),
        upstream("db", server("10.0.1.1:80", requests=900)),
    ],
)


def test_a_route() -> None:
    first, *_ = route_rows(SAMPLE)
    assert first.key == "web/api"
    assert first.cells == ("web/api", "10", "0.1", "0", "4.2ms", "4.2ms", "4.2ms", "4000")


def test_requests_without_a_route_are_shown_when_there_are_any() -> None:
    assert [row.key for row in route_rows(sample(routes=[route("api"), route("-")]))] == ["web/api"]
    assert [row.key for row in route_rows(sample(routes=[route("-", 1)]))] == ["web/-"]


def test_an_upstream_with_its_servers() -> None:
    (head, one, two), _ = server_groups(SAMPLE)
    assert head.cells[:4] == ("app", "1/2 up", "5.0", "0")
    assert one.cells == ("  10.0.0.1:80", "up", "5.0", "0", "~2.0ms", "", "", "0")
    assert (two.upstream, two.server, two.cells[1], two.cells[4]) == ("app", "10.0.0.2:80", "down", "-")
    open_circuit, = server_groups(sample(upstreams=[upstream("app") | {"circuit": "half_open"}]))
    assert open_circuit[0].cells[1] == "half_open"


def test_order_and_filter_of_routes() -> None:
    rows = list(route_rows(SAMPLE))

    def names(column: int, *, down: bool, wanted: str = "") -> list[str]:
        return [row.key for row in arranged_routes(rows, column, down=down, wanted=wanted)]

    assert names(1, down=True) == ["web/media", "web/api", "web/-"]
    assert names(7, down=True) == ["web/api", "web/media", "web/-"]
    assert names(4, down=False) == ["web/-", "web/api", "web/media"], "no time at all comes before every time"
    assert names(0, down=False, wanted="a") == ["web/api", "web/media"]


def test_servers_stay_with_their_upstream() -> None:
    groups = list(server_groups(SAMPLE))

    def keys(column: int, *, down: bool = False, wanted: str = "") -> list[str]:
        return [row.key for row in arranged_servers(groups, column, down=down, wanted=wanted)]

    assert keys(2, down=True) == ["db", "db 10.0.1.1:80", "app", "app 10.0.0.1:80", "app 10.0.0.2:80"]
    assert keys(0, wanted="db") == ["db", "db 10.0.1.1:80"]
    assert keys(0, wanted="down") == ["app", "app 10.0.0.2:80"]
    assert keys(0, wanted="nobody") == []


def test_the_headline_fits_a_line() -> None:
    assert headline(SAMPLE) == "490 req/s   0.0 % 5xx   p50 -  p95 -  p99 -   1 in flight   2 open"
