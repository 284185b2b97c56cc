"""The canonical form: every shorthand written out, every default filled in, secrets as `***`; and the hash that tells configs apart."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

import yaml

from proxyd.config.base import NONE, Model, Short
from proxyd.config.factor import Factor
from proxyd.config.key_files import key_files
from proxyd.config.model import Config
from proxyd.config.redis_url import RedisUrl
from proxyd.config.regex import Regex
from proxyd.diagnostics.nodes import SecretText
from proxyd.diagnostics.scalars import resolve
from proxyd.diagnostics.shape import field_shape

HIDDEN = "***"
_HASH_DIGITS = 12  # as many as an access record shows


def canonical(config: Model, *, secrets: bool = False) -> dict[str, object]:
    """Plain values that load to an equal config, without what is unset or empty by default; `secrets` shows those instead of `***`."""
    plain: dict[str, object] = {}
    for name in config.in_force():
        field, value = type(config).model_fields[name], getattr(config, name)
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("short_form"):
            continue
        if value is None:
            if any(NONE in short.forms for short in field_shape(field).meta(Short)):
                plain[name] = "none"  # an absence that is not the default, such as `health: {active: none}`
            continue
        shown = _plain(value, secrets)
        if shown not in ("", [], {}) or value != field.default:  # empty things are something else than none at all: `tcp: {}`
            plain[name] = shown
    return plain


def canonical_text(config: Config, *, secrets: bool = False) -> str:
    """The canonical form as YAML."""
    return dump(canonical(config, secrets=secrets))


def dump(plain: dict[str, object]) -> str:
    """Plain values as the YAML that is read here."""
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=140)


def config_hash(config: Config) -> str:
    """The same for configs that serve the same, however written: secrets and files count, the order of names and `tests` do not."""
    files = [file.mark for file in (*config.page_files(), *key_files(config))]
    if config.geoip is not None:
        files.append(config.geoip.file.mark)
    served = canonical(config.model_copy(update={"tests": ()}), secrets=True)
    text = json.dumps([served, files], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]


def _plain(value: object, secrets: bool) -> object:
    if isinstance(value, Model):
        return canonical(value, secrets=secrets)
    if isinstance(value, Mapping):
        return {str(name): _plain(entry, secrets) for name, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry, secrets) for entry in value]
    if isinstance(value, SecretText):
        return str.__str__(value) if secrets else HIDDEN
    if isinstance(value, bool) or type(value) in (int, str):
        return value
    if isinstance(value, Factor):
        return value.number
    if isinstance(value, RedisUrl):
        return value.url if secrets else str(value)
    if isinstance(value, Regex):
        return {"regex": value.pattern}
    return str(value)  # quantities, addresses, sets of statuses


class _Dumper(yaml.SafeDumper):
    """Never writes anchors: two equal parts are two parts."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # in single quotes these would be folded as line ends
        style = '"' if re.search("[\x85\u2028\u2029]", data) else None
        # PyYAML quotes what YAML 1.1 would misread; `1e5` is text there and a number in YAML 1.2
        if style is None and not isinstance(resolve(data), str):
            style = "'"
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)
