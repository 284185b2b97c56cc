from __future__ import annotations

import pytest

from proxyd.config import Config, load_text
from proxyd.config.address import BindAddress
from proxyd.config.lift import name_of
from proxyd.config.listeners import HttpListener


def config(text: str) -> Config:
    result = load_text(text, env={})
    assert result.diagnostics == []
    assert result.config is not None
    return result.config


def findings(text: str) -> list[tuple[str, int, int]]:
    return [(item.code, item.span.line + 1, item.span.column + 1) for item in load_text(text, env={}).diagnostics if item.span]


def servers(loaded: Config) -> dict[str, list[str]]:
    return {name: [str(server.address) for server in upstream.servers] for name, upstream in loaded.upstreams.items()}


def test_two_lines() -> None:
    loaded = config("listen: :8080\nto: [127.0.0.1:9001, 127.0.0.1:9002]\n")
    assert loaded.listeners["default"].bind == (BindAddress("", 8080),)
    assert [(route.name, route.to) for route in loaded.routes] == [("default", {"default": 100})]
    assert servers(loaded) == {"default": ["127.0.0.1:9001", "127.0.0.1:9002"]}
    assert (loaded.listen, loaded.to, loaded.include, loaded.vars) == (None, None, None, None)


def test_a_single_address_and_server_mappings() -> None:
    assert servers(config("listen: :1\nto: unix:/run/a.sock\n")) == {"default": ["unix:/run/a.sock"]}
    loaded = config("listen: :1\nto: [{address: 127.0.0.1:9, weight: 3}, 127.0.0.1:2]\n")
    assert [server.weight for server in loaded.upstreams["default"].servers] == [3, 1]


@pytest.mark.parametrize(
    ("text", "tiers"),
    [
        ("{}", ("memory",)),
        ("{shared: 'a:1'}", ("memory", "shared")),
        ("{shared: {redis: 'redis://a'}}", ("memory", "shared")),
        ("{tiers: [memory, shared], shared: 'a:1'}", ("memory", "shared")),
    ],
)
def test_a_shared_tier_is_looked_into(text: str, tiers: tuple[str, ...]) -> None:
    assert config(f"listen: ':1'\nroutes: [{{to: ['a:1'], cache: on}}]\ncache: {text}\n").cache.tiers == tiers


def test_wrong_tiers_are_not_replaced() -> None:
    """What was refused is told of once, and nothing follows from it."""
    text = "listen: ':1'\nroutes: [{to: ['a:1'], cache: on}]\ncache: {tiers: , shared: 'a:1'}\n"
    assert findings(text) == [("PXD-022", 3, 9)]


def test_listen_beside_routes_and_upstreams() -> None:
    loaded = config("listen: [':1', ':2']\nupstreams: {app: 127.0.0.1:9}\nroutes: [{match: /a/*, to: app}]\nto: app\n")
    assert [(route.name, route.match.path) for route in loaded.routes] == [("a", "/a/*"), ("default", "")]
    assert len(loaded.listeners["default"].bind) == 2


def test_a_listeners_own_action() -> None:
    loaded = config(
        "listeners:\n  web: {bind: ':1', redirect: https}\n  in: {bind: ':2', to: 127.0.0.1:9}\n  gone: {bind: ':3', respond: 410}\n"
        "  own: {bind: ':4', routes: [{match: /x, to: 127.0.0.1:8}, {to: 127.0.0.1:7}]}\n"
    )
    names = {name: [route.name for route in listener.own_routes or ()] for name, listener in loaded.listeners.items()}
    assert names == {"web": ["default"], "in": ["default"], "gone": ["default"], "own": ["x", "default"]}
    redirect = (loaded.listeners["web"].own_routes or ())[0].redirect
    assert redirect is not None
    assert (redirect.to, redirect.status) == ("https://{host}{path}{query}", 308)
    assert servers(loaded) == {"in": ["127.0.0.1:9"], "own-x": ["127.0.0.1:8"], "own": ["127.0.0.1:7"]}
    listeners = [listener for listener in loaded.listeners.values() if isinstance(listener, HttpListener)]
    assert [(listener.to, listener.redirect, listener.respond) for listener in listeners] == [(None, None, None)] * 4


def test_routes_of_a_listener() -> None:
    loaded = config("listeners: {a: {bind: ':1'}, b: {bind: ':2', respond: 404}}\nto: 127.0.0.1:9\n")
    assert loaded.routes_of(loaded.listeners["a"]) == loaded.routes
    assert [route.to for route in loaded.routes_of(loaded.listeners["b"])] == [None]


