"""Reading files and merging `include`d ones: by key, one level below the top as well; the same key in two files is an error."""

from __future__ import annotations

import glob
from pathlib import Path

from proxyd.config.bundle import Files
from proxyd.diagnostics.compose import MAX_BYTES, compose
from proxyd.diagnostics.diagnostic import Diagnostic, Source, Span
from proxyd.diagnostics.fail import shown
from proxyd.diagnostics.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_FILES = 1000


def read_source(path: Path, span: Span | None, found: list[Diagnostic], files: Files) -> Source | None:
    """The text of a file, or None with a finding (at `span`, where the file is asked for)."""
    try:
        content = files.read(path, MAX_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        found.append(Diagnostic("PXD-001", f"cannot read `{path}`: {reason}", span))
        return None
    if len(content) > MAX_BYTES:
        found.append(Diagnostic("PXD-004", f"`{path}` is larger than {MAX_BYTES >> 20} MiB", span))
        return None
    return decode(content, str(path), str(path.parent), found)


def decode(content: bytes, name: str, folder: str, found: list[Diagnostic]) -> Source | None:
    try:
        return Source(name, content.decode("utf-8-sig"), folder)
    except UnicodeDecodeError as error:
        before = Source("", content[: error.start].decode("utf-8-sig", "replace")).lines
        source = Source(name, content.decode("utf-8-sig", "replace"), folder)
        line, column = len(before) - 1, len(before[-1])
        found.append(
            Diagnostic(
                "PXD-002",
                f"byte 0x{content[error.start]:02x} is not UTF-8",
                Span(source, line, column, line, column + 1),
                "save the file as UTF-8",
            )
        )
        return None


def compose_mapping(source: Source, found: list[Diagnostic]) -> MappingNode | None:
    """The top-level mapping of a source; an empty file is an empty one."""
    before = len(found)
    root, mistakes = compose(source)
    found += mistakes
    start = Span(source, 0, 0, 0, 0)
    if isinstance(root, MappingNode):
        return root
    if root is None or (isinstance(root, ScalarNode) and root.value is None):
        return MappingNode(start) if len(found) == before else None
    found.append(
        Diagnostic(
            "PXD-030",
            "the file is a list" if isinstance(root, SequenceNode) else f"the file is the text {shown(root.text)}",
            root.span,
            "a config is a mapping of options: `listen: :8080`, `to: 127.0.0.1:9001`",
        )
    )
    return None


def include_files(root: MappingNode, patterns: Node, found: list[Diagnostic], files: Files) -> list[Source]:
    """Merge every file that `patterns` name into `root`, in the order of their names. The sources that were read."""
    sources: list[Source] = []
    seen: set[Path] = set()
    for pattern in patterns.items if isinstance(patterns, SequenceNode) else [patterns]:
        if not isinstance(pattern, ScalarNode):
            found.append(Diagnostic("PXD-030", "expected a path or a glob, like `conf.d/*.yaml`", pattern.span))
            continue
        for path in _matching(pattern, found, files):
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            if len(seen) > MAX_FILES:
                found.append(Diagnostic("PXD-006", f"more than {MAX_FILES} files are included", pattern.span))
                return sources
            source = read_source(path, pattern.span, found, files)
            if source is None:
                continue
            sources.append(source)
            part = compose_mapping(source, found)
            if part is not None:
                _merge(root, part, found)
    return sources


def _matching(pattern: ScalarNode, found: list[Diagnostic], files: Files) -> list[Path]:
    if pattern.broken:
        return []
    folder = Path(pattern.span.source.folder)
    try:
        paths = sorted(Path(name) for name in files.glob(str(folder / pattern.text)))
    except (OSError, ValueError) as error:
        found.append(Diagnostic("PXD-006", f"{shown(pattern.text)} is not a path or a glob: {error}", pattern.span))
        return []
    matching = [path for path in paths if not files.is_dir(path)]
    if not matching and (paths or not glob.has_magic(pattern.text)):
        what = "is a folder" if paths else "does not exist"
        found.append(
            Diagnostic(
                "PXD-006",
                f"the included file {shown(pattern.text)} {what}",
                pattern.span,
                f"write `{pattern.text}/*.yaml`" if paths else "paths are relative to this file",
            )
        )
    return matching


def _merge(root: MappingNode, part: MappingNode, found: list[Diagnostic]) -> None:
    for name, (key, value) in part.entries.items():
        if name == "include":
            found.append(Diagnostic("PXD-006", "an included file cannot include further ones", key.span, "name them in the main file"))
            continue
        present = root.entries.get(name)
        if present is None:
            root.entries[name] = (key, value)
            continue
        have = present[1]
        if not (isinstance(have, MappingNode) and isinstance(value, MappingNode)):
            found.append(_twice(name, key, present[0]))
            continue
        # a copy: the mapping may be repeated elsewhere by an alias
        merged = MappingNode(have.span, dict(have.entries))
        for inner, entry in value.entries.items():
            if inner in merged.entries:
                found.append(_twice(f"{name}.{inner}", entry[0], merged.entries[inner][0]))
            else:
                merged.entries[inner] = entry
        root.entries[name] = (present[0], merged)


def _twice(path: str, key: ScalarNode, first: ScalarNode) -> Diagnostic:
    where = f"{first.span.source.name}:{first.span.line + 1}"
    return Diagnostic("PXD-023", f"`{path[:80]}` is defined in two files", key.span, f"first defined at {where}", path=path)
