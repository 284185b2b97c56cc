from __future__ import annotations

import pytest

from tests.support.config import config_of, first_finding


def test_how_many_series() -> None:
    assert config_of("{listen: ':1', to: 'a:1'}").metrics.max_series == 20_000
    assert config_of("{listen: ':1', to: 'a:1', metrics: {max_series: 5000}}").metrics.max_series == 5_000


@pytest.mark.parametrize("value", ["999", "1000001"])
def test_out_of_bounds(value: str) -> None:
    assert first_finding(f"metrics: {{max_series: {value}}}\nlisten: :1\nto: 'a:1'\n") == ("PXD-033", 1, 23)
