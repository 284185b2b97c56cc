from __future__ import annotations

import pytest

from proxyd.diagnostics.compose import compose
from proxyd.diagnostics.diagnostic import Diagnostic, Source
from proxyd.diagnostics.marked import Map, mark
from proxyd.diagnostics.places import Places

TEXT = """\
a:
  b: [one, {c: two}]
  b.c: [three]
short: text
"""


@pytest.fixture
def places() -> Places:
    root, found = compose(Source("x", TEXT))
    assert root is not None
    data = mark(root, found)
    assert isinstance(data, Map)
    return Places(data)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("a.b[0]", (1, 6)),
        ("a.b[1].c", (1, 15)),
        ("a.b.c[0]", (2, 8)),             # the longer of the keys that fit
        ("a.b[7]", (1, 5)),               # as far as the text goes
        ("short.servers[0].address", (3, 7)),
        ("shorter", None),
        ("nothing[0]", None),
        ("", None),
    ],
)
def test_a_path_finds_its_place(path: str, place: tuple[int, int] | None, places: Places) -> None:
    span = places.find(path)
    assert (span and (span.line, span.column)) == place


def test_findings_without_a_place_get_one_and_others_keep_theirs(places: Places) -> None:
    elsewhere = places.find("short")
    given = (Diagnostic("PXD-070", "m", path="a.b[0]"), Diagnostic("PXD-070", "m", elsewhere, path="a.b[0]"), Diagnostic("PXD-070", "m"))
    assert [item.span for item in places.put(given)] == [places.find("a.b[0]"), elsewhere, None]
    assert Places().put(given) == given
