"""Plain values that still know their place: a dict and a list that carry the spans of what they hold.

pydantic takes them as what they are, shorthands can move their parts about or take them out, and a position follows its value. So the
way from an error's location back to the text is a walk over the very data that was validated, whatever was done to it before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from proxyd.diagnostics.diagnostic import Diagnostic, Span
from proxyd.diagnostics.nodes import MappingNode, Node, ScalarNode, SequenceNode

Step = str | int


class Spot(NamedTuple):
    """Where an entry stands: its key (for an item of a list: the item) and its value. A tuple: every key and item has one."""

    key: Span
    value: Span


class Map(dict[str, object]):
    """A mapping with the spots of its entries, and its own span."""

    def __init__(self, span: Span) -> None:
        super().__init__()
        self.span = span
        self.spots: dict[str, Spot] = {}
        self.lost: set[str] = set()  # keys that were there and were refused
        self.tainted = False  # something known was taken out of it, or out of a list in it

    def put(self, key: str, value: object, spot: Spot) -> Self:
        self[key] = value
        self.spots[key] = spot
        return self

    def take(self, key: str) -> tuple[object, Spot]:
        """Remove an entry and hand it over, for it to be put elsewhere."""
        return self.pop(key), self.spots.pop(key)


class Seq(list[object]):
    """A list with the spots of its items, and its own span."""

    def __init__(self, span: Span) -> None:
        super().__init__()
        self.span = span
        self.spots: list[Spot] = []
        self.tainted = False

    def add(self, value: object, spot: Spot) -> Self:
        self.append(value)
        self.spots.append(spot)
        return self

    def take(self, index: int) -> tuple[object, Spot]:
        return self.pop(index), self.spots.pop(index)


def mark(node: Node, found: list[Diagnostic], name: str = "the file") -> object:
    """The marked value of a tree; None of a scalar without a value. In lists and mappings those are left out, with a finding: a key with
    nothing behind it is never meant."""
    if isinstance(node, ScalarNode):
        return node.value
    return _items(node, found, name) if isinstance(node, SequenceNode) else _entries(node, found)


def _items(node: SequenceNode, found: list[Diagnostic], name: str) -> Seq:
    items = Seq(node.span)
    for item in node.items:
        value = mark(item, found, name)
        if value is None:
            items.tainted = True
            _miss(item, f"an item of `{name[:60]}`", item.span, found)
        else:
            items.tainted |= isinstance(value, Seq) and value.tainted
            items.add(value, Spot(item.span, item.span))
    return items


def _entries(node: MappingNode, found: list[Diagnostic]) -> Map:
    entries = Map(node.span)
    for key, (key_node, item) in node.entries.items():
        value = mark(item, found, key)
        if value is None:
            entries.tainted = True
            entries.lost.add(key)
            _miss(item, f"`{key[:60]}`", key_node.span, found)
        else:
            entries.tainted |= isinstance(value, Seq) and value.tainted
            entries.put(key, value, Spot(key_node.span, item.span))
    return entries


def _miss(node: Node, what: str, span: Span, found: list[Diagnostic]) -> None:
    """Tell of a scalar without a value, unless what is wrong with it is told already."""
    if isinstance(node, ScalarNode) and not node.broken:
        said = f"`{node.text}` is no value" if node.text else "nothing is written"
        found.append(Diagnostic("PXD-022", f"{said} for {what}", span, "write a value, or remove the line"))


@dataclass(frozen=True, slots=True)
class Place:
    """What a path leads to: the spot and value of its deepest step that exists, and how many steps that is."""

    key: Span
    value: Span
    depth: int
    here: object


def locate(root: Map, path: Sequence[Step]) -> Place:
    """The place of a path, or of its longest beginning that exists (short forms are shallower than what they stand for)."""
    place = Place(root.span, root.span, 0, root)
    for step in path:
        entry = _entry(place.here, step)
        if entry is None:
            break
        spot, value = entry
        place = Place(spot.key, spot.value, place.depth + 1, value)
    return place


def _entry(here: object, step: Step) -> tuple[Spot, object] | None:
    if isinstance(here, Map):
        return (here.spots[step], here[step]) if isinstance(step, str) and step in here.spots else None
    if isinstance(here, Seq):
        return (here.spots[step], here[step]) if isinstance(step, int) and 0 <= step < len(here) else None
    return None


def remove(root: Map, path: Sequence[Step], *, known: bool = True) -> bool:
    """Take the deepest existing step of a path out of the data; False when there is none (the path is the root itself).

    `known`: it was a part that the data may need, so that what lacks it from now on is tainted.
    """
    depth = locate(root, path).depth
    if depth == 0:
        return False
    owner, last = locate(root, path[: depth - 1]).here, path[depth - 1]
    if known:
        _taint(root, path[: depth - 1])
    if isinstance(owner, Map) and isinstance(last, str):
        owner.take(last)
        if known:
            owner.lost.add(last)
    elif isinstance(owner, Seq) and isinstance(last, int):
        owner.take(last)
    return True


def _taint(root: Map, path: Sequence[Step]) -> None:
    """Mark the lists that a path ends in, and the mapping that holds them."""
    for length in range(len(path), -1, -1):
        here = locate(root, path[:length]).here
        if isinstance(here, Map | Seq):
            here.tainted = True
        if isinstance(here, Map):
            return


def dotted(path: Sequence[Step]) -> str:
    """A path as people write it: `upstreams.app.servers[0]`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
