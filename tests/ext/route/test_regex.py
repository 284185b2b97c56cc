"""Regular expressions: the language, agreement with Python's `re`, and what a search may cost."""
from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd_ext.route.regex import Regex, RegexError
from tests.reference.regex import Atom, Group, Node, Times, occurs, python_pattern, render

ATOMS = [
    "a", "b", "B", "/", "-",
    r"\.", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", ".", "[ab]", "[^a]", "[a-c0-9]", r"[^\d-]", "[]a]", "[^]]", "[-a]",
    "[$^.]", r"\x41", r"[\x00-\x1f]", r"\n", "é", r"\]", "}",
]
REPEATS: list[tuple[str, int, int | None]] = [
    ("*", 0, None), ("+", 1, None), ("?", 0, 1), ("{2}", 2, 2), ("{0,2}", 0, 2), ("{1,}", 1, None), ("{,2}", 0, 2), ("*?", 0, None),
    ("+?", 1, None), ("??", 0, 1), ("{1,3}?", 1, 3), ("{0}", 0, 0),
]
atoms = st.sampled_from(ATOMS).map(Atom)


def repeated(part: st.SearchStrategy[Atom] | st.SearchStrategy[Group]) -> st.SearchStrategy[Node]:
    return st.builds(lambda part, repeat: Times(part, *repeat), part, st.sampled_from(REPEATS))


def groups(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    openings = st.sampled_from(["(", "(?:", "(?i:"])
    group = st.builds(Group, openings, st.lists(st.lists(inner, max_size=3), min_size=1, max_size=3))
    return group | repeated(group)


nodes: st.SearchStrategy[Node] = st.recursive(atoms | repeated(atoms) | st.sampled_from([Atom("^"), Atom("$")]), groups, max_leaves=8)
patterns = st.builds(Group, st.just(""), st.lists(st.lists(nodes, max_size=4), min_size=1, max_size=2))
texts = st.lists(st.sampled_from(["a", "b", "A", "B", "c", "0", "/", "-", ".", "\n", " ", "é", "]", "$"]), max_size=10).map("".join)


@settings(max_examples=400, deadline=None)
@given(patterns, st.booleans(), st.lists(texts, min_size=1, max_size=6))
def test_agrees_with_the_oracle(tree: Group, ignore_case: bool, given_texts: list[str]) -> None:
    pattern = "(?i)" * ignore_case + render(tree)
    table, places = Regex(pattern), Regex(pattern, dfa_states=0)
    assert (table.states > 0, places.states) == (True, 0)
    for text in (each.encode() for each in given_texts):
        found = occurs(tree, text, ignore_case=ignore_case)
        assert (table.search(text), places.search(text)) == (found, found), (pattern, text)
        assert table.steps(text) <= len(text)
        assert table.prefix is None or not found or text.startswith(table.prefix)


@settings(max_examples=200, deadline=None)
@given(st.lists(atoms | repeated(atoms) | st.sampled_from([Atom("^"), Atom("$")]), max_size=5), st.lists(texts, min_size=1, max_size=6))
def test_agrees_with_re(parts: list[Node], given_texts: list[str]) -> None:
    """As does the oracle, where no repeats nest, so that `re` comes to an end."""
    tree = Group("", [parts])
    pattern = render(tree)
    with warnings.catch_warnings():
        warnings.simplefilter("error")         # what `re` finds doubtful means something else here or there
        theirs = re.compile(python_pattern(pattern))
    for text in (each.encode() for each in given_texts):
        found = theirs.search(text) is not None
        assert (Regex(pattern).search(text), occurs(tree, text)) == (found, found), (pattern, text)


def compiled(pattern: str) -> tuple[Regex | None, int, str]:
    """The pattern compiled, or None, where its error is and what that says."""
    try:
        return Regex(pattern), 0, ""
    except RegexError as error:
        return None, error.position, str(error)


@given(st.text(max_size=30) | st.text("()[]{}|*+?^$\\.,-:=!<>iPx019ab", max_size=30), st.binary(max_size=30))
@settings(max_examples=500, deadline=None)
def test_any_text_is_a_pattern_or_an_error_at_a_place(pattern: str, text: bytes) -> None:
    """And both automata agree on what it finds."""
    ours, position, words = compiled(pattern)
    if ours is None:
        assert 0 <= position <= len(pattern)
        assert f"at character {position + 1} of the pattern" in words
    else:
        assert ours.search(text) == Regex(pattern, dfa_states=0).search(text)


@pytest.mark.parametrize("byte", range(256))
def test_every_byte(byte: int) -> None:
    text = bytes([byte])
    own = [f"\\x{byte:02x}", f"^[\\x{byte:02X}]$", f"[^\\x00-\\x{byte:02x}]"]
    for pattern in (*own, r"\w", r"\W", r"\s", r"\S", r"\d", r"\D", ".", "(?i)[k-m]", "(?i)[^k-m]"):
        assert Regex(pattern).search(text) == (re.search(python_pattern(pattern), text) is not None), pattern


@pytest.mark.parametrize("pattern", ["", "^$", "$^", "($)(^)", "(?:a|$)^", "^^$$", "a*", "(a|)$", "a", "$a", "a^", "^.", "$^|a", "(^a)?$"])
@pytest.mark.parametrize("states", [0, 2000])
def test_the_empty_text_is_begin_and_end_at_once(pattern: str, states: int) -> None:
    for text in (b"", b"a", b"b"):
        assert Regex(pattern, dfa_states=states).search(text) == (re.search(python_pattern(pattern), text) is not None)


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a*)*b", "(a|a)*$", "(a|aa)+$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(.*)(.*)(.*)(.*)x", "(?:a?){50}a{50}b"]
)
@pytest.mark.parametrize("states", [0, 2000])
def test_steps_are_linear(pattern: str, states: int) -> None:
    """What takes a backtracking engine for ever: every thousand bytes more cost the same, whichever automaton runs."""
    regex = Regex(pattern, dfa_states=states)
    steps = [regex.steps(b"a" * size + b"!") for size in (1_000, 2_000, 3_000, 4_000)]
    assert steps[3] - steps[2] == steps[2] - steps[1] == steps[1] - steps[0]
    assert steps[3] <= 4_001 * (1 if regex.states else 256)


