from __future__ import annotations

import json

import pytest

from proxyd.config.canonical import canonical
from proxyd.config.model import Active, Regex, Tcp
from tests.support.config import first_finding, upstream_of


def active(text: str) -> Active:
    [found] = upstream_of(f"health: {{active: {text}}}").health.active
    return found


def test_a_check_by_http() -> None:
    found = active(
        "{path: /x, expect: '200,301-302', host: App.X, interval: 1m, timeout: 2s, interval_failing: 3s, interval_down: 2m, method: POST, "
        "headers: {X-Probe: 1}, port: 9000, jitter: 0%, initial: up, body: ok}"
    )
    assert [status in found.expect for status in (200, 301, 302, 201)] == [True, True, True, False]
    assert (found.host, found.interval, found.timeout) == ("app.x", 60_000, 2_000)
    assert (found.interval_failing, found.interval_down, found.jitter, found.initial) == (3_000, 120_000, 0, "up")
    assert (found.method, found.headers, found.port, found.body) == ("POST", {"X-Probe": "1"}, 9000, "ok")


def test_what_the_answer_must_hold() -> None:
    found = active("{path: /x, body: {regex: '^ok'}, header: {X-A: 1, X-B: {suffix: z, not: true}}}")
    assert found.body == Regex("^ok")
    assert [(name, test.kind, test.value, test.negate) for name, test in found.header.items()] == [
        ("X-A", "exact", "1", False),
        ("X-B", "suffix", "z", True),
    ]


def test_a_check_by_tcp() -> None:
    assert active("tcp") == active("{tcp: true}") == active("{tcp: {}}")
    assert active('{tcp: {send: "PING\\r\\n", expect: +PONG}}').tcp == Tcp(send="PING\r\n", expect="+PONG")


def test_checks_of_roles() -> None:
    assert active("{redis: primary}") == active("[{redis: {role: primary}}]")
    found = active("{redis: {role: any, password: hunter2}, interval: 2s}")
    assert found.redis is not None
    assert (found.redis.role, str(found.redis.password), found.interval) == ("any", "hunter2", 2_000)
    postgres = active("{postgres: {role: replica, user: 12}}").postgres
    assert postgres is not None
    assert (postgres.role, postgres.user, postgres.database, postgres.password) == ("replica", "12", "postgres", None)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{path: /}", {"path", "method", "expect"}),
        ("tcp", {"tcp"}),
        ("{udp: {send: a}}", {"udp"}),
        ("{dns: a.example}", {"udp"}),
        ("{redis: any}", {"redis"}),
        ("{postgres: {role: any, user: u}}", {"postgres"}),
    ],
)
def test_what_is_in_force(text: str, names: set[str]) -> None:
    """In the canonical form a check shows what it is, and nothing of other kinds."""
    rhythm = {"interval", "jitter", "timeout", "rise", "fall", "initial"}
    assert canonical(active(text)).keys() - rhythm == names
    assert active(json.dumps(canonical(active(text)))) == active(text)


def test_passwords_are_hidden() -> None:
    for text in ("{redis: {role: any, password: hunter2}}", "{postgres: {role: any, user: u, password: hunter2}}"):
        assert "hunter2" not in str(canonical(active(text)))
        assert "hunter2" in str(canonical(active(text), secrets=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", ("PXD-022", 10)),
        ("{tcp: false}", ("PXD-022", 10)),
        ("{path: /, tcp: true}", ("PXD-024", 20)),
        ("{tcp: true, expect: 204}", ("PXD-024", 22)),
        ("{tcp: yes}", ("PXD-030", 16)),
        ("{path: x}", ("PXD-038", 17)),
        ("{path: /, timeout: 9s}", ("PXD-039", 29)),
        ("{path: /, interval_down: 500ms}", ("PXD-039", 35)),
        ("{path: /, method: PUT}", ("PXD-034", 28)),
        ("{path: /, method: HEAD, body: x}", ("PXD-024", 34)),
        ("{path: /, body: ''}", ("PXD-022", 26)),
        ("{path: /, body: {regex: '('}}", ("PXD-038", 34)),
        ("{path: /, body: {regexp: x}}", ("PXD-021", 27)),
        ("{path: /, port: 0}", ("PXD-033", 26)),
        ("{path: /, headers: {Host: x}}", ("PXD-082", 30)),
        ("{path: /, header: {X: {prefix: a, suffix: b}}}", ("PXD-024", 44)),
        ("{path: /, header: {X: {}}}", ("PXD-022", 32)),
        ("{path: /, header: {X: {regex: 'a('}}}", ("PXD-038", 40)),
        ("{path: /, header: {X: ''}}", ("PXD-022", 32)),
        ("{path: /, expect: 20}", ("PXD-038", 28)),
        ("{redis: primary, tcp: true}", ("PXD-024", 11)),
        ("{udp: {send: a}, dns: b}", ("PXD-024", 27)),
        ("{redis: any, method: POST}", ("PXD-024", 23)),
        ("{redis: any, timeout: 9s}", ("PXD-039", 32)),
        ("{redis: master}", ("PXD-034", 18)),
        ("{redis: {password: x}}", ("PXD-022", 11)),
        ("{redis: {role: any, password: ''}}", ("PXD-038", 40)),
        ("{redis: {role: any, rolle: x}}", ("PXD-021", 30)),
        ("{postgres: primary}", ("PXD-030", 21)),
        ("{postgres: {role: primary}}", ("PXD-022", 11)),
        ('{postgres: {role: primary, user: "a\\0b"}}', ("PXD-038", 43)),
        ("{postgres: {role: primary, user: a, database: ''}}", ("PXD-038", 56)),
        ("{dns: a b}", ("PXD-038", 16)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    found = first_finding(f"upstreams: {{app: {{servers: 'a:1', health: {{\nactive: {text}}}}}}}\nlisten: :1\nto: app\n")
    assert found == (expected[0], 2, expected[1] - 1)
