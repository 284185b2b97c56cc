"""May an answer be stored, for how long is it fresh, may it be used: RFC 9111 §3 - §5, RFC 5861, RFC 9213."""
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.cache.freshness import judge, serve, store_words
from proxyd_ext.http1.rewrite import http_date

NOW = 1_800_000_000
DATE = f"Date: {http_date(NOW).decode()}"
CC = "Cache-Control: "
TARGETED = "CDN-Cache-Control: "
LIMIT = 2**31


def at(offset_s: int) -> str:
    return http_date(NOW + offset_s).decode()


def request(*lines: str, method: str = "GET") -> bytes:
    return "".join([f"{method} / HTTP/1.1\r\nHost: h\r\n", *(f"{line}\r\n" for line in lines), "\r\n"]).encode()


def verdict(*lines: str, status: int = 200, of: bytes = request(), delay_s: int = 0, **rules: Any) -> Any:
    """What becomes of an answer with these lines, that came at NOW: its Freshness, or the word of the reason."""
    head = "".join([f"HTTP/1.1 {status} X\r\n", *(f"{line}\r\n" for line in lines), "\r\n"]).encode()
    return judge(of, head, request_s=NOW - delay_s, response_s=NOW, **rules)


def lifetime(*lines: str, **context: Any) -> int:
    found = verdict(*lines, **context)
    assert isinstance(found, dict), found
    return int(found["lifetime_s"])


# ---- §3: storing

@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
def test_s3_only_answers_to_get_are_stored(method: str) -> None:
    assert verdict(CC + "max-age=60", of=request(method=method)) == "method"


@pytest.mark.parametrize(
    ("status", "reason"), [(100, "status"), (103, "status"), (304, "status"), (600, "status"), (206, "partial"), (416, "partial")]
)
def test_s3_statuses_that_are_never_stored(status: int, reason: str) -> None:
    assert verdict(CC + "max-age=60", 'ETag: "a"', DATE, status=status) == reason


@pytest.mark.parametrize("status", [200, 201, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599])
def test_s3_any_final_status_is_stored_that_says_its_lifetime(status: int) -> None:
    assert lifetime(CC + "max-age=60", status=status) == 60


def test_s3_a_part_is_not_the_whole() -> None:
    """RFC 9110 section 14.4: Content-Range means nothing in other statuses."""
    assert verdict(CC + "max-age=60", "Content-Range: bytes 0-1/2", status=206) == "partial"
    assert lifetime(CC + "max-age=60", "Content-Range: bytes 0-1/2") == 60


def test_s3_no_store_is_not_stored() -> None:
    assert verdict(CC + "max-age=60, no-store", f"Expires: {at(60)}", DATE) == "no-store"


def test_s5_2_1_5_no_store_of_the_request() -> None:
    assert verdict(CC + "max-age=60", of=request(CC + "no-store")) == "request-no-store"
    assert lifetime(CC + "max-age=60", of=request(CC + "no-store"), obey=False) == 60


@pytest.mark.parametrize("value", ["private", 'private="x"', "private, public"])
def test_s3_private_is_not_stored_by_a_shared_cache(value: str) -> None:
    assert verdict(CC + value + ", max-age=60") == "private"


@pytest.mark.parametrize(
    ("value", "status", "outcome"),
    [
        ("must-understand, no-store, max-age=60", 200, 60),
        ("must-understand, no-store, max-age=60", 404, 60),
        ("must-understand, no-store, max-age=60", 299, "must-understand"),
        ("must-understand, max-age=60", 418, "must-understand"),
        ("must-understand, max-age=60", 599, "must-understand"),
        ("must-understand, private, max-age=60", 200, "private"),
    ],
)
def test_s5_2_2_3_must_understand(value: str, status: int, outcome: int | str) -> None:
    found = verdict(CC + value, status=status)
    assert (found["lifetime_s"] if isinstance(found, dict) else found) == outcome


@pytest.mark.parametrize(
    ("value", "stored"),
    [("max-age=60", False), ("max-age=60, proxy-revalidate", False), ("max-age=60, public", True), ("max-age=60, must-revalidate", True),
     ("s-maxage=60", True)],
)
def test_s3_5_answers_to_requests_with_authorization(value: str, stored: bool) -> None:
    assert (verdict(CC + value, of=request("Authorization: Basic eA==")) != "authorization") is stored
    assert lifetime(CC + value) == 60


