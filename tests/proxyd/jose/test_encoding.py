from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.jose.encoding import decode_base64url, parse_object


@given(st.binary(max_size=40))
def test_what_was_encoded_comes_back(data: bytes) -> None:
    assert decode_base64url(base64.urlsafe_b64encode(data).rstrip(b"=")) == data


@pytest.mark.parametrize("text", [b"a", b"YQ==", b"YQ=", b"Y+8A", b"Y/8A", b"YR", b"Y\nQ", b"Y Q", b"YQ.", b"\xff\xfe\xfd\xfc"])
def test_another_spelling_is_refused(text: bytes) -> None:
    """Two spellings of one token would be two credentials; `YR` differs from `YQ` in bits that no byte has."""
    with pytest.raises(ValueError, match="base64url"):
        decode_base64url(text)


@given(st.binary(max_size=12))
def test_each_text_has_one_reading(text: bytes) -> None:
    try:
        decoded = decode_base64url(text)
    except ValueError:
        return
    assert base64.urlsafe_b64encode(decoded).rstrip(b"=") == text


def test_objects() -> None:
    assert parse_object(b'{"a": {"b": [1, 2.5, null, true]}, "\xc3\xa9": "x"}') == {"a": {"b": [1, 2.5, None, True]}, "é": "x"}
    assert parse_object(b" {}\n") == {}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b'"a"', b"null", b"1", b"{", b"{}{}", b"\xff", '{"a":1}'.encode("utf-16"), b'\xef\xbb\xbf{"a":1}',
        b'{"a": 1, "a": 2}', b'{"a": {"b": 1, "b": 1}}', b'{"a": NaN}', b'{"a": Infinity}', b'{"a": -Infinity}', b'{"exp": 1e999}',
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"a": ' + b"9" * 5000 + b"}", b'{"a": "\x01"}', b"{'a': 1}",
    ],
)
def test_what_has_no_reading_or_two(content: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_object(content)
