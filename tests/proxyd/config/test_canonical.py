from __future__ import annotations

from typing import Any

import pytest
import yaml

from proxyd.config import Config, load_text
from proxyd.config.canonical import canonical, canonical_text, config_hash, dump
from proxyd.config.model import Cache, Limits, Passive, Retry
from proxyd.diagnostics.compose import compose
from proxyd.diagnostics.diagnostic import Source
from proxyd.diagnostics.marked import mark


def config(text: str, **env: str) -> Config:
    loaded = load_text(text, env=env).config
    assert loaded is not None
    return loaded


SHORT = "listen: :8080\nto: [127.0.0.1:9001]\n"
LONG = """\
routes:
  - name: default
    to: {default: 100}
listeners: {default: {bind: [":8080"]}}
upstreams:
  default:
    balance: {kind: round_robin}
    servers: [{weight: 1, address: "127.0.0.1:9001"}]
    timeout: {connect: 3000ms}
"""


def test_short_and_long_forms_are_one_config() -> None:
    assert config(SHORT) == config(LONG)
    assert config_hash(config(SHORT)) == config_hash(config(LONG))


def test_every_shorthand_is_written_out() -> None:
    shown: dict[str, Any] = canonical(config(SHORT + "log: {access: none}\n"))
    assert shown["listeners"] == {"default": {"bind": [":8080"], "mode": "http", "limits": canonical(Limits())}}
    assert canonical(Limits())["header_size"] == "16KiB"
    assert canonical(Limits())["body_size"] == "none"
    assert shown["log"] == {"level": "info", "access": "none", "audit": {"size": "16MiB", "keep": 9}}
    assert "listen" not in shown
    assert shown["upstreams"]["default"]["health"] == {"passive": canonical(Passive()), "panic": "0%", "fail_open": False}
    assert canonical(Passive())["latency"] == "none"
    assert canonical(Retry())["backoff"] == {"base": "25ms", "factor": 2, "max": "250ms", "jitter": "full"}


def test_the_text_is_yaml_for_the_same() -> None:
    loaded = config(SHORT)
    assert yaml.safe_load(canonical_text(loaded)) == canonical(loaded)
    assert load_text(canonical_text(loaded), env={}).config == loaded


@pytest.mark.parametrize(
    "text",
    [
        "balance: ip_hash",
        "balance: {maglev: 'header:X', bounded_load: 1.25}",
        "sticky: source",
        "sticky: {cookie: {name: a, max_age: 1d, same_site: none, secure: true, secret: 0123456789abcdef}}",
        "sticky: {app_cookie: SID}",
        "zones: none",
        "retry: none",
        "retry: {when: [5xx, timeout], budget: 50%, backoff: {base: 2s, factor: 1.5, max: 8s, jitter: none}, retry_after: none}",
        "retry: {backoff: none, idempotency_key: true}",
        "circuit: {max_requests: 5, max_pending: 2, error_ratio: 50%, adaptive: {tolerance: 1.5}}",
        "health: {active: tcp, passive: {success_rate: on, latency: on, consecutive_5xx: none, error_rate: 50%}}",
        "health: {active: [/a, tcp, {tcp: {send: \"a\\r\\n\", expect: b}, port: 5}]}",
        "health: {active: {path: /a, body: {regex: '^ok'}, header: {X-A: b, X-C: {present: false}, X-D: {regex: a+, not: true}}}}",
        "health: {active: {path: /a, body: ok, method: POST, headers: {A: b}, interval_down: 30s, jitter: 0%, initial: up}}",
        "health: {passive: none, panic: 50%, fail_open: true}",
    ],
)
def test_the_canonical_form_of_an_upstream_loads_to_the_same(text: str) -> None:
    loaded = config(f"listen: :1\nto: a\nupstreams: {{a: {{servers: ['a:1', {{address: 'b:1', zone: x, priority: 3}}], {text}}}}}\n")
    assert load_text(canonical_text(loaded, secrets=True), env={}).config == loaded


@pytest.mark.parametrize(
    "text",
    [
        "sticky: {cookie: x}, failover: b, mirror: {to: b, sample: 0.5%}",
        "sticky: {header: X}, failover: {to: b, when: 5xx}, mirror: b, hedge: p99",
        "hedge: 200ms, retry: none, timeout: {per_try: 1s}",
        "match: {path: {regex: '^/v1'}, host: {regex: a}, header: {A: b, C: {regex: d, not: true}}, query: {e: {present: false}}}",
        "match: {source: '::1', cookie: {a: {suffix: b}}}",
        "match: /a/*, rewrite: {replace_prefix: {from: /a, to: /}, host: 'x.y:80', headers: {request: {remove: A, add: {B: c}}}}",
        "match: /a/*, rewrite: {strip_prefix: /a}",
        "cache: on",
        "cache: 10m",
        "cache: {ttl: {override: 1h}, grace: none, negative: 5s, heuristic: none, key: [path, 'query:b,a', 'header:X-A', 'cookie:c']}",
        "cache: {ttl: {min: 1s, max: 1d}, grace: {stale_if_error: 1h}, negative: {ttl: 1s, statuses: 4xx}}",
        "cache: {heuristic: {percent: 5%, max: 1h}, bypass: {}}",
        "cache: {bypass: ['header:X-A', 'cookie:b'], tags: none, set_cookie: strip, collapse: none, uncacheable: none, share: false}",
        "cache: {bypass: {query: {a: {regex: '^x', not: true}}}, tags: ['header:X-Tags'], collapse: 1s, max_object: 1MiB, variants: 1}",
        "error_pages: {404: {body: ''}, 5xx: {body: x, intercept: true}}",
    ],
)
def test_the_canonical_form_of_a_route_loads_to_the_same(text: str) -> None:
    loaded = config(f"listen: :1\nroutes: [{{to: {{a: 1, b: 1}}, {text}}}]\nupstreams: {{a: 'a:1', b: 'b:1'}}\n")
    assert load_text(canonical_text(loaded, secrets=True), env={}).config == loaded


