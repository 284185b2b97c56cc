from __future__ import annotations

import pytest

from proxyd.config.match import Match
from proxyd.config.matchers import Demand
from tests.support.config import config_of, first_finding


def match(text: str) -> Match:
    return config_of(f"listen: ':1'\nroutes: [{{match: {text}, respond: 200}}]\n").routes[0].match


@pytest.mark.parametrize(
    ("text", "kind", "value", "negate"),
    [
        ("prod", "exact", "prod", False),
        ("1.10", "exact", "1.10", False),
        ("true", "exact", "true", False),
        ("{exact: prod}", "exact", "prod", False),
        ("{prefix: a}", "prefix", "a", False),
        ("{suffix: a}", "suffix", "a", False),
        ("{regex: '^a+$'}", "regex", "^a+$", False),
        ("{regex: '^a+$', not: true}", "regex", "^a+$", True),
        ("{present: true}", "present", "", False),
        ("{present: false}", "present", "", True),
        ("{present: false, not: true}", "present", "", False),
    ],
)
def test_tests_of_a_value(text: str, kind: str, value: str, negate: bool) -> None:
    test = match(f"{{header: {{X-A: {text}}}}}").header["X-A"]
    assert (test.kind, test.value, test.negate) == (kind, value, negate)


def test_demands() -> None:
    found = match(
        "{host: {regex: '^a'}, path: {regex: '/v[0-9]+/'}, header: {X-A: b}, query: {Q: {present: true}}, "
        "cookie: {C: {prefix: d, not: true}}, source: [10.0.0.0/8, '::1', 10.0.0.0/8]}"
    )
    assert found.demands == (
        Demand("host", "regex", value="^a"),
        Demand("path", "regex", value="/v[0-9]+/"),
        Demand("source", "network", networks=("10.0.0.0/8", "::1/128")),
        Demand("header", "exact", "x-a", "b"),
        Demand("query", "present", "Q"),
        Demand("cookie", "prefix", "C", "d", negate=True),
    )
    assert (found.host_text, found.path_text, found.path_exact) == ("", "", False)


def test_in_words() -> None:
    assert str(match("{path: {regex: '^/v1/'}, host: a.b}")) == "a.b~^/v1/"
    assert str(match("{path: /a/*, method: GET, header: {X-A: b}, query: {q: {prefix: c}}, source: 10.0.0.0/8}")) == (
        "GET /a/* (header X-A = b, query q = c*, source 10.0.0.0/8)"
    )
    assert str(match("{cookie: {c: {regex: d, not: true}, e: {present: false}, f: {suffix: g}}}")) == (
        "/* (cookie c not ~ d, cookie e not present, cookie f = *g)"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{path: {regex: '('}}", ("PXD-038", 16)),
        ("{path: {regex: ''}}", ("PXD-038", 16)),
        ("{path: {}}", ("PXD-022", 8)),
        ("{path: {glob: x}}", ("PXD-021", 9)),
        ("{host: {regex: '(?=a)'}}", ("PXD-038", 16)),
        ("{header: {'X Y': a}}", ("PXD-082", 11)),
        ("{header: {X: {}}}", ("PXD-022", 14)),
        ("{header: {X: [a]}}", ("PXD-030", 14)),
        ("{header: {X: ''}}", ("PXD-022", 14)),
        ("{header: {X: {prefix: a, regex: b}}}", ("PXD-024", 26)),
        ("{header: {X: {present: maybe}}}", ("PXD-030", 24)),
        ("{header: {X: {exactly: a}}}", ("PXD-021", 15)),
        ("{header: {X: {regex: '[b-a]'}}}", ("PXD-038", 22)),
        ("{query: {'a=b': c}}", ("PXD-037", 10)),
        ("{cookie: {'a;b': c}}", ("PXD-038", 11)),
        ("{source: 10.0.0.0/33}", ("PXD-038", 10)),
        ("{headers: {X: a}}", ("PXD-021", 2)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    found = first_finding(f"routes: [{{respond: 200, match:\n{text}}}]\nlisten: :1\n")
    assert found == (expected[0], 2, expected[1])
