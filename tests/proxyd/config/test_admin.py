from __future__ import annotations

import pytest

from proxyd.config import load_text
from proxyd.config.admin import is_password_hash
from proxyd.config.canonical import canonical_text

BCRYPT = "$2y$10$N9q1pSs5WoyQkor4RzjT6.bbZgjWGa7sYDBDSLxbnRCBvEbAcy3OS"
ENV = {"P": "correct horse", "H": BCRYPT, "SHORT": "seven77"}


def load(admin: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Errors and warnings of a config with that section: code and path."""
    result = load_text(f"listen: ':1'\nto: 'a:1'\nadmin: {admin}\n", env=ENV)
    return [(found.code, found.path) for found in result.errors], [(found.code, found.path) for found in result.warnings]


def users(password: str, role: str = "operator") -> str:
    return f"{{bind: '127.0.0.1:2', users: {{ops: {{role: {role}, password: '{password}'}}}}}}"


@pytest.mark.parametrize("password", ["${env:P}", "${env:H}", BCRYPT])
def test_a_password_is_plain_or_a_hash_and_never_shown(password: str) -> None:
    result = load_text(f"listen: ':1'\nto: 'a:1'\nadmin: {users(password)}\n", env=ENV)
    assert result.errors == result.warnings == []
    assert result.config is not None
    stored = result.config.admin.users["ops"].password
    assert is_password_hash(stored) is ("P" not in password)
    assert str(stored) not in canonical_text(result.config)
    assert str(stored) not in repr(load(users(password)))


@pytest.mark.parametrize("password", [
    "${env:SHORT}", "seven77", "$apr1$x$y", "{SHA}x", "$argon2i$v=19$m=8,t=1,p=1$x$y", "correct\u202ehorse", "x" * 1001,
])
def test_what_is_no_password(password: str) -> None:
    assert load(users(password)) == ([("PXD-086", "admin.users.ops.password")], [])


def test_a_password_that_stands_in_the_file() -> None:
    assert load(users("correct horse")) == ([], [("PXD-113", "admin.users.ops.password")])


def test_roles() -> None:
    assert load(users("${env:P}", "viewer")) == load(users("${env:P}", "admin")) == ([], [])
    assert load(users("${env:P}", "root"))[0] == [("PXD-034", "admin.users.ops.role")]


@pytest.mark.parametrize("bind", [":2", "10.0.0.1:2", "[::]:2"])
def test_only_with_users_it_listens_for_others(bind: str) -> None:
    assert load(f"{{bind: [auto, '{bind}']}}") == ([("PXD-071", "admin.bind[1]")], [])
    assert load(users("${env:P}").replace("127.0.0.1:2", bind)) == ([], [("PXD-140", "admin.bind[0]")])


def test_users_of_unix_sockets_have_no_effect() -> None:
    assert load("{users: {ops: {role: viewer, password: '${env:P}'}}}") == ([], [("PXD-106", "admin.users")])


@pytest.mark.parametrize(("hosts", "expected"), [
    ("Proxy.Internal", []), ("[a.example, '[fd00::1]', 10.0.0.1]", []), ("'*.example.com'", ["PXD-037"]), ("'*'", ["PXD-037"]),
    ("'a.example:2080'", ["PXD-037"]),
])
def test_hosts_are_names_without_ports(hosts: str, expected: list[str]) -> None:
    assert [code for code, _ in load(f"{{hosts: {hosts}}}")[0]] == expected
