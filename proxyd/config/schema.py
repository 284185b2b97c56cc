"""The JSON Schema of the config for editors, short forms included (`# yaml-language-server: $schema=…`)."""

from __future__ import annotations

import json
from typing import Any

from proxyd.config.model import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SPELLING: dict[object, str] = {"ge": "minimum", "le": "maximum"}  # pydantic leaves these as they are behind a validator of ours
_VARIABLE: dict[str, Any] = {"type": "string", "pattern": r"\$\{"}


def schema() -> dict[str, Any]:
    """The schema as plain values."""
    built = Config.model_json_schema(mode="validation")
    for model in (built, *built.get("$defs", {}).values()):
        model.pop("title", None)
    return {"$schema": DIALECT, "title": "proxyd config", **_tolerant(built)}


def schema_text() -> str:
    return json.dumps(schema(), indent=2) + "\n"


def _tolerant(part: Any) -> Any:
    """Every scalar that is no free text may also be a `${…}`; defaults are dropped, which repeat the canonical form of whole sections."""
    if isinstance(part, list):
        return [_tolerant(item) for item in part]
    if not isinstance(part, dict):
        return part
    kept: dict[str, Any] = {}
    for name, value in part.items():
        if name == "patternProperties":
            # a mapping by name: this spelling also refuses what is no name
            [(pattern, entry)] = value.items()
            kept |= {"propertyNames": {"pattern": pattern}, "additionalProperties": _tolerant(entry)}
        elif name == "properties":
            kept[name] = {key: _property(entry) for key, entry in value.items()}
        elif name not in ("default", "title", "short_form"):
            kept[_SPELLING.get(name, str(name))] = _tolerant(value)
    if kept.get("type") in ("integer", "boolean") or ("enum" in kept and "properties" not in kept) or "const" in kept:
        described = {"description": kept.pop("description")} if "description" in kept else {}
        examples = {"examples": kept.pop("examples")} if "examples" in kept else {}
        return {**described, **examples, "anyOf": [kept, _VARIABLE]}
    return kept


def _property(entry: Any) -> Any:
    """`null` is never written, so what may be unset is described without it."""
    if isinstance(entry, dict) and "anyOf" in entry:
        arms = [arm for arm in entry["anyOf"] if arm != {"type": "null"}]
        entry = {**entry, "anyOf": arms} if len(arms) > 1 else {**{k: v for k, v in entry.items() if k != "anyOf"}, **arms[0]}
    return _tolerant(entry)
