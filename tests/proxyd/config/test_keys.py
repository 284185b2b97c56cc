from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from proxyd.config.keys import check_key, split_key


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("client.ip", ("client.ip", "")),
        ("host", ("host", "")),
        ("path", ("path", "")),
        ("uri", ("uri", "")),
        ("flow", ("flow", "")),
        ("header:X-User", ("header", "x-user")),
        ("cookie:Room", ("cookie", "Room")),
        ("query:id", ("query", "id")),
    ],
)
def test_keys(key: str, parts: tuple[str, str]) -> None:
    assert check_key(key) == key
    assert split_key(key) == parts


@pytest.mark.parametrize(
    ("key", "help"),
    [
        ("client_ip", "did you mean `client.ip`?"),
        ("headers:X", "did you mean `header:X`?"),
        ("header", "did you mean `header:NAME`?"),
        ("query:a,b", "write `query:a`"),
        ("header:", "write `client.ip`"),
        ("cookie:a b", "write `client.ip`"),
        ("jwt.sub", "write `client.ip`"),
        ("", "write"),
    ],
)
def test_what_is_no_key(key: str, help: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        check_key(key)
    assert caught.value.type == "PXD-034"
    assert help in (caught.value.context or {})["help"]


def test_keys_of_later_versions_say_so() -> None:
    with pytest.raises(PydanticCustomError, match="not in this version yet"):
        check_key("jwt.sub")
