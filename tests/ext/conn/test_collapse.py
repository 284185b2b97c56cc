"""Waiting for another's fetch."""

from __future__ import annotations

from tests.support.cache_rig import Ask, CacheRig, answer

MINUTE = "Cache-Control: max-age=60"


def test_followers_of_another_variant_get_their_own(cache: CacheRig) -> None:
    """Only the answer tells by what it varies: all who came before wait for one fetch."""
    cache.begin({}, scripted=True)
    leader = cache.connect(Ask(fields=["Cookie: user=a"]))
    origin, _ = cache.origin.asked()
    followers = [cache.connect(Ask(fields=["Cookie: user=b"])) for _ in range(3)]
    same = cache.connect(Ask(fields=["Cookie: user=a"]))
    cache.rig.settle()
    origin.send(answer(b"for a", MINUTE, "Vary: Cookie"))
    assert leader.response().body == b"for a"
    assert same.response().body == b"for a"
    assert origin.request().field("cookie") == "user=b"
    cache.rig.settle()
    assert origin.silent()
    assert not cache.origin.waiting()
    origin.send(answer(b"for b", MINUTE, "Vary: Cookie"))
    assert [each.response().body for each in followers] == [b"for b"] * 3
    assert cache.store.stats()["objects"] == 2


def test_a_fault_that_may_be_the_leaders_own_is_not_everybodys(cache: CacheRig) -> None:
    """A server that hangs up on the leader's cookie: another of those who wait leads."""
    cache.begin({}, scripted=True)
    leader = cache.connect(Ask(fields=["Cookie: bad"]))
    origin, _ = cache.origin.asked()
    followers = [cache.connect(Ask()) for _ in range(2)]
    cache.rig.settle()
    origin.reset()
    assert leader.response().status == 502
    origin, asked = cache.origin.asked()
    assert asked.field("cookie") is None
    origin.send(answer(b"well", MINUTE))
    assert [client.response().body for client in followers] == [b"well"] * 2
    assert not cache.origin.waiting()
