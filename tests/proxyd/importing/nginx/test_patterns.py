from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxyd.importing.nginx.patterns import Overlap, PathPattern, exact_pattern, prefix_pattern, regex_pattern, within
from proxyd_ext.route.regex import Regex


@pytest.mark.parametrize(
    ("prefix", "pattern"),
    [("/", ""), ("/api", "/api*"), ("/api/", "/api/*"), ("/a b/", "/a%20b/*"), ("/é", "/%C3%A9*"), ("/a*b", {"regex": r"^/a\*b"})],
)
def test_prefixes(prefix: str, pattern: PathPattern) -> None:
    assert prefix_pattern(prefix) == pattern


def test_exact_ones_and_expressions() -> None:
    assert exact_pattern("/a b") == "/a%20b"
    assert exact_pattern("/a*") == {"regex": r"^/a\*$"}
    assert regex_pattern(r"^/(?<name>[a-z]+)$", ignore_case=True) == {"regex": "(?i)^/([a-z]+)$"}


@pytest.mark.parametrize(
    ("prefix", "pattern", "both"),
    [
        ("/img/", r"\.png$", r"^/img/.*\.png$"),
        ("/img/", r"\.png$|\.gif$", r"^/img/.*(?:\.png$|\.gif$)"),
        ("/img/", r"^/img/[0-9]+$", r"^/img/[0-9]+$"),
        ("/img/", r"^/css/", None),
        ("/", r"\.png$", r"\.png$"),
    ],
)
def test_both(prefix: str, pattern: str, both: str | None) -> None:
    assert within(prefix, pattern, ignore_case=False) == (None if both is None else {"regex": both})


def test_case_is_ignored_in_the_expression_alone() -> None:
    assert within("/Img/", r"\.png$", ignore_case=True) == {"regex": r"^/Img/.*(?i:\.png$)"}


@pytest.mark.parametrize("pattern", ["/x", "^/i", "a*", "[", "^/(img|css)/x", "^/img|x"])
def test_what_may_begin_within_the_prefix_is_not_guessed(pattern: str) -> None:
    with pytest.raises(Overlap):
        within("/img/", pattern, ignore_case=False)


PARTS = st.sampled_from(["a", "b", "/", ".", ".png", "ab"])
TEXT = st.lists(PARTS, max_size=6).map("".join)


@given(
    prefix=TEXT.map(lambda text: f"/{text}"),
    pattern=st.sampled_from([r"\.png$", r"b", r"a+b", r"^/a", r"^/ab/.*b$", r"(a|b)\.", r"^/b[ab]"]),
    path=TEXT.map(lambda text: f"/{text}"),
)
def test_where_it_is_said_both_hold(prefix: str, pattern: str, path: str) -> None:
    try:
        both = within(prefix, pattern, ignore_case=False)
    except Overlap:
        assume(False)
    expected = path.startswith(prefix) and re.search(pattern, path) is not None
    assert (isinstance(both, dict) and Regex(both["regex"]).search(path.encode())) == expected