@pytest.mark.parametrize(
    "text",
    [
        "{memory: 1GiB}",
        "{memory: {snapshot: /a/b}, shared: 'redis://u:p%40ss@[::1]:1/2'}",
        "{memory: {snapshot: {file: /a/b, every: none}}, tiers: memory, shared: 'a.internal:11211'}",
        "{shared: {redis: 'rediss://:p@a', prefix: '', timeout: 1ms, circuit: {failures: 1, open_for: 1m}}, purge: {allow: [10.0.0.0/8]}}",
        "{shared: ['a.internal:1', 'b.internal:1']}",
        "{shared: {memcached: 'unix:/run/m.sock', max_object: 1KiB}, aside: {max_value: 1KiB, ttl: 1d}}",
        "{shared: {redis: 'unix:/run/r.sock?db=3'}}",
    ],
)
def test_the_canonical_form_of_the_cache_loads_to_the_same(text: str) -> None:
    loaded = config(f"listeners: {{a: {{bind: '127.0.0.1:1', mode: cache}}}}\ncache: {text}\n")
    assert loaded.cache != Cache()
    assert load_text(canonical_text(loaded, secrets=True), env={}).config == loaded


def test_the_password_of_a_tier_is_hidden_and_counts() -> None:
    def one(url: str, **env: str) -> Config:
        return config(f"listeners: {{a: {{bind: '127.0.0.1:1', mode: cache}}}}\ncache: {{shared: '{url}'}}\n", **env)

    plain, other = one("redis://:secret@a"), one("redis://:other@a")
    assert "redis: redis://:***@a:6379/0" in canonical_text(plain)
    assert config_hash(plain) != config_hash(other)
    outside = one("redis://:${env:PW}@a", PW="secret")
    assert "redis: '***'" in canonical_text(outside)
    assert config_hash(outside) == config_hash(plain)


@pytest.mark.parametrize("text", ["on", "br", "[gzip, br]", "{types: text/html, min_size: 10B}"])
def test_the_canonical_form_of_a_compressing_policy_loads_to_the_same(text: str) -> None:
    loaded = config(f"listen: :1\nroutes: [{{to: ['a:1'], use: p, cache: on}}]\npolicies: {{p: {{compress: {text}}}}}\n")
    assert load_text(canonical_text(loaded), env={}).config == loaded


def test_an_empty_policy_stays_one() -> None:
    loaded = config("listen: :1\nroutes: [{respond: 200, use: p}]\npolicies: {p: {headers: {}}}\n")
    assert load_text(canonical_text(loaded), env={}).config == loaded


def test_what_matters_changes_the_hash() -> None:
    base = "listen: :1\nroutes: [{match: /a, respond: 200}, {match: /b, respond: 200}]\nupstreams: {a: 'a:1', b: 'b:1'}\n"
    same = "listen: [':1']\nupstreams: {b: 'b:1', a: 'a:1'} # x\nroutes:\n- {respond: {status: 200}, match: /a}\n"
    same += "- {match: {path: /b}, respond: 200}\n"
    other_order = "listen: :1\nroutes: [{match: /b, respond: 200}, {match: /a, respond: 200}]\nupstreams: {a: 'a:1', b: 'b:1'}\n"
    assert config_hash(config(base)) == config_hash(config(same)) != config_hash(config(other_order))
    assert len(config_hash(config(base))) == 12


SECRET = "listen: :1\nroutes: [{respond: {headers: {X-Key: 'Bearer ${env:TOKEN}'}}}]\n"


def test_secrets_are_hidden_and_still_count() -> None:
    one, two = config(SECRET, TOKEN="hunter2"), config(SECRET, TOKEN="hunter3")
    assert "hunter2" not in canonical_text(one)
    assert "X-Key: '***'" in canonical_text(one)
    assert "hunter2" in canonical_text(one, secrets=True)
    assert config_hash(one) != config_hash(two)


def test_line_ends_of_unicode_survive() -> None:
    loaded = config('listen: :1\nroutes: [{respond: {body: "a\\x85b\\u2028c é\\n"}}]\n')
    assert load_text(canonical_text(loaded), env={}).config == loaded


@pytest.mark.parametrize("text", ["1e5", "0E0", "0o17", "0x1f", "1.10", "true", "null", "~", "on", "22:30", "1_000", ".5", "a: b", ""])
def test_text_that_looks_like_something_else_stays_text(text: str) -> None:
    root, found = compose(Source("x", dump({"a": text})))
    assert root is not None
    assert (mark(root, []), found) == ({"a": text}, [])
