from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from proxyd.snapshot.explain import Question, compile_unbound, explain
from proxyd.snapshot.limit_texts import Request
from proxyd.snapshot.verdicts import Meter, verdicts
from proxyd.state import PolicyVerdict
from proxyd_ext.auth.verdict import Verdicts
from proxyd_ext.filter.hooks import Hooks
from proxyd_ext.limit.ban import Bans
from proxyd_ext.limit.inflight import Inflight
from proxyd_ext.limit.rate import RateLimit
from proxyd_ext.snapshot.spec import (
    AccessFilter,
    AuthFilter,
    BanFilter,
    CorsFilter,
    Filter,
    InflightFilter,
    LimitKeyPart,
    Plan,
    PlanFilter,
    PythonFilter,
    RateLimitFilter,
    RequestFilter,
)
from tests.support.config import config_of

CONFIG = config_of("""
    listen: :80
    routes:
      - {name: guarded, match: /a, use: [marked, office, last], respond: 200}
      - {name: open, respond: 200}
    policies:
      office: {access: {allow: [10.0.0.0/8, "2001:db8::/32"]}}
      marked: {headers: {request: {set: {X-Env: prod, X-Two: "2"}}, response: {set: {X-By: proxyd}}}}
      last: {access: {deny: [10.9.0.0/16]}}
""")
MARKED = PolicyVerdict("marked", "sets X-Env, X-Two on the request and sets X-By on the answer")
PASS = "lets the client pass"
DENIED = "refuses: 403, access is denied"
LIMITS = config_of("""
    listen: :80
    routes: [{name: all, respond: 200}]
    policies:
      slow: {rate_limit: {rate: 20/s, burst: 40}}
      tenant: {rate_limit: {rate: 5/m, burst: 4, key: ["header:X-Tenant", path]}}
      in: {concurrency: 10}
      high: {priority: high}
      out: {ban: {after: 20, within: 1m, for: 10m}}
      own: {rate_limit: {rate: 100/s, key: user}}
""")
IP = (LimitKeyPart("client.ip"),)
REQUEST = Request("web", "all", "GET", "example.com", "/x", client="192.0.2.7", headers=(("X-Tenant", "acme"),))


def limit(policy: str, key: Sequence[LimitKeyPart] = IP, **more: Any) -> RateLimitFilter:
    return RateLimitFilter(policy, RateLimit(policy, requests=1, per_us=1_000_000, burst=0, capacity=1_000), key, **more)


@dataclass(frozen=True)
class Said:
    text: str
    remaining: int | None = None
    banned_seconds: float = 0.0


def say(*steps: Filter, request: Request = REQUEST, meter: Meter | None = None) -> list[tuple[str, str, bool]]:
    """What policies named as in LIMITS, whose filters these are, say."""
    policies = [(name, policy) for name, policy in LIMITS.policies.items() if name in {getattr(step, "policy", "") for step in steps}]
    return [(said.name, said.text, said.refuses) for said in verdicts(policies, steps, request, meter)]


class Known:
    """A meter that says what it is told, and keeps what it was asked."""

    def __init__(self, **said: Said) -> None:
        self.said = said
        self.asked: list[tuple[str, list[str]]] = []

    def __call__(self, step: Filter, texts: Sequence[str]) -> Said | None:
        name = str(getattr(step, "policy", ""))
        self.asked.append((name, list(texts)))
        return self.said.get(name)


@pytest.mark.parametrize(
    ("client", "office", "last"),
    [
        ("10.1.1.1", PolicyVerdict("office", PASS), PolicyVerdict("last", PASS)),
        ("2001:db8::7", PolicyVerdict("office", PASS), PolicyVerdict("last", PASS)),
        ("10.9.1.1", PolicyVerdict("office", PASS), PolicyVerdict("last", DENIED, True)),
        ("192.0.2.1", PolicyVerdict("office", DENIED, True), PolicyVerdict("last", "not asked")),
    ],
)
def test_each_policy_in_the_order_in_which_they_act(client: str, office: PolicyVerdict, last: PolicyVerdict) -> None:
    compiled = compile_unbound(CONFIG)
    [decision] = explain(compiled, Question("GET", "", "/a", client))
    marked = replace(MARKED, text="not asked") if office.refuses or last.refuses else MARKED
    assert decision.policies == (office, last, marked)
    assert (compiled.native.verdict(0, 0, client) == "denied") == (office.refuses or last.refuses), "the whole chain says the same"


