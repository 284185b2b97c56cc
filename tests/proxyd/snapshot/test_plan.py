from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxyd.config import Config, load_text
from proxyd.snapshot.plan import plan
from tests.support.config import config_of

BASE = """
    listeners:
      web: {bind: ["127.0.0.1:8080", "unix:/run/web.sock"]}
      own: {bind: ["127.0.0.1:8081"], routes: [{name: only, respond: 404}]}
      tls: {bind: ["127.0.0.1:8443"], mode: tls_passthrough, routes: [{name: inside, match: "*.internal", to: db}], to: db}
      pg: {bind: ["127.0.0.1:5432"], mode: tcp, to: db}
    routes:
      - {name: api, match: /api/*, to: {app: 90, canary: 10}, use: [office]}
      - {name: rest, to: app}
    policies: {office: {access: {allow: [10.0.0.0/8]}}}
    upstreams:
      app: {servers: [10.0.0.1:80, {address: "10.0.0.2:80", weight: 2}], health: /healthz}
      canary: {servers: [10.0.0.9:80]}
      db: {servers: [10.0.0.8:80]}
"""


def texts(*edits: tuple[str, str]) -> list[str]:
    """The plan's sentences from BASE to BASE with these replacements."""
    after = BASE
    for old, new in edits:
        assert old in after
        after = after.replace(old, new)
    return [change.text for change in plan(config_of(BASE), config_of(after))]


def test_the_same_config_in_other_words_is_no_change() -> None:
    assert texts(("health: /healthz", "health: {active: {path: /healthz}}"), ("respond: 404", "respond: {status: 404}")) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("weight: 2", "weight: 5", ["server app/10.0.0.2:80: weight: 2 -> 5"]),
        ("weight: 2", "backup: true", ["server app/10.0.0.2:80: weight: 2 -> 1", "server app/10.0.0.2:80: backup: false -> true"]),
        ("[10.0.0.9:80]", "[10.0.0.8:80]", ["server canary/10.0.0.9:80 removed", "server canary/10.0.0.8:80 added"]),
        ("health: /healthz", "health: {active: {path: /healthz, interval: 9s}}",
         ["upstream app: health.active[0].interval: 5s -> 9s"]),
        ("health: /healthz", "health: none",
         ["upstream app: health.active: [{path: /healthz, method: GET, headers: {}, expect: 200-2... -> []"]),
        ("health: /healthz", "health: /healthz, balance: {maglev: host, bounded_load: 1.25}, slow_start: 30s",
         ["upstream app: balance.kind: round_robin -> maglev", "upstream app: balance.hash: none -> host",
          "upstream app: balance.bounded_load: none -> 1.25", "upstream app: slow_start: none -> 30s"]),
        ("health: /healthz", "health: /healthz, retry: {when: [reset, 5xx], budget: 50%}, circuit: {adaptive: on}",
         ["upstream app: circuit.adaptive: none -> {min: 10, max: 1000, tolerance: 2}",
          "upstream app: retry.when: [connect_failure, reset] -> [reset, 500-599]", "upstream app: retry.budget.percent: 20% -> 50%"]),
        ("health: /healthz", "health: /healthz, sticky: {cookie: sid}",
         ["upstream app: sticky: none -> {cookie: {name: sid, max_age: none, path: /, secure: fals..."]),
        ("weight: 2", "weight: 2, zone: b, priority: 3, max_requests: 7",
         ["server app/10.0.0.2:80: priority: 0 -> 3", "server app/10.0.0.2:80: zone: none -> b",
          "server app/10.0.0.2:80: max_requests: 0 -> 7"]),
        ("    listeners:", "    runtime: {zone: a}\n    listeners:", ["runtime.zone: none -> a"]),
        ("    listeners:", "    cache: {memory: 1GiB, shared: 'redis://:secret@a', purge: {allow: 10.0.0.0/8}}\n    listeners:",
         ["cache.memory.size: 256MiB -> 1GiB", "cache.tiers: [memory] -> [memory, shared]",
          "cache.shared: none -> {redis: redis://:***@a:6379/0, memcached: [], prefix: pro...", "cache.purge.allow: [] -> [10.0.0.0/8]"]),
        ("use: [office]", "use: [office], cache: 10m",
         ["route api: cache: none -> {ttl: {default: 10m}, grace: {}, key: [scheme, host, path..."]),
        ("mode: tcp", "mode: tcp, flow: {max_age: 1h}, allow: 10.0.0.0/8",
         ["listener pg: allow: [] -> [10.0.0.0/8]", "listener pg: flow.max_age: none -> 1h"]),
        ("mode: tcp, to: db", "mode: tcp, to: canary", ["listener pg: to.db: 100 -> none", "listener pg: to.canary: none -> 100"]),
        ("mode: tcp", "mode: udp", ["listener pg: mode: tcp -> udp"]),
        ('"*.internal"', '"*.inside"', ["route tls/inside: match.sni: [*.internal] -> [*.inside]"]),
        ('{name: inside, match: "*.internal", to: db}]', '{match: a.b, to: db}, {name: b, match: b, to: db}]',
         ["route tls/inside removed", "route tls/a.b added", "route tls/b added"]),
        ('[{name: inside, match: "*.internal", to: db}], to: db', '[{name: default, to: db}, {name: inside, match: "*.internal", to: db}]',
         ["routes of listener tls: new order: default, inside"]),
        ("routes: [{name: only, respond: 404}]", "mode: cache",
         ["listener own: mode: http -> cache", "route own/only (/*) removed"]),
        ("{app: 90, canary: 10}", "{app: 80, canary: 20}", ["route api: to.app: 90 -> 80", "route api: to.canary: 10 -> 20"]),
        ("match: /api/*", "match: GET /api/*", ["route api: match.method: [] -> [GET]"]),
        ("{name: rest, to: app}", "{name: rest, respond: 503}",
         ["route rest: to: {app: 100} -> none",
          "route rest: respond: none -> {status: 503, body: '', content_type: text/plain; charset..."]),
        ("match: /api/*", "match: {path: {regex: ^/api/}, header: {X-A: b}}",
         ["route api: match.path: /api/* -> ~^/api/", "route api: match.header.X-A: none -> {not: false, exact: b}"]),
        ("{name: rest, to: app}", "{name: rest, to: app, failover: canary, mirror: canary, retry: 5}",
         ["route rest: failover: none -> {to: canary, when: [no_server, connect_failure]}",
          "route rest: mirror: none -> {to: canary, sample: 100%, max_in_flight: 256}",
          "route rest: retry: none -> {attempts: 5, when: [connect_failure, reset], budget: {pe..."]),
        ("name: rest", "name: all", ["route rest (/*) removed", "route all (/*) added"]),
        ("respond: 404", "respond: 410", ["route own/only: respond.status: 404 -> 410"]),
        ("10.0.0.0/8", "10.0.0.0/9", ["route api: policy office: access.allow: [10.0.0.0/8] -> [10.0.0.0/9]"]),
        (', "unix:/run/web.sock"', ', ":80"', ["listener web: no longer on unix:/run/web.sock", "listener web: now on :80"]),
        ("own: {bind:", "own: {limits: {idle_timeout: 60s}, bind:", ["listener own: limits.idle_timeout: 75s -> 1m"]),
        ("    listeners:", "    log: {access: none}\n    listeners:",
         ["log.access: {to: stdout, format: auto, sample: {1xx: 100%, 2xx: 100%,... -> none"]),
    ],
)
def test_each_difference_has_a_sentence(old: str, new: str, said: list[str]) -> None:
    assert texts((old, new)) == said


