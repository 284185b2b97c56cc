from __future__ import annotations

import pytest

from proxyd.config.canonical import canonical
from proxyd.config.model import Server, Upstream
from tests.support.config import first_finding, upstream_of


def test_tiers() -> None:
    def tier(text: str) -> int:
        return upstream_of("", f"[{{address: 'a:1', {text}}}]").servers[0].tier

    assert [tier("weight: 1"), tier("backup: true"), tier("priority: 4"), tier("backup: true, priority: 2")] == [0, 1, 4, 2]


def test_servers() -> None:
    [server] = upstream_of("", "[{address: 'a:1', zone: b, max_requests: 5}]").servers
    assert (server.zone, server.max_requests) == ("b", 5)
    assert upstream_of("", "[{address: 'a:1', max_requests: none}]").servers == (Server(address=server.address),)


def test_the_header_that_servers_are_sent() -> None:
    def header(text: str) -> tuple[str, bool, bool] | None:
        found = upstream_of(f"proxy_protocol: {text}").proxy_protocol
        return None if found is None else (found.version, found.crc32c, found.unique_id)

    assert header("none") is None
    assert (header("v1"), header("v2"), header("{}")) == (("v1", False, False), ("v2", False, False), ("v2", False, False))
    assert header("{crc32c: true, unique_id: true}") == ("v2", True, True)
    for text in ("none", "v1", "{unique_id: true}"):
        upstream = upstream_of(f"proxy_protocol: {text}")
        assert Upstream.model_validate(canonical(upstream)) == upstream


def test_flows_on_a_server_that_is_down() -> None:
    assert (upstream_of("").on_down, upstream_of("on_down: close").on_down) == ("keep", "close")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{servers: ['a:1'], proxy_protocol: v3}", ("PXD-034", 53)),
        ("{servers: ['a:1'], proxy_protocol: true}", ("PXD-030", 53)),
        ("{servers: ['a:1'], proxy_protocol: {version: v1, crc32c: true}}", ("PXD-024", 67)),
        ("{servers: ['a:1'], on_down: drain}", ("PXD-034", 46)),
        ("{}", ("PXD-022", 13)),
        ("[]", ("PXD-022", 13)),
        ("{servers: []}", ("PXD-022", 19)),
        ("{server: ['a:1']}", ("PXD-021", 19)),
        ("{servers: ['a:1'], discover: {dns: x}}", ("PXD-021", 37)),
        ("5", ("PXD-030", 18)),
        ("{servers: [5]}", ("PXD-035", 29)),
        ("{servers: [{weight: 2}]}", ("PXD-022", 29)),
        ("{servers: [{address: 'a:1', weight: 0}]}", ("PXD-033", 54)),
        ("{servers: [{address: 'a:1', backup: yes}]}", ("PXD-030", 54)),
        ("{servers: ['a:1'], balance: leastconn}", ("PXD-034", 46)),
        ("{servers: ['a:1'], balance: hash}", ("PXD-022", 46)),
        ("{servers: ['a:1'], balance: {hash: nope}}", ("PXD-034", 53)),
        ("{servers: ['a:1'], balance: {kind: p2c, hash: host}}", ("PXD-024", 58)),
        ("{servers: ['a:1'], health: off}", ("PXD-034", 45)),
        ("{servers: ['a:1'], health: {active: {}}}", ("PXD-022", 54)),
        ("{servers: ['a:1'], health: {active: {path: /, tcp: true}}}", ("PXD-024", 64)),
        ("{servers: ['a:1'], health: {active: nope}}", ("PXD-038", 54)),
        ("{servers: ['a:1'], health: {active: {path: /, timeout: 9s}}}", ("PXD-039", 73)),
        ("{servers: ['a:1'], health: {active: {path: /, expect: 700}}}", ("PXD-038", 72)),
        ("{servers: ['a:1'], health: {passive: 5}}", ("PXD-030", 55)),
        ("{servers: ['a:1'], health: {passive: {max_ejected: 0.5}}}", ("PXD-031", 69)),
        ("{servers: ['a:1'], pool: {idle: none}}", ("PXD-032", 50)),
        ("{servers: ['a:1'], health: {passive: {max_ejected: 101%}}}", ("PXD-033", 69)),
        ("{servers: ['a:1'], timeout: {connect: 11m}}", ("PXD-033", 56)),
        ("{servers: [{address: 'a:1', priority: 16}]}", ("PXD-033", 56)),
        ("{servers: [{address: 'a:1', zone: a b}]}", ("PXD-036", 52)),
        ("{servers: ['a:1'], slow_start: 10}", ("PXD-031", 49)),
    ],
)
def test_mistakes_in_upstreams(text: str, expected: tuple[str, int]) -> None:
    assert first_finding(f"upstreams: {{app: {text}}}\nlisten: :1\nto: app\n") == (expected[0], 1, expected[1])
