from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import bcrypt
import pytest
from argon2 import PasswordHasher

from proxyd.config.password_hashes import check_hash
from proxyd.gateway import passwords
from proxyd.gateway.authority import AuthUnavailable
from proxyd.gateway.passwords import PLACES, PLACES_PER_CLIENT, THREADS, Passwords, verify
from tests.support.clock import FakeClock
from tests.support.wait import until

ARGON2 = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def argon2(password: bytes) -> str:
    return check_hash(ARGON2.hash(password))


def bcrypt_hash(password: bytes, prefix: str = "$2y") -> str:
    return check_hash(prefix + bcrypt.hashpw(password, bcrypt.gensalt(4)).decode()[3:])


# ------------------------------------------------------------------ hashes
@pytest.mark.parametrize("kind", ["argon2id", "$2y", "$2b", "$2a"])
def test_a_hash_is_of_its_password_and_of_no_other(kind: str) -> None:
    stored = argon2(b"correct horse") if kind == "argon2id" else bcrypt_hash(b"correct horse", kind)
    assert verify(stored, b"correct horse")
    for wrong in (b"", b"correct hors", b"correct horse ", b"Correct horse", b"correct horse\0", b"\xff", b"x" * 1024):
        assert not verify(stored, wrong)


def test_bcrypt_looks_at_72_bytes() -> None:
    stored = bcrypt_hash(b"x" * 72)
    assert verify(stored, b"x" * 100)
    assert not verify(stored, b"x" * 71)


# ------------------------------------------------------------------ bounds
class Gate:
    """A check that waits until the test opens it; the password `right` is right."""

    def __init__(self) -> None:
        self.open, self.lock = threading.Event(), threading.Lock()
        self.running = self.most = self.calls = 0

    def __call__(self, stored: str, password: bytes) -> bool:
        with self.lock:
            self.running += 1
            self.calls += 1
            self.most = max(self.most, self.running)
        self.open.wait(30)
        with self.lock:
            self.running -= 1
        return password == b"right"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def checks(clock: FakeClock, gate: Gate) -> AsyncIterator[Passwords]:
    made = Passwords(clock, verify=gate)
    yield made
    gate.open.set()
    await made.close()


async def test_few_run_at_a_time_and_a_bounded_number_waits(checks: Passwords, gate: Gate) -> None:
    waiting = [asyncio.ensure_future(checks.check("h", b"right", f"client-{number}", 0)) for number in range(PLACES)]
    await until(lambda: gate.running == THREADS)
    assert checks.under_way == PLACES
    with pytest.raises(AuthUnavailable):
        await checks.check("h", b"right", "another", 0)
    assert checks.refused == 1
    gate.open.set()
    assert await asyncio.gather(*waiting) == [True] * PLACES
    await until(lambda: checks.under_way == 0)
    assert gate.most == THREADS
    assert await checks.check("h", b"right", "another", 0)


async def test_one_client_does_not_take_all_places(checks: Passwords, gate: Gate) -> None:
    waiting = [asyncio.ensure_future(checks.check("h", b"guess", "192.0.2.1", 0)) for _ in range(PLACES_PER_CLIENT)]
    await until(lambda: gate.running == THREADS)
    with pytest.raises(AuthUnavailable):
        await checks.check("h", b"guess", "192.0.2.1", 0)
    other = asyncio.ensure_future(checks.check("h", b"right", "192.0.2.2", 0))
    gate.open.set()
    assert await other
    assert await asyncio.gather(*waiting) == [False] * PLACES_PER_CLIENT


async def test_addresses_of_one_ipv6_network_are_one_client(checks: Passwords, gate: Gate) -> None:
    clients = [f"2001:db8::{number:x}:1" for number in range(PLACES_PER_CLIENT)]
    waiting = [asyncio.ensure_future(checks.check("h", b"guess", client, 0)) for client in clients]
    await until(lambda: gate.running == THREADS)
    with pytest.raises(AuthUnavailable):
        await checks.check("h", b"guess", "2001:db8::ffff", 0)
    others = [asyncio.ensure_future(checks.check("h", b"right", client, 0)) for client in ("2001:db8:0:1::1", "192.0.2.2", "unix")]
    gate.open.set()
    assert await asyncio.gather(*others) == [True] * 3
    assert await asyncio.gather(*waiting) == [False] * PLACES_PER_CLIENT
    await until(lambda: checks.under_way == 0)


async def test_who_gives_up_frees_a_place_that_waits_and_keeps_one_that_works(checks: Passwords, gate: Gate) -> None:
    waiting = [asyncio.ensure_future(checks.check("h", b"x", "c", 0)) for _ in range(THREADS + 3)]
    await until(lambda: gate.running == THREADS)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await until(lambda: checks.under_way == THREADS)
    assert gate.running == THREADS
    gate.open.set()
    await until(lambda: checks.under_way == 0)
    assert gate.calls == THREADS


# ------------------------------------------------------------------ memory
async def test_a_right_password_is_remembered_for_its_time(checks: Passwords, gate: Gate, clock: FakeClock) -> None:
    gate.open.set()
    assert await checks.check("h", b"right", "c", 60)
    assert await checks.check("h", b"right", "c", 60)
    assert gate.calls == 1
    await checks.check("other", b"right", "c", 60)         # another hash: the password was changed
    await checks.check("h", b"wrong", "c", 60)
    await checks.check("h", b"wrong", "c", 60)             # a wrong one is not
    assert gate.calls == 4
    clock.pass_time(60)
    await checks.check("h", b"right", "c", 0)
    await checks.check("h", b"right", "c", 0)              # nor one that is not to be
    assert gate.calls == 6


async def test_what_is_remembered_is_bounded(checks: Passwords, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "KNOWN_MAX", 2)
    gate.open.set()
    for stored in ("a", "b", "a", "c"):                    # b is the one that was used longest ago
        await checks.check(stored, b"right", "c", 60)
    assert gate.calls == 3
    await checks.check("a", b"right", "c", 60)
    assert gate.calls == 3
    await checks.check("b", b"right", "c", 60)
    assert gate.calls == 4
