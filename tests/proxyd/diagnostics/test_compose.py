from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from proxyd.diagnostics.compose import MAX_BYTES, MAX_DEPTH, compose
from proxyd.diagnostics.diagnostic import Diagnostic, Source
from proxyd.diagnostics.marked import mark
from proxyd.diagnostics.nodes import MappingNode, ScalarNode, SequenceNode


def problems(text: str) -> list[tuple[str, int, int]]:
    _, found = compose(Source("x", text))
    return [(item.code, item.span.line + 1, item.span.column + 1) if item.span else (item.code, 0, 0) for item in found]


def only(text: str) -> Diagnostic:
    _, found = compose(Source("x", text))
    assert len(found) == 1
    return found[0]


def test_positions_of_keys_and_values() -> None:
    root, found = compose(Source("x", "a: 1\nlist:\n  - é: {b: two}\n"))
    assert found == []
    assert isinstance(root, MappingNode)
    key, value = root.entries["a"]
    assert (key.span.line, key.span.column, key.span.end_column) == (0, 0, 1)
    assert (value.span.line, value.span.column, value.span.end_column) == (0, 3, 4)
    listed = root.entries["list"][1]
    assert isinstance(listed, SequenceNode)
    item = listed.items[0]
    assert isinstance(item, MappingNode)
    inner = item.entries["é"][1]
    assert (inner.span.line, inner.span.column, inner.span.end_column) == (2, 7, 15)  # characters, and to the brace


def test_plain_is_told_from_quoted() -> None:
    root, _ = compose(Source("x", "a: 1\nb: '1'\nc: \"1\"\nd: |\n  1\n"))
    assert isinstance(root, MappingNode)
    assert {key: node.value for key, (_, node) in root.entries.items() if isinstance(node, ScalarNode)} == {
        "a": 1,
        "b": "1",
        "c": "1",
        "d": "1\n",
    }


def test_an_empty_text_has_no_root() -> None:
    assert compose(Source("x", "")) == (None, [])
    assert compose(Source("x", "# only a comment\n")) == (None, [])


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("a: 1\na: 2\n", "PXD-023", 2, 1),
        ("a: {b: 1, c: 2, b: 3}\n", "PXD-023", 1, 17),
        ("a: *.example.com\n", "PXD-003", 1, 4),
        ("a: [*/x]\n", "PXD-003", 1, 5),
        ("a: *nobody\n", "PXD-005", 1, 4),
        ("a: &x [*x]\n", "PXD-005", 1, 8),
        ("a:\n\t- b\n", "PXD-003", 2, 1),
        ("a: 'x\nb: 1\n", "PXD-003", 1, 4),
        ("a: b: c\n", "PXD-003", 1, 5),
        ("a: @x\n", "PXD-003", 1, 4),
        ("a: 1\n---\nb: 2\n", "PXD-005", 2, 1),
        ("a: !!int 1\n", "PXD-005", 1, 4),
        ("a: !x {}\n", "PXD-005", 1, 4),
        ("? [a]\n: b\n", "PXD-003", 1, 3),
        ("a: \x07\n", "PXD-002", 1, 4),
        ("a: x\ufffe\n", "PXD-002", 1, 5),
        ("a: [1, 2\nb: 3\n", "PXD-003", 2, 2),
    ],
)
def test_mistakes_and_where_they_are(text: str, code: str, line: int, column: int) -> None:
    assert problems(text) == [(code, line, column)]


@pytest.mark.parametrize(
    ("text", "help"),
    [
        ("a: *.example.com\n", '"*.example.com"'),
        ("a: {b: ${x}}\n", '"${x}"'),
        ("a: {b: http://${x}/y}\n", '"http://${x}/y"'),
        ("a: [:80]\n", '":80"'),
        ("a: @x\n", "quotes"),
        ("a:\n\t- b\n", "spaces"),
        ("a: 1\na: 2\n", "first defined on line 1"),
    ],
)
def test_help_says_how_it_is_written(text: str, help: str) -> None:
    assert help in only(text).help


def test_every_duplicate_is_told_and_the_first_value_kept() -> None:
    root, found = compose(Source("x", "a: 1\na: 2\na: {a: 1, a: 2}\nb: 3\n"))
    assert [item.code for item in found] == ["PXD-023"] * 3
    assert root is not None
    assert mark(root, []) == {"a": 1, "b": 3}


def test_depth_is_bounded() -> None:
    deep = "a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)
    assert problems(deep) == []
    assert problems(f"a: {'[' * MAX_DEPTH}{']' * MAX_DEPTH}") == [("PXD-004", 1, 3 + MAX_DEPTH)]
    assert problems("[" * 200_000)[0][0] == "PXD-004"
    chained = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 100))
    assert problems(chained)[0][0] == "PXD-004"


def test_a_billion_laughs_are_refused_before_anyone_laughs() -> None:
    text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"
    text += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    assert problems(text)[0][0] == "PXD-004"


def test_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyd.diagnostics.compose.MAX_NODES", 1000)      # half a million take seconds
    assert problems("[" + "1," * 998 + "]") == []
    assert problems("[" + "1," * 1000 + "]")[0][0] == "PXD-004"


def test_size_is_bounded() -> None:
    assert problems("#" * (MAX_BYTES + 1)) == [("PXD-004", 0, 0)]


def test_aliases_repeat_their_node() -> None:
    root, found = compose(Source("x", "a: &a {k: [1, 2]}\nb: *a\n"))
    assert found == []
    assert root is not None
    assert mark(root, []) == {"a": {"k": [1, 2]}, "b": {"k": [1, 2]}}


def is_text_in_both(text: str) -> bool:
    """`1e5` is text in YAML 1.1, so that PyYAML leaves it plain, and a number in 1.2."""
    return not re.match(r"[-+.]?[0-9]", text)


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=20).filter(is_text_in_both),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc_.-/", min_size=1, max_size=8), inner, max_size=4),
    max_leaves=15,
)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(entry) for key, entry in value.items() if entry is not None}
    return [without_nulls(item) for item in value if item is not None] if isinstance(value, list) else value


@given(st.dictionaries(st.text("abcdef", min_size=1), plain_values, max_size=4), st.booleans())
def test_whatever_is_dumped_comes_back(value: dict[str, Any], flow: bool) -> None:
    """PyYAML quotes all that YAML 1.1 would misread; what it leaves plain must mean the same in 1.2."""
    root, found = compose(Source("x", yaml.safe_dump(value, default_flow_style=flow, allow_unicode=False)))
    assert found == []
    assert root is not None
    assert mark(root, []) == without_nulls(value)


@given(st.text(st.sampled_from("ab:-{}[],*&!%@`'\"#|>? \n\t$~\\\x00\ud800é"), max_size=60))
def test_no_text_raises(text: str) -> None:
    root, found = compose(Source("x", text))
    assert root is None or found == [] or all(item.span is not None for item in found)
