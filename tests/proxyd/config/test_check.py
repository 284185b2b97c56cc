from __future__ import annotations

import pytest

from proxyd.config import load_text

APP = "upstreams: {app: 127.0.0.1:9}\n"


def findings(text: str) -> list[tuple[str, int, int]]:
    return [
        (item.code, item.span.line + 1, item.span.column + 1) if item.span else (item.code, 0, 0)
        for item in load_text(text, env={}).diagnostics
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [("PXD-022", 0, 0)]),
        ("routes: [{respond: 200}]\n", [("PXD-022", 0, 0)]),
        ("listen: :1\n", [("PXD-022", 1, 1)]),
        ("listeners: {a: {bind: ':1'}, b: {bind: ':2', respond: 200}}\n", [("PXD-022", 1, 13)]),
        # references
        ("listen: :1\nto: ap\n" + APP, [("PXD-050", 2, 5)]),
        ("listen: :1\nto: {app: 50, apq: 50}\n" + APP, [("PXD-050", 2, 15)]),
        ("listen: :1\nroutes: [{to: {app: 5, x: 5}}]\n" + APP, [("PXD-050", 2, 24)]),
        ("listeners: {a: {bind: ':1', to: nope}}\n", [("PXD-050", 1, 33)]),
        ("listen: :1\nroutes: [{use: p, respond: 200}]\n", [("PXD-051", 2, 16)]),
        ("listen: :1\nroutes: [{use: [per-ip], respond: 200}]\n", []),
        ("listen: :1\nroutes: [{use: [per-ip, per-id], respond: 200}]\n", [("PXD-051", 2, 25)]),
        ("listen: :1\ndefaults: {use: [p]}\nroutes: [{respond: 200}]\n", [("PXD-051", 2, 18)]),
        # there twice
        ("listen: [':1', ':1']\nroutes: [{respond: 200}]\n", [("PXD-072", 1, 16)]),
        ("listen: [':1', '127.0.0.1:1']\nroutes: [{respond: 200}]\n", [("PXD-072", 1, 16)]),
        ("listen: ['0.0.0.0:1', '127.0.0.1:1']\nroutes: [{respond: 200}]\n", [("PXD-072", 1, 23)]),
        ("listen: ['[::]:1', '127.0.0.1:1']\nroutes: [{respond: 200}]\n", [("PXD-072", 1, 20)]),
        ("listen: ['unix:/a', 'unix:/a']\nroutes: [{respond: 200}]\n", [("PXD-072", 1, 21)]),
        ("listeners: {a: {bind: ':1'}, b: {bind: ':1'}}\nroutes: [{respond: 200}]\n", [("PXD-072", 1, 40)]),
        ("listen: :1\nadmin: {bind: 127.0.0.1:1}\nroutes: [{respond: 200}]\n", [("PXD-072", 2, 15)]),
        ("listen: :1\nto: [127.0.0.1:9, 127.0.0.1:9]\n", [("PXD-025", 2, 19)]),
        ("listen: :1\nto: app\nupstreams: {app: {servers: ['a:1', {address: 'A.:1'}]}}\n", [("PXD-025", 3, 46)]),
        ("listen: :1\nroutes: [{use: [p, p], respond: 200}]\npolicies: {p: {access: {deny: all}}}\n", [("PXD-025", 2, 20)]),
        ("listen: :1\nroutes: [{name: a, match: /a, respond: 200}, {name: a, respond: 200}]\n", [("PXD-026", 2, 53)]),
        # lint
        ("listen: :1\nroutes: [{respond: 200}]\n" + APP, [("PXD-101", 3, 13)]),
        ("listen: :1\nroutes: [{respond: 200}]\npolicies: {p: {access: {deny: all}}}\n", [("PXD-102", 3, 12)]),
        ("listen: :1\nroutes: [{respond: 200}, {match: /a, respond: 200}]\n", [("PXD-103", 2, 34)]),
        ("listen: :1\nroutes: [{respond: 200}, {respond: 200}]\n", [("PXD-103", 2, 26)]),
        ("listeners: {a: {bind: ':1', routes: [{respond: 200}, {match: /a, respond: 200}]}}\n", [("PXD-103", 1, 62)]),
    ],
)
def test_findings(text: str, expected: list[tuple[str, int, int]]) -> None:
    assert findings(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "listen: ['127.0.0.1:1', '[::1]:1', '127.0.0.2:1', 'unix:/a', 'unix:/b']\nto: 127.0.0.1:9\n",
        "listen: [':0', ':0', '127.0.0.1:0']\nto: 127.0.0.1:9\n",
        "listen: ['0.0.0.0:1', '[::1]:1']\nto: 127.0.0.1:9\n",
        "listen: :1\nadmin: {bind: [auto, '127.0.0.1:2']}\nto: 127.0.0.1:9\n",
        "listen: :1\nroutes: [{match: /a, respond: 200}]\n",
        "listen: :1\nroutes: [{use: p, respond: 200}]\ndefaults: {use: q}\npolicies: {p: {access: {deny: all}}, q: {headers: {}}}\n",
        "listen: :1\nto: {app: 1, b: 0}\nupstreams: {app: 127.0.0.1:9, b: 127.0.0.1:9}\n",
    ],
)
def test_what_is_fine(text: str) -> None:
    assert findings(text) == []


