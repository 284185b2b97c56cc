"""Tests of a config, over real native tables."""
from __future__ import annotations

import pytest

from proxyd.snapshot.rehearsal import rehearse
from tests.support.config import config_of

CONFIG = """
listeners:
  web: {bind: "127.0.0.1:8080"}
  plain: {bind: "127.0.0.1:8081", redirect: "https://{host}{path}{query}"}
  pg: {bind: "127.0.0.1:5432", mode: tcp, to: "127.0.0.1:9", allow: [10.0.0.0/8]}
  sni: {bind: "127.0.0.1:8443", mode: tls_passthrough, routes: [{name: inner, match: "*.internal", to: app}]}
upstreams: {app: ["127.0.0.1:9001"], api: ["127.0.0.1:9002"], canary: ["127.0.0.1:9003"]}
policies:
  office: {access: {allow: [192.0.2.0/24], deny: all}}
  get-only: {request: {methods: [GET]}}
  by-key: {rate_limit: {rate: 10/s, burst: 5, key: "header:X-Key"}}
  env: {headers: {request: {set: {X-Env: prod}, add: {X-Hop: b}, remove: [X-Debug]}}}
routes:
  - {name: gone, match: /old/*, redirect: {to: "/new{path}{query}", status: 301}}
  - {name: admin, match: /admin/*, to: app, use: [office]}
  - {name: read, match: /read/*, to: app, use: [get-only]}
  - {name: api, match: "GET /api/*", to: {api: 95, canary: 5}, use: [by-key, env], cache: 10m}
  - {name: robots, match: /robots.txt, respond: 204}
  - {name: shop, match: shop.example/*, to: app}
"""


def misses(test: str) -> list[tuple[str, str, str]]:
    config = config_of(f"{CONFIG}tests: [{{{test}}}]\n")
    return [(item.path.removeprefix("tests[0]."), item.message, item.help) for item in rehearse(config) if item.code == "PXD-055"]


@pytest.mark.parametrize(
    "test",
    [
        "request: /old/x?a=b, status: 301, redirect: '/new/old/x?a=b', route: gone",
        "request: 'http://a.example:81/x?a=b', listener: plain, redirect: 'https://a.example:81/x?a=b', status: 308",
        "request: /admin/x, client: 192.0.2.7, route: admin, refused: none, upstream: app, policies: [office]",
        "request: /admin/x, client: 198.51.100.7, route: admin, refused: office, status: 403",
        "request: POST /read/x, refused: get-only, status: 405, cache_key: none",
        "request: 'GET /api/a/../b', route: api, upstream: [canary, api], cache_key: 'http:///api/b', headers: {X-Key: a}, limit: by-key",
        "request: /api/x, headers: {X-Debug: on, X-Hop: a}, sends: {X-Env: prod, x-debug: none, X-Hop: 'a, b', X-Key: none}",
        "request: /robots.txt, status: 204, route: robots",
        "request: /nothing, route: none, status: 404",
        "request: TRACE /robots.txt, status: 405",
        "request: shop.example/nothing, route: shop",
        "request: /nothing, headers: {Host: shop.example}, route: shop",
        "request: 'tcp://:5432', client: 10.1.2.3, route: pg, upstream: pg, refused: none",
        "request: 'tcp://:5432', client: 11.1.2.3, refused: pg",
        "request: 'tls://a.internal:8443', route: inner, upstream: app",
        "request: 'tls://a.example:8443', route: none",
    ],
)
def test_what_is_as_expected(test: str) -> None:
    assert misses(test) == []


