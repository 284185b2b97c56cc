"""The model's own rules, section by section, and its defaults against the engine's."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from proxyd.config import Config, load_text
from proxyd.config.base import Model
from proxyd.config.model import AccessLog, Limits, Passive, Policy, Pool, Retry, RouteTimeout, UpstreamTimeout
from proxyd_ext.snapshot import spec


def models(kind: type[Model] = Model) -> Iterator[type[Model]]:
    for child in kind.__subclasses__():
        yield child
        yield from models(child)


def fields() -> list[tuple[str, FieldInfo]]:
    return [(f"{model.__name__}.{name}", info) for model in models() for name, info in model.model_fields.items()]


@pytest.mark.parametrize(("where", "info"), fields(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_field_is_documented_and_its_default_is_valid(where: str, info: FieldInfo) -> None:
    assert info.description
    assert info.description.strip().endswith((".", "?"))
    if info.is_required():
        assert info.examples, "what is required is shown by an example"
    else:
        assert info.default is not PydanticUndefined


def test_no_key_is_a_boolean_of_yaml_1_1() -> None:
    words = {"on", "off", "yes", "no", "y", "n", "true", "false", "null"}
    assert not words & {name for model in models() for name in model.model_fields}


def test_what_comes_later_is_not_there_already() -> None:
    for model in models():
        assert not model.later & set(model.model_fields), model


def engine(kind: type, *pairs: tuple[str, int]) -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    assert {name: defaults[name] for name, _ in pairs} == dict(pairs)


def test_defaults_are_those_of_the_engine() -> None:
    """All but `buffer` (larger here, for splicing large bodies) and `per_client` (a bound here, none there): both are always told."""
    limits, pool, passive, timeout, retry = Limits(), Pool(), Passive(), RouteTimeout(), Retry()
    engine(
        spec.ListenerSpec,
        ("header_size", limits.header_size),
        ("header_count", limits.header_count),
        ("uri_length", limits.uri_length),
        ("body_size", limits.body_size),
        ("header_ms", limits.header_timeout),
        ("idle_ms", limits.idle_timeout),
        ("min_body_rate", limits.min_body_rate),
    )
    engine(
        spec.UpstreamSpec,
        ("pool_max", pool.max),
        ("pool_idle_ms", pool.idle),
        ("passive_failures", passive.consecutive_5xx),
        ("eject_ms", passive.eject),
        ("eject_max_ms", passive.eject_max),
        ("max_ejected_percent", passive.max_ejected),
    )
    engine(spec.TargetSpec, ("connect_ms", UpstreamTimeout().connect))
    engine(spec.RetrySpec, ("attempts", retry.attempts), ("budget_percent", retry.budget.percent), ("budget_min", retry.budget.min))
    engine(
        spec.ProxyAction,
        ("first_byte_ms", timeout.first_byte),
        ("between_bytes_ms", timeout.between_bytes),
        ("total_ms", timeout.total),
        ("per_try_ms", timeout.per_try),
        ("tunnel_idle_ms", timeout.tunnel_idle),
    )


def section(text: str) -> Config:
    """A config that is complete around `text`."""
    result = load_text(f"listen: :1\nupstreams: {{app: 127.0.0.1:9}}\nto: app\n{text}\n", env={})
    assert result.errors == []
    assert result.config is not None
    return result.config


def test_access_log_in_all_its_forms() -> None:
    assert section("log: {access: none}").log.access is None
    assert section("log: {access: /var/log/x}").log.access == AccessLog(to="/var/log/x")
    assert section("log: {access: {format: json}}").log.access == AccessLog(format="json")


def test_access_policies_and_their_default() -> None:
    def access(text: str) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
        policy = section(f"policies: {{p: {{access: {text}}}}}").policies["p"].access
        assert policy is not None
        return policy.allow_networks, policy.deny_networks, policy.default_allow

    assert access("{allow: 10.0.0.0/8}") == (("10.0.0.0/8",), (), False)
    assert access("{allow: [10.0.0.0/8], deny: all}") == (("10.0.0.0/8",), (), False)
    assert access("{deny: [10.0.0.1]}") == ((), ("10.0.0.1/32",), True)
    assert access("{allow: all, deny: [10.0.0.1]}") == ((), ("10.0.0.1/32",), True)
    assert access("{allow: 10.0.0.1, deny: 10.0.0.0/8}") == (("10.0.0.1/32",), ("10.0.0.0/8",), False)


def test_policies_of_a_route_come_after_the_defaults_and_once() -> None:
    config = section(
        "defaults: {use: [a, b]}\nroutes: [{match: /x, use: [b, c], respond: 200}]\n"
        "policies: {a: {access: {deny: all}}, b: {headers: {}}, c: {headers: {}}}"
    )
    assert [name for name, _ in config.policies_of(config.routes[0])] == ["a", "b", "c"]
    assert all(isinstance(policy, Policy) for _, policy in config.policies_of(config.routes[0]))


def test_threads() -> None:
    assert [section(f"runtime: {{threads: {text}}}").runtime.threads for text in ("auto", "0", "64", "'2'")] == ["auto", 0, 64, 2]


def test_header_values_keep_their_spelling() -> None:
    headers = section("policies: {p: {headers: {request: {set: {X-V: 1.10, X-T: true, X-S: ' a b '}}}}}").policies["p"].headers
    assert headers is not None
    assert headers.request.set == {"X-V": "1.10", "X-T": "true", "X-S": "a b"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("runtime: {threads: 65}", ("PXD-033", 20)),
        ("runtime: {threads: 1.5}", ("PXD-030", 20)),
        ("runtime: {threads: many}", ("PXD-034", 20)),
        ("version: 2", ("PXD-034", 10)),
        ("tls: {}", ("PXD-021", 1)),
        ("admin: {bind: ':2'}", ("PXD-071", 15)),
        ("admin: {bind: []}", ("PXD-022", 9)),
        ("admin: {bind: 10.0.0.1:5}", ("PXD-071", 15)),
        ("log: {access: {format: xml}}", ("PXD-034", 24)),
        ("log: {access: 5}", ("PXD-030", 15)),
        ("log: {level: off}", ("PXD-034", 14)),
        ("policies: {p: {}}", ("PXD-080", 15)),
        ("policies: {p: {access: {deny: all}, headers: {}}}", ("PXD-080", 37)),
        ("routes: [{match: /a, respond: 200, concurrency: 5}]", ("PXD-024", 36)),
        ("routes: [{match: /a, respond: 200, priority: urgent}]", ("PXD-034", 46)),
        ("policies: {p: {priority: urgent}}", ("PXD-034", 26)),
        ("policies: {p: {access: {}}}", ("PXD-022", 24)),
        ("policies: {p: {access: {allow: all, deny: all}}}", ("PXD-039", 43)),
        ("policies: {p: {access: {allow: x}}}", ("PXD-038", 32)),
        ("policies: {p: {headers: {request: {set: {Content-Length: 5}}}}}", ("PXD-082", 42)),
        ('policies: {p: {headers: {request: {set: {X: "a\\r\\nb"}}}}}', ("PXD-082", 45)),
        ("policies: {p: {headers: {response: {drop: [X]}}}}", ("PXD-021", 37)),
        ("policies: {p: {headers: {response: {remove: [Connection]}}}}", ("PXD-082", 46)),
        ("policies: {p: {headers: {request: {add: {Host: a}}}}}", ("PXD-082", 42)),
        ("runtime: {zone: a b}", ("PXD-036", 17)),
        ("policies: {'a b': {access: {deny: all}}}", ("PXD-036", 12)),
        ("routes: [{match: /a}]", ("PXD-022", 10)),
        ("routes: [{match: /a, redirect: /, respond: 200}]", ("PXD-024", 35)),
        ("routes: [{match: /a, to: {app: 0}}]", ("PXD-039", 26)),
        ("routes: [{match: /a, to: {}}]", ("PXD-022", 26)),
        ("routes: [{match: /a, to: {app: -1}}]", ("PXD-033", 32)),
        ("routes: [{match: /a, to: {app: x}}]", ("PXD-030", 32)),
        ("routes: [{match: /a, respond: 99}]", ("PXD-033", 31)),
        ("routes: [{match: /a, respond: {status: 204, body: x}}]", ("PXD-039", 51)),
        ("routes: [{match: /a, respond: {probe: ready, status: 200}}]", ("PXD-024", 46)),
        ("routes: [{match: /a, respond: {probe: up}}]", ("PXD-034", 39)),
        ("routes: [{match: /a, respond: {headers: {Content-Type: x}}}]", ("PXD-024", 42)),
        ("routes: [{match: /a, redirect: example.com}]", ("PXD-038", 32)),
        ("routes: [{match: /a, redirect: '/{nope}'}]", ("PXD-038", 32)),
        ("routes: [{match: /a, redirect: '/{'}]", ("PXD-038", 32)),
        ("routes: [{match: /a, redirect: '/a b'}]", ("PXD-038", 32)),
        ("routes: [{match: /a, redirect: {to: /, status: 200}}]", ("PXD-034", 48)),
        ("routes: [{match: /a, redirect: '/" + "{path}" * 17 + "'}]", ("PXD-038", 32)),
        ("routes: [{match: /a, respond: 200, timeout: {total: 5}}]", ("PXD-031", 53)),
        ("routes: [{match: /a, respond: 200, cache: 10m}]", ("PXD-024", 36)),
        ("routes: [{match: /a, respond: 200, retry: {attempts: 11}}]", ("PXD-033", 54)),
        ("routes: [{match: /a, respond: 200, retry: {tries: 2}}]", ("PXD-021", 44)),
        ("listeners: {b: {bind: ':2', limits: {uri_length: 9KiB, header_size: 8KiB}}}", ("PXD-039", 50)),
        ("listeners: {b: {bind: ':2', tls: x}}", ("PXD-021", 29)),
        ("listeners: {b: {bind: ':2', mode: tcp}}", ("PXD-022", 13)),
        ("listeners: {b: {bind: ':2', mode: tls, to: app}}", ("PXD-034", 35)),
        ("listeners: {b: {bind: ':2', mode: cached}}", ("PXD-034", 35)),
        ("listeners: {b: {bind: ':2', mode: [cache]}}", ("PXD-030", 35)),
        ("listeners: {b: {bind: ':2', mode: cache, to: app}}", ("PXD-024", 42)),
        ("listeners: {b: {bind: ':2', mode: cache, respond: 404}}", ("PXD-024", 42)),
        ("listeners: {b: {mode: cache, bind: ':2', routes: [{to: app}]}}", ("PXD-024", 42)),
        ("listeners: {b: {bind: ':2', limits: {header_size: 4KiB}}}", ("PXD-039", 51)),
        ("listeners: {b: {bind: ':2', client_ip: {}}}", ("PXD-022", 29)),
        ("listeners: {b: {bind: ':2', client_ip: {trust: [10.0.0.0/8, all]}}}", ("PXD-038", 61)),
        ("listeners: {b: {bind: []}}", ("PXD-022", 17)),
        ("listeners: {b: {bind: ':2', limits: {per_client: some}}}", ("PXD-030", 50)),
        ("listeners: {b: {bind: ':2', limits: {buffer: 1}}}", ("PXD-031", 46)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    result = load_text(f"{text}\nlisten: :1\nupstreams: {{app: 127.0.0.1:9}}\nto: app\n", env={})
    [item] = [item for item in result.diagnostics if item.severity == "error"]
    assert item.span is not None
    assert (item.code, item.span.line, item.span.column + 1) == (expected[0], 0, expected[1])


def test_models_are_immutable() -> None:
    assert all(model.model_config.get("frozen") and model.model_config.get("extra") == "forbid" for model in models())
    assert all(issubclass(model, BaseModel) and inspect.getmodule(model) is not None for model in models())
