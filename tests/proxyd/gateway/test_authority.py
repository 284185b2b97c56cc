import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.gateway.authority import parse_asked

_HEAD = b"GET /a?b=c%20d https 192.0.2.7 7f3a91\nshop.example.com\n\n"


def test_the_parts_of_a_question() -> None:
    asked = parse_asked(_HEAD + b"Accept: */*\nAuthorization: Bearer a:b\nX-Empty: \nx-twice: 1\nX-Twice: 2\n", b"a:b")
    assert (asked.method, asked.target, asked.scheme, asked.client) == ("GET", "/a?b=c%20d", "https", "192.0.2.7")
    assert (asked.request_id, asked.host, asked.credential) == ("7f3a91", "shop.example.com", "a:b")
    assert asked.fields[:3] == (("Accept", "*/*"), ("Authorization", "Bearer a:b"), ("X-Empty", ""))
    assert asked.values("X-TWICE") == ("1", "2")
    assert asked.values("nothing") == ()


def test_bytes_beyond_ascii_stay_what_they_are() -> None:
    asked = parse_asked(_HEAD + b"X-Name: j\xc3\xa9\n", b"\xff\x00")
    assert asked.values("x-name")[0].encode("latin-1") == b"j\xc3\xa9"
    assert asked.credential.encode("latin-1") == b"\xff\x00"


def test_a_question_without_fields() -> None:
    assert parse_asked(_HEAD, b"").fields == ()
    assert parse_asked(b"GET / http unix 1\n\n\n", b"").host == ""


def test_the_credential_is_not_in_what_a_log_would_show() -> None:
    assert "hunter2" not in repr(parse_asked(_HEAD, b"hunter2"))


@pytest.mark.parametrize("broken", [b"", b"GET\n\n\n", b"GET / http\nhost\n\n"])
def test_what_is_no_question_is_a_value_error(broken: bytes) -> None:
    with pytest.raises(ValueError, match="not enough values"):
        parse_asked(broken, b"")


_NAME = st.text("abcXYZ-09", min_size=1, max_size=8)
_VALUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f\x85\xa0"), max_size=12)


@given(st.lists(st.tuples(_NAME, _VALUE), max_size=6))
def test_fields_come_back_in_order(fields: list[tuple[str, str]]) -> None:
    lines = "".join(f"{name}: {value}\n" for name, value in fields).encode("latin-1")
    assert parse_asked(_HEAD + lines, b"").fields == tuple(fields)
