"""Which requests are traced, and where their spans go."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from proxyd.config.base import STRING, Model, Short
from proxyd.config.factor import Share
from proxyd.config.fetch_url import is_url
from proxyd.config.headers import HeaderValue, SettableName
from proxyd.config.text import Integer, Text
from proxyd.config.units import Duration, Within
from proxyd.diagnostics.fail import fail, shown

TRACES_PATH = "/v1/traces"  # opentelemetry.io/docs/specs/otlp/#otlphttp-request


def check_collector(url: str) -> str:
    if not is_url(url) or "?" in url:
        raise fail("PXD-038", f"{shown(url)} is not the URL of a collector", "like `http://127.0.0.1:4318`; no user, no query, no fragment")
    return url


class Tracing(Model):
    otlp: Annotated[Text, AfterValidator(check_collector)] = Field(
        description=f"Collector that takes spans by OTLP/HTTP, in JSON; `{TRACES_PATH}` is added unless the URL ends so.",
        examples=["http://127.0.0.1:4318"],
    )
    sample: Annotated[Share, Within("0%", "100%")] = Field(
        Share("1%"), description="Share of the requests without `traceparent` that are traced; for others their caller has decided."
    )
    service: Annotated[Text, Field(min_length=1, max_length=255)] = Field("proxyd", description="The name that traces call this proxy by.")
    headers: dict[SettableName, HeaderValue] = Field(
        {}, description="Fields that the collector asks for.", examples=[{"Authorization": "${file:/run/secrets/collector}"}]
    )
    timeout: Annotated[Duration, Within("100ms", "1m")] = Field(
        Duration("10s"), description="How long the collector may take for an answer. No request ever waits for it."
    )
    queue: Annotated[Integer, Field(ge=512, le=1_000_000)] = Field(
        8_192, description="Traced requests that may wait for the collector; what comes beyond is dropped and counted."
    )

    @property
    def url(self) -> str:
        """Where spans are posted."""
        return self.otlp if self.otlp.endswith(TRACES_PATH) else self.otlp.rstrip("/") + TRACES_PATH


def expand_tracing(value: object) -> object:
    return {"otlp": value} if isinstance(value, str) else value


TracingField = Annotated[Tracing, Short(expand_tracing, (STRING,))]
