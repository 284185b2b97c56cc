"""Routes with conditions: the compiled table against the plain oracle, and what is refused."""
from __future__ import annotations

import gc
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd_ext.core.live import live_counts
from proxyd_ext.snapshot.spec import Condition, RespondAction, RouteSpec
from tests.reference.route import Asked, first_spec, spec_misses
from tests.support.heap import heap_in_use
from tests.support.snapshot import of_routes

HOSTS = ["", "*.b", "a.b", "x.a.b", "*.a.b"]
PATHS = ["", "/", "/a", "/a/", "/a/b", "/ab"]
PATTERNS = ["^/a", "^/a/b$", "a", "^/", "b$", "^/(a|ab)/", "^$", "1|2", "[0-9]", "(?i)^A", "^a.*b$", "(a+)+$", ""]
METHODS = ["GET", "HEAD", "POST", "PURGE"]
values = st.sampled_from(["", "1", "12", "21", "a", "A", "ab"])


def looking_at(of: st.SearchStrategy[str], names: st.SearchStrategy[str], tests: list[str]) -> st.SearchStrategy[Condition]:
    text = st.sampled_from(tests).flatmap(
        lambda test: st.tuples(st.just(test), st.sampled_from(PATTERNS) if test == "regex" else st.sampled_from(PATHS[:4]) | values)
    )
    return st.builds(
        lambda of, name, pair, negate: Condition(of, pair[0], name, pair[1], negate=negate), of, names, text, st.booleans()
    )


conditions = st.one_of(
    looking_at(st.just("header"), st.sampled_from(["X-A", "x-b", "Host", "Cookie"]), ["present", "exact", "prefix", "suffix", "regex"]),
    looking_at(st.sampled_from(["query", "cookie"]), st.sampled_from(["a", "b"]), ["present", "exact", "prefix", "suffix", "regex"]),
    looking_at(st.sampled_from(["path", "host"]), st.just(""), ["exact", "prefix", "suffix", "regex"]),
    st.builds(
        lambda networks, negate: Condition("source", "network", networks=networks, negate=negate),
        st.lists(st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "192.0.2.1", "2001:db8::/32"]), min_size=1, max_size=2), st.booleans(),
    ),
)
routes = st.builds(
    lambda host, path, exact, methods, own: RouteSpec(
        "r", RespondAction(200), host=host, path=path, path_exact=exact and bool(path), methods=methods, conditions=own
    ),
    st.sampled_from(HOSTS), st.sampled_from(PATHS), st.booleans(), st.frozensets(st.sampled_from(METHODS[:3]), max_size=2),
    st.lists(conditions, max_size=2),
)
headers = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["X-A", "X-B", "x-a"]), values),
        st.tuples(st.just("Cookie"), st.lists(st.sampled_from(["a=1", "b=12", "a=2", "b", "a=", "c=a=1"]), max_size=3).map("; ".join)),
    ),
    max_size=3,
)
asked = st.builds(
    Asked, st.sampled_from(METHODS), st.sampled_from(["a.b", "b", "x.a.b", "A.B", "y.x.a.b", "a.b.", ""]),
    st.sampled_from(["/", "/a", "/a/", "/a/b", "/ab", "/ab/", "/b", "/a1"]), headers,
    st.lists(st.sampled_from(["a=1", "b=12", "a=2", "b", "a=", "c"]), max_size=3).map("&".join),
    st.sampled_from(["", "10.1.2.3", "10.2.2.3", "192.0.2.1", "192.0.2.2", "2001:db8::1", "::1"]),
)


@settings(max_examples=250, deadline=None)
@given(st.lists(routes, max_size=14), st.lists(asked, min_size=1, max_size=8))
def test_agrees_with_the_oracle(table: list[RouteSpec], questions: list[Asked]) -> None:
    snapshot = of_routes(table)
    for each in questions:
        found = snapshot.match(0, each.method, each.host, each.path, headers=each.headers, query=each.query, client=each.client)
        assert found == (first_spec(table, each), each.path)
        for number, spec in enumerate(table):
            why = snapshot.why_not(
                0, number, each.method, each.host, each.path, headers=each.headers, query=each.query, client=each.client
            )
            assert why == spec_misses(spec, each)


def route(path: str = "", *own: Condition, host: str = "", methods: frozenset[str] = frozenset(), exact: bool = False) -> RouteSpec:
    return RouteSpec("r", RespondAction(200), host=host, path=path, path_exact=exact, methods=methods, conditions=own)


BETA = Condition("header", "exact", "X-Beta", "1")
NO_BETA = Condition("header", "present", "X-Beta", negate=True)


