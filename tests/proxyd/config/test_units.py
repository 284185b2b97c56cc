from __future__ import annotations

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from proxyd.config.units import Duration, Lifetime, Percent, Quantity, Rate, RequestRate, Size, Within
from proxyd.diagnostics.scalars import resolve


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Duration, "30s", 30_000),
        (Duration, "500ms", 500),
        (Duration, "1h30m", 5_400_000),
        (Duration, "1.5s", 1_500),
        (Duration, "2d", 172_800_000),
        (Duration, "0s", 0),
        (Lifetime, "10m", 600),
        (Lifetime, "1h30m", 5_400),
        (Lifetime, "0.5m", 30),
        (Size, "16KiB", 16_384),
        (Size, "1.5MiB", 1_572_864),
        (Size, "10MB", 10_000_000),
        (Size, "1B", 1),
        (Rate, "240B/s", 240),
        (Rate, "1KiB/s", 1024),
        (Percent, "50%", 50),
        (Percent, "0%", 0),
    ],
)
def test_spellings(kind: type[Quantity], text: str, value: int) -> None:
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "code", "help"),
    [
        (Duration, "10", "PXD-031", "units: ms, s, m, h, d"),
        (Duration, "1.5", "PXD-031", "units"),
        (Duration, "5sec", "PXD-032", "did you mean `5s`?"),
        (Duration, "5 minutes", "PXD-032", "did you mean `5m`?"),
        (Duration, "1.0005s", "PXD-032", "the finest unit here is `ms`"),
        (Duration, "-1s", "PXD-032", "like `30s`"),
        (Duration, "", "PXD-032", "like `30s`"),
        (Duration, "999999999999999999999d", "PXD-033", ""),
        (Lifetime, "10", "PXD-031", "units: s, m, h, d"),
        (Lifetime, "10min", "PXD-032", "did you mean `10m`?"),
        (Lifetime, "1500ms", "PXD-032", "like `10m`"),
        (Lifetime, "5 millis", "PXD-032", "write a number and a unit"),
        (Lifetime, "1.5s", "PXD-032", "the finest unit here is `s`"),
        (Size, "16k", "PXD-032", "did you mean `16KiB`?"),
        (Size, "16kib", "PXD-032", "did you mean `16KiB`?"),
        (Size, "16384", "PXD-031", "units"),
        (Size, "0.5B", "PXD-032", "finest unit"),
        (Rate, "240B", "PXD-032", "did you mean `240B/s`?"),
        (Rate, "240", "PXD-031", "units"),
        (Percent, "0.5", "PXD-031", "units"),
        (Percent, "1.5%", "PXD-032", "finest unit"),
    ],
)
def test_mistakes_show_the_spelling(kind: type[Quantity], text: str, code: str, help: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        kind(text)
    assert caught.value.type == code
    assert help in (caught.value.context or {})["help"]


def test_a_bare_number_shows_itself_with_its_unit() -> None:
    with pytest.raises(PydanticCustomError) as caught:
        Duration.validate(resolve("10"))
    assert caught.value.message() == "a duration needs a unit: write `10s`"


@pytest.mark.parametrize("value", [True, None, [], {}, ["10s"]])
def test_other_kinds_are_refused(value: object) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        Size.validate(value)
    assert caught.value.type == "PXD-030"


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        (Duration(90_000), "90s"),
        (Duration(120_000), "2m"),
        (Duration(1), "1ms"),
        (Duration(0), "none"),
        (Size(16_384), "16KiB"),
        (Size(1_000), "1000B"),
        (Rate(1024), "1KiB/s"),
        (Percent(0), "0%"),
    ],
)
def test_printing_takes_the_largest_unit_that_divides(quantity: Quantity, text: str) -> None:
    assert str(quantity) == f"{quantity}" == text


@given(st.sampled_from([Duration, Size, Rate, Percent]), st.integers(1, 2**50))
def test_what_is_printed_reads_the_same(kind: type[Quantity], value: int) -> None:
    assert kind(str(kind(value))) == value


def attempt(kind: type[Quantity], text: str) -> tuple[Quantity | None, str]:
    try:
        return kind(text), ""
    except PydanticCustomError as error:
        return None, error.type


@given(
    st.sampled_from([Duration, Size, Rate, Percent]), st.text(max_size=30) | st.from_regex(r"[0-9.]{0,8}[a-zA-Z/%]{0,5}", fullmatch=True)
)
def test_any_text_is_a_quantity_or_a_finding(kind: type[Quantity], text: str) -> None:
    value, code = attempt(kind, text)
    assert code in (("",) if value is not None else ("PXD-031", "PXD-032", "PXD-033"))
    assert value is None or value >= 0


