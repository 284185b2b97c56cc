from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from proxyd.config.match import Match
from proxyd.config.matchers import ValueTest
from proxyd.config.regex import Regex
from proxyd.config.shadow import shadowed

HOSTS = ["", "a.b", "x.a.b", "*.b", "*.a.b"]
PATHS = ["", "/", "/a", "/a*", "/a/*", "/a/b", "/a/b*", "/ab"]
METHODS = ["GET", "HEAD", "POST", "PUT"]

A, B = ValueTest(exact="a"), ValueTest(exact="b")
matches = st.builds(
    Match,
    host=st.sampled_from(HOSTS),
    path=st.sampled_from(PATHS),
    method=st.lists(st.sampled_from(METHODS), unique=True, max_size=3).map(tuple),
    header=st.sampled_from([{}, {}, {"X": A}, {"x": A}, {"X": B}]),
    cookie=st.sampled_from([{}, {}, {"c": A}]),
)

# Enough requests to tell every two of these patterns apart: PROPFIND stands for methods without a name.
REQUESTS = list(
    product(
        ["a.b", "x.a.b", "y.a.b", "z.y.a.b", "q.b", "other"],
        ["/", "/a", "/a/", "/ab", "/a/b", "/a/bc", "/a/c", "/zz"],
        [*METHODS, "PROPFIND"],
        ["", "a", "b"],
        ["", "a"],
    )
)


def takes(match: Match, host: str, path: str, method: str, header: str, cookie: str) -> bool:
    assert isinstance(match.host, str)
    if any(test.exact != header for test in match.header.values()) or any(test.exact != cookie for test in match.cookie.values()):
        return False
    if match.host.startswith("*.") and not host.endswith(match.host[1:]):
        return False
    if match.host and not match.host.startswith("*.") and host != match.host:
        return False
    if match.path and (path != match.path if match.path_exact else not path.startswith(match.path_text)):
        return False
    return not match.method or method in match.method or (method == "HEAD" and "GET" in match.method)


@given(st.lists(matches, max_size=5))
def test_a_shadowed_route_takes_no_request(routes: list[Match]) -> None:
    """Against trying requests: what is called shadowed never matches first."""
    first = {next((n for n, match in enumerate(routes) if takes(match, *request)), -1) for request in REQUESTS}
    for number, by in shadowed(routes).items():
        assert number not in first
        assert all(other < number for other in by)


@given(matches, matches)
def test_one_route_behind_another_is_found(front: Match, back: Match) -> None:
    """And with two routes nothing is missed."""
    never = not any(takes(back, *request) and not takes(front, *request) for request in REQUESTS)
    assert (1 in shadowed([front, back])) == never


def test_demands_must_be_the_same_or_fewer() -> None:
    plain, one = Match(path="/a*"), Match(path="/a", header={"X": A})
    both = Match(path="/a", header={"x": A}, source=("10.0.0.0/8",))
    assert shadowed([plain, one, both]) == {1: [0], 2: [1]}
    assert shadowed([one, both, plain]) == {1: [0]}
    assert shadowed([both, one]) == {}
    assert shadowed([one, Match(path="/a", header={"X": B})]) == {}
    assert shadowed([one, Match(path="/a", header={"X": ValueTest(**{"exact": "a", "not": True})})]) == {}


def test_regular_expressions_are_demands() -> None:
    same, other = Match(path=Regex("^/v1"), host="a.b"), Match(path=Regex("^/v2"))
    assert shadowed([Match(path=Regex("^/v1")), other, same]) == {2: [0]}
    assert shadowed([other, Match(path="/v2/*")]) == {}
    assert shadowed([Match(), other]) == {1: [0]}


def test_several_routes_may_shadow_together() -> None:
    routes = [Match(path="/a", method=("GET",)), Match(path="/a*", method=("POST",)), Match(path="/a", method=("HEAD", "POST"))]
    assert shadowed(routes) == {2: [0, 1]}


def test_many_routes_take_little_time() -> None:
    routes = [Match(host=f"h{n % 100}.example.com", path=f"/{'x' * (n % 50)}/{n}/*") for n in range(10_000)]
    assert shadowed(routes) == {}
    assert shadowed([Match(path="/a", header={"X": ValueTest(exact=str(n))}) for n in range(10_000)]) == {}
