from __future__ import annotations

import pytest

from proxyd.config.concurrency import Concurrency, KeyConcurrency, RouteConcurrency, effective
from tests.support.config import config_of, first_finding


def of_key(text: str) -> KeyConcurrency:
    found = (
        config_of(f"{{listen: ':1', to: 'a:1', policies: {{p: {{concurrency: {text}}}}}, defaults: {{use: p}}}}").policies["p"].concurrency
    )
    assert isinstance(found, KeyConcurrency)
    return found


def of_route(text: str) -> RouteConcurrency:
    found = config_of(f"{{listen: ':1', routes: [{{to: a, concurrency: {text}}}], upstreams: {{a: 'a:1'}}}}").routes[0].concurrency
    assert isinstance(found, RouteConcurrency)
    return found


def test_by_key() -> None:
    found = of_key("10")
    assert (found.max, found.key, found.on_limit.status, found.dry_run, found.keys) == (10, ("client.ip",), 429, False, 65_536)
    assert of_key("{max: 10}") == found
    assert of_key("{max: 2, key: [host, route], on_limit: {status: 503}}").on_limit.status == 503
    assert "ipv4" not in of_key("{max: 2, key: host}").in_force()


def test_by_route() -> None:
    assert of_route("10") == RouteConcurrency(max=10)
    found = of_route("{reserved: 50, max: 200, queue: 100, queue_timeout: 250ms}")
    assert (found.reserved, found.max, found.queue, found.queue_timeout) == (50, 200, 100, 250)
    assert of_route("{queue: none}").max == 0


def test_what_is_reserved_is_the_most_too_unless_more_is_said() -> None:
    assert of_route("{reserved: 50}") == RouteConcurrency(reserved=50, max=50)
    assert of_route("{reserved: 50, max: none}").max == 0
    assert RouteConcurrency(reserved=50).max == 50


def test_all_together() -> None:
    def whole(text: str) -> Concurrency | None:
        config = config_of(f"{{listen: ':1', to: 'a:1'{text}}}")
        return effective(config.concurrency, (route.concurrency for route in config.routes))

    assert whole("") is None
    assert whole(", concurrency: {total: 50}") == Concurrency(total=50)
    assert effective(None, [None, RouteConcurrency(max=5)]) is None
    assert effective(None, [None, RouteConcurrency(reserved=5)]) == Concurrency()
    assert effective(Concurrency(total=5), [RouteConcurrency(reserved=5)]) == Concurrency(total=5)
    assert (Concurrency().total, Concurrency().unreserved, Concurrency().target, Concurrency().interval) == (1000, 100, 20, 100)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("many", ("PXD-030", 29)),
        ("{}", ("PXD-022", 16)),
        ("{max: 0}", ("PXD-033", 35)),
        ("{max: none}", ("PXD-030", 35)),
        ("{max: 5, keys: 5000000000}", ("PXD-033", 44)),
        ("{max: 5, on_limit: 200}", ("PXD-033", 48)),
        ("{max: 5, burst: 2}", ("PXD-021", 38)),
        ("{max: 5, key: adress}", ("PXD-034", 43)),
    ],
)
def test_mistakes_by_key(text: str, expected: tuple[str, int]) -> None:
    found = first_finding(f"policies: {{p: {{concurrency: {text}}}}}\nlisten: :1\nto: 'a:1'\ndefaults: {{use: p}}\n")
    assert found == (expected[0], 1, expected[1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("many", ("PXD-030", 31)),
        ("{reserved: x}", ("PXD-030", 42)),
        ("{reserved: -1}", ("PXD-033", 42)),
        ("{reserved: 2000000}", ("PXD-033", 42)),
        ("{reserved: 5, max: 4}", ("PXD-039", 42)),
        ("{reserved: 5, mux: 4}", ("PXD-021", 45)),
        ("{max: 5, queue_timeout: 1}", ("PXD-031", 55)),
        ("{max: 5, key: client.ip}", ("PXD-021", 40)),
    ],
)
def test_mistakes_by_route(text: str, expected: tuple[str, int]) -> None:
    found = first_finding(f"routes: [{{to: a, concurrency: {text}}}]\nlisten: :1\nupstreams: {{a: 'a:1'}}\n")
    assert found == (expected[0], 1, expected[1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100", ("PXD-030", 14)),
        ("{total: -1}", ("PXD-033", 22)),
        ("{target: 20}", ("PXD-031", 23)),
        ("{target: 2s}", ("PXD-039", 23)),
        ("{interval: 10ms}", ("PXD-039", 25)),
        ("{reserved: 10}", ("PXD-021", 15)),
    ],
)
def test_mistakes_of_the_whole(text: str, expected: tuple[str, int]) -> None:
    assert first_finding(f"concurrency: {text}\nlisten: :1\nto: 'a:1'\n") == (expected[0], 1, expected[1])
