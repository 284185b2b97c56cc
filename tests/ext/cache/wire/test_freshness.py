"""How long an answer is fresh, and how old it is: RFC 9111 section 4.2, 5.1, 5.3; RFC 9213."""

from __future__ import annotations

import pytest

from tests.support.cache_rig import Answer, Ask, CacheRig, Row, refused, stored


def lasts(seconds: int, *fields: str, **spec: object) -> Row:
    """Fresh for so long from its arrival, and not a second more."""
    return Row(Answer(*fields), Ask(1), Ask(1, after=seconds - 1), Ask(2, after=2), **spec)


LIFETIME = {
    "4.2.1 max-age": lasts(60, "Cache-Control: max-age=60"),
    "4.2.1 s-maxage": lasts(60, "Cache-Control: s-maxage=60"),
    "4.2.1 Expires minus Date": lasts(60, "Date: @+0", "Expires: @+60"),
    "4.2.1 Expires minus Date, both of a clock that is ahead": lasts(60, "Date: @+5000", "Expires: @+5060"),
    "4.2.1 Expires without Date: from its arrival": lasts(60, "Expires: @+60"),
    "5.2.2.10 s-maxage overrides a longer max-age": lasts(60, "Cache-Control: max-age=600, s-maxage=60"),
    "5.2.2.10 s-maxage overrides a shorter max-age": lasts(600, "Cache-Control: s-maxage=600, max-age=60"),
    "5.2.2.10 s-maxage overrides max-age of another line": lasts(60, "Cache-Control: max-age=600", "Cache-Control: s-maxage=60"),
    "5.3 max-age overrides a later Expires": lasts(60, "Cache-Control: max-age=60", "Date: @+0", "Expires: @+600"),
    "5.3 max-age overrides an Expires that is past": lasts(60, "Cache-Control: max-age=60", "Date: @+0", "Expires: @-600"),
    "5.3 max-age overrides an Expires that is no date": lasts(60, "Cache-Control: max-age=60", "Expires: 0"),
    "5.3 s-maxage overrides Expires": lasts(60, "Cache-Control: s-maxage=60", "Date: @+0", "Expires: @-600"),
    "5.2 names of directives in any case": lasts(60, "Cache-Control: MaX-aGE=60"),
    "5.2 unknown directives are skipped": lasts(60, 'Cache-Control: foo, bar="max-age=600, no-store", max-age=60'),
    "5.2 an argument as quoted-string": lasts(60, 'Cache-Control: max-age="60"'),
    "5.2 an argument within a quoted-string is none": lasts(60, 'Cache-Control: max-age=60, ext="max-age=600"'),
    "1.2.2 leading zeros": lasts(60, "Cache-Control: max-age=00060"),
    "5.2.2 empty elements of the list": lasts(60, "Cache-Control: , ,max-age=60,"),
    "5.4 Pragma in an answer says nothing": lasts(60, "Cache-Control: max-age=60", "Pragma: no-cache"),
    "9213 2.2 CDN-Cache-Control replaces a shorter max-age": lasts(600, "Cache-Control: max-age=60", "CDN-Cache-Control: max-age=600"),
    "9213 2.2 CDN-Cache-Control replaces a longer max-age": lasts(60, "Cache-Control: max-age=600", "CDN-Cache-Control: max-age=60"),
    "9213 2.2 CDN-Cache-Control replaces Expires": lasts(60, "CDN-Cache-Control: max-age=60", "Date: @+0", "Expires: @-600"),
    "9213 2.1 a parameter of a member is skipped": lasts(60, "CDN-Cache-Control: max-age=60;ext=1"),
    "9213 2.2 not a dictionary: as if it were not there": lasts(60, "Cache-Control: max-age=60", "CDN-Cache-Control: max-age=600, &&&"),
    "9213 2.2 empty: as if it were not there": lasts(60, "Cache-Control: max-age=60", "CDN-Cache-Control:"),
}

