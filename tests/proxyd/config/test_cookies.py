from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from proxyd.config.cookies import check_cookie_domain, check_cookie_name, check_cookie_path


def test_what_is_right() -> None:
    assert check_cookie_name("pxd_server.1") == "pxd_server.1"
    assert check_cookie_path("/a/b") == "/a/b"
    assert check_cookie_domain(".Example.COM") == "example.com"


@pytest.mark.parametrize("text", ["", "a b", "a=b", "a;b", "ä", "a" * 101])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        check_cookie_name(text)


@pytest.mark.parametrize("text", ["", "a", "/a;b", "/a b", "/\n"])
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        check_cookie_path(text)


@pytest.mark.parametrize("text", ["", "*.a.b", "[::1]", "a;b"])
def test_what_is_no_domain(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        check_cookie_domain(text)
