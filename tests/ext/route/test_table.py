"""The native route table against the plain first-match oracle."""
from __future__ import annotations

import gc
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd_ext.route.table import METHODS, RouteTree
from tests.reference.route import PathKind, Row, first_match, misses
from tests.support.heap import heap_in_use

NAMES = [b"", b"a", b"a.b", b"b.a.b", b"*.b", b"*.a.b", b"*.b.a.b", b"c.b", b"b"]
HOSTS = [
    *(name for name in NAMES if not name.startswith(b"*")), b"x.b", b"x.a.b", b"y.x.a.b", b".b", b".a.b", b"..b",
    b"A.B", b"X.A.b.", b"a.b.", b".", b"bb",
]
METHOD_NAMES = [*METHODS, "PURGE"]
paths = st.lists(st.sampled_from([b"/", b"a", b"ab", b"b", b"\xff", b"\x00", b"%2F"]), max_size=5).map(b"".join)
rows = st.tuples(
    st.sampled_from([*NAMES, b"A.b", b"*.B", b"a.b."]),
    st.sampled_from(["any", "exact", "prefix"]),
    paths,
    st.frozensets(st.sampled_from(list(METHODS)), max_size=3),
)
requests = st.tuples(st.sampled_from(HOSTS), paths, st.sampled_from(METHOD_NAMES))


@settings(max_examples=400)
@given(st.lists(rows, max_size=30), st.lists(requests, min_size=1, max_size=20))
def test_agrees_with_the_oracle(table: list[Row], asked: list[tuple[bytes, bytes, str]]) -> None:
    tree = RouteTree(table)
    for host, path, method in asked:
        assert tree.match(host, path, method) == first_match(table, host, path, method)
        for number, row in enumerate(table):
            assert tree.why(number, host, path, method) == misses(row, host, path, method)


@settings(max_examples=200)
@given(st.lists(rows, min_size=1, max_size=30), st.data())
def test_every_route_is_asked_at_its_own_edge(table: list[Row], data: st.DataObject) -> None:
    """Paths taken from the routes themselves, and a byte more or less, meet every split of the tree."""
    tree = RouteTree(table)
    for row in table:
        host = data.draw(st.sampled_from(HOSTS))
        for path in (row[2], row[2][:-1], row[2] + b"/", row[2] + b"a"):
            for method in ("GET", "HEAD", "PUT", "PURGE"):
                assert tree.match(host, path, method) == first_match(table, host, path, method)


@pytest.mark.parametrize(
    ("host", "path", "method", "number"),
    [
        (b"shop.example.com", b"/api/v1", "GET", 0),
        (b"SHOP.example.COM.", b"/api/v1", "HEAD", 0),
        (b"shop.example.com", b"/api/v1", "POST", 3),
        (b"shop.example.com", b"/api", "GET", 1),
        (b"www.example.com", b"/", "GET", 1),
        (b"a.b.example.com", b"/robots.txt", "GET", 1),
        (b"example.com", b"/robots.txt", "GET", 2),
        (b"example.com", b"/robots.txt/", "GET", -1),
        (b"notexample.com", b"/api/", "GET", -1),
        (b"", b"/robots.txt", "GET", 2),
    ],
)
def test_first_match_wins(host: bytes, path: bytes, method: str, number: int) -> None:
    tree = RouteTree([
        (b"shop.example.com", "prefix", b"/api/", {"GET"}),
        (b"*.example.com", "any", b"", {"GET"}),
        (b"", "exact", b"/robots.txt", ()),
        (b"shop.example.com", "any", b"", ()),
    ])
    assert tree.match(host, path, method) == number


def test_an_empty_table_matches_nothing() -> None:
    tree = RouteTree([])
    assert len(tree) == 0
    assert tree.match(b"a", b"/", "GET") == -1
    with pytest.raises(IndexError):
        tree.why(0, b"a", b"/", "GET")


