from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxyd.gateway.authority import Asked, AuthUnavailable, Decided
from proxyd.gateway.parts import Parts
from proxyd.gateway.service import LINGER, TELL_EVERY
from proxyd_ext.auth.verdict import Verdict
from tests.support.clock import settle
from tests.support.gateway import World
from tests.support.wait import until

KEY = "0123456789abcdef"
POLICY = f"{{api_key: {{keys: {{shop: {KEY}}}}}}}"
OTHER = f"{{api_key: {{keys: {{shop: {KEY}, more: fedcba9876543210}}}}}}"


class Slow:
    """An authority that answers when the test says so."""

    def __init__(self, parts: Parts) -> None:
        self.parts, self.asked, self.closed = parts, list[Asked](), False
        self.answer: asyncio.Future[Decided] = asyncio.get_running_loop().create_future()

    async def decide(self, asked: Asked) -> Decided:
        self.asked.append(asked)
        return await asyncio.shield(self.answer)

    async def close(self) -> None:
        self.closed = True

    def say(self, ttl: float = 60.0, user: str = "ann") -> None:
        self.answer.set_result(Decided(Verdict(allow=True, user=user), ttl))


class SlowWorld(World):
    def __init__(self, folder: Path, *, max_under_way: int = 3, max_of_policy: int = 3) -> None:
        self.made: list[Slow] = []

        def build(parts: Parts) -> Slow:
            self.made.append(Slow(parts))
            return self.made[-1]

        super().__init__(folder, {"api_key": build, "forward": build}, max_under_way=max_under_way, max_of_policy=max_of_policy)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SlowWorld]:
    made = SlowWorld(tmp_path)
    yield made
    await made.close()


def digest(credential: str) -> bytes:
    return credential.encode().ljust(16, b"\0")


async def test_a_question_goes_to_the_policys_authority_and_is_remembered_before_it_is_answered(world: SlowWorld) -> None:
    await world.follow(POLICY, OTHER)
    world.ask(1, "secret", policy="q", target="/x?y")
    await settle()
    one, other = world.made
    assert one.asked == []
    assert world.engine.answers == []
    assert (other.asked[0].credential, other.asked[0].target, other.parts.policy) == ("secret", "/x?y", "q")

    def remembered() -> str | None:
        found = world.verdicts("q").find(digest("secret"))
        return found.user if found is not None else None

    world.engine.look = remembered
    other.say()
    await settle()
    assert world.engine.slots == [1]
    assert world.engine.looked == ["ann"]


async def test_the_same_credential_is_asked_about_once_and_all_get_the_answer(world: SlowWorld) -> None:
    await world.follow(POLICY)
    for slot, credential in ((1, "a"), (2, "a"), (3, "b"), (4, "a")):
        world.ask(slot, credential)
    await settle()
    assert [asked.credential for asked in world.made[0].asked] == ["a", "b"]
    world.made[0].say()
    await settle()
    assert sorted(world.engine.slots) == [1, 2, 3, 4]
    assert world.gateway.under_way == 0
    world.ask(5, "a")          # what was remembered natively is the engine's to know: one that asks gets an answer of its own
    await settle()
    assert len(world.made[0].asked) == 3


async def test_what_a_service_says_of_one_client_is_not_told_another(world: SlowWorld) -> None:
    await world.follow("{forward: 'http://127.0.0.1:1/'}")
    world.ask(1, "", client="192.0.2.1")
    world.ask(2, "", client="192.0.2.2")
    await settle()
    assert [asked.client for asked in world.made[0].asked] == ["192.0.2.1", "192.0.2.2"]


async def test_beyond_the_bound_there_is_no_answer(world: SlowWorld) -> None:
    await world.follow(POLICY)
    for slot, credential in enumerate("abcd"):
        world.ask(slot, credential)
    assert world.engine.answers == [(3, None)]
    assert (world.gateway.refused, world.gateway.under_way) == (1, 3)
    world.ask(4, "a")          # waits with the first
    await settle()
    world.made[0].say()
    await settle()
    assert sorted(world.engine.slots) == [0, 1, 2, 3, 4]
    world.ask(5, "e")
    await settle()
    assert world.engine.verdict(5).allow


