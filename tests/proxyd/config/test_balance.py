from __future__ import annotations

import pytest

from proxyd.config.model import Balance
from tests.support.config import first_finding, upstream_of


def balance(text: str) -> Balance:
    return upstream_of(f"balance: {text}").balance


@pytest.mark.parametrize("kind", ["round_robin", "least_conn", "p2c", "ewma", "random", "first"])
def test_plain_ones(kind: str) -> None:
    assert balance(kind) == balance(f"{{kind: {kind}}}")
    assert (balance(kind).kind, balance(kind).hash, balance(kind).bounded_load) == (kind, None, None)


@pytest.mark.parametrize("kind", ["hash", "maglev"])
def test_those_with_a_key(kind: str) -> None:
    found = balance(f"{{{kind}: 'header:X-User'}}")
    assert found == balance(f"{{kind: {kind}, hash: 'header:X-User'}}")
    assert (found.kind, found.hash) == (kind, "header:X-User")


def test_ip_hash_is_a_hash() -> None:
    assert balance("ip_hash") == balance("{hash: client.net}")
    assert balance("flow_hash") == balance("{maglev: flow}") != balance("{hash: flow}")


@pytest.mark.parametrize(("text", "percent"), [("1.25", 125), ("'1.5'", 150), ("2", 200), ("1.01", 101)])
def test_a_bounded_load(text: str, percent: int) -> None:
    assert balance(f"{{maglev: host, bounded_load: {text}}}").bounded_load == percent


def test_zones() -> None:
    assert upstream_of("zones: none").zones.prefer == "none"
    assert upstream_of("zones: local").zones == upstream_of("zones: {min_usable: 70%}").zones == upstream_of("").zones


def test_zones_apart() -> None:
    zones = upstream_of("zones: {cross: false}").zones
    assert (zones.cross, zones.prefer) == (False, "local")
    assert "min_usable" not in zones.in_force()
    assert upstream_of("").zones.cross
    assert upstream_of("zones: {prefer: local, cross: false}").zones == zones


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("zones: {prefer: none, cross: false}", ("PXD-024", 9)),
        ("zones: {cross: false, min_usable: 50%}", ("PXD-024", 23)),
        ("balance: leastconn", ("PXD-034", 10)),
        ("balance: maglev", ("PXD-022", 10)),
        ("balance: {maglev: nope}", ("PXD-034", 10)),
        ("balance: {hash: host, bounded_load: 1}", ("PXD-033", 37)),
        ("balance: {hash: host, bounded_load: 125%}", ("PXD-032", 37)),
        ("balance: {kind: p2c, bounded_load: 1.25}", ("PXD-024", 22)),
        ("balance: {bounded_load: 1.25}", ("PXD-024", 11)),
        ("zones: far", ("PXD-034", 8)),
        ("zones: {min_usable: 0%}", ("PXD-033", 21)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    assert first_finding(f"upstreams: {{app: {{servers: 'a:1',\n{text}}}}}\nlisten: :1\nto: app\n") == (expected[0], 2, expected[1])
