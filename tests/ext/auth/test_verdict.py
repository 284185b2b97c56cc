"""Verdicts, the tables that remember them, and what consumers have used; how requests use them is conn/test_filtered_auth's."""
from __future__ import annotations

import random
import time
from typing import Any

import pytest

from proxyd_ext.auth.verdict import Consumer, Verdict, Verdicts

HOUR_MS = 3_600_000


def digest(number: int) -> bytes:
    return number.to_bytes(16, "little")


def test_a_verdict_says_what_it_was_made_of() -> None:
    verdict = Verdict(
        allow=False, user="ann ö", lines=b"X-User: ann\r\n", attributes={"team": "red", "empty": ""}, plan=3, consumer=Consumer("ann"),
        status=403, head=b"X-Why: 1\r\nX-Why: 2\r\n", body=b"\0no",
    )
    assert (verdict.allow, verdict.user, verdict.lines, verdict.plan) == (False, "ann ö", b"X-User: ann\r\n", 3)
    assert (verdict.status, verdict.head, verdict.body) == (403, b"X-Why: 1\r\nX-Why: 2\r\n", b"\0no")
    assert verdict.attributes == {"team": "red", "empty": ""}
    least = Verdict(allow=True)
    assert (least.user, least.lines, least.attributes, least.plan, least.status, least.head, least.body) == ("", b"", {}, -1, 401, b"", b"")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"lines": b"X: 1"}, "CRLF"), ({"lines": b"X: 1\r\n\r\n"}, "not a field line"), ({"lines": b"X: a\rb\r\n"}, "not a field line"),
        ({"head": b"Content-Length: 0\r\n"}, "proxyd itself"), ({"lines": b"Host: a\r\n"}, "proxyd itself"),
        ({"lines": b"X: " + b"x" * 8_200 + b"\r\n"}, "at most"), ({"head": b"X: " + b"x" * 8_200 + b"\r\n"}, "at most"),
        ({"attributes": {str(i): "" for i in range(17)}}, "at most 16"), ({"user": "a\nb"}, "one line"), ({"user": "a\0"}, "one line"),
        ({"status": 200}, "refuses nothing"), ({"status": 600}, "refuses nothing"),
    ],
)
def test_what_would_break_a_head_is_no_verdict(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Verdict(allow=False, **said)


def test_found_until_it_is_forgotten() -> None:
    verdicts = Verdicts("v")
    ann, bob = Verdict(allow=True, user="ann"), Verdict(allow=False, user="bob")
    verdicts.put(digest(1), ann, HOUR_MS)
    verdicts.put(digest(2), bob, HOUR_MS)
    verdicts.put(digest(3), ann, 0)
    assert [found.user if found else None for found in map(verdicts.find, map(digest, range(4)))] == [None, "ann", "bob", None]
    verdicts.put(digest(1), bob, HOUR_MS)
    found = verdicts.find(digest(1))
    assert found is not None
    assert found.user == "bob"
    verdicts.put(digest(1), ann, -1)        # of no time: it is forgotten
    assert verdicts.find(digest(1)) is None
    assert (verdicts.forget(digest(1)), verdicts.forget(digest(2)), verdicts.stats()["entries"]) == (False, True, 0)
    with pytest.raises(ValueError, match="16 bytes"):
        verdicts.find(b"short")


def test_too_old_is_not_found() -> None:
    """On the monotonic clock of the engines."""
    verdicts = Verdicts("v")
    verdicts.put(digest(1), Verdict(allow=True), 1)
    end = time.monotonic() + 5
    while verdicts.find(digest(1)) is not None:
        assert time.monotonic() < end
    assert verdicts.stats()["entries"] == 1        # its place is taken when there is need
    assert verdicts.clear() == 1


def test_users_are_forgotten_at_all_their_credentials() -> None:
    verdicts = Verdicts("v")
    for i in range(300):
        verdicts.put(digest(i), Verdict(allow=True, user=f"user{i % 3}"), HOUR_MS)
    assert (verdicts.forget_user("user1"), verdicts.forget_user("user1"), verdicts.forget_user("")) == (100, 0, 0)
    assert {i % 3 for i in range(300) if verdicts.find(digest(i)) is not None} == {0, 2}
    assert (verdicts.clear(), verdicts.clear()) == (200, 0)


def test_a_full_table_gives_up_the_oldest_that_nobody_uses() -> None:
    verdicts = Verdicts("v", capacity=10)
    verdict = Verdict(allow=True)
    for i in range(10):
        verdicts.put(digest(i), verdict, HOUR_MS)
    for i in (0, 3):
        assert verdicts.find(digest(i)) is not None
    for i in range(10, 18):
        verdicts.put(digest(i), verdict, HOUR_MS)
    assert [i for i in range(18) if verdicts.find(digest(i)) is not None] == [0, 3, *range(10, 18)]
    assert (verdicts.stats()["entries"], verdicts.stats()["evictions"], verdicts.stats()["capacity"]) == (10, 8, 10)
    with pytest.raises(ValueError, match="one at least"):
        Verdicts("v", capacity=0)


def test_one_table_among_others() -> None:
    """Numbers are unique, and a verdict outlives the table that remembered it."""
    ids = [Verdicts("v").id for _ in range(5)]
    assert ids == sorted(set(ids))
    verdicts = Verdicts("v")
    verdict = Verdict(allow=True, user="ann")
    verdicts.put(digest(1), verdict, HOUR_MS)
    found = verdicts.find(digest(1))
    del verdicts, verdict
    assert found is not None
    assert found.user == "ann"


def test_against_a_dict() -> None:
    """Any order of calls, with digests that share buckets."""
    draw = random.Random(5)
    verdicts, known = Verdicts("v", capacity=64), dict[int, str]()
    for _ in range(4_000):
        number = draw.choice([draw.randrange(12), draw.randrange(12) << 64, draw.randrange(12) << 96])
        kind = draw.random()
        if kind < 0.4:
            user = draw.choice("abc")
            verdicts.put(digest(number), Verdict(allow=True, user=user), HOUR_MS)
            known[number] = user
        elif kind < 0.5:
            assert verdicts.forget(digest(number)) == (known.pop(number, None) is not None)
        elif kind < 0.505:
            user = draw.choice("abc")
            gone = [key for key, value in known.items() if value == user]
            assert verdicts.forget_user(user) == len(gone)
            for key in gone:
                del known[key]
        else:
            found = verdicts.find(digest(number))
            assert (found.user if found else None) == known.get(number)
    assert verdicts.stats()["entries"] == len(known)
    assert verdicts.stats()["evictions"] == 0


def test_usage_of_consumers() -> None:
    one, two = Consumer("ann"), Consumer("ann")
    assert one.hash != two.hash != 0
    assert (one.name, one.usage()) == ("ann", (0, 0))
    one.set_usage((1 << 20) - 1, (1 << 44) - 1)
    assert one.usage() == ((1 << 20) - 1, (1 << 44) - 1)
    for period, used in ((1 << 20, 0), (0, 1 << 44), (-1, 0), (0, -1)):
        with pytest.raises((ValueError, OverflowError)):
            one.set_usage(period, used)