async def test_a_slow_policy_leaves_places_to_the_others(tmp_path: Path) -> None:
    world = SlowWorld(tmp_path, max_under_way=4, max_of_policy=2)
    await world.follow(POLICY, OTHER)
    for slot, credential in enumerate("abc"):
        world.ask(slot, credential)
    assert world.engine.answers == [(2, None)]
    for slot, credential in enumerate("abc", 3):
        world.ask(slot, credential, policy="q")
    assert world.engine.answers == [(2, None), (5, None)]
    assert (world.gateway.refused, world.gateway.under_way) == (2, 4)
    await world.close()


async def test_a_verdict_for_one_request_only_is_not_remembered(world: SlowWorld) -> None:
    await world.follow(POLICY)
    world.ask(1, "a")
    await settle()
    world.made[0].say(ttl=0)
    await settle()
    assert world.engine.verdict(1).allow
    assert world.verdicts().find(digest("a")) is None


async def test_no_verdict_is_told_once_and_its_return_too(world: SlowWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "proxyd.gateway")
    await world.follow(POLICY)
    (authority,) = world.made
    authority.answer.set_exception(AuthUnavailable("the service is down"))
    for slot in range(3):
        world.ask(slot, "a")
        await settle()
    assert world.engine.answers == [(0, None), (1, None), (2, None)]
    assert world.verdicts().find(digest("a")) is None
    authority.answer = asyncio.get_running_loop().create_future()
    authority.say()
    world.ask(4, "a")
    await settle()
    down = "auth policy p: the service is down; requests that need a verdict get 503"
    assert [record.getMessage() for record in caplog.records] == [down, "auth policy p: there are verdicts again"]
    for _ in range(2):         # one that comes and goes does not fill the log
        authority.answer = asyncio.get_running_loop().create_future()
        authority.answer.set_exception(AuthUnavailable("the service is down"))
        world.ask(5, "a")
        await settle()
        world.clock.pass_time(TELL_EVERY)
    assert [record.getMessage() for record in caplog.records][2:] == [down]


async def test_a_question_ends_with_the_policys_timeout(world: SlowWorld) -> None:
    await world.follow(POLICY[:-1] + ", timeout: 10ms}")
    world.ask(1, "a")
    await until(lambda: world.engine.answers)
    assert world.engine.answers == [(1, None)]
    assert world.gateway.under_way == 0


async def test_an_authority_with_a_bug_answers_nobody_but_leaves_nobody_waiting(world: SlowWorld) -> None:
    await world.follow(POLICY)
    world.made[0].answer.set_exception(RuntimeError("a bug"))
    world.ask(1, "a")
    await settle()
    assert world.engine.answers == [(1, None)]
    assert world.gateway.under_way == 0


async def test_an_unknown_policy_has_no_answer(world: SlowWorld) -> None:
    await world.follow(POLICY)
    world.gateway.on_decide(world.engine, 1, 1, 10**9, b"", b"", b"")
    assert world.engine.answers == [(1, None)]


async def test_a_question_that_is_none_has_no_answer(world: SlowWorld) -> None:
    await world.follow(POLICY)
    world.gateway.on_decide(world.engine, 1, 1, world.verdicts().id, b"junk", b"", digest("a"))
    assert world.engine.answers == [(1, None)]


# ------------------------------------------------------------------ reloads
async def test_a_reload_keeps_what_it_does_not_change(world: SlowWorld) -> None:
    await world.follow(POLICY, OTHER)
    await world.follow(POLICY, POLICY)
    assert [authority.parts.policy for authority in world.made] == ["p", "q", "q"]
    assert world.verdicts("p", 0) is world.verdicts("p", 1)
    assert world.verdicts("q", 0) is not world.verdicts("q", 1)
    assert [(entry.policy, entry.kind) for entry in world.gateway.entries()] == [("p", "api_key"), ("q", "api_key")]