def test_s7_3_set_cookie_is_not_shared_unless_it_is_left_out() -> None:
    assert verdict(CC + "max-age=60", "Set-Cookie: a=b") == "set-cookie"
    assert lifetime(CC + "max-age=60", "Set-Cookie: a=b", strip_set_cookie=True) == 60


@pytest.mark.parametrize("value", ["*", "a, *", "x-forwarded-for", "a b"])
def test_s4_1_what_no_other_request_can_match_is_not_stored(value: str) -> None:
    assert verdict(CC + "max-age=60", f"Vary: {value}") == "vary"


@pytest.mark.parametrize(
    ("accepts", "coding", "stored"),
    [
        ("gzip, br", "gzip", True), ("gzip, br", "br", True), ("gzip", "br", False), ("gzip, deflate", "deflate", False),
        ("gzip", "identity", True), ("", "gzip", False), (None, "gzip", True),
    ],
)
def test_an_answer_fits_all_requests_of_its_variant(accepts: str | None, coding: str, stored: bool) -> None:
    of = request() if accepts is None else request(f"Accept-Encoding: {accepts}")
    found = verdict(CC + "max-age=60", "Vary: Accept-Encoding", f"Content-Encoding: {coding}", of=of)
    assert (found != "encoding") is stored
    assert isinstance(verdict(CC + "max-age=60", f"Content-Encoding: {coding}", of=of), dict)


def test_the_words_are_all_different() -> None:
    words = store_words()
    assert words[0] == ""
    assert len(set(words)) == len(words) == 14


# ---- §4.2.1: what answers say

@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        ([CC + "max-age=60"], 60),
        ([CC + "max-age=99999999999"], LIMIT),
        ([CC + "max-age=60, s-maxage=5"], 5),
        ([CC + "s-maxage=3600, max-age=1"], 3600),
        ([CC + "max-age=60", f"Expires: {at(-10)}"], 60),
        ([CC + "max-age=60", "Expires: 0"], 60),
        ([f"Expires: {at(60)}"], 60),
        (["Expires: Sat, 01 Jan 9999 00:00:00 GMT"], LIMIT),
        # §5.3: from Date, not from our clock.
        ([f"Expires: {at(300)}", f"Date: {at(100)}"], 200),
        ([f"Expires: {at(10)}", "Date: foo"], 10),
        ([TARGETED + "max-age=5", CC + "max-age=60", f"Expires: {at(60)}"], 5),
        ([TARGETED + "max-age=60", CC + "max-age=1"], 60),
        ([TARGETED + "max-age=60", CC + "no-store, private"], 60),
        ([TARGETED + "max-age=60, s-maxage=5"], 5),
        ([TARGETED + 'max-age="60"', CC + "max-age=7"], 7),
        ([TARGETED, CC + "max-age=7"], 7),
    ],
)
def test_s4_2_1_lifetime(lines: list[str], seconds: int) -> None:
    found = verdict(*lines, DATE)
    assert found["lifetime_s"] == seconds
    assert found["explicit"]


@pytest.mark.parametrize(
    "lines",
    [
        [CC + "max-age=0"], [CC + "max-age=0", f"Expires: {at(60)}"], [CC + "max-age=x"], ["Expires: 0"], [f"Expires: {at(-1)}"],
        [f"Expires: {at(0)}"], ["Expires: Thu, 18 Aug 2050 02:01:18 UTC"], [f"Expires: {at(300)}", f"Date: {at(400)}"],
        [CC + "s-maxage=0, max-age=60"],
        [TARGETED + "max-age=0", CC + "max-age=60"], [TARGETED + "max-age=0", f"Expires: {at(60)}"],
    ],
)
def test_lifetime_0_is_worth_storing_only_with_a_validator(lines: list[str]) -> None:
    assert verdict(*lines, DATE) == "stale"
    assert lifetime(*lines, DATE, 'ETag: "a"') == 0
    assert lifetime(*lines, DATE, f"Last-Modified: {at(-100)}") == 0
    assert verdict(*lines, DATE, "Last-Modified: yesterday", "ETag:") == "stale"


def test_rfc9213_directives_of_the_targeted_field_count_alone() -> None:
    assert verdict(TARGETED + "no-store", CC + "max-age=60") == "no-store"
    assert verdict(TARGETED + "private", CC + "max-age=60") == "private"
    assert verdict(TARGETED + "foo", CC + "max-age=60", f"Expires: {at(60)}") == "no-freshness"
    assert verdict(TARGETED + "no-cache", CC + "max-age=60", 'ETag: "a"')["no_cache"]
    assert not verdict(TARGETED + "max-age=60", CC + "no-cache")["no_cache"]


