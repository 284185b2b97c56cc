from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import bcrypt
import pytest

from proxyd.gateway.authority import AuthUnavailable, Decided
from proxyd.gateway.basic import BasicAuthority, build, parse_credential
from proxyd.gateway.parts import Parts
from proxyd.gateway.passwords import Passwords
from tests.support.clock import FakeClock
from tests.support.config import config_of
from tests.support.gateway import World, asked
from tests.support.wait import until

ANN = bcrypt.hashpw(b"horse:battery", bcrypt.gensalt(4)).decode()
BOB = bcrypt.hashpw("pässword".encode(), bcrypt.gensalt(4)).decode()
POLICY = f"{{basic: {{users: {{ann: {ANN}, bob: {BOB}}}}}}}"


def credential(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Checks(Passwords):
    """Notes what is checked against what."""

    def __init__(self) -> None:
        self.checked: list[tuple[str, bytes]] = []
        super().__init__(FakeClock())

    async def check(self, stored: str, password: bytes, client: str, remember: float) -> bool:
        self.checked.append((stored, password))
        return await super().check(stored, password, client, remember)


@pytest.fixture
async def checks() -> AsyncIterator[Checks]:
    made = Checks()
    yield made
    await made.close()


def authority(checks: Passwords, policy: str = POLICY) -> BasicAuthority:
    config = config_of(f"listen: ':1'\nroutes: [{{use: p, respond: 200}}]\npolicies: {{p: {{auth: {policy}}}}}\n")
    auth = config.policies["p"].auth
    assert auth is not None
    world = World(Path())
    return build(Parts("p", auth, config, world.tasks, world.clock, world.gateway.consumers, checks))


async def decide(checks: Passwords, text: str, policy: str = POLICY) -> Decided:
    return await authority(checks, policy).decide(asked(credential(text)))


@pytest.mark.parametrize(("text", "user"), [("ann:horse:battery", "ann"), ("bob:pässword", "bob")])
async def test_the_right_password(checks: Checks, text: str, user: str) -> None:
    decided = await decide(checks, text)
    assert (decided.verdict.allow, decided.verdict.user, decided.ttl) == (True, user, 600)
    assert decided.verdict.lines == f"X-User: {user}\r\n".encode()


@pytest.mark.parametrize("text", ["ann:horse", "ann:", "ann:pässword", "Ann:horse:battery", ":horse:battery", "eve:horse:battery", "ann"])
async def test_a_wrong_one_is_asked_for_again_and_remembered_for_a_moment(checks: Checks, text: str) -> None:
    decided = await decide(checks, text)
    assert (decided.verdict.allow, decided.verdict.status, decided.ttl) == (False, 401, 10)
    assert decided.verdict.head == b'WWW-Authenticate: Basic realm="proxyd", charset="UTF-8"\r\n'


@pytest.mark.parametrize("raw", ["", "!", "YW5u", "YW5uOmhvcnNl\xff", "YW5uOmhvcnN", base64.b64encode(b"\xff:x").decode()])
async def test_what_is_no_credential_costs_nothing(checks: Checks, raw: str) -> None:
    decided = await authority(checks).decide(asked(raw))
    assert not decided.verdict.allow
    assert checks.checked == []


async def test_a_long_password_costs_nothing(checks: Checks) -> None:
    assert not (await decide(checks, "ann:" + "x" * 1025)).verdict.allow
    assert checks.checked == []
    await decide(checks, "ann:" + "x" * 1024)
    assert len(checks.checked) == 1


async def test_an_unknown_name_costs_what_a_known_one_does_and_never_passes(checks: Checks) -> None:
    made = authority(checks)
    for name in ("eve", "mallory", "eve"):
        for password in ("horse:battery", "pässword"):     # right for those whose hashes stand in
            assert not (await made.decide(asked(credential(f"{name}:{password}")))).verdict.allow
    assert {stored for stored, _ in checks.checked} <= {ANN, BOB}
    assert len(checks.checked) == 6
    of_eve = {stored for stored, _ in (*checks.checked[:2], *checks.checked[4:])}
    assert len(of_eve) == 1


async def test_without_users_nobody_passes(checks: Checks, tmp_path: Path) -> None:
    assert not (await decide(checks, "ann:x", "{basic: {users: {}}}")).verdict.allow
    assert checks.checked == []


async def test_what_servers_are_told(checks: Checks) -> None:
    users = f"users: {{ann: {ANN}}}"
    assert (await decide(checks, "ann:horse:battery", f"{{basic: {{{users}, forward: none}}}}")).verdict.lines == b""
    assert (await decide(checks, "ann:horse:battery", f"{{basic: {{{users}, forward: X-Me}}}}")).verdict.lines == b"X-Me: ann\r\n"


def test_the_parts_of_a_credential() -> None:
    assert parse_credential(credential("a:b:c")) == ("a", b"b:c")
    assert parse_credential(credential(":")) == ("", b"")
    assert parse_credential(credential("a")) == ("a", None)


async def test_a_reload_brings_nobody_to_the_slow_hash_again(tmp_path: Path) -> None:
    """Verdicts begin anew when a policy changes; passwords that were right stay known."""
    world = World(tmp_path)
    checked: list[str] = []

    def verify(stored: str, password: bytes) -> bool:
        checked.append(stored)
        return password == b"pw"

    world.gateway.passwords = Passwords(world.clock, verify=verify)
    await world.follow(f"{{basic: {{users: {{ann: {ANN}}}}}}}")
    world.ask(1, credential("ann:pw"))
    await until(lambda: world.engine.slots == [1])
    await world.follow(f"{{basic: {{users: {{ann: {ANN}, bob: {BOB}}}}}}}")
    world.ask(2, credential("ann:pw"))
    await until(lambda: world.engine.slots == [1, 2])
    await world.follow(f"{{basic: {{users: {{ann: {BOB}}}}}}}")        # another password
    world.ask(3, credential("ann:pw"))
    await until(lambda: world.engine.slots == [1, 2, 3])
    assert checked == [ANN, BOB]
    await world.close()


async def test_too_many_checks_are_no_verdict(checks: Checks) -> None:
    class Full(Passwords):
        async def check(self, stored: str, password: bytes, client: str, remember: float) -> bool:
            raise AuthUnavailable("too many passwords are to be checked")

    with pytest.raises(AuthUnavailable):
        await decide(Full(FakeClock()), "ann:x")