async def test_requests_of_a_snapshot_that_was_replaced_still_get_answers_for_a_while(world: SlowWorld) -> None:
    await world.follow(POLICY)
    await world.follow(OTHER)
    world.ask(1, "a", config=0)
    await settle()
    old, new = world.made
    assert [len(old.asked), len(new.asked)] == [1, 0]
    old.say()
    await settle()
    assert world.engine.slots == [1]
    await world.clock.sleeping(1)
    await world.clock.advance(LINGER)
    await settle()
    assert (old.closed, new.closed) == (True, False)
    world.ask(2, "a", config=0)
    assert world.engine.answers[-1] == (2, None)


async def test_a_config_that_comes_back_meets_its_authority_and_keeps_it(world: SlowWorld) -> None:
    await world.follow(POLICY)
    await world.follow(OTHER)
    await world.clock.sleeping(1)
    await world.clock.advance(LINGER / 2)
    await world.follow(POLICY)
    assert len(world.made) == 2
    await world.clock.advance(LINGER / 2)
    await settle()
    assert [authority.closed for authority in world.made] == [False, False]
    await world.clock.advance(LINGER)
    await settle()
    assert [authority.closed for authority in world.made] == [False, True]


async def test_all_authorities_are_closed_at_the_end(world: SlowWorld) -> None:
    await world.follow(POLICY)
    await world.follow(OTHER)
    await world.gateway.close()
    assert [authority.closed for authority in world.made] == [True, True]


# ------------------------------------------------------------------ revoking
async def test_revoking_a_user_forgets_his_verdicts_alone(world: SlowWorld) -> None:
    await world.follow(POLICY)
    for number, (credential, user) in enumerate((("a", "ann"), ("b", "bob"), ("c", "ann"))):
        world.made[0].answer = asyncio.get_running_loop().create_future()
        world.ask(number, credential)
        await settle()
        world.made[0].say(user=user)
        await settle()
    assert world.gateway.revoke("p", "ann") == 2
    assert [world.verdicts().find(digest(credential)) is None for credential in "abc"] == [True, False, True]
    assert world.gateway.revoke("p") == 1
    with pytest.raises(KeyError):
        world.gateway.revoke("nobody")


async def test_what_is_shown_of_policies(world: SlowWorld) -> None:
    await world.follow(POLICY)
    world.ask(1, "a")
    await settle()
    world.made[0].say(user="ann")
    await settle()
    shown, = world.gateway.view().policies
    assert (shown.policy, shown.kind, shown.entries, shown.keys) == ("p", world.gateway.entries()[0].kind, 1, ())
    assert world.gateway.usage_view().consumers == world.gateway.usage() == ()


async def test_what_is_asked_while_somebody_is_revoked_is_not_remembered(world: SlowWorld) -> None:
    await world.follow(POLICY)
    world.ask(1, "a")
    await settle()
    world.gateway.revoke("p", "ann")
    world.made[0].say(user="ann")
    await settle()
    assert world.engine.verdict(1).allow
    assert world.verdicts().find(digest("a")) is None


async def test_who_asks_after_somebody_was_revoked_gets_no_answer_of_before(world: SlowWorld) -> None:
    await world.follow(POLICY)
    authority = world.made[0]
    before, after = authority.answer, asyncio.get_running_loop().create_future()
    world.ask(1, "a")
    await settle()
    world.gateway.revoke("p")
    authority.answer = after
    world.ask(2, "a")
    await settle()
    before.set_result(Decided(Verdict(allow=True, user="ann"), 60.0))
    await settle()
    assert list(world.engine.slots) == [1]
    world.ask(3, "a")              # with the second
    after.set_result(Decided(Verdict(allow=False, status=401), 60.0))
    await settle()
    assert [world.engine.verdict(slot).allow for slot in (1, 2, 3)] == [True, False, False]
    assert (len(authority.asked), world.gateway.under_way) == (2, 0)