def test_no_cache_is_stored_to_be_revalidated() -> None:
    found = verdict(CC + "no-cache, max-age=60, stale-if-error=60", 'ETag: "a"')
    assert (found["no_cache"], found["stale_if_error_s"]) == (True, 0)
    assert verdict(CC + "no-cache, max-age=60") == "stale"


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [(CC, "no-transform, max-age=1", True), (TARGETED, "no-transform, max-age=1", True), (CC, "max-age=1", False)],
)
def test_no_transform(where: str, value: str, said: bool) -> None:
    assert verdict(where + value)["no_transform"] is said
    assert verdict(CC + "no-transform", TARGETED + "max-age=1")["no_transform"]


# ---- §4.2.2: what may be assumed

@pytest.mark.parametrize("status", [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])
def test_s4_2_2_heuristics_for_these_statuses(status: int) -> None:
    lines = [DATE, f"Last-Modified: {at(-1000)}"]
    found = verdict(*lines, status=status, heuristic_percent=10)
    assert (found["lifetime_s"], found["explicit"]) == (100, False)
    assert lifetime(*lines, status=status) == 0
    assert lifetime(*lines, status=status, heuristic_percent=10, heuristic_max_s=30) == 30


@pytest.mark.parametrize("status", [201, 202, 302, 303, 307, 400, 403, 500, 502, 503, 504, 599])
def test_s4_2_2_no_heuristics_for_others_but_with_public(status: int) -> None:
    lines = [DATE, f"Last-Modified: {at(-1000)}", 'ETag: "a"']
    assert verdict(*lines, status=status, heuristic_percent=10) == "no-freshness"
    assert lifetime(*lines, CC + "public", status=status, heuristic_percent=10) == 100


def test_s4_2_2_no_heuristics_where_a_lifetime_is_said() -> None:
    assert lifetime(DATE, f"Last-Modified: {at(-1000)}", CC + "max-age=0", heuristic_percent=10) == 0
    assert lifetime(DATE, f"Last-Modified: {at(-1000)}", "Expires: 0", heuristic_percent=10) == 0


def test_modified_after_its_date() -> None:
    assert lifetime(DATE, f"Last-Modified: {at(5)}", heuristic_percent=10) == 0


def test_nothing_said() -> None:
    assert verdict(DATE) == "no-freshness"
    assert verdict(CC + "public") == "no-freshness"
    assert lifetime('ETag: "a"') == 0
    assert lifetime(CC + "public", 'ETag: "a"', status=599) == 0
    assert verdict(CC + "public", status=599, heuristic_percent=10) == "no-freshness"


# ---- the config

def test_default_is_for_answers_that_say_nothing_and_are_no_errors() -> None:
    assert lifetime(default_s=600) == 600
    assert lifetime(f"Last-Modified: {at(-1000)}", default_s=600, heuristic_percent=10) == 600
    assert lifetime(CC + "max-age=5", default_s=600) == 5
    assert verdict(CC + "max-age=0", default_s=600) == "stale"
    for status in (302, 404, 500, 503):
        assert verdict(status=status, default_s=600) == "no-freshness"


def test_negative_is_for_its_statuses() -> None:
    assert lifetime(status=404, negative_s=10, default_s=600) == 10
    assert lifetime(CC + "max-age=5", status=404, negative_s=10) == 5
    assert lifetime(status=503, negative_s=10, min_s=60, max_s=5) == 10


def test_override_replaces_lifetimes_and_nothing_else() -> None:
    for lines in ([], [CC + "max-age=5"], [f"Expires: {at(-5)}"], [CC + "s-maxage=0"], [TARGETED + "max-age=1"]):
        assert lifetime(*lines, override_s=600, min_s=700, max_s=5) == 600
    assert verdict(CC + "no-store", override_s=600) == "no-store"
    assert verdict(CC + "private", override_s=600) == "private"
    assert verdict("Set-Cookie: a=b", override_s=600) == "set-cookie"
    assert verdict(CC + "no-cache", 'ETag: "a"', override_s=600)["no_cache"]
    assert verdict(status=503, override_s=600) == "no-freshness"
    assert lifetime(CC + "max-age=5", status=503, override_s=600) == 5


