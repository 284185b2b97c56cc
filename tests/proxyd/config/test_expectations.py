from __future__ import annotations

import pytest

from proxyd.config import load_text
from proxyd.config.canonical import config_hash
from tests.support.config import config_of

BASE = "listen: :80\nroutes: [{name: app, respond: 204}]\n"


def found(test: str) -> list[tuple[str, str]]:
    return [(item.code, item.path) for item in load_text(f"{BASE}tests: [{test}]\n", env={}).diagnostics]


@pytest.mark.parametrize(
    "test",
    [
        "{request: /x, route: app}",
        "{request: GET a.example/x?y=1, status: 204, headers: {X-A: b}, client: '::1', listener: default}",
        "{request: 'tcp://:5432', refused: none}",
        "{request: 'tls://a.example:443', alpn: h2, route: none}",
    ],
)
def test_what_is_taken(test: str) -> None:
    assert found(test) == []


@pytest.mark.parametrize(
    ("test", "code", "path"),
    [
        ("{request: /x}", "PXD-022", "tests[0]"),
        ("{route: app}", "PXD-022", "tests[0].request"),
        ("{request: '', route: app}", "PXD-038", "tests[0].request"),
        ("{request: GET /x HTTP/1.1, route: app}", "PXD-038", "tests[0].request"),
        ("{request: 'G(T /x', route: app}", "PXD-038", "tests[0].request"),
        ("{request: 'ftp://a/x', route: app}", "PXD-038", "tests[0].request"),
        ("{request: 'GET tcp://:1', route: app}", "PXD-038", "tests[0].request"),
        ("{request: 'tcp://:99999', route: app}", "PXD-038", "tests[0].request"),
        ("{request: /x, route: app, client: here}", "PXD-038", "tests[0].client"),
        ("{request: /x, route: app, alpn: h2}", "PXD-024", "tests[0].alpn"),
        ("{request: 'tcp://:1', route: app, alpn: h2}", "PXD-024", "tests[0].alpn"),
        ("{request: 'tls://a:1', route: app, alpn: 'h 2'}", "PXD-037", "tests[0].alpn[0]"),
        ("{request: 'tcp://:1', status: 200}", "PXD-024", "tests[0].status"),
        ("{request: /x, status: 20}", "PXD-033", "tests[0].status"),
    ],
)
def test_what_is_not(test: str, code: str, path: str) -> None:
    assert found(test) == [(code, path)]


def test_tests_change_nothing_of_what_is_served() -> None:
    with_tests = config_of(BASE + "tests: [{request: /x, route: app}]\n")
    assert config_hash(with_tests) == config_hash(config_of(BASE))
    assert with_tests.tests[0].method_and_url == ("GET", "/x")
