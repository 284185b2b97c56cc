from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from proxyd.config.statuses import FailureStatuses, StatusSet


def test_ranges_lists_and_families() -> None:
    assert str(StatusSet("200, 204-206")) == "200,204-206"
    assert str(StatusSet("2xx,404")) == "200-299,404"
    assert StatusSet("200") == StatusSet("200-200")
    assert len({StatusSet("200"), StatusSet("200-200")}) == 1
    assert 299 in StatusSet("2XX")


@pytest.mark.parametrize("text", ["", "20", "600", "299-200", "6xx", "2x", "200,", "a"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        StatusSet(text)


def test_failures_begin_at_400() -> None:
    assert str(FailureStatuses("404,5xx")) == "404,500-599"
    with pytest.raises(PydanticCustomError) as error:
        FailureStatuses("399-500")
    assert error.value.type == "PXD-033"
