from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from proxyd.admin.problem import Problem
from proxyd.admin.users import LONGEST_BYTES, Users
from proxyd.config.admin import AdminUser
from proxyd.gateway.authority import AuthUnavailable
from proxyd.gateway.passwords import Passwords
from tests.support.clock import FakeClock

HASH = "$2y$10$N9q1pSs5WoyQkor4RzjT6.bbZgjWGa7sYDBDSLxbnRCBvEbAcy3OS"


def user(password: str) -> AdminUser:
    return AdminUser(role="viewer", password=password)


@pytest.fixture
async def users() -> AsyncIterator[Users]:
    found = Users(FakeClock())
    found.use({"ann": user("correct horse"), "bob": user("battery staple")})
    yield found
    await found.close()


async def test_a_password_is_that_of_its_user(users: Users) -> None:
    assert await users.check("ann", b"correct horse", "192.0.2.1")
    for name, password in (("ann", b"battery staple"), ("eve", b"correct horse"), ("eve", b"battery staple"), ("", b""), ("ann", b"\xff")):
        assert not await users.check(name, password, "192.0.2.1")
    assert not await users.check("ann", b"x" * (LONGEST_BYTES + 1), "192.0.2.1")


def test_a_new_config_tells_whose_password_holds_no_more(users: Users) -> None:
    assert users.use({"ann": user("correct horse")}) == ["bob"]
    assert users.use({"ann": user("another horse"), "eve": user("battery staple")}) == ["ann"]
    assert users.use({}) == ["ann", "eve"]
    assert not users


async def test_a_password_that_was_changed_meanwhile_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Users(FakeClock())

    async def check(self: Passwords, stored: str, password: bytes, client: str, remember: float) -> bool:
        known.use({"ann": user("another horse")})
        return True

    monkeypatch.setattr(Passwords, "check", check)
    known.use({"ann": user(HASH)})
    assert not await known.check("ann", b"correct horse", "192.0.2.1")


async def test_an_unknown_name_is_checked_like_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def check(self: Passwords, stored: str, password: bytes, client: str, remember: float) -> bool:
        asked.append(stored)
        return True

    monkeypatch.setattr(Passwords, "check", check)
    users = Users(FakeClock())
    users.use({"ann": user(HASH)})
    assert not await users.check("eve", b"x", "192.0.2.1"), "whatever is said of another's hash"
    assert asked == [HASH]


async def test_when_hashes_cannot_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(self: Passwords, stored: str, password: bytes, client: str, remember: float) -> bool:
        raise AuthUnavailable("too many passwords are to be checked")

    monkeypatch.setattr(Passwords, "check", check)
    users = Users(FakeClock())
    users.use({"ann": user(HASH)})
    with pytest.raises(Problem) as found:
        await users.check("ann", b"x", "192.0.2.1")
    assert (found.value.kind.code, found.value.kind.status) == ("PXD-274", 503)
