from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from proxyd.config.match import Match, MatchField

FIELD: TypeAdapter[Match] = TypeAdapter(MatchField)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("/api/*", Match(path="/api/*")),
        ("/api", Match(path="/api")),
        ("/api*", Match(path="/api*")),
        ("*", Match()),
        ("/*", Match()),
        ("/", Match(path="/")),
        ("GET /x", Match(path="/x", method=("GET",))),
        ("GET,HEAD media.example.com/*", Match(host="media.example.com", method=("GET", "HEAD"))),
        ("*.Example.COM/a", Match(host="*.example.com", path="/a")),
        ("[::1]/a", Match(host="[::1]", path="/a")),
        ("10.0.0.1/a%2Fb", Match(host="10.0.0.1", path="/a%2Fb")),
    ],
)
def test_strings(text: str, match: Match) -> None:
    assert FIELD.validate_python(text) == match
    assert FIELD.validate_python(str(match)) == match


def test_mappings() -> None:
    assert FIELD.validate_python({"host": "a.b", "path": "/x*", "method": "GET"}) == Match(host="a.b", path="/x*", method=("GET",))


@pytest.mark.parametrize(
    ("path", "exact", "text"),
    [("/api/*", False, "/api/"), ("/api*", False, "/api"), ("/api", True, "/api"), ("/", True, "/"), ("", False, "")],
)
def test_what_is_compared(path: str, exact: bool, text: str) -> None:
    match = Match(path=path)
    assert (match.path_exact, match.path_text) == (exact, text)


@pytest.mark.parametrize(
    ("value", "says", "help"),
    [
        ("example.com", "has no `/`", "`example.com/*`"),
        ("GET", "lacks a path", "`GET /*`"),
        ("GET POST /x", "is not a match", "methods joined by commas"),
        ("", "empty match", "`/*`"),
        ("get /x", "cannot be matched", "did you mean `GET`?"),
        ("FETCH /x", "cannot be matched", "allowed: GET"),
        ("CONNECT /x", "cannot be matched", "refused"),
        ("/a/*/b", "comes last", "`/a/*`"),
        ("/a?x=1", "the query", "`/a`"),
        ("/a#x", "a fragment", "`/a`"),
        ("/a%zz", "without two hexadecimal digits", "%25"),
        ("/a%00", "NUL", ""),
        ("/%7euser", "can never match", "`/~user`"),
        ("/a%2fb", "can never match", "`/a%2Fb`"),
        ("/a/./b", "normal form", ""),
        ("/a/..", "normal form", ""),
        ("/ü", "cannot have", "%XX"),
        ("/a|b", "cannot have", "%XX"),
        ("a*b/x", "is not a host", "whole labels"),
        ("exa mple.com/x", "cannot be matched", "allowed"),
        ("a..b/x", "is not a host", ""),
        ("example.com:80/x", "carries a port", "`example.com`"),
        ("bücher.example/x", "is not ASCII", "`xn--bcher-kva.example`"),
        ({"path": "api"}, "does not begin with `/`", "`/api`"),
    ],
)
def test_mistakes(value: object, says: str, help: str) -> None:
    with pytest.raises(ValidationError) as caught:
        FIELD.validate_python(value)
    [error] = caught.value.errors()
    assert error["type"] == "PXD-037"
    assert says in error["ctx"]["message"]
    assert help in error["ctx"]["help"]


def attempt(text: str) -> tuple[Match | None, set[str]]:
    try:
        return FIELD.validate_python(text), set()
    except ValidationError as error:
        return None, {detail["type"] for detail in error.errors()}


@given(st.text(max_size=40) | st.text("GETPOS ,/*.%2faé?#[:]", max_size=30))
def test_any_text_is_a_match_or_a_finding(text: str) -> None:
    match, codes = attempt(text)
    assert codes <= {"PXD-037"}
    assert match is None or FIELD.validate_python(str(match)) == match