@pytest.mark.parametrize(
    ("test", "field", "message", "help_"),
    [
        ("request: /api/x, route: shop", "route", "expected the route `shop`, and it takes the route `api`, to api 95, canary 5 (cached)",
         "`api` stands before `shop`, and the first route that matches wins"),
        ("request: POST /api/x, route: api", "route", "expected the route `api`, and it gets 404 no route",
         "`api` does not match: method differs"),
        ("request: /robots.txt, route: none", "route", "expected no route, and it takes the route `robots`, respond 204", ""),
        ("request: shop.example/x, upstream: api", "upstream", "expected the upstream `api`, and it may be sent to `app`", ""),
        ("request: /nothing, upstream: api", "upstream", "expected the upstream `api`, and it gets 404 no route", ""),
        ("request: /robots.txt, status: 200", "status",
         "expected the status 200, and it is 204: it takes the route `robots`, respond 204", ""),
        ("request: shop.example/x, status: 200", "status",
         "expected 200 of proxyd itself, and a server answers: it takes the route `shop`, to app", "expect `route` or `upstream`"),
        ("request: /old/x, redirect: /new", "redirect", "expected a redirect to `/new`, and it is to `/new/old/x`", ""),
        ("request: /robots.txt, redirect: /new", "redirect", "expected a redirect, and it takes the route `robots`, respond 204", ""),
        ("request: shop.example/x, policies: office", "policies",
         "the policy `office` is not in force: the route `shop` uses none", ""),
        ("request: /api/x, policies: office", "policies",
         "the policy `office` is not in force: the route `api` uses `by-key`, `env`", ""),
        ("request: /api/x, limit: by-key", "limit", "`by-key` does not count it: the request brings no header x-key", ""),
        ("request: /robots.txt, limit: per-ip", "limit", "`per-ip` does not limit it: the route `robots` does not use it", ""),
        ("request: /api/x, limit: env", "limit", "`env` does not limit it: it is no `rate_limit` and no `concurrency`", ""),
        ("request: /admin/x, refused: office", "refused", "expected that `office` refuses it, and it takes the route `admin`, to app",
         "add `client: ADDRESS` to the test"),
        ("request: /admin/x, refused: none, client: 1.2.3.4", "refused",
         "expected that nobody refuses it, and `office` refuses: 403, access is denied", ""),
        ("request: /api/x, cache_key: 'https:///api/x'", "cache_key",
         "expected the key `https:///api/x`, and it is `http:///api/x`", ""),
        ("request: /api/x, cache_key: none", "cache_key", "expected nothing stored, and it is `http:///api/x`", ""),
        ("request: shop.example/x, cache_key: x", "cache_key", "expected the key `x`, and it is none: the route has no `cache`", ""),
        ("request: /api/x, sends: {X-Env: dev}", "sends.X-Env", "expected `X-Env: dev`, and it is `prod`", ""),
        ("request: /api/x, sends: {X-Env: none}", "sends.X-Env", "expected that `X-Env` is not sent, and it is `prod`", ""),
        ("request: /api/x, sends: {X-New: a}", "sends.X-New", "expected `X-New: a`, and it is not sent", ""),
        ("request: /robots.txt, sends: {X-Env: none}", "sends", "no server is sent anything: it takes the route `robots`, respond 204", ""),
        ("request: 'tcp://:5433', upstream: pg", "request", "no listener takes `tcp://:5433`", "see `mode` and `bind` of the listeners"),
        ("request: 'tcp://:5432', upstream: pg, listener: web", "request", "no listener takes `tcp://:5432` on `web`",
         "see `mode` and `bind` of the listeners"),
        ("request: 'tcp://:5432', upstream: api", "upstream", "expected the upstream `api`, and it may be sent to `pg`", ""),
    ],
)
def test_what_is_not(test: str, field: str, message: str, help_: str) -> None:
    assert misses(test) == [(field, message, help_)]


def test_what_hangs_on_the_route_is_told_once() -> None:
    assert [field for field, _, _ in misses("request: /api/x, route: shop, upstream: app, status: 200, cache_key: none")] == ["route"]


def test_listeners_that_differ_are_named() -> None:
    config = config_of("""
        listeners: {a: {bind: "127.0.0.1:1", respond: 204}, b: {bind: "127.0.0.1:2", respond: 403}}
        tests: [{request: /x, status: 204}]
    """)
    assert [item.message for item in rehearse(config)] == [
        "expected the status 204, and it is 403: it takes the route `default`, respond 403 on `b`"
    ]
