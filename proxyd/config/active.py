"""Active checks: requests, connections and datagrams of proxyd's own that tell whether a server works."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema, model_validator

from proxyd.config.base import SHORT_FORM, STRING, Model, Short
from proxyd.config.headers import HeaderName, HeaderValue, SettableName
from proxyd.config.hosts import check_host
from proxyd.config.matchers import TestField
from proxyd.config.regex import REGEX_FORM, Regex, parse_regex
from proxyd.config.roles import ROLES, PostgresRole, RedisRole, expand_redis
from proxyd.config.script import Tcp, Udp, check_bytes
from proxyd.config.statuses import StatusSet
from proxyd.config.text import Integer, Text, as_text
from proxyd.config.units import Duration, Percent, Within
from proxyd.diagnostics.fail import fail, shown

SCANNED = "the first 256 KiB of the body"


def check_check_path(text: str) -> str:
    if not re.match(r"/[\x21-\x7e]*\Z", text):
        raise fail("PXD-038", f"{shown(text)} is not the path of a request", "begin with `/`, like `/healthz`")
    return text


def check_content(value: object) -> str | Regex:
    """Text that must occur, or a regular expression."""
    if isinstance(value, Regex):
        return value
    if isinstance(value, dict):
        return parse_regex(value)
    text = check_bytes(as_text(value))
    if not text:
        raise fail("PXD-022", "an empty text is found in every body", "leave `body` out")
    return text


Content = Annotated[str | Regex, PlainValidator(check_content), WithJsonSchema({"anyOf": [STRING, REGEX_FORM]})]

KINDS: dict[str, str] = {  # option -> what a check with it is called
    "path": "an HTTP check",
    "tcp": "a TCP check",
    "udp": "a UDP check",
    "dns": "a DNS check",
    "redis": "a check of a Redis",
    "postgres": "a check of a PostgreSQL",
}
_HTTP = ("method", "host", "headers", "expect", "body", "header")


def expand_tcp(value: object) -> object:
    if value is True or value in ("true", "on"):
        return {}
    return None if value is False or value in ("false", "none") else value


class Active(Model):
    """One check: exactly one of `path`, `tcp`, `udp`, `redis` and `postgres`."""

    path: Annotated[Text, AfterValidator(check_check_path)] | None = Field(
        None, description="Path to ask each server for.", examples=["/healthz"]
    )
    method: Literal["GET", "HEAD", "OPTIONS", "POST"] = Field("GET", description="Method of the request.")
    host: Annotated[Text, AfterValidator(check_host)] | None = Field(
        None, description="Host of the request; unset: the server's address.", examples=["app.internal"]
    )
    headers: dict[SettableName, HeaderValue] = Field(
        {}, description="Further fields of the request.", examples=[{"Authorization": "${file:/run/secrets/probe}"}]
    )
    expect: StatusSet = Field(StatusSet("200-299"), description="Statuses that pass.")
    body: Content | None = Field(None, description=f"Must occur in {SCANNED}: text, or `{{regex: …}}`.", examples=["ok"])
    header: dict[HeaderName, TestField] = Field(
        {},
        description="Fields of the answer, by name, that must hold this text, or pass a test as in `match`.",
        examples=[{"X-State": "ready"}],
    )
    tcp: Annotated[Tcp | None, Short(expand_tcp, ({"type": "boolean"},))] = Field(
        None,
        description="Instead of a path: a connection that opens; or what is sent and what must come back.",
        examples=[{"send": "PING\r\n", "expect": "+PONG"}],
    )
    udp: Udp | None = Field(
        None,
        description="Instead of a path: a datagram that is answered. It is sent again after each third of the timeout.",
        examples=[{"send_hex": "ff ff ff ff 54", "expect_hex": "ff ff ff ff"}],
    )
    dns: Text | None = Field(None, description="In short for `udp: {dns: …}`.", examples=["example.com"], json_schema_extra=SHORT_FORM)
    redis: Annotated[RedisRole | None, Short(expand_redis, ({"enum": list(ROLES)},))] = Field(
        None, description="Instead of a path: a Redis that answers PING and has this role.", examples=["primary"]
    )
    postgres: PostgresRole | None = Field(
        None,
        description="Instead of a path: a PostgreSQL that lets this user in and has this role.",
        examples=[{"role": "primary", "user": "health"}],
    )
    port: Annotated[Integer, Field(ge=1, le=65535)] | None = Field(
        None, description="Port to ask; unset: the server's own. At another port checks send no PROXY header.", examples=[9000]
    )
    interval: Annotated[Duration, Within("100ms", "1d")] = Field(Duration("5s"), description="From one check of a server to the next.")
    interval_failing: Annotated[Duration, Within("100ms", "1d")] | None = Field(
        None, description="The same after a failure, while the server still counts as up; unset: `interval`.", examples=["1s"]
    )
    interval_down: Annotated[Duration, Within("100ms", "1d")] | None = Field(
        None, description="The same while it is down; unset: `interval`.", examples=["10s"]
    )
    jitter: Annotated[Percent, Within("0%", "50%")] = Field(
        Percent("10%"), description="By how much an interval may be longer or shorter, so that servers are not all asked at once."
    )
    timeout: Annotated[Duration, Within("10ms", "10m")] = Field(Duration("1s"), description="For a whole check; not more than an interval.")
    rise: Annotated[Integer, Field(ge=1, le=100)] = Field(2, description="Passes in a row that bring a server back.")
    fall: Annotated[Integer, Field(ge=1, le=100)] = Field(3, description="Failures in a row that take a server out.")
    initial: Literal["down", "up"] = Field(
        "down",
        description=(
            "What a new server counts as before its first result: `down` gets no requests. At start all are asked at once, and while none "
            "has passed yet, requests go to all (not where a check asks for a role)."
        ),
    )

    @property
    def kind(self) -> str:
        """The option that makes it what it is."""
        return next(name for name in KINDS if getattr(self, name) is not None)

    def in_force(self) -> tuple[str, ...]:
        others = {*KINDS, *_HTTP} - ({"path", *_HTTP} if self.kind == "path" else {self.kind})
        return tuple(name for name in super().in_force() if name not in others)

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = [name for name in KINDS if getattr(self, name) is not None]
        if not kinds:
            help = "write `health: /healthz`, `health: tcp`, or one of `udp`, `dns`, `redis` and `postgres`"
            raise fail("PXD-022", "an active check needs `path` or `tcp: true`", help)
        if len(kinds) > 1:
            raise fail("PXD-024", f"a check has `{kinds[0]}` or `{kinds[1]}`, not both", at=(kinds[1],), key=True)
        if self.path is None:
            for name in _HTTP:
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise fail("PXD-024", f"`{name}` has no meaning in {KINDS[kinds[0]]}", at=(name,), key=True)
        if self.method == "HEAD" and self.body is not None:
            raise fail("PXD-024", "the answer to HEAD has no body", "leave `method` out", at=("body",), key=True)
        for name in ("interval", "interval_failing", "interval_down"):
            interval = getattr(self, name)
            if interval is not None and self.timeout > interval:
                raise fail(
                    "PXD-039",
                    f"the check's timeout {self.timeout} is longer than its {name} {interval}",
                    "shorten the one, or lengthen the other",
                    at=("timeout",) if "timeout" in self.model_fields_set else (name,),
                )
        return self


def expand_active(value: object) -> object:
    """In a list each stands for itself (`expand_one`); one alone is a list of one."""
    if value == "none":
        return []
    return [value] if isinstance(value, str | dict) else value


def expand_one(value: object) -> object:
    if value == "tcp":
        return {"tcp": True}
    return {"path": value} if isinstance(value, str) else value