def test_without_a_client_it_depends() -> None:
    [decision] = explain(compile_unbound(CONFIG), Question("GET", "", "/a"))
    unsaid = "depends on the client's address (--client IP)"
    assert decision.policies == (PolicyVerdict("office", unsaid), PolicyVerdict("last", unsaid), MARKED)


def test_a_route_without_policies() -> None:
    [decision] = explain(compile_unbound(CONFIG), Question("GET", "", "/b", "192.0.2.1"))
    assert (decision.route, decision.policies, decision.targets) == ("open", (), ())


def test_a_compressing_policy() -> None:
    config = config_of("""
        listen: :80
        routes: [{name: a, use: small, to: ["10.0.0.1:80"], cache: on}]
        policies: {small: {compress: {encodings: [br, gzip], min_size: 2KiB}}}
    """)
    [verdict] = verdicts(config.policies_of(config.routes[0]), (), REQUEST)
    assert verdict == PolicyVerdict("small", "compresses what the cache stores: br, gzip from 2KiB")


def test_limits_by_their_rules() -> None:
    steps = (limit("slow"), InflightFilter("in", Inflight("in"), IP, 10), limit("own", (LimitKeyPart("user"),)))
    assert say(*steps) == [
        ("slow", "20/s, burst 40, by client.ip", False),
        ("in", "10 in flight, by client.ip", False),
        ("own", "100/s, by user", False),
    ]


def test_what_limits_have_left() -> None:
    meter = Known(slow=Said("37 left, all 41 in 200 ms", 37))
    assert say(limit("slow"), meter=meter) == [("slow", "20/s, burst 40, by client.ip: 37 left, all 41 in 200 ms", False)]
    assert meter.asked == [("slow", ["192.0.2.7"])]
    none = Known(slow=Said("none left, the next in 50 ms", 0))
    refusal = "refuses: 429, none left, the next in 50 ms (20/s, burst 40, by client.ip)"
    assert say(limit("slow"), InflightFilter("in", Inflight("in"), IP, 10), meter=none) == [
        ("slow", refusal, True), ("in", "not asked", False)]
    assert say(limit("slow", dry_run=True), meter=none)[0][2] is False


def test_what_limits_count_by() -> None:
    key = (LimitKeyPart("header", "x-tenant"), LimitKeyPart("path"))
    meter = Known()
    say(limit("tenant", key), meter=meter)
    assert meter.asked == [("tenant", ["acme", "/x"])]
    parts = [
        LimitKeyPart("cookie", "c"), LimitKeyPart("query", "q"), LimitKeyPart("route"), LimitKeyPart("listener"), LimitKeyPart("method"),
    ]
    more = replace(REQUEST, headers=(("Cookie", "a=1; c=2; c=3"),), query="x=1&q=a%20b&q=2")
    say(*(limit("tenant", (part,)) for part in parts), request=more, meter=meter)
    assert [texts for _, [texts] in meter.asked[1:]] == ["2", "a%20b", "all", "web", "GET"]
    assert say(limit("tenant", (LimitKeyPart("cookie", "z"),)), meter=Known()) == [
        ("tenant", "5/m, burst 4, by header:X-Tenant and path: does not count a request without cookie:z", False)]


def test_what_a_limit_cannot_know() -> None:
    meter = Known()
    unnamed = replace(REQUEST, client="")
    assert say(limit("slow"), limit("own", (LimitKeyPart("user"),)), request=unnamed, meter=meter) == [
        ("slow", "20/s, burst 40, by client.ip: depends on the client's address (--client IP)", False),
        ("own", "100/s, by user: depends on who it is", False),
    ]
    assert meter.asked == []


