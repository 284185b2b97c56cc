"""Rewritten paths: tables, the oracle, and no byte out of bounds."""
from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxyd_ext.core.fault import faults
from proxyd_ext.http1.path import is_normal, normalize
from proxyd_ext.http1.template import rewritten
from proxyd_ext.snapshot.template import path_parts
from tests.reference import rewrite as oracle

PATH_INVALID = -int(str(faults()["path_invalid"]["code"]))
URI_TOO_LONG = -int(str(faults()["uri_too_long"]["code"]))


def expand(
    template: str, path: bytes, strip: bytes = b"", host: bytes = b"test", query: bytes | None = None, cap: int = 32768
) -> bytes | int:
    return rewritten(path_parts(template), strip.removesuffix(b"/"), strip.endswith(b"/"), path, host, query, cap)


@pytest.mark.parametrize(
    ("strip", "path", "sent"),
    [
        (b"/api", b"/api", b"/"),
        (b"/api", b"/api/", b"/"),
        (b"/api", b"/api/x", b"/x"),
        (b"/api", b"/api//x", b"//x"),
        (b"/api", b"/api/api/x", b"/api/x"),
        (b"/api", b"/apix", b"/apix"),
        (b"/api", b"/API/x", b"/API/x"),
        (b"/api", b"/ap", b"/ap"),
        (b"/api", b"/x/api/y", b"/x/api/y"),
        (b"/api", b"/api%2Fx", b"/api%2Fx"),
        (b"/api", b"/", b"/"),
        (b"/api", b"*", b"*"),
        (b"/api/", b"/api", b"/api"),
        (b"/api/", b"/api/", b"/"),
        (b"/api/", b"/api/x", b"/x"),
        (b"/", b"/x", b"/x"),
        (b"/", b"/", b"/"),
        (b"/a/b", b"/a/b/c", b"/c"),
        (b"/a/b", b"/a/bc", b"/a/bc"),
    ],
)
def test_strip(strip: bytes, path: bytes, sent: bytes) -> None:
    """By whole segments; a path that has not the prefix stays as it is."""
    assert expand("", path, strip) == sent


@pytest.mark.parametrize(
    ("template", "strip", "path", "query", "sent"),
    [
        ("/v2{path}", b"", b"/", None, b"/v2/"),
        ("/v2{path}", b"", b"/a/b", None, b"/v2/a/b"),
        ("/v2/{path}", b"", b"/a", None, b"/v2/a"),
        ("/v2{path}", b"", b"//a", None, b"/v2//a"),
        ("/v2{path}", b"", b"*", None, b"*"),
        ("{path}.html", b"", b"/a", None, b"/a.html"),
        ("{path}/x", b"", b"/a/", None, b"/a/x"),
        ("{path}", b"", b"//a", None, b"//a"),
        ("/v2{rest}", b"/api", b"/api", None, b"/v2"),
        ("/v2{rest}", b"/api", b"/api/", None, b"/v2/"),
        ("/v2{rest}", b"/api", b"/api/x", None, b"/v2/x"),
        ("/v2{rest}", b"/api", b"/other", None, b"/other"),
        ("/{rest}", b"/api", b"/api/x", None, b"/x"),
        ("{rest}", b"/api", b"/api", None, b"/"),
        ("/sites/{host}{path}", b"", b"/a", None, b"/sites/test/a"),
        ("/fixed", b"", b"/a", b"q=1", b"/fixed"),
        ("fixed", b"", b"/a", None, b"/fixed"),
        ("/u/{query:id}", b"", b"/a", b"id=7", b"/u/7"),
        ("/u/{query:id}", b"", b"/a", b"x=1&id=7&id=8", b"/u/7"),
        ("/u/{query:id}", b"", b"/a", b"ID=7", b"/u/"),
        ("/u/{query:id}", b"", b"/a", b"id", b"/u/"),
        ("/u/{query:id}", b"", b"/a", None, b"/u/"),
        ("/u/{query:id}", b"", b"/a", b"xid=1", b"/u/"),
        ("/u/{query:id}", b"", b"/a", b"id=a/b", b"/u/a/b"),
        ("/u/{query:id}", b"", b"/a", b"id=/b", b"/u/b"),
        ("/u/{query:id}", b"", b"/a", b"id=a%2fb", b"/u/a%2Fb"),
        ("/u/{query:id}", b"", b"/a", b"id=%41%20", b"/u/A%20"),
        ("/u/{query:id}", b"", b"/a", b"id=a?b|c+d=e", b"/u/a%3Fb%7Cc+d=e"),
        ("/u/{query:id}", b"", b"/a", b"id=..x", b"/u/..x"),
        ("/u/v{query:id}", b"", b"/a", b"id=..", b"/u/v.."),
        ("{query:id}", b"", b"/a", b"id=x", b"/x"),
        ("/caf\u00e9/%7e%c3{path}", b"", b"/a", None, b"/caf%C3%A9/~%C3/a"),
    ],
)
def test_templates(template: str, strip: bytes, path: bytes, query: bytes | None, sent: bytes) -> None:
    assert expand(template, path, strip, query=query) == sent


