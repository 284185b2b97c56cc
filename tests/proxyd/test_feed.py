"""Listeners at their own pace."""
from __future__ import annotations

import asyncio

from proxyd.feed import Feed


async def test_each_listener_hears_what_is_told_while_it_listens() -> None:
    feed: Feed[str] = Feed()
    feed.tell("before")
    with feed.listen() as one:
        feed.tell("a")
        with feed.listen() as two:
            feed.tell("b")
            assert await two.wait(1.0)
            assert (one.take(), two.take(), len(feed)) == (["a", "b"], ["b"], 2)
    assert len(feed) == 0


async def test_a_wait_ends_with_the_first_item() -> None:
    feed: Feed[int] = Feed()
    with feed.listen() as listening:
        assert not await listening.wait(0.0)
        asyncio.get_running_loop().call_soon(feed.tell, 1)
        assert await listening.wait(5.0)
        assert listening.take() == [1]
        assert not await listening.wait(0.0), "it was taken"


async def test_who_is_too_slow_misses_the_newest_and_knows_how_many() -> None:
    feed: Feed[int] = Feed()
    with feed.listen(room=2) as listening:
        for item in range(5):
            feed.tell(item)
        assert (listening.take(), listening.missed) == ([0, 1], 3)
        feed.tell(5)
        assert listening.take() == [5]
