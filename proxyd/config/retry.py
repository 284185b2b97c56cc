"""What happens when a server fails before its answer begins: retries on others, and a second try beside a slow first one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from proxyd.config.base import INTEGER, NONE, ONE_OR_MORE, STRING, Described, Model, Short
from proxyd.config.factor import Factor
from proxyd.config.statuses import FailureStatuses
from proxyd.config.text import Flag, Integer, as_text
from proxyd.config.units import Duration, Percent, Within
from proxyd.diagnostics.fail import fail, shown
from proxyd.diagnostics.suggest import closest

RETRY_WORDS = ("connect_failure", "reset", "timeout")
FAILOVER_WORDS = ("no_server", *RETRY_WORDS)
_ELSEWHERE = {  # the words that others use for it
    "error": "[connect_failure, reset]",
    "conn-failure": "connect_failure",
    "connect-failure": "connect_failure",
    "refused-stream": "reset",
    "empty-response": "reset",
    "gateway-error": '"502-504"',
    "invalid_header": '"502"',
    "retriable-4xx": '"409"',
}


def check_trigger(value: object, words: tuple[str, ...]) -> str:
    """A word of `words`, or statuses in their normal spelling."""
    text = as_text(value).strip()
    if text in words:
        return text
    if text[:1].isdigit():
        return str(FailureStatuses(text))
    near = _ELSEWHERE.get(text.lower()) or (f'"{text[5:]}"' if text.startswith("http_") else None) or closest(text, words)
    raise fail(
        "PXD-034",
        f"{shown(text)} is not a kind of failure",
        (f"did you mean `{near}`? " if near else "") + f'allowed: {", ".join(words)}, and statuses like "503", "502-504" or "5xx"',
    )


def check_retry_word(value: object) -> str:
    return check_trigger(value, RETRY_WORDS)


def check_failover_word(value: object) -> str:
    return check_trigger(value, FAILOVER_WORDS)


_TRIGGER = WithJsonSchema({"type": ["string", "integer"]})
RetryTrigger = Annotated[str, PlainValidator(check_retry_word), _TRIGGER]
FailoverTrigger = Annotated[str, PlainValidator(check_failover_word), _TRIGGER]


def statuses_of(triggers: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """The ranges of statuses among the words."""
    return tuple(part for text in triggers if text[:1].isdigit() for part in FailureStatuses(text).ranges)


def expand_budget(value: object) -> object:
    return {"percent": value} if isinstance(value, str | int | float) and not isinstance(value, bool) else value


class Budget(Model):
    percent: Annotated[Percent, Within("0%", "100%")] = Field(
        Percent("20%"), description="Most retries in flight, of the requests that are on the upstream at the time."
    )
    min: Annotated[Integer, Field(ge=0, le=1_000_000)] = Field(3, description="But so many may always be in flight.")


class Backoff(Model):
    base: Annotated[Duration, Within("1ms", "1h")] = Field(Duration("25ms"), description="Before the first retry.")
    factor: Annotated[Factor, Within("1", "100")] = Field(Factor("2"), description="Each further wait is that many times the one before.")
    max: Annotated[Duration, Within("1ms", "1h")] = Field(Duration("250ms"), description="The longest wait.")
    jitter: Literal["full", "none"] = Field(
        "full", description="`full`: a random part of the wait, so that retries do not arrive together; `none`: the wait itself."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max < self.base:
            at = "max" if "max" in self.model_fields_set else "base"
            message = f"the first wait {self.base} is longer than the longest, {self.max}"
            raise fail("PXD-039", message, "raise `max`, or shorten `base`", at=(at,))
        return self


def expand_retry(value: object) -> object:
    if value == "none":
        return {"attempts": 0}
    return {"attempts": value} if isinstance(value, int) and not isinstance(value, bool) else value


class Retry(Model):
    attempts: Annotated[Integer, Field(ge=0, le=10)] = Field(
        2, description="Further tries after the first, each on another server as long as there is one."
    )
    when: Annotated[tuple[RetryTrigger, ...], ONE_OR_MORE] = Field(
        ("connect_failure", "reset"),
        min_length=1,
        description=(
            "After which failures: `connect_failure`, `reset` (closed before an answer), `timeout` (`first_byte`, `per_try`), and "
            "statuses. What a server may have begun to do is repeated for idempotent methods only (RFC 9110 §9.2.2)."
        ),
        examples=[["connect_failure", "reset", "503"]],
    )
    budget: Annotated[Budget, Short(expand_budget, (STRING,))] = Field(
        Budget(), description="Keeps retries from burying an upstream that fails as a whole.", examples=["20%"]
    )
    backoff: Annotated[Backoff | None, Short(lambda value: None if value == "none" else value, (NONE,))] = Field(
        Backoff(), description="How long to wait before a retry; or `none`.", examples=[{"base": "2s", "factor": 2, "max": "8s"}]
    )
    retry_after: Annotated[Duration, Within("1ms", "10m", off=True)] = Field(
        Duration("2s"),
        description=(
            "The longest Retry-After that is waited for when no other server can be asked; an answer that asks for more is passed on."
        ),
    )
    idempotency_key: Flag = Field(False, description="A request with the field Idempotency-Key counts as idempotent, whatever its method.")


# Not NONE: an unset retry of a route is not the same as none at all.
RetryField = Annotated[Retry, Short(expand_retry, ({"enum": ["none"]}, INTEGER))]

Percentile = Literal["p50", "p75", "p90", "p95", "p99"]
PERCENTILES: tuple[Percentile, ...] = ("p50", "p75", "p90", "p95", "p99")


def check_after(value: object) -> Percentile | Duration:
    for percentile in PERCENTILES:
        if value == percentile:
            return percentile
    if isinstance(value, str) and value.startswith("p") and value[1:].isdigit():
        raise fail("PXD-034", f"{shown(value)} is not kept", f"allowed: {', '.join(PERCENTILES)}, or a duration like `200ms`")
    duration = Duration.validate(value)
    if not 1 <= duration <= Duration("10m"):
        raise fail("PXD-033", f"{shown(value)} is out of bounds", f"allowed: 1ms to 10m, or {', '.join(PERCENTILES)}")
    return duration


class Hedge(Model):
    after: Annotated[
        Percentile | Duration,
        BeforeValidator(check_after),
        Described(bounds="p50 to p99, or 1ms to 10m"),
        WithJsonSchema({"anyOf": [{"enum": list(PERCENTILES)}, STRING]}),
    ] = Field(
        "p95",
        description=(
            "How long the first try may take before another server is asked beside it: a duration, or a percentile of the upstream's own "
            "response times. Idempotent methods only; the first answer wins."
        ),
    )
    max: Annotated[Integer, Field(ge=1, le=3)] = Field(1, description="Tries beside the first, one after another.")


def expand_hedge(value: object) -> Any:
    if value == "on" or value is True:
        return {}
    return {"after": value} if isinstance(value, str | int | float) and not isinstance(value, bool) else value


HedgeField = Annotated[Hedge, Short(expand_hedge, (STRING,))]
