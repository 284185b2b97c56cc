"""Reads files of keys and passwords into the options that they stand for, so that what is in them is checked, and pointed at, as if it
stood in the config. Findings point into these files too, but never show more of a line than its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from proxyd.config.bundle import Files
from proxyd.config.include import read_source
from proxyd.diagnostics.compose import compose
from proxyd.diagnostics.diagnostic import Diagnostic, Source, Span
from proxyd.diagnostics.fail import shown
from proxyd.diagnostics.marked import Map, Spot, Step, mark, remove
from proxyd.diagnostics.nodes import MappingNode, Node, ScalarNode, SecretText, SequenceNode

Parse = Callable[[Source, list[Diagnostic]], Map | None]


def read_credentials(data: Map, found: list[Diagnostic], read: list[Path]) -> None:
    """Merge each `file` of an `auth` policy into its `keys` or `users`, in place. `read` gets the paths."""
    for path, section, into, parse in _sections(data):
        name = section.get("file")
        if not isinstance(name, str):
            continue
        spot = section.spots["file"]
        file = Path(spot.value.source.folder, name)
        read.append(file)
        problems: list[Diagnostic] = []
        source = read_source(file, spot.value, problems, Files())      # not kept: see bundle.py
        found += [replace(item, code="PXD-009", help="paths are relative to the config file") for item in problems]
        entries = parse(source, found) if source is not None else None
        if entries is None:
            remove(data, (*path, "file"))
            section.lost.add(into)
            continue
        section.take("file")
        present = section.get(into)
        if present is None and into not in section.lost:
            section.put(into, entries, spot)
        elif isinstance(present, Map):
            _merge(present, entries, found)


def _sections(data: Map) -> Iterator[tuple[tuple[Step, ...], Map, str, Parse]]:
    """(path, mapping, option that the file is merged into, how it is read) of every kind that has files; a file in short is written out."""
    policies = data.get("policies")
    for name, policy in policies.items() if isinstance(policies, Map) else ():
        auth = policy.get("auth") if isinstance(policy, Map) else None
        if not isinstance(auth, Map):
            continue
        for kind, into, parse in (("api_key", "keys", _parse_keys), ("basic", "users", _parse_htpasswd)):
            section = auth.get(kind)
            if isinstance(section, str):
                spot = auth.spots[kind]
                section = auth[kind] = Map(spot.key).put("file", section, spot)
            if isinstance(section, Map):
                yield ("policies", name, "auth", kind), section, into, parse


def _merge(present: Map, entries: Map, found: list[Diagnostic]) -> None:
    for name in list(entries):
        value, spot = entries.take(name)
        if name in present:
            first = present.spots[name].key
            help = f"first defined at {first.source.name}:{first.line + 1}"
            found.append(Diagnostic("PXD-023", f"{shown(name)} is there twice", spot.key, help))
        else:
            present.put(name, value, spot)
    present.tainted |= entries.tainted
    present.lost |= entries.lost


def _hidden(source: Source) -> Source:
    """The same places, and of each line the name alone."""
    lines = [f"{line.partition(':')[0]}: ***" if ":" in line else "***" if line.strip() else "" for line in source.lines]
    return replace(source, text="\n".join(lines))


# ------------------------------------------------------------------ keys.yaml
def _parse_keys(source: Source, found: list[Diagnostic]) -> Map | None:
    """`NAME: KEY`, or `NAME: {key | sha256, plan, …}`."""
    hidden = _hidden(source)
    root, problems = compose(source)
    found += [replace(item, span=item.span._replace(source=hidden) if item.span else None) for item in problems]
    if problems and root is None:
        return None
    start = Span(hidden, 0, 0, 0, 0)
    if root is None or (isinstance(root, ScalarNode) and root.value is None):
        root = MappingNode(start)
    if not isinstance(root, MappingNode):
        found.append(Diagnostic("PXD-030", "the file is not a mapping of names to keys", start, "a line of it is `NAME: KEY`"))
        return None
    _hide(root, hidden)
    marked = mark(root, found)
    assert isinstance(marked, Map)
    return marked


def _hide(node: Node, source: Source, *, inside: bool = False, secret: bool = False) -> None:
    """Point into `source` instead; keys and their digests are secrets. (What stands behind a name may be its key.)"""
    node.span = node.span._replace(source=source)
    match node:
        case ScalarNode():
            node.secret |= secret
        case SequenceNode():
            for item in node.items:
                _hide(item, source, inside=True)
        case MappingNode():
            for name, (key, value) in node.entries.items():
                key.span = key.span._replace(source=source)
                _hide(value, source, inside=True, secret=not inside or name in ("key", "sha256"))


# ------------------------------------------------------------------ htpasswd
def _parse_htpasswd(source: Source, found: list[Diagnostic]) -> Map | None:
    """Lines `NAME:HASH`; what stands behind a second colon is a comment, as with Apache, and so is a line that begins with `#`."""
    hidden = _hidden(source)
    entries = Map(Span(hidden, 0, 0, 0, 0))
    for number, line in enumerate(source.lines):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, rest = line.partition(":")
        span = Span(hidden, number, 0, number, len(name) if colon else 3)
        if not colon:
            found.append(Diagnostic("PXD-086", "a line without `NAME:HASH`", span, "htpasswd writes such lines: `htpasswd -nB NAME`"))
            entries.tainted = True
        elif name in entries:
            help = f"first defined on line {entries.spots[name].key.line + 1}"
            found.append(Diagnostic("PXD-023", f"{shown(name)} is there twice", span, help))
        else:
            entries.put(name, SecretText(rest.partition(":")[0]), Spot(span, span))
    return entries
