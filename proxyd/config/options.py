"""Every option of the model as plain facts, in the order of the file; `explain` and the reference are made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import AfterValidator, BaseModel, BeforeValidator, PlainValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from proxyd.config.accept import MODES, check_admitted, check_mode, check_peer
from proxyd.config.access import check_client
from proxyd.config.active import check_content
from proxyd.config.address import Address, BindAddress, check_network
from proxyd.config.auth_fields import check_identity_field, check_realm, check_user
from proxyd.config.auth_forward import check_request_field, check_url
from proxyd.config.auth_keys import check_digest
from proxyd.config.base import Described, Model, Short
from proxyd.config.cache import check_snapshot_file
from proxyd.config.cache_keys import check_part, check_tag_field
from proxyd.config.canonical import canonical
from proxyd.config.compress import check_media_type
from proxyd.config.cookies import check_cookie_domain, check_cookie_name, check_cookie_path
from proxyd.config.cors import check_cors_method, check_origin
from proxyd.config.error_pages import check_file
from proxyd.config.factor import Factor
from proxyd.config.flow_routes import check_protocol, check_server_name
from proxyd.config.geoip import check_geo_file
from proxyd.config.headers import check_header_name, check_header_value, check_removable, check_settable
from proxyd.config.hosts import check_host, check_origin_host
from proxyd.config.keys import check_key
from proxyd.config.limit_keys import check_limit_word
from proxyd.config.match import check_parameter, check_source, parse_host, parse_path
from proxyd.config.model import Config
from proxyd.config.password_hashes import check_hash
from proxyd.config.paths import check_prefix
from proxyd.config.plans import Quota
from proxyd.config.python_filter import check_filter_file
from proxyd.config.redis_url import RedisUrl
from proxyd.config.regex import check_regex
from proxyd.config.retry import check_failover_word, check_retry_word
from proxyd.config.rewrite import check_template
from proxyd.config.script import check_dns_name, check_expected, check_hex
from proxyd.config.statuses import FailureStatuses, StatusSet
from proxyd.config.text import as_flag, check_name, count_or_none
from proxyd.config.tracing import check_collector
from proxyd.config.units import Quantity, RequestRate, Within
from proxyd.diagnostics.shape import Choice, Shape, field_shape, shape_of

NAME = "NAME"  # stands for a key that the user chooses
_WORDS: dict[Callable[..., object], str] = {
    check_name: "name",
    check_key: "key",
    check_limit_word: "part of a key",
    check_network: "network",
    check_mode: " | ".join(MODES),
    check_peer: "network or `unix`",
    check_admitted: "network or `unix`",
    check_server_name: "server name or `none`",
    check_protocol: "application protocol",
    check_client: "network, `country:XX` or `all`",
    check_source: "network",
    check_host: "host",
    check_origin_host: "host with or without port",
    check_parameter: "parameter name",
    check_prefix: "path prefix",
    parse_host: "host or `{regex: …}`",
    parse_path: "path pattern or `{regex: …}`",
    check_header_name: "field name",
    check_settable: "field name",
    check_removable: "field name",
    check_template: "path with placeholders",
    check_file: "path of a file",
    check_geo_file: "path of a file",
    check_origin: "origin, `*` or `\"null\"`",
    check_cors_method: "method",
    check_filter_file: "path of a Python file",
    check_header_value: "field value",
    check_regex: "regular expression",
    check_content: "text or `{regex: …}`",
    check_expected: "text or `{regex: …}`",
    check_hex: "bytes in hexadecimal digits",
    check_dns_name: "name",
    check_cookie_name: "cookie name",
    check_cookie_path: "cookie path",
    check_cookie_domain: "domain",
    check_retry_word: "connect_failure | reset | timeout | statuses",
    check_failover_word: "no_server | connect_failure | reset | timeout | statuses",
    as_flag: "true or false",
    check_part: "part of a key",
    check_tag_field: "`header:NAME`",
    check_media_type: "media type",
    check_snapshot_file: "path of a file",
    count_or_none: "whole number or `none`",
    check_user: "name of a user",
    check_identity_field: "field name",
    check_request_field: "field name",
    check_realm: "text",
    check_url: "URL",
    check_collector: "URL",
    check_digest: "SHA-256 in hexadecimal digits",
    check_hash: "hash of a password",
}
_KINDS: dict[Any, str] = {
    StatusSet: "statuses",
    FailureStatuses: "statuses",
    RedisUrl: "URL of a Redis",
    RequestRate: "rate of requests",
    Quota: "quota",
    bool: "true or false",
    int: "whole number",
}


@dataclass(frozen=True, slots=True)
class Option:
    """One setting. `default` is as in the canonical form, None where there is none; `children` are the options inside it."""

    path: str  # `upstreams.NAME.servers[].address`
    type: str
    doc: str
    default: object = None
    required: bool = False
    bounds: str = ""
    unit: str = ""
    example: object = None
    short_forms: list[str] = field(default_factory=list)
    is_short_form: bool = False
    children: list[str] = field(default_factory=list)
    where: str = ""  # `mode: tcp`: of an option that is another one, or not there, elsewhere

    def as_dict(self) -> dict[str, Any]:
        """Only what is known, for machines."""
        facts = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in facts.items() if value not in (None, "", [], False)}


@cache
def options() -> tuple[Option, ...]:
    """All of them. One path may have several: what a listener takes depends on its mode."""
    return tuple(_options(Config, ""))


def _options(model: type[BaseModel], prefix: str) -> Iterator[Option]:
    for name, info in model.model_fields.items():
        path = f"{prefix}{name}"
        yield option_of(path, info)
        yield from _inside(field_shape(info), path)


def _inside(shape: Shape, path: str) -> Iterator[Option]:
    if shape.meta(Choice):
        yield from _variants(shape.meta(Choice)[0], path)
    elif shape.model is not None:
        # short forms at the top repeat what the canonical fields say
        yield from _options(shape.model, f"{path}.")
    elif shape.kind == "map":
        yield from _inside(shape_of(shape.item), f"{path}.{NAME}")
    elif shape.kind == "list":
        yield from _inside(shape_of(shape.item), f"{path}[]")


def _variants(choice: Choice, path: str) -> Iterator[Option]:
    """The options of all models of a choice, those that are the same in several once; the one that chooses is one for all."""
    words = {model: [word for word, of in choice.models.items() if of is model] for model in choice.variants()}
    found: dict[str, list[tuple[Option, list[str]]]] = {}
    for model in words:
        for option in _options(model, f"{path}."):
            known = found.setdefault(option.path, [])
            same = next((entry for entry in known if entry[0] == option or option.path == f"{path}.{choice.key}"), None)
            if same is not None:
                same[1].extend(words[model])
            else:
                known.append((option, [*words[model]]))
    for variants in found.values():
        for option, given in variants:
            yield option if len(given) == len(choice.models) else replace(option, where=f"{choice.key}: {' | '.join(given)}")


def option_of(path: str, info: FieldInfo) -> Option:
    shape = field_shape(info)
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    return Option(
        path=path,
        type=type_words(shape),
        doc=info.description or "",
        default=default_of(info),
        required=info.is_required(),
        bounds=_bounds(shape),
        unit=shape.annotation.spelling() if isinstance(shape.annotation, type) and issubclass(shape.annotation, Quantity) else "",
        example=plain_example(info),
        short_forms=[words for short in shape.meta(Short) for form in short.forms if (words := _form(form))],
        is_short_form=bool(extra.get("short_form")),
        children=list(_below(shape)),
    )


def default_of(info: FieldInfo) -> object:
    """As the canonical form writes it; None when there is none."""
    if info.is_required() or info.default is PydanticUndefined or info.default is None:
        return None
    if isinstance(info.default, Model):
        return canonical(info.default)
    if isinstance(info.default, tuple):
        return [str(item) for item in info.default]
    if isinstance(info.default, Factor):
        return info.default.number
    return info.default if isinstance(info.default, bool) or type(info.default) in (int, str, dict) else str(info.default)


def plain_example(info: FieldInfo) -> object:
    return info.examples[0] if info.examples else None


def type_words(shape: Shape) -> str:
    """`duration`, `list of address`, `mapping of name to upstream`, `round_robin | least_conn | …`."""
    if shape.kind == "list":
        return f"list of {type_words(shape_of(shape.item))}"
    if shape.kind == "map":
        return f"mapping of names, each to: {type_words(shape_of(shape.item))}"
    if shape.model is not None:
        return "mapping"
    plain = [word for entry in shape.metadata if get_origin(entry) is Literal for word in get_args(entry)]
    return " | ".join([*map(str, plain), _leaf(shape)])


def _leaf(shape: Shape) -> str:
    for entry in shape.metadata:
        word = _WORDS.get(entry.func) if isinstance(entry, AfterValidator | BeforeValidator | PlainValidator) else None
        if word:
            return word
    kind = shape.annotation
    if get_origin(kind) is Literal:
        return " | ".join(str(word) for word in get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Quantity):
        return kind.noun.split(" ", 1)[1]
    if isinstance(kind, type) and issubclass(kind, Address):
        return "address to listen on" if issubclass(kind, BindAddress) else "address"
    return _KINDS.get(kind, "text")


def _bounds(shape: Shape) -> str:
    for entry in shape.meta(Within):
        return f"{entry.low} to {entry.high}" + (", or none" if entry.off else "")
    for described in shape.meta(Described):
        return str(described.bounds)
    low, high = [entry.ge for entry in shape.meta(Ge)], [entry.le for entry in shape.meta(Le)]
    return f"{low[0]} to {high[0]}" if low and high else ""


def _form(schema: dict[str, Any]) -> str:
    """A short form in words."""
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " | ".join(word for word in schema["enum"] if isinstance(word, str))
    return {"string": "text", "integer": "a number", "array": "a list", "object": "a mapping"}.get(str(schema.get("type")), "")


def _below(shape: Shape) -> Iterator[str]:
    while shape.kind in ("map", "list"):
        shape = shape_of(shape.item)
    models = shape.meta(Choice)[0].variants() if shape.meta(Choice) else (shape.model,)
    yield from dict.fromkeys(name for model in models if model is not None for name in model.model_fields)
