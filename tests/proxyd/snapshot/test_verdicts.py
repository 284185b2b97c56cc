from __future__ import annotations

from functools import partial

import pytest

from proxyd.snapshot.build_policies import build_policy
from proxyd.snapshot.explain import Question, compile_unbound, explain
from proxyd.snapshot.store import Store
from proxyd.snapshot.verdicts import verdicts
from proxyd.state import PolicyVerdict
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
build_filters = partial(build_policy, CONFIG, Store().handles())
GUARDED = CONFIG.policies_of(CONFIG.routes[0])
MARKED = PolicyVerdict("marked", "sets X-Env, X-Two on the request and sets X-By on the answer")
PASS = "lets the client pass"
DENIED = "refuses: 403, access is denied"


@pytest.mark.parametrize(
    ("client", "office", "last"),
    [
        ("10.1.1.1", PolicyVerdict("office", PASS), PolicyVerdict("last", PASS)),
        ("2001:db8::7", PolicyVerdict("office", PASS), PolicyVerdict("last", PASS)),
        ("10.9.1.1", PolicyVerdict("office", PASS), PolicyVerdict("last", DENIED, True)),
        ("192.0.2.1", PolicyVerdict("office", DENIED, True), PolicyVerdict("last", "not asked")),
    ],
)
def test_each_policy_in_order_up_to_a_refusal(client: str, office: PolicyVerdict, last: PolicyVerdict) -> None:
    assert verdicts(GUARDED, client, build_filters) == (MARKED, office, last)
    native = compile_unbound(CONFIG).native.verdict(0, 0, client)
    assert (native == "denied") == (office.refuses or last.refuses), "the whole chain says the same"


def test_without_a_client_it_depends() -> None:
    assert verdicts(GUARDED, "", build_filters) == (
        MARKED,
        PolicyVerdict("office", "depends on the client's address (--client IP)"),
        PolicyVerdict("last", "depends on the client's address (--client IP)"),
    )


def test_a_decision_brings_them_along() -> None:
    compiled = compile_unbound(CONFIG)
    guarded, = explain(compiled, Question("GET", "", "/a", "192.0.2.1"))
    assert [verdict.refuses for verdict in guarded.policies] == [False, True, False]
    unguarded, = explain(compiled, Question("GET", "", "/b", "192.0.2.1"))
    assert (unguarded.route, unguarded.policies, unguarded.targets) == ("open", (), ())


def test_a_compressing_policy() -> None:
    config = config_of("""
        listen: :80
        routes: [{name: a, use: small, to: ["10.0.0.1:80"], cache: on}]
        policies: {small: {compress: {encodings: [br, gzip], min_size: 2KiB}}}
    """)
    [verdict] = verdicts(config.policies_of(config.routes[0]), "10.1.1.1", build_filters)
    assert verdict == PolicyVerdict("small", "compresses what the cache stores: br, gzip from 2KiB")
