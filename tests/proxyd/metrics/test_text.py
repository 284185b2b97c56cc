"""Pages in both formats, read back with prometheus-client's parsers."""
from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from proxyd.metrics.families import Family, Labels, Numbers, counter, gauge, histogram
from proxyd.metrics.text import BOUNDS, CHUNK, Encoder, number

Parse = Callable[[str], Iterable[Metric]]
FORMATS: Sequence[tuple[bool, Parse]] = ((False, parse_text), (True, parse_openmetrics))
both = pytest.mark.parametrize(("openmetrics", "parse"), FORMATS, ids=("text", "openmetrics"))


def counts(*buckets: int, sum: float = 0.0) -> dict[str, Any]:
    """A native histogram of which the first buckets are given."""
    whole = [*buckets, *([0] * (len(BOUNDS) - len(buckets)))]
    return {"buckets": whole, "count": sum_of(whole), "sum": sum}


def sum_of(values: Iterable[int]) -> int:
    return sum(values)


def read(families: Sequence[Family], openmetrics: bool, parse: Parse, encoder: Encoder | None = None) -> dict[str, Metric]:
    page = "".join((encoder or Encoder()).encode(families, openmetrics=openmetrics))
    return {family.name: family for family in parse(page)}


def samples(family: Metric) -> dict[tuple[str, ...], float]:
    """By name and label values, which stand in the order of their labels' names."""
    return {(sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value for sample in family.samples}


@both
def test_numbers(openmetrics: bool, parse: Parse) -> None:
    requests, up = counter("requests_total", "How many.", ("route", "code")), gauge("up", "Whether.")
    requests.add(("api", "200"), 7)
    requests.add(("api", "404"), 1.5)
    up.add((), 1)
    found = read([requests, up, gauge("empty", "Nothing yet.", ("a",))], openmetrics, parse)
    assert samples(found["proxyd_requests"]) == {
        ("proxyd_requests_total", "200", "api"): 7, ("proxyd_requests_total", "404", "api"): 1.5}
    assert samples(found["proxyd_up"]) == {("proxyd_up",): 1}
    assert [(family.type, family.documentation) for family in found.values()] == [
        ("counter", "How many."), ("gauge", "Whether."), ("gauge", "Nothing yet.")]


@both
def test_histograms_are_cumulative(openmetrics: bool, parse: Parse) -> None:
    seconds = histogram("seconds", "How long.", ("route",))
    seconds.add(("api",), counts(2, 0, 3, sum=0.25))
    seconds.add(("unused",), counts())
    family = read([seconds], openmetrics, parse)["proxyd_seconds"]
    found = samples(family)
    assert family.type == "histogram"
    assert found["proxyd_seconds_bucket", "0.0005", "api"] == 2
    assert found["proxyd_seconds_bucket", "0.0025", "api"] == 5
    assert found["proxyd_seconds_bucket", "+Inf", "api"] == found["proxyd_seconds_count", "api"] == 5
    assert found["proxyd_seconds_sum", "api"] == 0.25
    assert len(found) == len(BOUNDS) + 2, "no lines of zeros"


@both
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\r\x00")), value=st.floats(allow_infinity=True))
def test_whatever_stands_in_a_label_and_a_value(openmetrics: bool, parse: Parse, text: str, value: float) -> None:
    family = gauge("any", "A \\ and a \n and a \".", ("name",))
    family.add((text,), value)
    found = read([family], openmetrics, parse)["proxyd_any"]
    assert found.documentation == "A \\ and a \n and a \"."
    assert [sample.labels for sample in found.samples] == [{"name": text}]
    assert found.samples[0].value == value or (math.isnan(found.samples[0].value) and math.isnan(value))


def test_numbers_come_back_the_same() -> None:
    assert [number(value) for value in (0.1, 1e300, math.inf, -math.inf)] == ["0.1", "1e+300", "+Inf", "-Inf"]
    assert number(math.nan) == "NaN"


def test_pages_after_the_first_show_what_is_there_then() -> None:
    encoder = Encoder()

    def page(**values: float) -> str:
        family = gauge("g", "G.", ("a",))
        for name, value in values.items():
            family.add((name,), value)
        return "".join(encoder.encode([family]))

    assert page(x=1, y=2) == '# HELP proxyd_g G.\n# TYPE proxyd_g gauge\nproxyd_g{a="x"} 1\nproxyd_g{a="y"} 2\n'
    assert page(y=3) == '# HELP proxyd_g G.\n# TYPE proxyd_g gauge\nproxyd_g{a="y"} 3\n'
    assert page(x=4, y=3).endswith('proxyd_g{a="x"} 4\nproxyd_g{a="y"} 3\n')


def test_a_big_family_comes_in_pieces() -> None:
    family = Numbers("n", "gauge", "", ("i",), {(str(i),): i for i in range(2 * CHUNK + 1)})
    pieces = list(Encoder().encode([family]))
    assert max(piece.count("\n") for piece in pieces) == CHUNK
    assert len(samples(next(iter(parse_text("".join(pieces)))))) == len(family.series)


def test_labels_of_a_series_fit_those_of_its_family() -> None:
    family, wrong = gauge("g", "G.", ("a", "b")), Labels(("only one",))
    family.add(wrong, 1)
    with pytest.raises(ValueError, match="shorter"):
        list(Encoder().encode([family]))