STALE = {
    "4.2.1 max-age=0": refused("Cache-Control: max-age=0"),
    "4.2.1 max-age=0 with a later Expires": refused("Cache-Control: max-age=0", "Date: @+0", "Expires: @+600"),
    "1.2.2 a negative max-age": refused("Cache-Control: max-age=-60"),
    "4.2.1 max-age that is no number": refused("Cache-Control: max-age=sixty"),
    "4.2.1 max-age in single quotes": refused("Cache-Control: max-age='60'"),
    "4.2.1 max-age with a fraction": refused("Cache-Control: max-age=60.5"),
    "4.2.1 nothing that tells a lifetime": refused("Server: x"),
    "5.3 Expires: 0 is past": refused("Expires: 0"),
    "5.3 Expires: -1 is past": refused("Expires: -1"),
    "5.3 Expires before Date": refused("Date: @+400", "Expires: @+300"),
    "5.3 Expires at Date": refused("Date: @+0", "Expires: @+0"),
    "5.3 Expires with another zone": refused("Date: @+0", "Expires: Thu, 18 Aug 2050 02:01:18 AEST"),
    "5.3 Expires in UTC, not GMT": refused("Date: @+0", "Expires: Thu, 18 Aug 2050 02:01:18 UTC"),
    "5.3 Expires with a year of two digits": refused("Date: @+0", "Expires: Thu, 18 Aug 50 02:01:18 GMT"),
    "5.3 Expires without a comma": refused("Date: @+0", "Expires: Thu 18 Aug 2050 02:01:18 GMT"),
    "5.3 Expires with dashes": refused("Date: @+0", "Expires: Thu, 18-Aug-2050 02:01:18 GMT"),
    "5.3 Expires with an hour of one digit": refused("Date: @+0", "Expires: Thu, 18 Aug 2050 2:01:18 GMT"),
    "5.3 Expires with blanks": refused("Date: @+0", "Expires: Thu, 18  Aug  2050 02:01:18 GMT"),
    "9213 2.2 CDN-Cache-Control: max-age=0 over Cache-Control": refused("Cache-Control: max-age=60", "CDN-Cache-Control: max-age=0"),
    "9213 2.2 CDN-Cache-Control: no-store over Cache-Control": refused("Cache-Control: max-age=60", "CDN-Cache-Control: no-store"),
    "9213 2.2 CDN-Cache-Control: private over Cache-Control": refused("Cache-Control: max-age=60", "CDN-Cache-Control: private"),
    "9213 2.2 CDN-Cache-Control: no-cache over Cache-Control": refused("Cache-Control: max-age=60", "CDN-Cache-Control: no-cache"),
    "9213 2.2 not a dictionary, and Cache-Control says no-store": refused("Cache-Control: no-store", "CDN-Cache-Control: max-age=60, &&&"),
    "9213 2.2 a member of the wrong type is no lifetime": refused("Cache-Control: no-store", 'CDN-Cache-Control: max-age="60"'),
}

DATES = {
    "9110 5.6.7 IMF-fixdate": stored("Date: @+0", "Expires: Thu, 18 Aug 2050 02:01:18 GMT"),
    "9110 5.6.7 RFC 850 date, a year of two digits in the next 50 years": stored("Date: @+0", "Expires: Thursday, 18-Aug-50 02:01:18 GMT"),
    "9110 5.6.7 asctime": stored("Date: @+0", "Expires: Thu Aug 18 02:01:18 2050"),
    "9110 5.6.7 a date behind 2038": stored("Date: @+0", "Expires: Sun, 21 Nov 2286 04:46:39 GMT"),
    "1.2.2 delta-seconds of more than 31 bits": stored("Cache-Control: max-age=2147483648"),
    "1.2.2 delta-seconds of more than 64 bits": stored("Cache-Control: max-age=99999999999999999999"),
    "9213 2.2 CDN-Cache-Control over Cache-Control: no-store": stored("Cache-Control: no-store", "CDN-Cache-Control: max-age=60"),
}


def aged(age: str, *fields: str) -> Row:
    """The client sees this Age at once, and 10 s later, answered from the cache, 10 more."""
    later = int(age) + 10
    return Row(Answer(*fields), Ask(1), Ask(1, after=0, gets=[f"Age: {age}"]), Ask(1, after=10, gets=[f"Age: {later}"]))


AGE = {
    "4 a stored answer has an Age": Row(
        Answer("Cache-Control: max-age=60"), Ask(1), Ask(1, gets=["Age: 0"]), Ask(1, after=7, gets=["Age: 7"])
    ),
    "4.2.3 Age of the answer counts": aged("30", "Cache-Control: max-age=60", "Age: 30"),
    "4.2.3 apparent age: Date in the past": aged("30", "Cache-Control: max-age=60", "Date: @-30"),
    "4.2.3 the greater of Age and apparent age": aged("40", "Cache-Control: max-age=60", "Date: @-30", "Age: 40"),
    "4.2.3 the greater of apparent age and Age": aged("40", "Cache-Control: max-age=60", "Date: @-40", "Age: 30"),
    "4.2.3 Date in the future makes nothing younger": aged("30", "Cache-Control: max-age=60", "Date: @+5000", "Age: 30"),
    "5.1 Age with Expires": aged("30", "Date: @+0", "Expires: @+600", "Age: 30"),
    "5.1 Age that is no number is ignored": aged("0", "Cache-Control: max-age=60", "Age: old"),
    "5.1 a negative Age is ignored": aged("0", "Cache-Control: max-age=60", "Age: -30"),
    "5.1 an Age with a fraction is ignored": aged("0", "Cache-Control: max-age=60", "Age: 7200.0"),
    "5.1 the first of a list": aged("0", "Cache-Control: max-age=60", "Age: 0, 7200"),
    "5.1 the first of several lines": aged("0", "Cache-Control: max-age=60", "Age: 0", "Age: 7200"),
    "4.2.3 older than its lifetime on arrival": refused("Cache-Control: max-age=60", "Age: 61"),
    "4.2.3 as old as its lifetime on arrival": refused("Cache-Control: max-age=60", "Age: 60"),
    "4.2.3 older than Expires by Age": refused("Date: @-10", "Expires: @+10", "Age: 25"),
    "4.2.3 older than Expires by Age, Date of a clock ahead": refused("Date: @+10", "Expires: @+20", "Age: 15"),
    "4.2.3 older than max-age by Date": refused("Cache-Control: max-age=60", "Date: @-61"),
    "5.1 Age of more than 31 bits": refused("Cache-Control: max-age=3600", "Age: 2147483648"),
    "5.1 the first of a list is too old": refused("Cache-Control: max-age=60", "Age: 7200, 0"),
    "9213 2.2 Age counts against CDN-Cache-Control": refused("CDN-Cache-Control: max-age=60", "Age: 61"),
}


