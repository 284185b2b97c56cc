from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from proxyd_ext.filter.period import period_facts

EPOCH = date(1970, 1, 1)
DAY_S = 86_400


def expected(period: str, day: date) -> tuple[int, date]:
    """By the calendar of the standard library: the number, and the first day of the next."""
    if period == "day":
        return (day - EPOCH).days, day + timedelta(1)
    if period == "week":
        monday = day - timedelta(day.weekday())
        return (monday - date(1969, 12, 29)).days // 7, monday + timedelta(7)
    return day.year * 12 + day.month - 1, date(day.year + day.month // 12, day.month % 12 + 1, 1)


@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_days_of_four_centuries_and_their_ends(period: str) -> None:
    """Every 19th, and those around leap days and new years."""
    days = [EPOCH + timedelta(n) for n in range(0, 146_097, 19)]
    days += [date(year, 1, 1) + timedelta(n) for year in (1970, 1999, 2000, 2001, 2024, 2100, 2400) for n in (0, 58, 59, 60, 364)]
    for day in days:
        number, following = expected(period, day)
        end = (following - EPOCH).days * DAY_S
        start = (day - EPOCH).days * DAY_S
        assert period_facts(period, start) == period_facts(period, start + DAY_S - 1) == (number, end), day


def test_weeks_begin_on_monday() -> None:
    monday = int(datetime(2026, 11, 23, tzinfo=UTC).timestamp())
    assert period_facts("week", monday)[0] == period_facts("week", monday - 1)[0] + 1
    assert period_facts("week", monday - 1)[1] == monday