def test_every_byte_branches_from_one_node() -> None:
    table: list[Row] = [(b"", "exact", b"/" + bytes([byte]), ()) for byte in reversed(range(256))]
    tree = RouteTree(table)
    assert [tree.match(b"", b"/" + bytes([byte]), "GET") for byte in range(256)] == list(reversed(range(256)))


def big_table(count: int) -> list[Row]:
    chance = random.Random(7)
    table: list[Row] = []
    methods: list[tuple[str, ...]] = [(), ("GET",), ("POST", "PUT")]
    for number in range(count):
        host = chance.choice([b"", b"*.example.com", b"*.eu.example.com", b"h%d.example.com" % chance.randrange(500)])
        kind: PathKind = chance.choice(["exact", "prefix"])
        path = b"/s%d/%s/%d" % (chance.randrange(40), chance.choice([b"items", b"item", b"orders"]), number // 2)
        table.append((host, kind, path, chance.choice(methods)))
    return table


def test_ten_thousand_routes() -> None:
    table = big_table(10_000)
    tree = RouteTree(table)
    chance = random.Random(8)
    for _ in range(100):
        row = chance.choice(table)
        host = chance.choice([b"h%d.example.com" % chance.randrange(600), b"x.eu.example.com", b"other"])
        path = row[2] + chance.choice([b"", b"/more", b"7"])
        method = chance.choice(["GET", "POST", "HEAD", "DELETE"])
        assert tree.match(host, path, method) == first_match(table, host, path, method)


def best_of(tree: RouteTree, asked: list[tuple[bytes, bytes, str]]) -> float:
    """The least time of several rounds over `asked`, in seconds."""
    least = float("inf")
    for _ in range(15):
        began = time.perf_counter()
        for host, path, method in asked:
            tree.match(host, path, method)
        least = min(least, time.perf_counter() - began)
    return least


def test_cost_does_not_grow_with_the_number_of_routes() -> None:
    few, many = big_table(10), big_table(20_000)
    asked = [(b"h3.example.com", row[2] + b"/x", "GET") for row in many[:500]]
    assert best_of(RouteTree(many), asked) < 8 * best_of(RouteTree(few), asked)


def test_thousands_of_routes_at_one_node_are_never_walked() -> None:
    crowd: list[Row] = [(b"", "prefix", b"/x", ("POST",)) for _ in range(20_000)]
    asked = [(b"a", b"/x/y", "GET")] * 300
    crowded, alone = RouteTree([*crowd, (b"", "prefix", b"/x", ("GET",))]), RouteTree([(b"", "prefix", b"/x", ("GET",))])
    assert crowded.match(b"a", b"/x/y", "GET") == 20_000
    assert best_of(crowded, asked) < 8 * best_of(alone, asked)


def test_a_host_of_dots_costs_no_more_than_the_longest_pattern() -> None:
    tree = RouteTree([(b"*.example.com", "any", b"", ())])
    short, long = b".".join([b"a"] * 20), b".".join([b"a"] * 8_000)
    assert tree.match(long + b".example.com", b"/", "GET") == 0
    assert best_of(tree, [(long, b"/", "GET")] * 300) < 8 * best_of(tree, [(short, b"/", "GET")] * 300)


def test_deep_trees_are_built_and_walked_without_recursion() -> None:
    table: list[Row] = [(b"", "exact", b"/" + b"a" * depth, ()) for depth in range(5_000)]
    tree = RouteTree(table)
    assert tree.match(b"", b"/" + b"a" * 4_999, "GET") == 4_999
    assert tree.match(b"", b"/" + b"a" * 5_000, "GET") == -1


def test_memory_goes_with_the_table() -> None:
    table = big_table(2_000)
    RouteTree(table)
    gc.collect()
    before = heap_in_use()
    for _ in range(20):
        RouteTree(table)
    gc.collect()
    assert heap_in_use() - before < 200_000    # one table alone takes more