@pytest.mark.parametrize(
    ("match", "name"),
    [
        (None, "default"),
        ("/*", "default"),
        ("/", "root"),
        ("/static/*", "static"),
        ("GET /api/v1/*", "get-api-v1"),
        ("/a.html", "a.html"),
        ("GET,HEAD media.example.com/*", "get-head-media.example.com"),
        ("*.example.com/*", "any.example.com"),
        ("GET *.x.y/", "get-any.x.y-root"),
        ("GET /", "get-root"),
        (5, "default"),
        ("/" + "x" * 300, "x" * 80),
    ],
)
def test_names_of_routes(match: object, name: str) -> None:
    assert name_of(match) == name


def test_names_are_the_same_in_both_forms_and_when_routes_come_before() -> None:
    long_form = "listen: :1\nupstreams: {a: 127.0.0.1:9}\nroutes: [{match: {host: x.y, path: /b/*, method: [GET, PUT]}, to: a}, {to: a}]\n"
    short_form = "listen: :1\nupstreams: {a: 127.0.0.1:9}\nroutes: [{match: /new, to: a}, {match: 'GET,PUT x.y/b/*', to: a}, {to: a}]\n"
    assert [route.name for route in config(long_form).routes] == ["get-put-x.y-b", "default"]
    assert [route.name for route in config(short_form).routes] == ["new", "get-put-x.y-b", "default"]


@pytest.mark.parametrize(
    ("match", "name"),
    [
        ("{path: {regex: '^/v[0-9]+/'}}", "v-0-9"),
        ("{host: {regex: '^a'}, path: /b}", "a-b"),
        ("{path: /a/*, header: {X-Env: b}, cookie: {c: d}}", "a-x-env-c"),
        ("{query: {debug: '1'}}", "debug"),
        ("{source: 10.0.0.0/8}", "default"),
    ],
)
def test_what_else_a_route_asks_for_is_in_its_name(match: str, name: str) -> None:
    assert config(f"listen: ':1'\nroutes: [{{match: {match}, respond: 200}}]\n").routes[0].name == name


def test_a_made_name_gives_way_to_a_written_one() -> None:
    loaded = config("listen: :1\nroutes: [{match: /a, respond: 200}, {match: /a/*, respond: 201}, {name: a, match: /b, respond: 202}]\n")
    assert [route.name for route in loaded.routes] == ["a-2", "a-3", "a"]


def test_a_made_upstream_does_not_pose_as_a_written_one() -> None:
    text = "listen: :1\nupstreams: {api: 127.0.0.1:9}\nroutes: [{name: api, match: /a, to: 127.0.0.1:2}, {to: api}]\n"
    assert servers(config(text)) == {"api": ["127.0.0.1:9"], "api-servers": ["127.0.0.1:2"]}


def test_variables_are_put_in_before_names_are_made() -> None:
    assert [route.name for route in config("vars: {d: x.y}\nlisten: :1\nroutes: [{match: '${d}/*', respond: 200}]\n").routes] == ["x.y"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("listen: :1\nlisteners: {default: {bind: ':2'}}\nto: 127.0.0.1:9\n", [("PXD-024", 1, 1)]),
        ("listeners: {a: {bind: ':1', to: 127.0.0.1:9, respond: 404}}\n", [("PXD-024", 1, 46)]),
        ("listeners: {a: {bind: ':1', routes: [], redirect: https}}\n", [("PXD-024", 1, 41)]),
        ("listen: :1\nupstreams: {a: 127.0.0.1:9}\nto: [a]\n", [("PXD-030", 3, 6)]),
        ("listen: :1\nto: [127.0.0.1]\n", [("PXD-035", 2, 6)]),
        ("listen: :1\nto: [{adress: 127.0.0.1:9}]\n", [("PXD-021", 2, 7)]),
        ("listen: :1\nto: []\n", [("PXD-022", 2, 1)]),
        ("listen: nowhere\nto: 127.0.0.1:9\n", [("PXD-035", 1, 9)]),
        ("listen: :1\nroutes: {a: b}\nto: 127.0.0.1:9\n", [("PXD-030", 2, 9)]),
        ("listen: :1\nupstreams: [a]\nto: 127.0.0.1:9\n", [("PXD-030", 2, 12)]),
        ("listen: :1\nlisteners: 5\nto: 127.0.0.1:9\n", [("PXD-030", 2, 12)]),
        ("listen: :1\nroutes: [5, {match: 7, to: 127.0.0.1:9}]\n", [("PXD-030", 2, 10), ("PXD-030", 2, 21)]),
    ],
)
def test_mistakes_in_short_forms_point_at_what_was_written(text: str, expected: list[tuple[str, int, int]]) -> None:
    assert findings(text) == expected
