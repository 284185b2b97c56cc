from __future__ import annotations

import pytest

from proxyd.config.model import Sticky, StickyCookie
from tests.support.config import first_finding, upstream_of


def sticky(text: str) -> Sticky:
    found = upstream_of(f"sticky: {text}").sticky
    assert found is not None
    return found


def test_in_all_its_forms() -> None:
    assert upstream_of("").sticky is None
    assert sticky("cookie") == sticky("{cookie: pxd_server}") == sticky("{cookie: {name: pxd_server}}") == sticky("{cookie: {}}")
    assert sticky("source") == sticky("{source: true}")
    assert sticky("{app_cookie: JSESSIONID}").app_cookie == "JSESSIONID"
    assert sticky("{header: X-Session}").header == "X-Session"


def test_the_attributes_of_the_cookie() -> None:
    assert StickyCookie().attributes == "; Path=/; HttpOnly; SameSite=Lax"
    found = sticky("{cookie: {max_age: 1d, path: /a, domain: .Example.com, secure: true, http_only: false, same_site: none}}").cookie
    assert found is not None
    assert found.attributes == "; Path=/a; Domain=example.com; Max-Age=86400; Secure; SameSite=None"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", ("PXD-022", 9)),
        ("cookies", ("PXD-030", 9)),
        ("{source: false}", ("PXD-022", 9)),
        ("{cookie: a, header: X}", ("PXD-024", 21)),
        ("{cookie: 'a b'}", ("PXD-038", 10 + 8)),
        ("{cookie: {name: 'a;b'}}", ("PXD-038", 25)),
        ("{cookie: {path: x}}", ("PXD-038", 25)),
        ("{cookie: {path: '/;x'}}", ("PXD-038", 25)),
        ("{cookie: {domain: '*.a.b'}}", ("PXD-038", 27)),
        ("{cookie: {same_site: none}}", ("PXD-039", 30)),
        ("{cookie: {same_site: loose}}", ("PXD-034", 30)),
        ("{cookie: {max_age: 1500ms}}", ("PXD-032", 28)),
        ("{cookie: {secret: short}}", ("PXD-033", 27)),
        ("{header: 'X Y'}", ("PXD-082", 18)),
        ("{app_cookie: 'a=b'}", ("PXD-038", 22)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    found = first_finding(f"upstreams: {{app: {{servers: 'a:1',\nsticky: {text}}}}}\nlisten: :1\nto: app\n")
    assert found == (expected[0], 2, expected[1])
