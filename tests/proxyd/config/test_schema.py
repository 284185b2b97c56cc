"""The JSON Schema against the loader: what loads is valid, what is misspelt is not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxyd.config.schema import schema, schema_text

CONFIGS = sorted(path for path in Path(__file__).parents[3].joinpath("config").rglob("*.yaml") if path.parent.name != "prometheus")
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
KNOWN = {
    "$ref",
    "$defs",
    "$schema",
    "title",
    "description",
    "examples",
    "type",
    "enum",
    "const",
    "anyOf",
    "oneOf",
    "properties",
    "additionalProperties",
    "required",
    "items",
    "pattern",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "propertyNames",
}


def valid(part: Any, value: Any, root: dict[str, Any]) -> bool:
    """The keywords of JSON Schema 2020-12 that our schema uses; an unknown one is an error of the test."""
    if part is True or part is False:
        return bool(part)
    assert set(part) <= KNOWN, set(part) - KNOWN
    if "$ref" in part and not valid(root["$defs"][part["$ref"].rpartition("/")[2]], value, root):
        return False
    if "anyOf" in part and not any(valid(arm, value, root) for arm in part["anyOf"]):
        return False
    if "type" in part:
        kinds = [part["type"]] if isinstance(part["type"], str) else part["type"]
        if not any(isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool)) for kind in kinds):
            return False
    if ("enum" in part and value not in part["enum"]) or ("const" in part and value != part["const"]):
        return False
    if isinstance(value, str) and "pattern" in part and not re.search(part["pattern"], value):
        return False
    if isinstance(value, int) and not part.get("minimum", value) <= value <= part.get("maximum", value):
        return False
    if isinstance(value, list):
        few = part.get("minItems", 0) <= len(value) <= part.get("maxItems", len(value))
        return few and all(valid(part.get("items", True), item, root) for item in value)
    if isinstance(value, dict):
        return _valid_object(part, value, root)
    return True


def _valid_object(part: Any, value: dict[str, Any], root: dict[str, Any]) -> bool:
    properties = part.get("properties", {})
    if any(name not in value for name in part.get("required", [])):
        return False
    if not all(valid(part.get("propertyNames", True), name, root) for name in value):
        return False
    return all(valid(properties.get(name, part.get("additionalProperties", True)), entry, root) for name, entry in value.items())


def check(text: str) -> bool:
    built = schema()
    return valid(built, yaml.safe_load(text), built)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_what_is_shipped_is_valid(path: Path) -> None:
    assert check(path.read_text())


@pytest.mark.parametrize(
    "text",
    [
        "listen: [':80', ':81']",
        "to: {a: 5}",
        "to: [{address: 'a:1'}]",
        "upstreams: {a: 'a:1'}",
        "upstreams: {a: {servers: 'a:1', balance: {hash: host}}}",
        "upstreams: {a: {servers: ['a:1'], health: {active: none, passive: none}}}",
        "routes: [{respond: 404}]",
        "runtime: {threads: '${env:N}'}",
        "runtime: {shutdown: {drain: '${d}'}}",
        "log: {access: none}",
        "routes: [{match: {method: GET}, redirect: https}]",
        "include: [a, b]",
        "listeners: {a: {bind: ':1', limits: {per_client: none, body_size: none, min_body_rate: none}}}",
        "policies: {p: {access: {allow: all}}}",
        "policies: {p: {compress: on}, q: {compress: [br, gzip]}, r: {compress: {encodings: zstd, types: text/*}}}",
        "routes: [{to: a, cache: on}, {to: a, cache: none}, {to: a, cache: 10m}]",
        "routes: [{to: a, cache: {ttl: {min: 1s}, grace: none, negative: 5s}}]",
        "routes: [{to: a, cache: {key: path, tags: none, bypass: 'header:x', collapse: none, heuristic: 10%, share: '${s}'}}]",
        "routes: [{to: a, cache: {key: [path, 'query:a,b'], tags: ['header:x'], bypass: ['cookie:x'], collapse: 1s}}]",
        "cache: {memory: 1GiB, shared: 'redis://a', tiers: memory, purge: {allow: '::1'}}",
        "cache: {memory: {snapshot: none}, shared: {memcached: 'a:1'}}",
        "listeners: {a: {bind: ':1', mode: cache}}",
        "upstreams: {a: {servers: ['a:1'], health: {redis: primary, interval: 1s}}}",
        "upstreams: {a: {servers: ['a:1'], health: {active: {redis: {role: any, password: '${env:P}'}}}}}",
        "upstreams: {a: {servers: ['a:1'], health: {active: [{dns: a.b}, {udp: {dns: a.b}}, {udp: {send: a, expect_hex: '00'}}]}}}",
        "upstreams: {a: {servers: ['a:1'], health: {active: {tcp: {script: [{send: a}, {expect: {regex: b}, within: 9}]}}}}}",
        "upstreams: {a: {servers: ['a:1'], health: {active: {postgres: {role: any, user: u}}}}}",
    ],
)
def test_short_forms_are_valid(text: str) -> None:
    assert check(text)


@pytest.mark.parametrize(
    "text",
    [
        "lisen: ':80'",
        "upstreams: {a: {server: 'a:1'}}",
        "upstreams: {a: {servers: ['a:1'], balance: leastconn}}",
        "upstreams: {a b: 'a:1'}",
        "runtime: {threads: 65}",
        "runtime: {shutdown: {drain: 30}}",
        "runtime: {shutdown: {drain: 30 s}}",
        "routes: [{respond: {status: 99}}]",
        "listeners: {a: {}}",
        "routes: {a: b}",
        "version: 2",
        "routes: [{to: a, cache: {ttl: 10}}]",
        "routes: [{to: a, cache: {key: [uri]}}]",
        "routes: [{to: a, cache: {tags: [Surrogate-Key]}}]",
        "routes: [{to: a, cache: {uncacheable: 10ms}}]",
        "cache: {tiers: [disk]}",
        "cache: {shared: {redis: 'http://a'}}",
        "listeners: {a: {bind: ':1', mode: tcp}}",
        "log: {level: loud}",
        "upstreams: {a: {servers: []}}",
        "routes: [{redirect: {to: /, status: 200}}]",
        "upstreams: {a: {servers: ['a:1'], pool: {idle: none}}}",
        "upstreams: {a: {servers: ['a:1'], health: {pasive: none}}}",
        "upstreams: {a: {servers: ['a:1'], health: {active: [{redis: master}]}}}",
        "upstreams: {a: {servers: ['a:1'], health: {active: [{postgres: {role: any}}]}}}",
        "upstreams: {a: {servers: ['a:1'], health: {active: [{tcp: {script: [{sent: a}]}}]}}}",
    ],
)
def test_mistakes_are_not(text: str) -> None:
    assert not check(text)


def test_every_property_is_described() -> None:
    built = schema()
    for name, model in [("Config", built), *built["$defs"].items()]:
        for key, entry in model.get("properties", {}).items():
            assert entry.get("description"), f"{name}.{key}"


def test_the_text_is_the_schema() -> None:
    assert json.loads(schema_text()) == schema()
