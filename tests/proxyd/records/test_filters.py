"""What each filter lets pass."""
from __future__ import annotations

import pytest

from proxyd.records.filters import WORDS, FilterError, parse_filter, words_of
from proxyd.records.live import is_telling
from tests.proxyd.records.sample import failed, flow, record


@pytest.mark.parametrize(("words", "passes"), [
    ({}, True), ({"status": ""}, True),
    ({"status": "502"}, True), ({"status": "5xx"}, True), ({"status": "4XX, 502"}, True), ({"status": "503"}, False),
    ({"status": "4xx"}, False), ({"route": "api"}, True), ({"route": "ap"}, False), ({"listener": "web"}, True),
    ({"upstream": "api"}, True), ({"upstream": "x"}, False),
    ({"server": "10.0.1.13:8000"}, True), ({"server": "10.0.1.13"}, False),
    ({"host": "Shop.example.com"}, True), ({"host": "example.com"}, False),
    ({"path": "/api/"}, True), ({"path": "/api/*"}, True), ({"path": "/v1"}, False),
    ({"client": "192.0.2.7"}, True), ({"client": "192.0.2.8"}, False), ({"method": "get"}, True), ({"method": "POST"}, False),
    ({"slower_than": "12ms"}, True), ({"slower_than": "13ms"}, False),
    ({"error": "connection_refused"}, True), ({"error": "any"}, True), ({"error": "connection_timeout"}, False),
    ({"kind": "http"}, True), ({"kind": "flow"}, False), ({"grep": "PAY"}, True), ({"grep": "10.0.1.14"}, False),
    ({"status": "5xx", "route": "api"}, True), ({"status": "5xx", "route": "x"}, False),
])
def test_of_a_failed_request(words: dict[str, str], passes: bool) -> None:
    assert parse_filter(words)(failed("connect_refused", 502)) is passes


def test_of_others() -> None:
    assert not parse_filter({"error": "any"})(record())
    passing = [kind for kind in ("http", "flow", "tcp", "tls", "udp") if parse_filter({"kind": kind})(flow())]
    assert passing == ["flow", "tls"]
    assert not parse_filter({"status": "2xx"})(flow())


@pytest.mark.parametrize(("words", "message"), [
    ({"status": "6xx"}, "`6xx` is not a status"), ({"status": "50"}, "`50` is not a status"), ({"kind": "x"}, "`x` is no kind"),
    ({"slower_than": "12"}, "slower_than: "), ({"colour": "red"}, "`colour` is no filter; there is status, "),
])
def test_what_cannot_be_asked(words: dict[str, str], message: str) -> None:
    with pytest.raises(FilterError, match=message):
        parse_filter(words)


def test_words_of_a_query() -> None:
    assert words_of({"status": "5xx", "limit": "9", "route": "", "host": None}) == {"status": "5xx"}
    assert set(WORDS) >= {"status", "route", "upstream", "host", "path", "slower_than", "error"}


@pytest.mark.parametrize(("words", "telling"), [
    ({}, False), ({"status": "5xx"}, True), ({"status": "503,500"}, True), ({"status": "5xx,404"}, False), ({"error": "any"}, True),
    ({"route": "api"}, False), ({"slower_than": "1s"}, False),
])
def test_what_is_tapped_without_anybody_asking(words: dict[str, str], telling: bool) -> None:
    assert is_telling(words) is telling
