from __future__ import annotations

import pytest

from proxyd.config.model import Rewrite
from tests.support.config import config_of, first_finding


def rewrite(match: str, text: str) -> Rewrite:
    config = config_of(f"listen: ':1'\nroutes: [{{match: '{match}', to: a, rewrite: {text}}}]\nupstreams: {{a: 'a:1'}}\n")
    found = config.routes[0].rewrite
    assert found is not None
    return found


def test_in_all_its_forms() -> None:
    assert rewrite("/api/*", "{strip_prefix: /api/}").strip_prefix == "/api"
    replaced = rewrite("/api/*", "{replace_prefix: {from: /api, to: /v2/}}").replace_prefix
    assert replaced is not None
    assert (replaced.old, replaced.new) == ("/api", "/v2")
    assert rewrite("/*", "{replace_prefix: {from: /, to: /v2}}").replace_prefix is not None
    assert rewrite("/api/*", "{path: '/x/{rest}/{host}{query:a}'}").path == "/x/{rest}/{host}{query:a}"
    assert rewrite("/*", "{path: '/x/{rest}'}").path == "/x/{rest}"
    assert rewrite("/*", "{host: 'App.Internal:8080'}").host == "app.internal:8080"
    assert rewrite("/*", "{host: '[::1]:80'}").host == "[::1]:80"
    assert rewrite("/*", "{headers: {request: {remove: X-Debug}}}").headers.request.remove == ("X-Debug",)


@pytest.mark.parametrize(
    ("match", "text", "expected"),
    [
        ("/api/*", "{strip_prefix: api}", ("PXD-037", 16)),
        ("/api/*", "{strip_prefix: /api/*}", ("PXD-037", 16)),
        ("/api/*", "{strip_prefix: /}", ("PXD-038", 16)),
        ("/api/*", "{strip_prefix: /api, path: /x}", ("PXD-024", 22)),
        ("/api/*", "{replace_prefix: {from: /api}}", ("PXD-022", 2)),
        ("/api/*", "{path: x}", ("PXD-038", 8)),
        ("/api/*", "{path: '/{file}'}", ("PXD-038", 8)),
        ("/api/*", "{path: '/{query:}'}", ("PXD-038", 8)),
        ("/api/*", "{path: '/{'}", ("PXD-038", 8)),
        ("/api/*", "{path: '/%zz'}", ("PXD-038", 8)),
        ("/api/*", "{path: '/%00'}", ("PXD-038", 8)),
        ("/api/*", "{path: '/a/../b'}", ("PXD-038", 8)),
        ("/api/*", "{path: '/a/%2E'}", ("PXD-038", 8)),
        ("/api/*", "{path: '/a?b=c'}", ("PXD-038", 8)),
        ("/api/*", "{path: '/" + "{path}" * 17 + "'}", ("PXD-038", 8)),
        ("/api", "{path: '/x/{rest}'}", ("PXD-039", 8)),
        ("/api*", "{path: '/x/{rest}'}", ("PXD-039", 8)),
        ("/*", "{host: '*.a.b'}", ("PXD-038", 8)),
        ("/*", "{host: ''}", ("PXD-038", 8)),
        ("/*", "{headers: {request: {remove: [Host]}}}", ("PXD-082", 31)),
        ("/*", "{strip: /api}", ("PXD-021", 2)),
    ],
)
def test_mistakes(match: str, text: str, expected: tuple[str, int]) -> None:
    found = first_finding(f"routes: [{{match: '{match}', to: a, rewrite:\n{text}}}]\nlisten: :1\nupstreams: {{a: 'a:1'}}\n")
    assert found == (expected[0], 2, expected[1])


def test_where_no_server_is_asked_fields_may_change_and_nothing_else() -> None:
    config = config_of("listen: ':1'\nroutes: [{respond: 200, rewrite: {headers: {response: {set: {X: y}}}}}]\n")
    assert config.routes[0].rewrite is not None
    assert first_finding("routes: [{respond: 200, rewrite:\n{host: a.b}}]\nlisten: :1\n") == ("PXD-024", 2, 2)