@pytest.mark.parametrize(
    ("table", "plain", "beta"),
    [
        # A condition before and behind the same route without one.
        ([route("/a", BETA), route("/a")], 1, 0),
        ([route("/a"), route("/a", BETA)], 0, 0),
        # Lower numbers deeper, and higher up, in the tree.
        ([route("/a/b", BETA), route("/a")], 1, 0),
        ([route("", BETA), route("/a/b")], 1, 0),
        ([route("/a"), route("", BETA), route("/a/b")], 0, 0),
        ([route("/a/b", BETA), route("/", BETA), route("/a/b", exact=True), route()], 2, 0),
        # A method that the route without conditions leaves open.
        ([route("/a", methods=frozenset(["POST"])), route("/a", BETA), route("/a")], 2, 1),
        ([route("/a/b", exact=True), route("/a/b", BETA), route()], 0, 0),
        ([route("/a/b", BETA, exact=True), route("/a/b", BETA), route("/a/b", NO_BETA)], 2, 0),
        # Hosts: the tree of another pattern has the lower number.
        ([route("/a", host="*.test"), route("/a", BETA, host="h.test")], 0, 0),
        ([route("/a", BETA), route("/a", host="h.test")], 1, 0),
        ([route("/a", BETA, host="*.test"), route("", host="h.test")], 1, 0),
    ],
)
def test_first_match_wins(table: list[RouteSpec], plain: int, beta: int) -> None:
    snapshot = of_routes(table)
    assert snapshot.match(0, "GET", "h.test", "/a/b")[0] == plain
    assert snapshot.match(0, "GET", "h.test", "/a/b", headers=[("x-beta", "1")])[0] == beta


@pytest.mark.parametrize(
    ("pattern", "hits", "fails"),
    [
        ("^/api/v[0-9]+/", ["/api/v1/", "/api/v12/x"], ["/api/v/", "/x/api/v1/", "/api/vx1/"]),
        ("/admin", ["/admin", "/x/admin/y"], ["/", "/adm"]),
        (r"\.(png|jpe?g)$", ["/a.png", "/b/c.jpg"], ["/a.png/", "/png"]),
        ("(?i)^/Download", ["/download/x", "/DOWNLOAD"], ["/x/download"]),
        ("^/x|^/y", ["/x1", "/y"], ["/z/x"]),
    ],
)
def test_path_by_expression(pattern: str, hits: list[str], fails: list[str]) -> None:
    snapshot = of_routes([
        route("", Condition("path", "regex", value=pattern)), route("/"), route("", Condition("path", "regex", value="x")),
    ])
    assert [snapshot.match(0, "GET", "h", path)[0] for path in hits] == [0] * len(hits)
    assert [snapshot.match(0, "GET", "h", path)[0] for path in fails] == [1] * len(fails)
    assert all(snapshot.why_not(0, 0, "GET", "h", path) == ["path"] for path in fails)


def test_negated_path_expression_is_no_prefix() -> None:
    snapshot = of_routes([route("", Condition("path", "regex", value="^/api/", negate=True)), route()])
    assert [snapshot.match(0, "GET", "h", path)[0] for path in ("/api/x", "/other")] == [1, 0]


def test_two_expressions_for_one_path() -> None:
    both = [Condition("path", "regex", value="^/api/"), Condition("path", "regex", value="^/api/v[0-9]")]
    snapshot = of_routes([route("", *both), route()])
    assert [snapshot.match(0, "GET", "h", path)[0] for path in ("/api/x", "/api/v1", "/v1")] == [1, 0, 1]


def test_host_by_expression_knows_no_case() -> None:
    snapshot = of_routes([route("", Condition("host", "regex", value=r"^(shop|www)\.[a-z]+\.test$")), route()])
    for host, number in (("shop.eu.test", 0), ("SHOP.EU.Test.", 0), ("www.test", 1), ("ashop.eu.test", 1)):
        assert snapshot.match(0, "GET", host, "/")[0] == number


NONSENSE: list[tuple[Condition, str]] = [
    (Condition("path", "regex", value="/(a"), "there is no ')' for this '(' (at character 2 of the pattern)"),
    (Condition("header", "regex", "X", r"(.)\1"), "back-references are not supported"),
    (Condition("header", "exact", "", "x"), "means nothing"),
    (Condition("path", "exact", "name", "x"), "means nothing"),
    (Condition("host", "present"), "means nothing"),
    (Condition("header", "network", "X"), "cannot be tested"),
    (Condition("source", "exact", value="10.0.0.1"), "cannot be tested"),
    (Condition("source", "network"), "without networks"),
    (Condition("source", "network", networks=["10.0.0.0/8", "nonsense"]), "not a network: nonsense"),
]


@pytest.mark.parametrize(("wrong", "words"), NONSENSE, ids=[words for _, words in NONSENSE])
def test_nonsense_is_refused(wrong: Condition, words: str) -> None:
    fine = route("/", Condition("path", "regex", value="^/a[0-9]+"), Condition("source", "network", networks=["10.0.0.0/8"]))
    gc.collect()
    before = live_counts()
    with pytest.raises(ValueError, match="route r: .*" + re.escape(words)):
        of_routes([fine, route("/", BETA, wrong)])
    gc.collect()
    assert live_counts() == before


def test_memory_goes_with_the_snapshot() -> None:
    own = (Condition("path", "regex", value="^/a[0-9]+(b|c)*"), Condition("source", "network", networks=["10.0.0.0/8"] * 20), BETA)
    table = [route(f"/{number}", *own) for number in range(200)]
    of_routes(table)
    gc.collect()
    before = heap_in_use()
    for _ in range(10):
        of_routes(table)
    gc.collect()
    assert heap_in_use() - before < 100_000    # one of them takes more
