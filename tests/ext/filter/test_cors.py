"""Cross-origin requests as a policy answers them, as texts on the wire."""
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.filter.cors import Cors, ask, dropped
from proxyd_ext.snapshot.spec import CorsFilter

NONE, LINES, PREFLIGHT = 0, 1, 2
APP = "https://app.example.com"
VARY = ["Vary: Origin"]
VARY_PREFLIGHT = ["Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers"]


def rule(*origins: str, **options: Any) -> Cors:
    return Cors(CorsFilter("c", origins, **options))


def said(cors: Cors, *fields: str, method: str = "GET") -> tuple[int, list[str]]:
    """What it does, and the lines that it writes."""
    word, lines = ask(cors, "\r\n".join((f"{method} / HTTP/1.1", "Host: a", *fields, "", "")).encode("latin-1"))
    assert not lines or lines.endswith(b"\r\n")
    return word, lines.decode("latin-1").splitlines()


def preflight(cors: Cors, origin: str, *fields: str, of: str = "PUT") -> list[str]:
    """The lines that answer one."""
    word, lines = said(cors, f"Origin: {origin}", f"Access-Control-Request-Method: {of}", *fields, method="OPTIONS")
    assert word == PREFLIGHT
    return lines


def test_an_origin_that_is_named() -> None:
    cors = rule(APP, "http://localhost:3000")
    assert said(cors, f"Origin: {APP}") == (LINES, [f"Access-Control-Allow-Origin: {APP}", *VARY])
    assert said(cors, "oRIGIN:  http://localhost:3000 ") == (LINES, ["Access-Control-Allow-Origin: http://localhost:3000", *VARY])


def test_others_pass_without_fields_but_caches_are_told() -> None:
    cors = rule(APP)
    for fields in ([], ["Origin: https://evil.example"], [f"Origin: {APP}", f"Origin: {APP}"], ["Origin: "], ["Origin: null"]):
        assert said(cors, *fields) == (NONE, VARY), fields


@pytest.mark.parametrize(
    "origin",
    [
        "http://app.example.com", "https://app.example.com:8443", "https://app.example.com.", "https://app.example.com.evil.example",
        "https://evilapp.example.com", "https://APP.example.com", "https://app.example.com/", "app.example.com", "*", "https://*.example.com",
    ],
)
def test_an_origin_is_compared_byte_by_byte(origin: str) -> None:
    assert said(rule(APP), f"Origin: {origin}") == (NONE, VARY)


def test_a_wildcard_takes_every_name_below() -> None:
    cors = rule("https://*.example.com", "http://*.test:8080")
    admitted = ["https://a.example.com", "https://a-1.b_2.example.com", "http://x.test:8080"]
    refused = [
        "https://example.com", "https://.example.com", "http://a.example.com", "https://a.example.com:8443", "https://a..example.com",
        "https://evil.example/.example.com", "https://evil.example#.example.com", "https://evil.example:80.example.com", "https://A.example.com",
        "https://u@b.example.com", "https://.a.example.com", "https://a.example.community", "http://x.test", "http://x.test:80800",
    ]
    assert [origin for origin in admitted + refused if said(cors, f"Origin: {origin}")[0] == LINES] == admitted


def test_everybody() -> None:
    """The answer is the same for all, so it does not vary, and caches may keep it for requests without an origin, too."""
    cors = rule("*", expose=["X-A", "X-B"])
    expected = ["Access-Control-Allow-Origin: *", "Access-Control-Expose-Headers: X-A, X-B"]
    assert said(cors) == said(cors, "Origin: https://any.example") == said(cors, "Origin: null") == (LINES, expected)
    assert preflight(cors, "null") == ["Access-Control-Allow-Origin: *", "Access-Control-Allow-Methods: GET, HEAD, POST", *VARY_PREFLIGHT]


def test_null_is_an_origin_only_where_it_is_named() -> None:
    assert said(rule(APP, "null"), "Origin: null") == (LINES, ["Access-Control-Allow-Origin: null", *VARY])


def test_credentials() -> None:
    cors = rule(APP, credentials=True, expose=["X-A"])
    allowed = [f"Access-Control-Allow-Origin: {APP}", "Access-Control-Allow-Credentials: true"]
    assert said(cors, f"Origin: {APP}") == (LINES, [*allowed, "Access-Control-Expose-Headers: X-A", *VARY])
    assert preflight(cors, APP) == [*allowed, "Access-Control-Allow-Methods: GET, HEAD, POST", *VARY_PREFLIGHT]
    assert said(cors, "Origin: https://evil.example") == (NONE, VARY)
    with pytest.raises(ValueError, match="credentials"):
        rule("*", credentials=True)