def test_bans() -> None:
    step = BanFilter("out", Bans("out", after=20, within_us=60_000_000, for_us=600_000_000))
    rule = "20 refusals in 1m ban for 10m"
    assert say(step) == [("out", rule, False)]
    assert say(step, meter=Known(out=Said("not banned"))) == [("out", f"{rule}: not banned", False)]
    assert say(step, meter=Known(out=Said("banned for 9 min more", None, 540.0))) == [
        ("out", f"refuses: 403, banned for 9 min more ({rule})", True)]


def test_in_the_order_of_their_ranks_whatever_the_order_of_use() -> None:
    steps = (
        BanFilter("b", Bans("b", after=1, within_us=1, for_us=1)), AccessFilter(default_allow=True, policy="a"), CorsFilter("c", ("*",)),
        RequestFilter("r", frozenset({"GET", "HEAD"}), 1 << 20), limit("slow"), AuthFilter("k", Verdicts("k"), "header", "X-API-Key"),
        PlanFilter("k", (Plan("gold"), Plan("free"))), limit("own", (LimitKeyPart("user"),)), PythonFilter("p", Hooks("p"), 50),
    )
    policies = [(name, LIMITS.policies[name]) for name in ("slow", "own", "high")] + [("marked", CONFIG.policies["marked"])]
    found = verdicts(policies, steps, REQUEST)
    assert [said.name for said in found] == ["high", "b", "a", "c", "r", "slow", "k", "k", "own", "marked", "p"]
    texts = {said.name: said.text for said in found}
    assert texts["high"] == "requests are of class high"
    assert texts["r"] == "takes GET and HEAD, bodies up to 1 MiB"
    assert texts["k"] == "the key's plan: gold, free"
    assert texts["p"] == "asks a filter, for 50 ms at most; when it fails, the request is refused with 503"


def test_methods_that_are_not_served() -> None:
    step = RequestFilter("r", frozenset({"GET", "HEAD"}))
    assert say(step, request=replace(REQUEST, method="POST")) == [("r", "refuses: 405, the method is not allowed", True)]
    assert say(step) == [("r", "takes GET and HEAD", False)]


@pytest.mark.parametrize(
    ("source", "name", "headers", "text"),
    [
        ("bearer", "", (), "wants a token in `Authorization: Bearer`: without one it is refused with 401"),
        ("bearer", "", (("Authorization", "bearer x"),), "checks the token in `Authorization: Bearer`"),
        ("bearer", "", (("Authorization", "Basic x"),), "wants a token in `Authorization: Bearer`: without one it is refused with 401"),
        ("basic", "", (), "wants a name and a password in `Authorization: Basic`: without one it is refused with 401"),
        ("basic", "", (("Authorization", "Basic eDp5"),), "checks the name and the password in `Authorization: Basic`"),
        ("header", "X-API-Key", (("x-api-key", "k"),), "checks the key in the field `X-API-Key`"),
        ("cookie", "sid", (("Cookie", "sid=1"),), "checks the key in the cookie `sid`"),
        ("query", "key", (), "wants a key in the parameter `key`: without one it is refused with 401"),
    ],
)
def test_credentials(source: Any, name: str, headers: Any, text: str) -> None:
    assert say(AuthFilter("k", Verdicts("k"), source, name), request=replace(REQUEST, headers=headers)) == [("k", text, False)]


def test_other_ways_to_say_who_one_is() -> None:
    optional = AuthFilter("k", Verdicts("k"), "bearer", optional=True)
    assert say(optional)[0][1] == "wants a token in `Authorization: Bearer`: without one a request passes as nobody"
    service = AuthFilter("k", Verdicts("k"), "fields", fields=("authorization", "cookie"))
    assert say(service)[0][1] == "asks a service, with the request's authorization and cookie"


def test_pages_of_other_origins() -> None:
    step = CorsFilter("c", ("https://app.example.com",))
    page = replace(REQUEST, headers=(("Origin", "https://app.example.com"),))
    preflight = replace(page, method="OPTIONS", headers=(*page.headers, ("Access-Control-Request-Method", "PUT")))
    assert [say(step, request=each)[0][1] for each in (REQUEST, page, preflight)] == [
        "answers pages of https://app.example.com; the request names no Origin",
        "adds what pages of https://app.example.com may do",
        "answers this preflight, for pages of https://app.example.com",
    ]