def test_fields_of_all_policies_of_a_route_have_a_bound() -> None:
    values = ", ".join(f"{name}: {{headers: {{request: {{set: {{X-{name}: '{'x' * 8_000}'}}}}}}}}" for name in "abc")
    text = f"listen: :1\nroutes: [{{use: [a, b], match: /a, respond: 200}}, {{use: [a, b, c], respond: 200}}]\npolicies: {{{values}}}\n"
    assert findings(text) == [("PXD-033", 2, 50)]


def test_warnings_do_not_stop_a_config() -> None:
    result = load_text("listen: :1\nroutes: [{respond: 200}]\n" + APP, env={})
    assert result.config is not None
    assert [item.severity for item in result.diagnostics] == ["warning"]
    assert (result.errors, len(result.warnings)) == ([], 1)


def test_nothing_follows_from_what_was_refused() -> None:
    """A name that is defined wrongly is still a name; what is lost is not called unused, shadowing or missing."""
    assert findings("listen: :1\nto: app\nupstreams: {app: {servers: [nope]}}\n") == [("PXD-035", 3, 29)]
    assert findings("listen: :1\nto: app\nupstreams: {app: }\n") == [("PXD-022", 3, 13)]
    assert findings("listen: :1\nto: app\nupstreams:\n") == [("PXD-022", 3, 1)]
    assert findings("listen: :1\nto: app\nupstreems: {app: 127.0.0.1:1}\n") == [("PXD-021", 3, 1)]
    assert findings("listen: :1\nroutes: [{use: [p], respond: 200}]\npolicys: {p: {access: {deny: all}}}\n") == [("PXD-021", 3, 1)]
    assert findings("listen: :1\nroutes: [{match: 7x, respond: 200}, {match: /b, respond: 200}]\n") == [("PXD-037", 2, 18)]
    assert findings("listen: :1\nroutes: [{too: app}]\n" + APP) == [("PXD-021", 2, 11)]
    assert findings("listen: 1\nto: 127.0.0.1:1\n") == [("PXD-035", 1, 9)]
    assert findings("listeners: {a: {bind: x}}\nto: 127.0.0.1:1\n") == [("PXD-035", 1, 23)]


def test_references_are_checked_beside_other_mistakes() -> None:
    assert findings("listen: :1\nroutes: [{to: ap}]\nlog: {level: loud}\n" + APP) == [("PXD-050", 2, 15), ("PXD-034", 3, 14)]


def test_suggestions() -> None:
    def help(text: str) -> str:
        return load_text(text, env={}).diagnostics[0].help

    assert help("listen: :1\nto: ap\n" + APP).startswith("did you mean `app`? defined: app")
    assert "`localhost:80`" in help("listen: :1\nto: localhost\n")
    assert help("listen: :1\nroutes: [{use: per-id, respond: 200}]\n") == "did you mean `per-ip`? defined: none; built in: per-ip, public"


def test_a_misspelt_listen_is_one_mistake() -> None:
    result = load_text("lissen: :80\nto: 127.0.0.1:9\n", env={})
    assert [item.code for item in result.diagnostics] == ["PXD-021"]
