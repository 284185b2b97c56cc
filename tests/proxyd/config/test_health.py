from __future__ import annotations

import pytest

from proxyd.config.model import Health, Latency, Passive, SuccessRate
from tests.support.config import first_finding, upstream_of


def health(text: str) -> Health:
    return upstream_of(f"health: {text}").health


def passive(text: str) -> Passive:
    found = health(f"{{passive: {text}}}").passive
    assert found is not None
    return found


def test_in_all_its_forms() -> None:
    for text in ("{active: /x}", "{active: {path: /x}}", "{active: [/x]}", "{active: [{path: /x}]}"):
        assert health("/x") == health(text)
    assert health("tcp").active[0].tcp is not None
    assert health("none") == upstream_of("").health
    assert health("none").passive is not None
    assert health("{passive: none}").passive is None
    assert passive("{eject: 5s}").eject == 5_000


def test_several_checks() -> None:
    assert [active.path for active in health("{active: [/a, tcp, {path: /b, rise: 1}]}").active] == ["/a", None, "/b"]


@pytest.mark.parametrize(
    "text",
    ["redis: primary", "postgres: {role: any, user: u}", "dns: a.example", "udp: {send: a}", "tcp: {expect: a}", "path: /x", "tcp: true"],
)
def test_one_check_in_short(text: str) -> None:
    """Beside the options of `health` itself."""
    assert health(f"{{{text}}}") == health(f"{{active: [{{{text}}}]}}")
    assert health(f"{{panic: 10%, interval: 9s, {text}, passive: none}}") == health(
        f"{{active: [{{{text}, interval: 9s}}], panic: 10%, passive: none}}")


def test_what_is_off_unless_it_is_asked_for() -> None:
    plain = passive("{}")
    assert (plain.error_rate, plain.success_rate, plain.latency) == (None, None, None)
    asked = passive("{consecutive_5xx: none, error_rate: 50%, success_rate: on, latency: {factor: 2.5}}")
    assert (asked.consecutive_5xx, asked.error_rate, asked.success_rate) == (0, 50, SuccessRate())
    assert asked.latency is not None
    assert (asked.latency.factor, asked.latency.min_servers) == (250, Latency().min_servers)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("off", ("PXD-034", 9)),
        ("{panic: 5}", ("PXD-031", 17)),
        ("{fail_open: on}", ("PXD-030", 21)),
        ("{passive: {eject: 10m}}", ("PXD-039", 27)),
        ("{passive: {eject: 10s, eject_max: 5s}}", ("PXD-039", 43)),
        ("{passive: {error_rate: 0%}}", ("PXD-033", 32)),
        ("{passive: {success_rate: {deviations: -1}}}", ("PXD-032", 47)),
        ("{passive: {success_rate: yes}}", ("PXD-030", 34)),
        ("{passive: {latency: {factor: 1}}}", ("PXD-033", 38)),
        ("{passive: {latency: {min_servers: 1}}}", ("PXD-033", 43)),
        ("{active: [/a, b]}", ("PXD-038", 23)),
        ("{active: tcp, redis: primary}", ("PXD-024", 23)),
        ("{redis: primary, intervall: 1s}", ("PXD-021", 26)),
        ("{redis: primary, udp: {send: a}}", ("PXD-024", 10)),
        ("{redis: master}", ("PXD-034", 17)),
        ("{interval: 1s}", ("PXD-021", 10)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    found = first_finding(f"upstreams: {{app: {{servers: 'a:1',\nhealth: {text}}}}}\nlisten: :1\nto: app\n")
    assert found == (expected[0], 2, expected[1])
