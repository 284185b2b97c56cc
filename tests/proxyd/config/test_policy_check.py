from __future__ import annotations

import pytest

from proxyd.config import load_text
from proxyd.config.policy_check import AUTHS_MAX, LIMITS_MAX
from proxyd.diagnostics.diagnostic import Diagnostic
from tests.support.config import first_finding


def findings(text: str) -> list[Diagnostic]:
    return [found for found in load_text(text, env={}).diagnostics if found.severity == "error"]


def with_policies(policy: str, number: int) -> str:
    names = [f"p{index}" for index in range(number)]
    policies = ", ".join(f"{name}: {policy.replace('NAME', name)}" for name in names)
    return f"listen: :1\nroutes: [{{to: 'a:1', use: [{', '.join(names)}]}}]\nplans: {{gold: {{rate: 1/s}}}}\npolicies: {{{policies}}}\n"


@pytest.mark.parametrize(("kind", "use", "defaults", "column"), [
    ("{ban: {after: 3}}", "[p0, p1]", "[]", 32), ("{cors: 'https://x.example'}", "[p0, p1]", "[]", 32),
    ("{ban: {after: 3}}", "[p1]", "[p0]", 28), ("{ban: {after: 3}}", "[]", "[p0, p1]", 10),
])
def test_a_route_has_one_of_a_kind(kind: str, use: str, defaults: str, column: int) -> None:
    policies = f"policies: {{p0: {kind}, p1: {kind}}}\n"
    text = f"listen: :1\nroutes: [{{to: 'a:1', use: {use}}}]\ndefaults: {{use: {defaults}}}\n{policies}"
    assert first_finding(text) == ("PXD-024", 2, column)
    [found] = findings(text)
    assert found.message.startswith("`p0` and `p1` exclude one another: a route has one `")


@pytest.mark.parametrize(("policy", "most"), [
    (f"{{auth: {{api_key: {{keys: {{NAME: {{sha256: {'0' * 64}}}}}}}}}}}", AUTHS_MAX),
    ("{rate_limit: {rate: 1/s, burst: 5}}", LIMITS_MAX),
    ("{concurrency: 5}", LIMITS_MAX),
    ("{headers: {request: {set: {X-A: b}}}}", 29),
])
def test_a_route_has_as_many_as_engines_have_room_for(policy: str, most: int) -> None:
    assert findings(with_policies(policy, most)) == []
    [found] = findings(with_policies(policy, most + 1))
    assert (found.code, found.path) == ("PXD-033", "routes[0].use")
    assert found.message.startswith(f"the route has {most + 1 if most < 29 else 33} ")


def test_usage_plans_are_rate_limits() -> None:
    text = with_policies("{rate_limit: {rate: 1/s, burst: 5}}", LIMITS_MAX).replace(
        "policies: {", f"policies: {{keys: {{auth: {{api_key: {{keys: {{ann: {{sha256: {'0' * 64}, plan: gold}}}}}}}}}}, ")
    assert findings(text) == []
    [found] = findings(text.replace("use: [", "use: [keys, "))
    assert found.message == "the route has 17 rate limits and usage plans"
