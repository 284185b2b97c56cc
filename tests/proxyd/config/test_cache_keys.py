from __future__ import annotations

import pytest

from proxyd.config.cache_keys import split_part
from proxyd.config.matchers import Demand
from proxyd.config.model import RouteCache
from tests.support.config import config_of, first_finding


def cache(text: str) -> RouteCache:
    found = config_of(f"listen: ':1'\nroutes: [{{match: /a, to: ['a:1'], cache: {{{text}}}}}]").routes[0].cache
    assert found is not None
    return found


def test_parts_of_a_key() -> None:
    found = cache("key: [host, path, 'query:w, H', 'header:X-Lang', 'cookie:Theme']").key
    assert found == ("host", "path", "query:w,H", "header:X-Lang", "cookie:Theme")
    assert [split_part(part) for part in found] == [
        ("host", ()),
        ("path", ()),
        ("query", ("w", "H")),
        ("header", ("x-lang",)),
        ("cookie", ("Theme",)),
    ]
    assert cache("key: path").key == ("path",)
    with pytest.raises(ValueError, match="uri"):
        split_part("uri")


def test_what_a_key_has() -> None:
    found = cache("key: [path, 'query:a,b', 'header:X-A']")
    assert [found.has_key(kind) for kind in ("path", "host", "query", "header")] == [True, False, True, True]
    assert [found.has_key("query", "b"), found.has_key("header", "x-a"), found.has_key("query", "c")] == [True, True, False]


def test_bypass_in_all_its_forms() -> None:
    short = cache("bypass: ['header:X-A', 'cookie:b', 'query:c', 'query:d']").bypass
    assert short is not None
    assert short.demands == (
        Demand("header", "present", "x-a"),
        Demand("query", "present", "c"),
        Demand("query", "present", "d"),
        Demand("cookie", "present", "b"),
    )
    assert cache("bypass: 'header:X-A'").bypass == cache("bypass: {header: {X-A: {present: true}}}").bypass
    tests = cache("bypass: {header: {X-A: b}, cookie: {c: {regex: '^d', not: true}}}").bypass
    assert tests is not None
    assert tests.demands == (Demand("header", "exact", "x-a", "b"), Demand("cookie", "regex", "c", "^d", negate=True))


def test_tags() -> None:
    assert cache("tags: 'header:X-Tags'").tags == ("header:X-Tags",)
    assert cache("tags: ['header:A', 'header:B']").tags == ("header:A", "header:B")
    assert cache("tags: none").tags == ()
    assert cache("").tags == ("header:Surrogate-Key", "header:Cache-Tag")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key: []", ("PXD-022", 1)),
        ("key: [paths]", ("PXD-034", 7)),
        ("key: [path, uri]", ("PXD-034", 13)),
        ("key: [path, client.ip]", ("PXD-034", 13)),
        ("key: [path, 'header:a,b']", ("PXD-034", 13)),
        ("key: [path, 'header:a b']", ("PXD-082", 13)),
        ("key: [path, 'cookie:a;b']", ("PXD-038", 13)),
        ("key: [path, 'query:a,']", ("PXD-037", 13)),
        ("key: [path, 'query:a,a']", ("PXD-025", 13)),
        ("key: [path, host, path]", ("PXD-025", 19)),
        ("key: [path, 'query:a,b', 'query:b']", ("PXD-025", 26)),
        ("key: [path, 'header:a', 'header:A']", ("PXD-025", 25)),
        ("key: [path, query, 'query:b']", ("PXD-024", 20)),
        ("key: [path, 'query:b', query]", ("PXD-024", 24)),
        (f"key: [{', '.join(f'header:x{number}' for number in range(17))}]", ("PXD-033", 6)),
        ("tags: Surrogate-Key", ("PXD-034", 7)),
        ("tags: ['header:a', 'query:b']", ("PXD-034", 20)),
        ("tags: ['header:a b']", ("PXD-082", 8)),
        ("bypass: session", ("PXD-034", 9)),
        ("bypass: ['header:a', host]", ("PXD-034", 22)),
        ("bypass: ['header:a', {a: b}]", ("PXD-034", 22)),
        ("bypass: ['header:a', 'header:b c']", ("PXD-034", 22)),
        ("bypass: ['header:a', 'header:a']", ("PXD-025", 22)),
        ("bypass: {}", ("PXD-106", 9)),
        ("bypass: {header: {X: {exact: ''}}}", ("PXD-022", 30)),
        ("bypass: {path: /a}", ("PXD-021", 10)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    found = first_finding(f"listen: ':1'\nroutes: [{{match: /a, to: ['a:1'], cache: {{\n{text}}}}}]\n")
    assert found == (expected[0], 3, expected[1])