def test_long_paths_differ_where_they_do() -> None:
    base = "listen: ':80'\nroutes: [{respond: 200}]\nlog: {access: {to: /var/log/NAME}}\n"
    old, new = (config_of(base.replace("NAME", "x" * 60 + name)) for name in ("/one", "/two"))
    change, = plan(old, new)
    before, after = change.text.removeprefix("log.access.to: ").split(" -> ")
    assert (before[:13], before[-5:], after[-5:], len(before)) == ("/var/log/xxxx", "x/one", "x/two", 60)


def test_the_order_of_routes_matters() -> None:
    first = config_of("{listen: ':80', routes: [{name: a, match: /a, respond: 200}, {name: b, match: /b, respond: 200}]}")
    second = config_of("{listen: ':80', routes: [{name: b, match: /b, respond: 200}, {name: a, match: /a, respond: 200}]}")
    assert [change.text for change in plan(first, second)] == ["routes (top level): new order: b, a"]


def test_an_upstream_comes_and_goes_as_one() -> None:
    without = BASE.replace("{app: 90, canary: 10}", "app").replace("      canary: {servers: [10.0.0.9:80]}\n", "")
    there = [change.text for change in plan(config_of(without), config_of(BASE))]
    back = [change.text for change in plan(config_of(BASE), config_of(without))]
    assert there[-1] == "upstream canary added, 1 server"
    assert "upstream canary removed" in back


@pytest.mark.parametrize(
    ("text", "live"),
    [
        ("runtime: {threads: 3}", False),
        ("runtime: {shutdown: {drain: 5s}}", True),
        ("log: {access: none}", True),
        ("log: {access: {format: combined}}", True),
        ("log: {access: {to: stderr}}", True),
        ("log: {level: debug}", True),
    ],
)
def test_what_cannot_change_live_says_so(text: str, live: bool) -> None:
    base = "listen: ':80'\nroutes: [{respond: 200}]\n"
    assert [change.live for change in plan(config_of(base), config_of(base + text))] == [live]


def test_a_page_that_changed_is_told(tmp_path: Path) -> None:
    def config(page: str) -> Config:
        (tmp_path / "a.html").write_text(page)
        text = "{listen: ':80', routes: [{name: a, respond: 200, error_pages: {404: {file: a.html}}}]}"
        loaded = load_text(text, folder=str(tmp_path)).config
        assert loaded is not None
        return loaded

    change, = plan(config("one"), config("two"))
    assert re.fullmatch(r"route a: error_pages.404.file: a.html \([0-9a-f]{8}\) -> a.html \([0-9a-f]{8}\)", change.text)
    assert plan(config("two"), config("two")) == ()


def test_a_secret_is_not_shown() -> None:
    text = "{listen: ':80', routes: [{name: a, respond: {body: '${env:SECRET}'}}]}"
    old, new = (load_text(text, env={"SECRET": secret}).config for secret in ("hunter1", "hunter2"))
    assert old is not None
    assert new is not None
    assert [change.text for change in plan(old, new)] == ["route a: respond.body: *** -> ***"]
