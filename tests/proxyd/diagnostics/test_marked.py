from __future__ import annotations

from proxyd.diagnostics.compose import compose
from proxyd.diagnostics.diagnostic import Diagnostic, Source, Span
from proxyd.diagnostics.marked import Map, Seq, dotted, locate, mark, remove

TEXT = """\
a:
  b: [one, {c: two}]
  d: text
"""


def marked(text: str = TEXT) -> tuple[Map, list[Diagnostic]]:
    root, found = compose(Source("x", text))
    assert root is not None
    data = mark(root, found)
    assert isinstance(data, Map)
    return data, found


def start(span: Span) -> tuple[int, int]:
    return span.line, span.column


def test_locate_finds_key_and_value() -> None:
    data, _ = marked()
    place = locate(data, ("a", "b", 1, "c"))
    assert (start(place.key), start(place.value), place.depth, place.here) == ((1, 12), (1, 15), 4, "two")


def test_locate_stops_where_the_path_ends_early() -> None:
    data, _ = marked()
    place = locate(data, ("a", "d", "address", 0))
    assert (start(place.value), place.depth) == ((2, 5), 2)
    assert locate(data, ("nothing",)).depth == 0
    assert locate(data, ("a", "b", 7)).depth == 2


def test_positions_follow_their_values() -> None:
    data, _ = marked()
    inner = data["a"]
    assert isinstance(inner, Map)
    value, spot = inner.take("b")
    data.put("moved", value, spot)
    assert start(locate(data, ("moved", 1, "c")).value) == (1, 15)
    assert "b" not in inner


def test_remove_takes_the_deepest_step_and_shifts_what_follows() -> None:
    data, _ = marked()
    assert remove(data, ("a", "b", 0))
    assert data == {"a": {"b": [{"c": "two"}], "d": "text"}}
    assert start(locate(data, ("a", "b", 0, "c")).value) == (1, 15)
    assert remove(data, ("a", "d", "not", "there"))
    assert data == {"a": {"b": [{"c": "two"}]}}
    assert not remove(data, ("x",))


def test_what_lost_a_known_part_is_tainted_and_its_owner_is_not() -> None:
    data, _ = marked()
    inner = data["a"]
    assert isinstance(inner, Map)
    remove(data, ("a", "d"), known=False)
    assert not inner.tainted
    remove(data, ("a", "b", 1, "c"))
    items = inner["b"]
    assert isinstance(items, Seq)
    assert isinstance(items[1], Map)
    assert (items[1].tainted, items[1].lost, items.tainted, inner.tainted) == (True, {"c"}, False, False)
    remove(data, ("a", "b", 0))
    assert (items.tainted, inner.tainted, data.tainted) == (True, True, False)


def test_a_key_with_nothing_behind_it_is_told_and_left_out() -> None:
    data, found = marked("a:\nb: [x, ~]\nc: null\nd: ''\n")
    assert data == {"b": ["x"], "d": ""}
    assert [(item.code, item.message) for item in found] == [
        ("PXD-022", "nothing is written for `a`"),
        ("PXD-022", "`~` is no value for an item of `b`"),
        ("PXD-022", "`null` is no value for `c`"),
    ]
    assert data.lost == {"a", "c"}


def test_dotted() -> None:
    assert dotted(("upstreams", "app", "servers", 0, "address")) == "upstreams.app.servers[0].address"
    assert dotted(()) == ""
