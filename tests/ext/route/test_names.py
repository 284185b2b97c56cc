"""Server names to routes: what takes what, in which order, and a plain oracle."""
from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.route.names import routes_of

Row = tuple[bytes | None, int]


def takes(pattern: bytes | None, name: bytes) -> bool:
    """The oracle: None takes every hello, "*.x" any name with something in front of ".x", all else is equality."""
    if pattern is None:
        return True
    if pattern.startswith(b"*") and len(pattern) > 1:
        return len(name) > len(pattern) - 1 and name.endswith(pattern[1:])
    return name == pattern


def expected(rows: Sequence[Row], name: bytes) -> list[int]:
    return sorted({route for pattern, route in rows if takes(pattern, name)})


@pytest.mark.parametrize(
    ("pattern", "taken", "left"),
    [
        (b"a.example", [b"a.example"], [b"", b"b.example", b"a.exampl", b"xa.example", b"x.a.example", b"a.example.x", b"example"]),
        (b"*.example", [b"a.example", b"b.a.example", b"a.b.c.d.e.f.example", b"*.example"],
         [b"", b"example", b".example", b"aexample", b"a.example.x"]),
        (b"*.a.example", [b"b.a.example", b"c.b.a.example"], [b"a.example", b"b.example", b"ba.example"]),
        (b"", [b""], [b"a", b"a.example"]),
        (None, [b"", b"a", b"a.example"], []),
    ],
)
def test_patterns(pattern: bytes | None, taken: list[bytes], left: list[bytes]) -> None:
    for name in taken:
        assert routes_of([(pattern, 3)], name) == [3], name
    for name in left:
        assert routes_of([(pattern, 3)], name) == [], name


def test_routes_come_in_their_order() -> None:
    rows: list[Row] = [(b"*.example", 0), (b"b.a.example", 1), (None, 2), (b"*.a.example", 3), (b"b.a.example", 4), (b"*.example", 4),
                       (None, 5)]
    assert routes_of(rows, b"b.a.example") == [0, 1, 2, 3, 4, 5]
    assert routes_of(rows, b"c.a.example") == [0, 2, 3, 4, 5]
    assert routes_of(rows, b"c.example") == [0, 2, 4, 5]
    assert routes_of(rows, b"") == [2, 5]


def test_an_empty_table() -> None:
    assert routes_of([], b"a.example") == []
    assert routes_of([], b"") == []


def test_ten_thousand_names() -> None:
    rows: list[Row] = [(b"%s%d.example" % (b"*." if n % 2 else b"", n), n) for n in range(10_000)]
    for n in (0, 5_000, 9_998):
        assert routes_of(rows, b"%d.example" % n) == [n]
        assert routes_of(rows, b"x.%d.example" % (n + 1)) == [n + 1]
        assert routes_of(rows, b"%d.example" % (n + 1)) == []


def test_the_deepest_name() -> None:
    name = b"a." * 127 + b"a"
    rows: list[Row] = [(b"*" + name[at:], at) for at in range(1, 255, 2)]
    assert routes_of(rows, name) == list(range(1, 255, 2))


LABELS = st.lists(st.sampled_from([b"a", b"b", b"ab", b"c"]), max_size=4)
NAMES = LABELS.map(b".".join)
PATTERNS = st.one_of(NAMES, NAMES.map(lambda name: b"*." + name if name else b""), st.none())


@given(st.lists(st.lists(PATTERNS, max_size=4), max_size=12), NAMES)
def test_as_the_oracle_says(routes: list[list[bytes | None]], name: bytes) -> None:
    rows = [(pattern, route) for route, patterns in enumerate(routes) for pattern in patterns]
    assert routes_of(rows, name) == expected(rows, name)