def test_bounds_and_none() -> None:
    bounded: TypeAdapter[Duration] = TypeAdapter(Annotated[Duration, Within("1s", "1m", off=True)])
    assert bounded.validate_python("none") == 0
    assert bounded.validate_python("1m") == 60_000
    for wrong in ("500ms", "61s"):
        with pytest.raises(ValidationError) as caught:
            bounded.validate_python(wrong)
        assert caught.value.errors()[0]["ctx"]["help"] == "allowed: 1s to 1m; `none` switches it off"
    strict: TypeAdapter[Duration] = TypeAdapter(Annotated[Duration, Within("1s", "1m")])
    with pytest.raises(ValidationError, match="is not a duration"):
        strict.validate_python("none")


@pytest.mark.parametrize(
    ("text", "requests", "per_s", "shown"),
    [
        ("20/s", 20, 1, "20/s"),
        ("100/m", 100, 60, "100/m"),
        ("5/10s", 5, 10, "5/10s"),
        ("1/90m", 1, 5_400, "1/90m"),
        ("60/60s", 60, 60, "60/m"),
        ("3/24h", 3, 86_400, "3/d"),
        ("1000000/s", 1_000_000, 1, "1000000/s"),
    ],
)
def test_rates_of_requests(text: str, requests: int, per_s: int, shown: str) -> None:
    rate = RequestRate(text)
    assert (rate.key, rate.per_us, str(rate)) == ((requests, per_s), per_s * 1_000_000, shown)
    assert RequestRate(shown) == rate
    assert RequestRate.validate(text) == rate
    assert hash(RequestRate(shown)) == hash(rate)


def test_the_same_speed_is_not_the_same_rate() -> None:
    """nginx counts 100/m as 1.666 requests a second."""
    assert RequestRate("60/m") != RequestRate("1/s")


@pytest.mark.parametrize(
    ("text", "code", "help"),
    [
        ("20", "PXD-031", "times: s, m, h, d"),
        ("20r/s", "PXD-032", "did you mean `20/s`?"),
        ("20 rps", "PXD-032", "did you mean `20/s`?"),
        ("20 req/min", "PXD-032", "did you mean `20/m`?"),
        ("20 per minute", "PXD-032", "did you mean `20/m`?"),
        ("20/Hours", "PXD-032", "did you mean `20/h`?"),
        ("0.5/s", "PXD-032", "did you mean `1/2s`?"),
        ("1.25/10s", "PXD-032", "did you mean `5/40s`?"),
        ("0.0/s", "PXD-032", "write requests and a time"),
        ("20/month", "PXD-032", "write requests and a time"),
        ("10MB/s", "PXD-032", "write requests and a time"),
        ("-1/s", "PXD-032", "like `20/s`"),
        ("", "PXD-032", "like `20/s`"),
        ("0/s", "PXD-033", "access: {deny: all}"),
        ("1/0s", "PXD-033", "1s to 1d"),
        ("1/2d", "PXD-033", "quotas"),
        ("1000001/s", "PXD-033", "up to 1000000/s"),
        ("9" * 15 + "/d", "PXD-033", "up to 1000000/s"),
    ],
)
def test_mistakes_in_rates_of_requests(text: str, code: str, help: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        RequestRate(text)
    assert caught.value.type == code
    assert help in (caught.value.context or {})["help"]


@given(st.integers(1, 10**6), st.integers(1, 86_400), st.integers(0, 10**6))
def test_the_time_in_which_requests_flow_is_the_least_that_is_enough(requests: int, per_s: int, count: int) -> None:
    seconds = RequestRate(f"{requests}/{per_s}s").seconds_for(count)
    assert seconds * requests >= count * per_s > (seconds - 1) * requests


@pytest.mark.parametrize("value", [True, None, [], {}, ["1/s"]])
def test_what_cannot_be_a_rate_of_requests(value: object) -> None:
    with pytest.raises(PydanticCustomError, match="expected a rate of requests like `20/s`"):
        RequestRate.validate(value)


def test_a_bare_number_shows_itself_as_a_rate() -> None:
    with pytest.raises(PydanticCustomError) as caught:
        RequestRate.validate(resolve("20"))
    assert caught.value.message() == "a rate of requests needs a time: write `20/s`"