def test_bounds() -> None:
    assert lifetime(CC + "max-age=5", min_s=60) == 60
    assert lifetime(CC + "max-age=500", max_s=60) == 60
    assert lifetime(CC + "max-age=500", min_s=100, max_s=60) == 60
    assert lifetime(CC + "max-age=5", status=500, min_s=60) == 5
    assert lifetime(CC + "max-age=500", status=500, max_s=60) == 60
    assert lifetime(DATE, f"Last-Modified: {at(-1000)}", heuristic_percent=10, max_s=60) == 60


# ---- RFC 5861, §4.2.4: stale use

@pytest.mark.parametrize(
    ("value", "rules", "windows", "must_revalidate"),
    [
        ("max-age=1", {}, (0, 0), False),
        ("max-age=1, stale-while-revalidate=5, stale-if-error=6", {}, (5, 6), False),
        ("max-age=1", {"while_revalidate_s": 7, "if_error_s": 8}, (7, 8), False),
        ("max-age=1, stale-while-revalidate=0, stale-if-error=6", {"while_revalidate_s": 7, "if_error_s": 8}, (0, 6), False),
        ("max-age=1, stale-if-error=x", {"if_error_s": 8}, (0, 0), False),
        ("max-age=1, must-revalidate, stale-while-revalidate=5", {"if_error_s": 8}, (0, 0), True),
        ("max-age=1, proxy-revalidate, stale-if-error=5", {"if_error_s": 8}, (0, 0), True),
        ("s-maxage=1", {"while_revalidate_s": 7, "if_error_s": 8}, (0, 0), True),
        ("s-maxage=1, stale-while-revalidate=5", {"if_error_s": 8}, (5, 0), True),
    ],
)
def test_stale_windows(value: str, rules: dict[str, Any], windows: tuple[int, int], must_revalidate: bool) -> None:
    found = verdict(CC + value, **rules)
    assert (found["stale_while_revalidate_s"], found["stale_if_error_s"]) == windows
    assert found["must_revalidate"] is must_revalidate


def test_lifetime_0_with_a_window_is_worth_storing() -> None:
    assert lifetime(CC + "max-age=0, stale-while-revalidate=5") == 0
    assert lifetime(CC + "max-age=0", if_error_s=5) == 0


# ---- §4.2.3: age

@pytest.mark.parametrize(
    ("lines", "delay_s", "age"),
    [
        ([], 0, 0),
        ([DATE], 0, 0),
        ([], 3, 3),
        (["Age: 30"], 0, 30),
        (["Age: 30"], 3, 33),
        (["Age: x"], 3, 3),
        (["Age: -5"], 0, 0),
        ([f"Date: {at(-100)}"], 0, 100),
        ([f"Date: {at(-100)}", "Age: 30"], 5, 100),
        ([f"Date: {at(-10)}", "Age: 30"], 5, 35),
        ([f"Date: {at(100)}", "Age: 30"], 0, 30),
        (["Age: 99999999999999999999"], 10, LIMIT),
        (["Date: Thu, 01 Jan 1970 00:00:00 GMT"], 0, NOW),
    ],
)
def test_s4_2_3_initial_age(lines: list[str], delay_s: int, age: int) -> None:
    assert verdict(*lines, 'ETag: "a"', delay_s=delay_s)["initial_age_s"] == age


def test_what_is_stale_on_arrival_is_worth_storing_only_with_a_validator() -> None:
    assert verdict(CC + "max-age=60", "Age: 60") == "stale"
    assert lifetime(CC + "max-age=60", "Age: 59") == 60
    assert lifetime(CC + "max-age=60", "Age: 60", 'ETag: "a"') == 60
    assert lifetime(CC + "max-age=60, stale-if-error=30", "Age: 70") == 60
    assert verdict(f"Date: {at(-10)}", f"Expires: {at(10)}", "Age: 25") == "stale"
    assert verdict(f"Date: {at(10)}", f"Expires: {at(20)}", "Age: 15") == "stale"


# ---- §4, §5.2.1: use

