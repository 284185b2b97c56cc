from __future__ import annotations

import pytest

from proxyd.admin import sessions as module
from proxyd.admin.sessions import IDLE_S, LIFE_S, OVERLAP_S, TOKEN_S, Session, Sessions
from tests.support.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ended() -> list[Session]:
    return []


@pytest.fixture
def sessions(clock: FakeClock, ended: list[Session]) -> Sessions:
    return Sessions(clock, ended.append)


def user(sessions: Sessions, token: str) -> str | None:
    found = sessions.find(token)
    return found.user if found else None


def renew(sessions: Sessions, token: str) -> str:
    found = sessions.find(token)
    assert found is not None
    return sessions.renew(found, token)


def test_a_token_is_that_of_one_session(sessions: Sessions) -> None:
    one, two = sessions.begin("ops"), sessions.begin("ann")
    assert (user(sessions, one), user(sessions, two)) == ("ops", "ann")
    assert len(one) >= 43, "256 bits"
    assert user(sessions, "") is user(sessions, one[:-1]) is user(sessions, "\udc80") is None


def test_it_ends_when_nobody_uses_it(sessions: Sessions, clock: FakeClock, ended: list[Session]) -> None:
    token = sessions.begin("ops")
    clock.pass_time(IDLE_S - 1)
    assert user(sessions, token) == "ops"
    clock.pass_time(IDLE_S - 1)
    assert user(sessions, token) == "ops", "each use counts"
    clock.pass_time(IDLE_S)
    assert user(sessions, token) is None
    assert (len(sessions), len(ended)) == (0, 1)


def test_it_ends_at_last(sessions: Sessions, clock: FakeClock) -> None:
    token = sessions.begin("ops")
    for _ in range(int(LIFE_S / 600) - 1):
        clock.pass_time(600)
        assert user(sessions, token) == "ops"
    clock.pass_time(600)
    assert user(sessions, token) is None


def test_a_token_is_replaced_and_the_old_one_holds_a_while(sessions: Sessions, clock: FakeClock) -> None:
    old = sessions.begin("ops")
    assert renew(sessions, old) == ""
    clock.pass_time(TOKEN_S)
    new = renew(sessions, old)
    assert new not in {"", old}
    assert renew(sessions, old) == "", "one answer in time brings it"
    assert user(sessions, new) == user(sessions, old) == "ops"
    clock.pass_time(OVERLAP_S)
    assert user(sessions, old) is None
    assert user(sessions, new) == "ops"


def test_a_token_that_got_lost_on_its_way_is_made_again(sessions: Sessions, clock: FakeClock) -> None:
    old = sessions.begin("ops")
    clock.pass_time(TOKEN_S)
    lost = renew(sessions, old)
    clock.pass_time(OVERLAP_S)
    new = renew(sessions, old)
    assert new not in {"", lost}
    assert user(sessions, lost) is None
    assert user(sessions, new) == "ops"
    assert len(sessions._by_digest) == 2, "no token is left over"


def test_the_end(sessions: Sessions, clock: FakeClock, ended: list[Session]) -> None:
    old, other, ann = sessions.begin("ops"), sessions.begin("ops"), sessions.begin("ann")
    clock.pass_time(TOKEN_S)
    new = renew(sessions, old)
    sessions.end_of("ops")
    assert [user(sessions, token) for token in (old, new, other, ann)] == [None, None, None, "ann"]
    assert [session.user for session in ended] == ["ops", "ops"]
    sessions.end(ended[0])
    assert len(ended) == 2, "once"


def test_there_are_so_many_at_most(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SESSIONS_MAX", 2)
    one, two = sessions.begin("ops"), sessions.begin("ops")
    assert user(sessions, one) == "ops"
    three = sessions.begin("ops")
    assert [user(sessions, token) for token in (one, two, three)] == ["ops", None, "ops"]
    assert (len(sessions), len(sessions._by_digest)) == (2, 2)
