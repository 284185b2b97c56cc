"""From a file, or a text, to a config or to findings; nothing in between is handed out, and no input raises."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from proxyd.config.bundle import TEXT, Bundle, Files, KeptFiles
from proxyd.config.check import Declared, check
from proxyd.config.credential_files import read_credentials
from proxyd.config.filter_files import read_filters
from proxyd.config.geo_files import read_geoip
from proxyd.config.include import compose_mapping, decode, include_files, read_source
from proxyd.config.interpolate import Interpolator
from proxyd.config.key_files import read_key_files
from proxyd.config.lift import lift
from proxyd.config.model import Config
from proxyd.config.page_files import read_pages
from proxyd.diagnostics.diagnostic import Diagnostic, Source, by_position
from proxyd.diagnostics.marked import Map, mark
from proxyd.diagnostics.nodes import MappingNode
from proxyd.diagnostics.places import Places
from proxyd.diagnostics.validate import validate

SECRET_IN_FILE = "PXD-113"


@dataclass(frozen=True, slots=True)
class LoadResult:
    """`config` is None when an error is among the `diagnostics`, which are in reading order. `files`: all read ones, the main one first.

    `places` tells where each setting stands, for what is found out about it later; `bundle` has what is needed to load the same again.
    """

    config: Config | None
    diagnostics: list[Diagnostic] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    places: Places = field(default=Places(), repr=False)
    bundle: Bundle | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        return self.config is not None

    @property
    def errors(self) -> list[Diagnostic]:
        return [item for item in self.diagnostics if item.severity == "error"]

    @property
    def warnings(self) -> list[Diagnostic]:
        return [item for item in self.diagnostics if item.severity == "warning"]


@contextmanager
def uncollected() -> Iterator[None]:
    """A config is a hundred thousand objects that stay: the collector of cycles would go through them all again and again while they
    come, which is a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@uncollected()
def load(path: str | os.PathLike[str], *, env: Mapping[str, str] | None = None) -> LoadResult:
    """Load a config file with what it includes. `env` stands for the process's environment."""
    found: list[Diagnostic] = []
    files = Files()
    source = read_source(Path(path), None, found, files)
    if source is None:
        return LoadResult(None, found, [Path(path)])
    return _load(source, env, files, [Path(path)])


@uncollected()
def load_text(text: str, *, name: str = TEXT, folder: str = ".", env: Mapping[str, str] | None = None) -> LoadResult:
    """Load a config that stands in memory; relative paths in it start at `folder`."""
    files = Files()
    files.contents[TEXT] = text.encode("utf-8", "surrogatepass")
    return _load(Source(name, text.removeprefix("\ufeff"), folder), env, files, [])


@uncollected()
def load_kept(bundle: Bundle, *, env: Mapping[str, str] | None = None) -> LoadResult:
    """Load a config again as its files were. What a bundle does not hold (see bundle.py) is read as it is now."""
    found: list[Diagnostic] = []
    read = [Path(bundle.main)] if bundle.main != TEXT else []
    source = decode(bundle.files[bundle.main], bundle.main, bundle.folder, found)
    if source is None:
        return LoadResult(None, found, read)
    return _load(source, env, KeptFiles(bundle), read)


def _load(source: Source, env: Mapping[str, str] | None, files: Files, read: list[Path]) -> LoadResult:
    """`read`: the files that were read so far."""
    env = os.environ if env is None else env
    main = os.path.abspath(read[0]) if read else TEXT
    sources = [source]
    found: list[Diagnostic] = []
    root = compose_mapping(source, found)
    if root is None:
        return LoadResult(None, by_position(found, sources), read)
    _, patterns = root.entries.pop("include", (None, None))
    if patterns is not None:
        Interpolator(None, env, found).replace(patterns)
        included = include_files(root, patterns, found, files)
        sources += included
        read += [Path(part.name) for part in included]
    config, data = _build(root, env, found, read, files)
    found = _without_secrets(by_position(found, sources))
    good = config if not any(item.severity == "error" for item in found) else None
    return LoadResult(good, found, read, Places(data), files.bundle(main, source.folder) if good is not None else None)


def _without_secrets(found: list[Diagnostic]) -> list[Diagnostic]:
    """The same findings, none of which shows a secret that stands in the file: not even one that stands on the same line."""
    secrets = tuple(item.span for item in found if item.code == SECRET_IN_FILE and item.span is not None)
    return [replace(item, hidden=secrets) for item in found] if secrets else found


def _build(
    root: MappingNode, env: Mapping[str, str], found: list[Diagnostic], read: list[Path], files: Files
) -> tuple[Config | None, Map]:
    entry = root.entries.get("vars")
    variables = entry[1] if entry is not None else None
    Interpolator(variables if isinstance(variables, MappingNode) else None, env, found).replace(root)
    data = mark(root, found)
    assert isinstance(data, Map)
    lift(data, found)
    read_pages(data, found, files)
    read_geoip(data, found)
    read_credentials(data, found, read)
    read_key_files(data, found, read)
    read_filters(data, found)
    declared = Declared.of(data)
    result = validate(Config, data)
    found += result.found
    if result.value is None:
        return None, data
    found += check(result.value, data, declared, complete=not found)
    return result.value.model_copy(update={"vars": None}), data
