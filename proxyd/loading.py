"""A loaded config with what the daemon wants to know beside it: the hash that tells whether anything changed, the text, the files."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from proxyd.config import Config, LoadResult, load, load_text
from proxyd.config.bundle import Bundle
from proxyd.config.canonical import config_hash
from proxyd.config.load import load_kept
from proxyd.diagnostics import Diagnostic
from proxyd.diagnostics.places import Places


@dataclass(frozen=True, slots=True)
class Loaded:
    """`config` is None when there are errors among `diagnostics`; then `hash` is ""."""

    config: Config | None
    diagnostics: tuple[Diagnostic, ...]
    files: tuple[Path, ...]       # everything that was read, the main file first; () for a text that names no other
    text: str                     # of the main file
    hash: str
    places: Places = field(default=Places(), repr=False)
    bundle: Bundle | None = field(default=None, repr=False)      # None exactly when `config` is


def load_path(path: Path) -> Loaded:
    result = load(path)
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        text = ""                 # then the result says so, too
    return _loaded(result, text)


def load_given(text: str, folder: Path | None) -> Loaded:
    """A config that came as text; relative paths in it start at `folder` (the working directory)."""
    return _loaded(load_text(text, folder=str(folder or ".")), text)


def load_again(bundle: Bundle) -> Loaded:
    """A config of the past, from what was kept of it."""
    return _loaded(load_kept(bundle), bundle.files[bundle.main].decode("utf-8-sig", "replace"))


def _loaded(result: LoadResult, text: str) -> Loaded:
    found_hash = config_hash(result.config) if result.config is not None else ""
    return Loaded(result.config, tuple(result.diagnostics), tuple(result.files), text, found_hash, result.places, result.bundle)
