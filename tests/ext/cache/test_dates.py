"""HTTP-date, RFC 9110 §5.6.7."""
from __future__ import annotations

import calendar
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.cache.dates import http_date_seconds
from proxyd_ext.http1.rewrite import http_date

END = 253402300799          # of year 9999
EXAMPLE = 784111777
NOW = calendar.timegm((2026, 11, 21, 12, 0, 0))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", EXAMPLE),
        ("Sunday, 06-Nov-94 08:49:37 GMT", EXAMPLE),
        ("Sun Nov  6 08:49:37 1994", EXAMPLE),
        ("Sun Nov 06 08:49:37 1994", EXAMPLE),
        ("Wed Nov 16 08:49:37 1994", EXAMPLE + 10 * 86400),
        # RFC 9111 §4.2: letters in any case.
        ("SUN, 06 NOV 1994 08:49:37 gmT", EXAMPLE),
        ("sUNDAY, 06-nOV-94 08:49:37 gmt", EXAMPLE),
        # A wrong name of a day still names a day.
        ("Mon, 06 Nov 1994 08:49:37 GMT", EXAMPLE),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Wed, 31 Dec 1969 23:59:59 GMT", 0),
        ("Sat, 01 Jan 0000 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", END),
        ("Tue, 29 Feb 2000 00:00:00 GMT", 951782400),
        ("Sat, 31 Dec 2016 23:59:60 GMT", 1483228800),
    ],
)
def test_dates(text: str, seconds: int) -> None:
    assert http_date_seconds(text.encode(), NOW) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "", "0", "-1", "now", "Sun, 06 Nov 1994", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +00",
        "Sun, 06 Nov 94 08:49:37 GMT", "Sun 06 Nov 1994 08:49:37 GMT", "Sun, 06  Nov  1994 08:49:37 GMT", "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT", "Sun, 06 Nov 1994 8:49:37 GMT", "Sun, 6 Nov 1994 08:49:37 GMT", "Sun,06 Nov 1994 08:49:37 GMT ",
        "Sux, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nox 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 31 Nov 1994 08:49:37 GMT",
        "Tue, 29 Feb 1994 08:49:37 GMT", "Tue, 29 Feb 1900 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 06 Nov -994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT,",
        "Sun,\t06 Nov 1994 08:49:37 GMT",
        "Sun, -6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:-7 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT", "Sunday, 06-Nov-1994 08:49:37 GMT", "Sunday, 06 Nov 94 08:49:37 GMT",
        "Sonday, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 UTC", "Sunday, 06-Nov-9x 08:49:37 GMT", "Sunday", "Sunday, ", "Monsday, 06-Nov-94 08:49:37 GMT",
        "Monday, 29-Feb-94 08:49:37 GMT", "Monday, 00-Jan-94 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994", "Sun Nov   08:49:37 1994", "Sun Nov  x 08:49:37 1994", "Sun Nov  0 08:49:37 1994",
        "Sun Nov 31 08:49:37 1994",
        "Sun, Nov  6 08:49:37 1994", "Sun Nov  6 08:49:37 19x4", "Sun Nov  6 08:49:37 1994 ", "Sun-Nov  6 08:49:37 1994",
    ],
)
def test_no_dates(text: str) -> None:
    assert http_date_seconds(text.encode(), NOW) == -1


@pytest.mark.parametrize(
    ("now", "year", "full"),
    [
        (2026, "94", 1994), (2026, "26", 2026), (2026, "76", 2076), (2026, "77", 1977), (2026, "00", 2000), (2099, "05", 2105), (2099,
        "49", 2149),
        (2099, "50", 2050), (1999, "00", 2000), (1970, "20", 2020), (1970, "21", 1970 - 49),
    ],
)
def test_a_year_of_two_digits_is_at_most_50_years_from_now(now: int, year: str, full: int) -> None:
    at = calendar.timegm((now, 7, 1, 0, 0, 0))
    text = f"Friday, 01-Jul-{year} 00:00:00 GMT"
    assert http_date_seconds(text.encode(), at) == max(0, calendar.timegm((full, 7, 1, 0, 0, 0)))


def test_50_years_to_the_day() -> None:
    later = "Tuesday, 01-Jul-76 00:00:00 GMT"
    assert http_date_seconds(later.encode(), calendar.timegm((2026, 7, 1, 0, 0, 0))) == calendar.timegm((2076, 7, 1, 0, 0, 0))
    assert http_date_seconds(later.encode(), calendar.timegm((2026, 6, 30, 23, 59, 59))) == calendar.timegm((1976, 7, 1, 0, 0, 0))


@given(st.integers(0, END))
def test_reads_what_we_write_and_the_other_forms_of_it(seconds: int) -> None:
    assert http_date_seconds(http_date(seconds)) == seconds
    at = datetime.fromtimestamp(seconds, UTC)
    assert http_date_seconds(time.asctime(at.timetuple()).encode()) == seconds
    day, month = (calendar.day_name[at.weekday()], calendar.month_abbr[at.month])
    assert http_date_seconds(f"{day}, {at.day:02}-{month}-{at.year % 100:02} {at:%H:%M:%S} GMT".encode(), seconds) == seconds


@given(st.integers(0, END), st.integers(0, 28), st.integers(0, 255))
def test_one_byte_off_is_no_date_or_another(seconds: int, at: int, byte: int) -> None:
    good = http_date(seconds)
    text = good[:at] + bytes([byte]) + good[at + 1:]
    value = http_date_seconds(text)
    early = text[12:16] < b"1970"
    assert value == -1 or (value == 0 and early) or http_date(value)[5:].lower() == text[5:].lower() or text[23:25] == b"60"
