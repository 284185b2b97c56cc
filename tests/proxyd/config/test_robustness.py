"""No input raises: whatever is in a file, there is a config or there are errors, and they can be printed. (Many more mutants:
tests/acceptance/accept_mutations.py.)"""
from __future__ import annotations

import random
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxyd.config import load, load_text
from proxyd.diagnostics import render_all, render_json
from proxyd.snapshot.rehearsal import rehearse
from tests.support.mutations import MUTATIONS, mutant, texts

TEXTS = texts()
KEYS = st.sampled_from(["listen", "to", "routes", "upstreams", "listeners", "policies", "tests", "vars", "match", "servers", "health", "x"])
LEAVES = st.one_of(
    st.text(max_size=12), st.integers(), st.floats(), st.none(), st.booleans(),
    st.sampled_from([":80", "10.0.0.1:80", "app", "/x", "10s", "GET /x", "${x}", "*"]),
)
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12)


def tried(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    result = load(path, env={})
    assert (result.config is None) == bool(result.errors)
    assert (render_all(result.diagnostics, color=True) == "") == (render_json(result.diagnostics) == "")
    if result.config is not None:
        rehearse(result.config)


def test_mutants_of_all_examples(tmp_path: Path) -> None:
    chance = random.Random(7)
    for text in chance.sample(TEXTS, 40):
        tried(tmp_path / "proxyd.yaml", mutant(text, chance))


def test_each_kind_of_mutation_changes_something() -> None:
    for mutation in MUTATIONS:
        assert any(mutation(TEXTS[0], random.Random(seed)) != TEXTS[0] for seed in range(20)), mutation


@given(content=st.binary(max_size=200))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    tried(tmp_path / "proxyd.yaml", content)


@given(tree=st.dictionaries(KEYS, TREES, max_size=5))
@settings(max_examples=40, deadline=None)
def test_any_tree(tree: dict[str, object]) -> None:
    result = load_text(repr_of(tree), env={})
    assert (result.config is None) == bool(result.errors)
    render_all(result.diagnostics)


def repr_of(value: object) -> str:
    """As YAML in flow style, quoted where it is text."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{repr_of(key)}: {repr_of(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(repr_of, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(char if char.isascii() and char.isalnum() else f"\\U{ord(char):08x}" for char in value) + '"'
    return "null" if value is None else str(value).lower()


def test_a_mistake_made_a_thousand_times_is_told_five_hundred_times() -> None:
    unknown = load_text("listen: :80\n" + "".join(f"option{number}: 1\n" for number in range(1_000)), env={})
    assert ([item.code for item in unknown.diagnostics].count("PXD-021"), unknown.diagnostics[-1].code) == (500, "PXD-004")
    routes = "".join(f"  - {{match: /a{number}, to: nothing{number}}}\n" for number in range(1_000))
    missing = load_text(f"listen: :80\nroutes:\n{routes}", env={})
    assert ([item.code for item in missing.diagnostics].count("PXD-050"), missing.diagnostics[-1].code) == (500, "PXD-004")


def test_a_long_line_takes_no_longer_than_its_length() -> None:
    """What was meant is looked for near the mistake only."""
    result = load_text("to: [" + "9" * 1_000_000 + "\nlisten: x", env={})
    assert [item.code for item in result.diagnostics] == ["PXD-003"]
