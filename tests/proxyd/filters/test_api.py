from __future__ import annotations

from typing import Any

import pytest

from proxyd.config.headers import OWNED as OWNED_BY_CONFIG
from proxyd.filters import Changes, Headers, Request, Response, ResponseHead
from proxyd.filters.checks import BODY_MAX, OWNED


def test_header_fields_are_found_in_any_case_and_joined() -> None:
    headers = Headers([("X-A", "1"), ("x-a", "2"), ("Cookie", "a=1"), ("COOKIE", "b=2")])
    assert headers["x-A"] == "1, 2"
    assert headers["cookie"] == "a=1; b=2"
    assert headers.get_all("X-a") == ("1", "2")
    assert headers.get_all("none") == ()
    assert headers.get("none") is None
    assert "X-a" in headers
    assert set(headers).isdisjoint({"X-a"})
    anything: Any = 7
    assert anything not in headers
    assert list(headers) == ["x-a", "cookie"]
    assert len(headers) == 2
    assert headers == Headers({"X-A": "1, 2", "cookie": "a=1; b=2"})
    assert hash(headers) == hash(Headers({"x-a": "1, 2", "Cookie": "a=1; b=2"}))
    assert "('X-A', '1')" in repr(headers)


def test_requests_are_values() -> None:
    request = Request("POST", "/a", "q=1&q=2&e=", headers={"X-A": "1"})
    assert request == Request("POST", "/a", "q=1&q=2&e=", headers=Headers({"x-a": "1"}))
    assert request.params == {"q": ["1", "2"], "e": [""]}
    anything: Any = request
    with pytest.raises(AttributeError):
        anything.path = "/b"
    assert ResponseHead(204) == ResponseHead(204, Headers())


def test_the_fields_that_filters_may_not_touch_are_those_of_the_config() -> None:
    assert OWNED == OWNED_BY_CONFIG


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"set": {"X A": "1"}}, ValueError),
        ({"set": {"X-A": "1\r\nX-B: 2"}}, ValueError),
        ({"set": {"X-A": "\N{EURO SIGN}"}}, ValueError),
        ({"set": {"X-A": 1}}, TypeError),
        ({"set": {1: "1"}}, TypeError),
        ({"set": {"X-A": "x" * 8_193}}, ValueError),
        ({"set": {f"X-{number}": "x" * 8_000 for number in range(3)}}, ValueError),
        ({"set": {"content-LENGTH": "1"}}, ValueError),
        ({"set": "X-A"}, TypeError),
        ({"add": [("Host", "b")]}, ValueError),
        ({"remove": ["Connection"]}, ValueError),
        ({"remove": "X-A"}, TypeError),
        ({"remove": ["x" * 200] * 100}, ValueError),
        ({"path": "a"}, ValueError),
        ({"path": "/a?b"}, ValueError),
        ({"path": "/a b"}, ValueError),
        ({"path": ""}, ValueError),
        ({"path": "/" + "a" * 8_192}, ValueError),
        ({"query": "a#b"}, ValueError),
        ({"query": b"a"}, ValueError),
        ({"status": 101}, ValueError),
        ({"status": 600}, ValueError),
        ({"status": True}, ValueError),
    ],
)
def test_changes_that_cannot_be(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Changes(**arguments)


def test_changes_are_made_plain() -> None:
    changes = Changes(set={"X-A": " 1\t"}, add={"X-B": "2"}, remove=iter(["X-C"]), path="/%7Ea", query="")
    assert (changes.set, changes.add, changes.remove, changes.query) == ({"X-A": "1"}, (("X-B", "2"),), ("X-C",), "")


def test_a_response_of_text() -> None:
    response = Response(403, "nein \N{EURO SIGN}")
    assert response.body == "nein \N{EURO SIGN}".encode()
    assert Headers(response.headers)["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("response", "content_type"),
    [
        (Response(200, b"x"), "application/octet-stream"),
        (Response(200, "x", {"content-type": "text/html"}), "text/html"),
        (Response.json({"a": 1}, 418, {"X-A": "1"}), "application/json"),
        (Response(204), None),
    ],
)
def test_the_content_type_of_a_response(response: Response, content_type: str | None) -> None:
    assert Headers(response.headers).get("content-type") == content_type


def test_fields_of_one_name_stay_apart() -> None:
    cookies = Headers([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    assert Headers(cookies).get_all("set-cookie") == ("a=1", "b=2")
    assert Headers(Response(200, headers=cookies).headers).get_all("set-cookie") == ("a=1", "b=2")
    assert Changes(add=cookies).add == cookies.fields


def test_a_response_of_json() -> None:
    assert Response.json({"a": [1]}).body == b'{"a": [1]}'


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((200, None), TypeError),
        ((99,), ValueError),
        ((304, "x"), ValueError),
        ((200, b"x" * (BODY_MAX + 1)), ValueError),
        ((200, "x", {"Transfer-Encoding": "chunked"}), ValueError),
    ],
)
def test_responses_that_cannot_be(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        Response(*arguments)
