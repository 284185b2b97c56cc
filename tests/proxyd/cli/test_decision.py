from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from proxyd.cli.decision import balancer_words, lines_of, load, target_lines, traits
from proxyd.state import BalancerView, CandidateView, RouteDecision, TargetView


def decision(address: str, count: int) -> dict[str, Any]:
    why_not = [(f"r{number}", ["path"] if number % 2 else ["host", "path"]) for number in range(count)]
    return asdict(RouteDecision("web", address, "/a", "api", "respond 200", (), tuple((name, tuple(parts)) for name, parts in why_not)))


def test_the_addresses_of_a_listener_share_an_answer() -> None:
    lines = lines_of(("GET", "", "/a"), "x", [decision(":80", 1), decision("unix:/run/a", 1), decision(":81", 0)])
    assert lines[1:] == [
        "  web :80, unix:/run/a: route api, respond 200", "      not r0: host and path differ", "  web :81: route api, respond 200"]


def test_of_many_other_routes_the_nearest_are_told() -> None:
    lines = lines_of(("GET", "", "/a"), "x", [decision(":80", 30)])
    assert len(lines) == 2 + 12 + 1
    assert lines[2:5] == ["      not r1: path differs", "      not r3: path differs", "      not r5: path differs"]
    assert lines[-1] == "      nor 18 other routes (-v tells of all)"
    assert len(lines_of(("GET", "", "/a"), "x", [decision(":80", 30)], every=True)) == 2 + 30


SERVER = CandidateView("10.0.0.1:80", "10.0.0.1:80", 2, False, "up", "", 900.0, effective_weight=2.0)


def shown(**words: Any) -> dict[str, Any]:
    return asdict(replace(SERVER, **words))


def test_what_a_balancer_weighs() -> None:
    assert load(shown()) == ""
    assert load(shown(effective_weight=None)) == ""
    assert load(shown(effective_weight=0.66, in_flight=3, latency_seconds=0.0123)) == "3 in flight, 12.3 ms, counts 0.66"
    assert load(shown(max_requests=10)) == "0 in flight of 10"
    assert load(shown(effective_weight=0.0)) == "not drawn from"
    assert load(shown(effective_weight=0.0, state="down")) == "", "its state says why"


def test_what_a_server_is() -> None:
    assert traits(shown(weight=1)) == ""
    assert traits(shown(source="app:80", backup=True, tier=1)) == "of app:80, weight 2, backup"
    assert traits(shown(backup=True, tier=3)) == "weight 2, tier 3"
    assert traits(shown(weight=1, zone="b", local=False)) == "zone b (another)"
    assert traits(shown(weight=1, zone="a")) == "zone a"


def test_what_is_not_as_usual_about_a_balancer() -> None:
    assert balancer_words(asdict(BalancerView(False, False, 0, "closed"))) == []
    assert balancer_words(asdict(BalancerView(True, False, 1, "half_open"))) == [
        "panic: health is ignored", "tier 1 serves", "the circuit is half open"]
    assert balancer_words(asdict(BalancerView(False, True, 0, "open"))) == [
        "nothing is usable: health is ignored", "the circuit is open"]


def test_a_target_with_its_servers_and_facts() -> None:
    target = TargetView(
        "app", 95, 0.95, "p2c", (SERVER, replace(SERVER, label="10.0.0.2:80", source="10.0.0.2:80", in_flight=1)), "target",
        BalancerView(False, False, 1, "closed"), (("retry", "none"),),
    )
    assert target_lines(asdict(target)) == [
        "      95% app: 2 servers, chosen by p2c; tier 1 serves",
        "          10.0.0.1:80  weight 2  up",
        "          10.0.0.2:80  weight 2  up  1 in flight",
        "          retry: none",
    ]
    assert target_lines(asdict(replace(target, role="failover", share=0.0)))[0].startswith("      failover app: ")


def test_facts_of_the_route_stand_before_its_targets() -> None:
    target = asdict(TargetView("app", 1, 1.0, "p2c", ()))
    found = decision("127.0.0.1:80", 0) | {"facts": [("mirror", "1% copied to next")], "targets": [target]}
    assert lines_of(("GET", "", "/a"), "x", [found])[2:] == ["      mirror: 1% copied to next", "      app: 0 servers, chosen by p2c"]
    refused = found | {"policies": [{"name": "office", "text": "refuses", "refuses": True}]}
    assert lines_of(("GET", "", "/a"), "x", [refused])[2:] == ["      policy office: refuses"]
