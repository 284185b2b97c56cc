"""Whole files: every mistake in one run, and no input that raises."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.config import LoadResult, load, load_text
from proxyd.config.canonical import canonical_text, config_hash
from proxyd.config.codes import CODES
from proxyd.diagnostics import render_all, render_json
from proxyd.diagnostics.validate import MOST

CONFIGS = sorted(path for path in Path(__file__).parents[3].joinpath("config").rglob("*.yaml") if path.parent.name != "prometheus")

BROKEN = """\
listen: :8080
upstreams:
  app:
    servers:
      - {address: 127.0.0.1:9001, wieght: 3}
      - 127.0.0.1:99999
    balance: leastconn
    health: {active: {path: /healthz, interval: 10}}
  old: {servers: 127.0.0.1:9003, blance: p2c}
routes:
  - {match: /static/*, to: ap}
  - {match: "GET /api/*", to: app, use: [per-id]}
  - {match: /x, redirect: https, respond: 404}
  - to: app
    to: other
  - {timeout: {total: 5}}
log: {level: verbose}
admin: {bind: 0.0.0.0:2080}
"""


def sound(result: LoadResult) -> None:
    """What holds for every result, whatever the text was."""
    assert (result.config is None) == any(item.severity == "error" for item in result.diagnostics)
    for item in result.diagnostics:
        assert item.code in CODES
        assert item.message
        lines = item.span.source.lines if item.span else []
        assert item.span is None or (item.span.line < len(lines) and item.span.column <= len(lines[item.span.line]))
    assert len(render_json(result.diagnostics).splitlines()) == len(result.diagnostics)
    assert render_all(result.diagnostics).count("[PXD-") >= len(result.diagnostics)
    if result.config is not None:
        again = load_text(canonical_text(result.config, secrets=True), env={})
        assert again.config == result.config
        assert config_hash(result.config) == config_hash(again.config)


def test_every_mistake_in_one_run_in_reading_order() -> None:
    found = [(item.code, item.span.line + 1, item.span.column + 1) for item in load_text(BROKEN, env={}).diagnostics if item.span]
    assert found == [
        ("PXD-021", 5, 35),
        ("PXD-035", 6, 9),
        ("PXD-034", 7, 14),
        ("PXD-031", 8, 49),
        ("PXD-021", 9, 34),
        ("PXD-050", 11, 28),
        ("PXD-051", 12, 42),
        ("PXD-024", 13, 34),
        ("PXD-023", 15, 5),
        ("PXD-022", 16, 5),
        ("PXD-031", 16, 23),
        ("PXD-034", 17, 14),
        ("PXD-071", 18, 15),
    ]


def test_the_block_of_the_interface(tmp_path: Path) -> None:
    path = tmp_path / "proxyd.yaml"
    path.write_text(BROKEN)
    assert render_all(load(path, env={}).diagnostics).startswith(
        f"""\
error[PXD-021]: unknown option `wieght` in `upstreams.app.servers[0]`
 --> {path}:5:35
  |
5 |       - {{address: 127.0.0.1:9001, wieght: 3}}
  |                                   ^^^^^^
  = help: did you mean `weight`? allowed: address, backup, max_requests, priority, weight, zone
"""
    )


def test_yaml_1_1_words_stay_text() -> None:
    config = load_text(
        "listen: :1\nroutes:\n- {name: no, match: /a, respond: {body: on}}\n"
        "- {name: 22, match: /b, respond: {body: 010}}\n- {name: on, respond: {body: 1.10}}\n",
        env={},
    ).config
    assert config is not None
    assert [(route.name, route.respond.body if route.respond else "") for route in config.routes] == [
        ("no", "on"),
        ("22", "010"),
        ("on", "1.10"),
    ]


def test_aliases_share_text_and_not_findings() -> None:
    text = "listen: :1\nto: app\nupstreams:\n  app: &a {servers: [127.0.0.1:1], pool: {max: x}}\n  two: *a\n"
    assert [(item.code, item.span.line) for item in load_text(text, env={}).diagnostics if item.span] == [("PXD-030", 3)]


def test_the_environment_is_the_process_own_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXYD_TEST_PORT", "8080")
    assert load_text("listen: ':${env:PROXYD_TEST_PORT}'\nto: 127.0.0.1:1\n").ok


MUTATIONS = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "*",
    "&",
    "!",
    "'",
    '"',
    "#",
    "|",
    ">",
    "-",
    "?",
    "${",
    "}",
    "\t",
    "\n",
    "  ",
    "\0",
    "\ud800",
    "é",
    "null",
    "0",
    "%",
    "@",
    "<<",
]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_mutated_configs_give_findings_and_never_raise(path: Path) -> None:
    text, rng = path.read_text(), random.Random(path.name)
    budget = max(12, 200_000 // len(text))
    for _ in range(min(budget, 100)):
        mutant = text
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            at, end = rng.randrange(len(mutant) + 1), rng.randrange(1, 12)
            edit = rng.choice(("insert", "delete", "repeat", "swap"))
            piece = mutant[at : at + end]
            new = {"insert": rng.choice(MUTATIONS) + piece, "delete": "", "repeat": piece * 2, "swap": piece[::-1]}[edit]
            mutant = mutant[:at] + new + mutant[at + end :]
        sound(load_text(mutant, env={}, folder=str(path.parent)))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_lines_in_any_order_give_findings_and_never_raise(path: Path) -> None:
    lines, rng = path.read_text().splitlines(keepends=True), random.Random(path.name)
    for _ in range(30):
        rng.shuffle(lines)
        sound(load_text("".join(lines[: rng.randrange(len(lines) + 1)]), env={}, folder=str(path.parent)))


KEYS = [
    "listen",
    "to",
    "listeners",
    "routes",
    "upstreams",
    "policies",
    "vars",
    "log",
    "admin",
    "runtime",
    "defaults",
    "include",
    "bind",
    "servers",
    "address",
    "weight",
    "match",
    "use",
    "respond",
    "redirect",
    "status",
    "health",
    "active",
    "passive",
    "path",
    "balance",
    "hash",
    "access",
    "headers",
    "set",
    "a",
    "b",
]
scalars = (
    st.sampled_from(["a", "b", "127.0.0.1:1", ":80", "https", "/x/*", "none", "${a}", "10s", "", "GET /x"])
    | st.integers(-2, 70_000)
    | st.booleans()
    | st.none()
    | st.text(max_size=5)
)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4), max_leaves=20
)


def emit(value: object) -> str:
    """Flow YAML by an emitter that shares nothing with the code under test."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {emit(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(emit, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(char if char.isalnum() and char.isascii() else f"\\U{ord(char):08x}" for char in value) + '"'
    return "null" if value is None else str(value).lower()


@given(st.dictionaries(st.sampled_from(KEYS), trees, max_size=6))
def test_any_tree_of_known_keys_loads_or_is_explained(tree: dict[str, object]) -> None:
    sound(load_text(emit(tree), env={}))


@given(st.text(max_size=80))
def test_any_text_loads_or_is_explained(text: str) -> None:
    sound(load_text(text, env={}))


def test_large_configs_load_in_little_time() -> None:
    """A guard against work that grows with the square of the routes: 4,000 routes to 1,000 upstreams."""
    text = "listen: :80\nupstreams:\n" + "".join(f"  u{n}: [10.0.{n // 250}.{n % 250 + 1}:80]\n" for n in range(1000))
    text += "routes:\n" + "".join(f'  - {{match: "h{n}.example.com/a{n}/*", to: u{n % 1000}}}\n' for n in range(4000))
    result = load_text(text, env={})
    assert result.diagnostics == []
    broken = load_text(text.replace("match", "metch"), env={})
    assert len(broken.diagnostics) == MOST + 1


@pytest.mark.parametrize(
    "text",
    [
        "policies: {p: {auth: {api_key: {query: key, keys: {a: hunter2hunter2hunter2}}}}}",
        "policies:\n  p:\n    auth:\n      api_key:\n        keys:\n          a:\n            key: hunter2hunter2hunter2",
        "policies: {p: {auth: {jwt: {issuer: 'https://i', audience: a, keys: {secret: hunter2hunter2hunter2hunter2hunter2}}}}}",
        "cache: {tiers: [memory, shared], shared: {redis: 'redis://:hunter2@10.0.0.1:6379/0'}}",
    ],
)
def test_a_secret_in_the_file_is_told_and_not_shown(text: str) -> None:
    found = load_text(f"listen: :1\nroutes: [{{to: ['a:1'], cache: 1m}}]\n{text}\n", env={}).diagnostics
    assert "PXD-113" in {item.code for item in found}
    assert "***" in render_all(found)
    assert "hunter2" not in render_all(found) + render_json(found)
