"""Configs as the admin API and `proxyd show config` tell them. Secrets are `***` in both forms."""
from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxyd.config import Config, load, load_text
from proxyd.config.base import Model
from proxyd.config.canonical import canonical, canonical_text, dump
from proxyd.config.schema import schema
from proxyd.diagnostics import Diagnostic
from proxyd.snapshot.rehearsal import rehearse


def check_text(text: str | None, path: Path | None) -> list[Diagnostic]:
    """What is wrong with `text`, whose relative paths start where `path` is; without a text, with the file itself. Its tests are run."""
    if text is not None:
        result = load_text(text, folder=str(path.parent if path else "."))
    elif path is not None:
        result = load(path)
    else:
        return []
    failed = result.places.put(rehearse(result.config)) if result.config is not None else ()
    return [*result.diagnostics, *failed]


def show(config: Config, *, full: bool) -> str:
    """The canonical form as YAML; without `full` only what differs from the defaults."""
    if full:
        return canonical_text(config)
    return dump(sparse(config))


def sparse(config: Model) -> dict[str, object]:
    """The canonical form without what is the default anyway."""
    shown = canonical(config)
    found: dict[str, object] = {}
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if name in shown and (field.is_required() or value != field.get_default(call_default_factory=True)):
            found[name] = _sparse(value, shown[name])
    return found


def _sparse(value: object, shown: object) -> object:
    if isinstance(value, Model):
        return sparse(value)
    if isinstance(value, Mapping) and isinstance(shown, dict):
        return {name: _sparse(entry, shown[name]) for name, entry in value.items()}
    if isinstance(value, tuple) and isinstance(shown, list):
        return [_sparse(entry, part) for entry, part in zip(value, shown, strict=True)]
    return shown


@functools.cache
def json_schema() -> dict[str, Any]:
    """The same for the life of the program, and it takes a while."""
    return schema()
