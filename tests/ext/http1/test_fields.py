"""Finding cookies and parameters by name."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.http1.fields import find_cookie, find_parameters


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        ([], None),
        (["a=1"], b"1"),
        (["b=2; a=1; a=3"], b"1"),
        (["b=2", "c=3;a=1"], b"1"),
        (["a="], b""),
        (["a"], None),
        (["A=1"], None),
        (["ba=1; ab=2"], None),
        (["a=b=c"], b"b=c"),
        (["; ;a=1"], b"1"),
        (['a="x y"'], b'"x y"'),
        (["b=a=1; x"], None),
    ],
)
def test_cookie(lines: list[str], value: bytes | None) -> None:
    head = "".join(["GET / HTTP/1.1\r\nHost: h\r\nX: a=0\r\n", *(f"Cookie: {line}\r\n" for line in lines), "\r\n"])
    assert find_cookie(head.encode(), b"a") == value


def test_not_a_head() -> None:
    with pytest.raises(ValueError, match="not a request head"):
        find_cookie(b"GET / HTTP/1.1\r\n", b"a")


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (b"", []),
        (b"a=1", [b"1"]),
        (b"a=1&b=2&a=3", [b"1", b"3"]),
        (b"a", [b""]),
        (b"a&a=", [b"", b""]),
        (b"a=b=c&", [b"b=c"]),
        (b"A=1&aa=2&%61=3&b=a", []),
        (b"a=%41+b", [b"%41+b"]),
        (b"&&a=1", [b"1"]),
    ],
)
def test_parameters(query: bytes, values: list[bytes]) -> None:
    assert find_parameters(query, b"a") == values


@given(st.lists(st.sampled_from([b"a", b"b", b"=", b"&", b""]), max_size=12).map(b"".join), st.sampled_from([b"a", b"ab", b"b"]))
def test_parameters_said_plainly(query: bytes, name: bytes) -> None:
    pairs = [part.partition(b"=") for part in query.split(b"&")]
    assert find_parameters(query, name) == [value for known, _, value in pairs if known == name]