def holds(seconds: int, *fields: str, **spec: object) -> Row:
    """The same for an answer with a validator: when its time is over the origin is asked, and says 304."""
    return Row(Answer(*fields), Ask(1), Ask(1, after=seconds - 1), Ask(1, after=2, asked=2), **spec)


OLD = ("Date: @+0", "Last-Modified: @-1000")
HEURISTIC = {
    "4.2.2 a tenth of the time since Last-Modified": holds(100, *OLD, heuristic_percent=10),
    "4.2.2 no longer than the limit": holds(30, *OLD, heuristic_percent=10, heuristic_max_s=30),
    "4.2.2 MUST NOT with max-age": holds(30, "Cache-Control: max-age=30", *OLD, heuristic_percent=10),
    "4.2.2 MUST NOT with Expires": holds(30, "Expires: @+30", *OLD, heuristic_percent=10),
    "4.2.2 MUST NOT with an Expires that is no date": Row(Answer("Expires: 0", *OLD), Ask(1), Ask(asked=2), heuristic_percent=10),
    "4.2.2 off unless asked for": Row(Answer(*OLD), Ask(1), Ask(asked=2)),
    "4.2.2 only for statuses that are heuristically cacheable": Row(
        Answer(*OLD, status=403), Ask(1, status=403), Ask(2, status=403), heuristic_percent=10
    ),
    "4.2.2 or with public": Row(
        Answer(*OLD, "Cache-Control: public", status=403), Ask(1, status=403), Ask(1, status=403), heuristic_percent=10
    ),
}

TTL = {
    "default, for what tells nothing": lasts(60, "Server: x", default_s=60),
    "default, not for what tells": lasts(30, "Cache-Control: max-age=30", default_s=60),
    "default, not for an Expires that is past": refused("Expires: 0", default_s=60),
    "override of a longer one": lasts(60, "Cache-Control: max-age=600", override_s=60),
    "override of a shorter one": lasts(60, "Cache-Control: max-age=6", override_s=60),
    "override of what tells nothing": lasts(60, "Server: x", override_s=60),
    "override never of no-store": refused("Cache-Control: no-store", override_s=60),
    "override never of private": refused("Cache-Control: private, max-age=60", override_s=60),
    "override never of Set-Cookie": refused("Cache-Control: max-age=60", "Set-Cookie: a=b", override_s=60),
    "min": lasts(60, "Cache-Control: max-age=6", min_s=60),
    "max": lasts(60, "Cache-Control: max-age=600", max_s=60),
}


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in LIFETIME.items()])
def test_lifetime(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in STALE.items()])
def test_stale_on_arrival(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in DATES.items()])
def test_far_future(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in AGE.items()])
def test_age(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in HEURISTIC.items()])
def test_heuristic(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in TTL.items()])
def test_configured(cache: CacheRig, row: Row) -> None:
    cache.play(row)


def test_first_of_two_lifetimes_or_stale(cache: CacheRig) -> None:
    """RFC 9111 section 4.2.1: of a directive that stands twice, the first counts, or the answer is stale; never a longer second one."""
    cache.play(lasts(60, "Cache-Control: max-age=60, max-age=60"))
    cache.play(Row(Answer("Cache-Control: max-age=6, max-age=600"), Ask(1), Ask(2, after=7)))
    cache.play(Row(Answer("Cache-Control: max-age=6", "Cache-Control: max-age=600"), Ask(1), Ask(2, after=7)))


def test_response_delay_counts(cache: CacheRig) -> None:
    """RFC 9111 section 4.2.3: an answer may be as old as its way here was long; corrected_age_value adds that to its Age."""
    cache.begin({}, scripted=True)
    client = cache.connect(Ask())
    asked, _ = cache.origin.asked()
    cache.wait(5)
    asked.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nAge: 30\r\nContent-Length: 2\r\n\r\nok")
    assert client.response().body == b"ok"
    assert cache.ask(Ask()).all("age") == ["35"]


def test_answer_without_date_gets_one(cache: CacheRig) -> None:
    """RFC 9110 section 6.6.1: a recipient with a clock records when such an answer came, and appends Date when it caches it; that stays."""
    cache.play(Row(Answer("Cache-Control: max-age=60"), Ask(1), Ask(1, after=30, gets=["Date: @+0", "Age: 30"])))


def test_date_stays(cache: CacheRig) -> None:
    """RFC 9110 section 6.6.1: Date is when the origin made the answer; a cache that answers with it leaves it alone. So with Expires."""
    cache.play(Row(Answer("Date: @-5", "Expires: @+60"), Ask(1), Ask(1, after=30, gets=["Date: @-5", "Expires: @+60", "Age: 35"])))