@pytest.mark.parametrize(("host", "sent"), [(b"Example.COM", b"/example.com/"), (b"::1", b"/::1/"), (b"", b"/")])
def test_host(host: bytes, sent: bytes) -> None:
    """In one spelling; a request of HTTP/1.0 may have none."""
    assert expand("/{host}{path}", b"/", host=host) == sent


@pytest.mark.parametrize(
    "value",
    [b"..", b"../x", b"a/../b", b"a/..", b"%2e%2E", b".%2e/x", b".", b"./x", b"a/%2e/b", b"%00", b"a%00", b"%", b"a%4", b"%zz", b"%4g"],
)
def test_values_that_climb_or_break(value: bytes) -> None:
    """A dot segment out of a parameter is refused even where it would not leave the root: the literal part is a fence."""
    assert expand("/files/{query:f}", b"/", query=b"f=" + value) == PATH_INVALID


@pytest.mark.parametrize(
    ("value", "sent"), [(b"%2fa%2f", b"/files/%2Fa%2F"), (b"%252e%252e", b"/files/%252e%252e"), (b"a..;", b"/files/a..;")]
)
def test_values_that_only_look_so(value: bytes, sent: bytes) -> None:
    assert expand("/files/{query:f}", b"/", query=b"f=" + value) == sent


@pytest.mark.parametrize(
    "template", ["/a?b", "/a#b", "/{unknown}", "/{query:}", "/a b", "/%", "/%4", "/%00", "/a/../b", "/a/.", "/%2e%2E/x", "/\x7f"]
)
def test_templates_that_are_refused(template: str) -> None:
    with pytest.raises(ValueError, match="the path"):
        path_parts(template)


@pytest.mark.parametrize("cap", range(12))
def test_bound(cap: int) -> None:
    """Exactly as many bytes as there is room for."""
    for template, query in (("/v2{path}", None), ("{query:q}/abcd", b"q=/v2"), ("/v2/{query:q}", b"q=%25%c3")):
        whole = expand(template, b"/abcd", query=query)
        assert isinstance(whole, bytes)
        assert expand(template, b"/abcd", query=query, cap=cap) == (whole if len(whole) <= cap else URI_TOO_LONG)


PIECES = [b"/", b"..", b".", b"a", b"%2e", b"%2F", b"%", b"%zz", b"%41", b"%c3", b"?", b"|", b"=", b"\\", b"~", b"%00", b"api", b"+"]
texts = st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join)
paths = texts.map(lambda text: normalize(b"/" + text)).filter(lambda path: isinstance(path, bytes))
WORDS = ["/", "/a", "b", ".", "%C3", "{path}", "{rest}", "{host}", "{query:q}", "{query:r}"]
templates = st.lists(st.sampled_from(WORDS), max_size=6).map("".join)
strips = st.sampled_from([b"", b"/", b"/api", b"/api/", b"/a", b"/a/api"])
pairs = st.tuples(st.sampled_from([b"q", b"r", b"", b"Q"]), texts).map(lambda pair: pair[0] + b"=" + pair[1])
queries = st.one_of(st.none(), st.lists(pairs, max_size=3).map(b"&".join))


@settings(max_examples=500, deadline=None)
@given(templates, strips, paths, st.sampled_from([b"test", b"A.b", b"::1", b""]), queries)
@example("/{query:q}", b"", b"/", b"", b"q=//x")
def test_as_the_oracle(template: str, strip: bytes, path: bytes, host: bytes, query: bytes | None) -> None:
    try:
        parts = path_parts(template)
    except ValueError:
        return
    expected = oracle.rewritten(parts, strip, path, host, query)
    got = rewritten(parts, strip.removesuffix(b"/"), strip.endswith(b"/"), path, host, query)
    assert got == (PATH_INVALID if expected is None else expected)
    if isinstance(got, bytes):
        assert is_normal(got)