def test_steps_of_the_places_are_bounded_by_the_pattern() -> None:
    """Every place active at every byte: the most that there is."""
    regex = Regex("x.{200}y")
    assert regex.states == 0
    assert 0 < regex.steps(b"x" * 5_000) <= 5_000 * 256
    assert regex.search(b"-" + b"x" * 201 + b"y")
    assert not regex.search(b"-" + b"x" * 200 + b"y")


def test_an_anchored_search_ends_where_it_fails() -> None:
    assert Regex("^/api/").steps(b"/other" * 1_000) == 2
    assert Regex("^/api/", dfa_states=0).steps(b"/other" * 1_000) == 1
    assert Regex("^/api/").steps(b"/api/" + b"x" * 1_000) == 5


def test_beyond_a_word_of_places() -> None:
    """Patterns whose sets take two, four and, while the table is built, sixteen words."""
    for size in (60, 70, 130, 250, 1_000):
        text = bytes(97 + i % 26 for i in range(size))
        regex = Regex(text.decode())
        assert regex.search(b"-" + text + b"-")
        assert not regex.search(b"-" + text[:-1] + b"-")
        assert not regex.search(text[1:])
    assert Regex(text[:250].decode(), dfa_states=0).search(b"-" + text[:250])


def test_wrong_types() -> None:
    wrong: list[Any] = [None, b"a", 1]
    for pattern in wrong:
        with pytest.raises(TypeError):
            Regex(pattern)
