"""Answers that say no: how long they are remembered, and what is remembered of answers that are not stored."""

from __future__ import annotations

import pytest

from tests.support.cache_rig import Answer, Ask, CacheRig, Row


def gone(status: int, seconds: int, *fields: str, **spec: object) -> Row:
    """Remembered for so long; 0: not at all."""
    answer = Answer(*fields, status=status)
    first = Ask(1, status=status)
    if seconds == 0:
        return Row(answer, first, Ask(2, status=status), **spec)
    return Row(answer, first, Ask(1, status=status, after=seconds - 1), Ask(2, status=status, after=2), **spec)


ROWS = {
    "off: 404 that tells nothing": gone(404, 0),
    "404 that tells nothing": gone(404, 10, negative_s=10),
    "410 that tells nothing": gone(410, 10, negative_s=10),
    "404 that tells": gone(404, 60, "Cache-Control: max-age=60", negative_s=10),
    "404 with no-store": gone(404, 0, "Cache-Control: no-store", negative_s=10),
    "403 is none of them": gone(403, 0, negative_s=10),
    "403 when the config says so": gone(403, 10, negative_s=10, negative=((400, 499),)),
    "503 when the config says so": gone(503, 10, negative_s=10, negative=((500, 599),)),
    "200 is not negative": Row(Answer(), Ask(1), Ask(2), negative_s=10),
    "before the default lifetime": gone(404, 10, negative_s=10, default_s=60),
}


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in ROWS.items()])
def test_negative(cache: CacheRig, row: Row) -> None:
    cache.play(row)


def test_what_is_not_stored_is_remembered(cache: CacheRig) -> None:
    """A key is known for a while as one whose answers are not stored: nobody waits for another's fetch. What can be stored is."""
    cache.play(
        Row(
            Answer("Cache-Control: no-store"),
            Ask(1),
            Ask(2),
            Ask(3, answer=Answer("Cache-Control: max-age=60")),
            Ask(3),
        )
    )
    cache.begin({}, scripted=True)
    client = cache.connect(Ask())
    asked, _ = cache.origin.asked()
    asked.send(b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 1\r\n\r\n1")
    assert client.response().body == b"1"
    both = [cache.connect(Ask()), cache.connect(Ask())]
    heard = [asked, cache.origin.accept()]
    for peer in heard:
        peer.request()
    for peer, text in zip(heard, (b"a", b"b"), strict=True):
        peer.send(b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 1\r\n\r\n" + text)
    assert sorted(client.response().body for client in both) == [b"a", b"b"]