def test_a_preflight_is_told_all_that_is_allowed() -> None:
    cors = rule(APP, methods=["GET", "PUT"], headers=["Content-Type", "X-Env"], max_age_s=600, expose=["X-A"])
    asked = "Access-Control-Request-Headers: x-other"
    assert preflight(cors, APP, asked, of="DELETE") == preflight(cors, APP) == [
        f"Access-Control-Allow-Origin: {APP}",
        "Access-Control-Allow-Methods: GET, PUT",
        "Access-Control-Allow-Headers: Content-Type, X-Env",
        "Access-Control-Max-Age: 600",
        *VARY_PREFLIGHT,
    ]
    assert preflight(rule(APP, methods=[], max_age_s=0), APP) == [
        f"Access-Control-Allow-Origin: {APP}", "Access-Control-Max-Age: 0", *VARY_PREFLIGHT
    ]


def test_a_preflight_of_a_stranger_is_answered_without_them() -> None:
    assert preflight(rule(APP), "https://evil.example") == preflight(rule(APP), "null") == VARY_PREFLIGHT


def test_what_is_no_preflight() -> None:
    cors, request = rule(APP), "Access-Control-Request-Method: PUT"
    assert said(cors, f"Origin: {APP}", request)[0] == LINES                         # not OPTIONS
    assert said(cors, f"Origin: {APP}", method="OPTIONS")[0] == LINES                # asks for no method
    assert said(cors, request, method="OPTIONS") == (NONE, VARY)                     # of no origin
    assert said(cors, f"Origin: {APP}", f"X-{request}", method="OPTIONS")[0] == LINES


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("x-a", "x-a"),
        ("authorization, x-b,x-c", "authorization, x-b,x-c"),
        ("", None),
        ("x-a; q=1", None),
        ('"x"', None),
        ("x-\xe9", None),
        ("a" * 1000, "a" * 1000),
        ("a" * 1001, None),
    ],
    ids=["one", "several", "none", "parameter", "quotes", "latin", "long", "too long"],
)
def test_whatever_is_asked_for(asked: str, told: str | None) -> None:
    cors = rule(APP, headers=["*"])
    lines = preflight(cors, APP, f"Access-Control-Request-Headers: {asked}")
    assert [line for line in lines if "Allow-Headers" in line] == ([f"Access-Control-Allow-Headers: {told}"] if told else [])
    assert not [line for line in preflight(cors, APP) if "Allow-Headers" in line]


def test_the_longest_answer_has_room() -> None:
    """A sanitizer sees a byte behind the 2048."""
    origin = "https://" + "a" * 292
    cors = rule(origin, credentials=True, methods=["M" * 256], headers=["*"], max_age_s=2**40)
    lines = preflight(cors, origin, "Access-Control-Request-Headers: " + "h" * 1000)
    assert len(lines) == 6
    assert "Access-Control-Max-Age: 2147483647" in lines
    assert said(rule("https://*." + "a" * 280), "Origin: https://" + "b" * 20 + "." + "a" * 280)[0] == NONE    # 309 bytes
    for options in ({"methods": ["M" * 257]}, {"headers": ["h" * 500, "h" * 499]}, {"expose": ["h" * 1001]}):
        with pytest.raises(ValueError, match="longer than"):
            rule(APP, **options)
    with pytest.raises(ValueError, match="longer than"):
        rule(origin + "a")
    with pytest.raises(UnicodeEncodeError):
        rule("https://ä.example")


def test_the_fields_of_servers_that_are_replaced() -> None:
    names = ("allow-origin", "allow-credentials", "expose-headers", "allow-methods", "allow-headers", "max-age")
    assert dropped() == tuple(f"access-control-{name}" for name in names)


def admits(pattern: str, origin: str) -> bool:
    """The oracle."""
    front, star, tail = pattern.partition("*")
    if not star:
        return origin == pattern
    middle = origin.removeprefix(front).removesuffix(tail)
    labels = middle.split(".")
    return origin == front + middle + tail and all(label and set(label) <= set("ab-_0") for label in labels)


PIECES = st.sampled_from(["https://", "http://", "a", "b", ".", "a.b", ".a", "-", "_0", ":1", "/", "A", "@"])


PATTERNS = st.sampled_from(["https://a.b", "https://*.a.b", "http://*.b:1", "https://*.a"])


@given(pattern=PATTERNS, origin=st.lists(PIECES, max_size=6).map("".join))
def test_no_other_origin_gets_in(pattern: str, origin: str) -> None:
    assert (said(rule(pattern), f"Origin: {origin}")[0] == LINES) == admits(pattern, origin)
