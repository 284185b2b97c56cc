from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from proxyd.config.hosts import check_host, check_origin_host


@pytest.mark.parametrize(
    ("text", "host"), [("A.example.COM.", "a.example.com"), ("*.a.b", "*.a.b"), ("[::1]", "[::1]"), ("*", ""), ("", "")]
)
def test_hosts_to_match(text: str, host: str) -> None:
    assert check_host(text) == host


@pytest.mark.parametrize("text", ["a.b:80", "a..b", "a*.b", "ä.b", "a b", "-a", "a" * 64])
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(PydanticCustomError) as error:
        check_host(text)
    assert error.value.type == "PXD-037"


@pytest.mark.parametrize(("text", "host"), [("App:80", "app:80"), ("app", "app"), ("[::1]:8080", "[::1]:8080"), (" 10.0.0.1 ", "10.0.0.1")])
def test_hosts_to_send(text: str, host: str) -> None:
    assert check_origin_host(text) == host


@pytest.mark.parametrize("text", ["", "*", "*.a.b", ":80", "a:b"])
def test_what_cannot_be_sent(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        check_origin_host(text)
