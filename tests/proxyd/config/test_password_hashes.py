from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from proxyd.config.password_hashes import check_hash

SALT, TAG = "c29tZXNhbHQxMjM0NTY", "A" * 43
BCRYPT = "a" * 53


def argon2(m: int = 65_536, t: int = 3, p: int = 4, salt: str = SALT, tag: str = TAG) -> str:
    return f"$argon2id$v=19$m={m},t={t},p={p}${salt}${tag}"


@pytest.mark.parametrize(
    "text",
    [argon2(), argon2(19_456, 2, 1), argon2(262_144, 4, 16), f"$2y$10${BCRYPT}", f"$2b$04${BCRYPT}", f"$2a$14${BCRYPT}", f" {argon2()} "],
)
def test_good_ones(text: str) -> None:
    assert check_hash(text) == text.strip()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hunter2", "not the hash of a password"),
        ("", "not the hash of a password"),
        ("rqXexS6ZhobKA", "not the hash of a password"),       # crypt's DES
        ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1 without a salt"),
        ("{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1"),
        ("$apr1$abcdefgh$0123456789012345678901", "MD5"),
        ("$1$abcdefgh$0123456789012345678901", "MD5"),
        ("$6$abcdefgh$0123", "crypt"),
        (f"$argon2i$v=19$m=65536,t=3,p=4${SALT}${TAG}", "other than argon2id"),
        (f"$argon2id$m=65536,t=3,p=4${SALT}${TAG}", "argon2id hash that is broken"),
        (argon2(tag="A" * 12), "argon2id hash that is broken"),
        (argon2(salt="AAAAAAAAAAAAA"), "broken"),               # 13 characters: no base64 is so long
        (f"$2y$10${BCRYPT[:-1]}", "bcrypt hash that is broken"),
        (f"$2y$15${BCRYPT}", "cost of 15"),
        (f"$2y$31${BCRYPT}", "cost of 31"),
        (f"$2y$03${BCRYPT}", "cost of 3"),
        (argon2(262_145), "256 MiB of memory"),
        (argon2(4_000_000), "3906 MiB of memory"),
        (argon2(262_144, 5), "takes too long"),
        (argon2(65_536, 999_999), "takes too long"),
        (argon2(65_536, 3, 17), "lanes"),
        (argon2(31, 3, 4), "lanes"),
    ],
)
def test_what_is_weak_or_costs_without_bound_is_refused(text: str, says: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        check_hash(text)
    assert caught.value.type == "PXD-086"
    assert says in caught.value.message()
    assert len(text) < 10 or text not in str(caught.value.context)