@pytest.mark.parametrize(
    ("value", "age", "stored", "use"),
    [
        # §4.2: fresh while the lifetime is longer than the age.
        ("", 59, {}, ("fresh", True)),
        ("", 60, {}, ("not", False)),
        ("", 61, {}, ("not", False)),
        # §5.2.2.4, §5.2.1.4
        ("", 0, {"no_cache": True}, ("not", False)),
        ("max-stale", 70, {"no_cache": True}, ("not", False)),
        ("no-cache", 0, {}, ("not", False)),
        ("no-cache", 70, {"stale_while_revalidate_s": 60, "stale_if_error_s": 60}, ("not", False)),
        # §5.2.1.1
        ("max-age=0", 0, {}, ("fresh", True)),
        ("max-age=0", 1, {}, ("not", True)),
        ("max-age=10", 10, {}, ("fresh", True)),
        ("max-age=10", 11, {}, ("not", True)),
        ("max-age=100", 70, {"stale_while_revalidate_s": 60}, ("not", False)),
        ("max-age=100, max-stale", 70, {}, ("stale", False)),
        ("max-age=10, max-stale", 70, {}, ("not", False)),
        # §5.2.1.3
        ("min-fresh=10", 50, {}, ("fresh", True)),
        ("min-fresh=10", 51, {}, ("not", True)),
        ("min-fresh=10", 70, {"stale_while_revalidate_s": 60}, ("not", False)),
        # §5.2.1.2
        ("max-stale", 10_000, {}, ("stale", False)),
        ("max-stale=10", 70, {}, ("stale", False)),
        ("max-stale=10", 71, {}, ("not", False)),
        ("max-stale=10", 71, {"stale_while_revalidate_s": 60}, ("not", False)),
        ("max-stale=10", 65, {"stale_while_revalidate_s": 60}, ("revalidate behind", False)),
        ("max-stale=0", 60, {}, ("stale", False)),
        # §5.2.2.2: not even then
        ("max-stale", 70, {"must_revalidate": True}, ("not", False)),
        # RFC 5861
        ("", 60, {"stale_while_revalidate_s": 30}, ("revalidate behind", False)),
        ("", 90, {"stale_while_revalidate_s": 30}, ("revalidate behind", False)),
        ("", 91, {"stale_while_revalidate_s": 30}, ("not", False)),
        ("", 80, {"stale_while_revalidate_s": 30, "must_revalidate": True}, ("revalidate behind", False)),
        ("", 90, {"stale_if_error_s": 30}, ("not", True)),
        ("", 91, {"stale_if_error_s": 30}, ("not", False)),
        ("stale-if-error=30", 90, {}, ("not", True)),
        ("stale-if-error=30", 90, {"must_revalidate": True}, ("not", False)),
        ("stale-if-error=30", 90, {"no_cache": True}, ("not", False)),
    ],
)
def test_use(value: str, age: int, stored: dict[str, Any], use: tuple[str, bool]) -> None:
    of = request(CC + value) if value else request()
    assert serve(of, age, lifetime_s=60, **stored) == use


def test_s5_4_pragma_no_cache() -> None:
    assert serve(request("Pragma: no-cache"), 0, lifetime_s=60) == ("not", False)
    assert serve(request("Pragma: no-cache", CC + "max-age=5"), 0, lifetime_s=60) == ("fresh", True)


SECONDS = st.integers(0, 12)
MAYBE = st.one_of(st.none(), SECONDS)


@given(SECONDS, SECONDS, SECONDS, SECONDS, MAYBE, MAYBE, MAYBE, st.booleans(), st.booleans())
def test_use_said_plainly(
    age: int, lasts: int, behind: int, on_error: int, max_age: int | None, min_fresh: int | None, max_stale: int | None,
    no_cache: bool, must_revalidate: bool,
) -> None:
    words = {"max-age": max_age, "min-fresh": min_fresh, "max-stale": max_stale}
    value = ", ".join(f"{word}={seconds}" for word, seconds in words.items() if seconds is not None)
    use, if_error = serve(request(CC + value), age, lifetime_s=lasts, stale_while_revalidate_s=behind, stale_if_error_s=on_error,
                          no_cache=no_cache, must_revalidate=must_revalidate)
    fresh = age < lasts
    young = max_age is None or age <= max_age
    wants_fresh = (max_age is not None or min_fresh is not None) and max_stale is None
    tolerable = max_stale is None or age - lasts <= max_stale
    if no_cache:
        assert (use, if_error) == ("not", False)
        return
    assert (use == "fresh") is (fresh and young and (min_fresh is None or lasts - age >= min_fresh))
    usable = not fresh and young and not wants_fresh and tolerable
    assert (use == "revalidate behind") is (usable and behind > 0 and age - lasts <= behind)
    assert (use == "stale") is (usable and use != "revalidate behind" and max_stale is not None and not must_revalidate)
    assert if_error is (fresh or (on_error > 0 and age - lasts <= on_error))
