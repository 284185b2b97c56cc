"""Answers that are used although they are stale, and those that must not be: RFC 9111 section 4.2.4, RFC 5861."""

from __future__ import annotations

import pytest

from tests.support.cache_rig import Answer, Ask, CacheRig, Row

MINUTE = "Cache-Control: max-age=60"
BUSY = Answer("Cache-Control: no-store", status=503)
BOTH = "Cache-Control: max-age=60, stale-if-error=600, stale-while-revalidate=600"


def down(row_fields: str, after: int, given: bool, **spec: int) -> Row:
    """Stored; then nobody answers at the origin."""
    last = Ask(1, after=after, down=True) if given else Ask(after=after, down=True, status=502, asked=1)
    return Row(Answer(row_fields), Ask(1), last, **spec)


def busy(row_fields: str, after: int, given: bool, status: int = 503, **spec: int) -> Row:
    """Stored; then the origin answers with an error."""
    answer = Answer("Cache-Control: no-store", status=status)
    last = Ask(1, after=after, answer=answer, asked=2) if given else Ask(2, after=after, answer=answer, status=status)
    return Row(Answer(row_fields), Ask(1), last, **spec)


SIE = "Cache-Control: max-age=60, stale-if-error=60"
IF_ERROR = {
    "5861 4 nobody there": down(SIE, 61, True),
    "5861 4 nobody there, behind its time": down(SIE, 121, False),
    "4.2.4 MUST NOT nobody there, not allowed": down(MINUTE, 61, False),
    "5861 4 500": busy(SIE, 61, True, 500),
    "5861 4 502": busy(SIE, 61, True, 502),
    "5861 4 503": busy(SIE, 61, True, 503),
    "5861 4 504": busy(SIE, 61, True, 504),
    "5861 4 not 404, which is no error of the server": busy(SIE, 61, False, 404),
    "5861 4 not behind its time": busy(SIE, 121, False),
    "4.2.4 MUST NOT when nothing allows it": busy(MINUTE, 61, False),
    "configured: nobody there": down(MINUTE, 600, True, if_error_s=600),
    "configured: 503": busy(MINUTE, 600, True, if_error_s=600),
    "configured: not behind its time": busy(MINUTE, 661, False, if_error_s=600),
    "configured: none, whatever the answer says": busy(SIE, 61, False, if_error_s=0),
    "fresh is fresh": down(MINUTE, 59, True),
}

FORBIDDEN = {
    "5.2.2.2 MUST NOT must-revalidate": f"{BOTH}, must-revalidate",
    "5.2.2.8 MUST NOT proxy-revalidate": f"{BOTH}, proxy-revalidate",
    "5.2.2.4 MUST NOT no-cache": f"{BOTH}, no-cache",
    "5.2.2.10 MUST NOT s-maxage": "Cache-Control: max-age=600, s-maxage=60",
}

SWR = "Cache-Control: max-age=60, stale-while-revalidate=60"
WHILE = {
    "5861 3 given at once, and asked for behind it": Row(Answer(SWR), Ask(1), Ask(1, after=61, asked=2), Ask(2, asked=2)),
    "5861 3 the new one has a lifetime of its own": Row(
        Answer(SWR), Ask(1), Ask(1, after=100, asked=2), Ask(2, after=59, asked=2), Ask(2, after=2, asked=3)
    ),
    "5861 3 MUST NOT behind its time": Row(Answer(SWR), Ask(1), Ask(2, after=121)),
    "5861 3 validated behind it": Row(
        Answer(SWR, 'ETag: "a"'), Ask(1), Ask(1, after=61, asked=2, heard=['If-None-Match: "a"']), Ask(1, after=7, asked=2, gets=["Age: 7"])
    ),
    "5861 3 an error behind it changes nothing": Row(
        Answer(SWR), Ask(1), Ask(1, after=61, answer=BUSY, asked=2), Ask(1, answer=Answer(SWR), asked=3), Ask(3)
    ),
    "5861 3 nobody there behind it": Row(Answer(SWR), Ask(1), Ask(1, after=61, down=True), Ask(1)),
    "configured": Row(Answer(MINUTE), Ask(1), Ask(1, after=600, asked=2), Ask(2), while_revalidate_s=600),
    "configured, for answers that do not say": Row(Answer(SWR), Ask(1), Ask(2, after=121), while_revalidate_s=600),
    "configured: none, whatever the answer says": Row(Answer(SWR), Ask(1), Ask(2, after=61), while_revalidate_s=0),
    "the request's own condition is answered from what is stale": Row(
        Answer(SWR, 'ETag: "a"'), Ask(1), Ask(status=304, text=b"", after=61, fields=['If-None-Match: "a"'], asked=2)
    ),
    "Age tells how stale": Row(Answer(SWR), Ask(1), Ask(1, after=75, asked=2, gets=["Age: 75"])),
}


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in IF_ERROR.items()])
def test_if_error(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("fields", FORBIDDEN.values(), ids=FORBIDDEN)
def test_forbidden(cache: CacheRig, fields: str) -> None:
    """Whatever else the answer or the config says: once stale it is not used unless the origin agreed; when it cannot be asked: 5xx."""
    windows = {"if_error_s": 600, "while_revalidate_s": 600}
    cache.play(Row(Answer(fields), Ask(1), Ask(2, after=61), **windows))
    cache.play(Row(Answer(fields), Ask(1), Ask(2, after=61, answer=BUSY, status=503), **windows))
    cache.begin(windows)
    cache.answer = Answer(fields)
    cache.ask(Ask())
    cache.wait(61)
    cache.shut()
    assert cache.ask(Ask()).status in (502, 503, 504)


def test_windows_beside_s_maxage(cache: CacheRig) -> None:
    """RFC 5861 beside section 5.2.2.10: who writes s-maxage and a window into one answer means the window; the config's is not believed."""
    said = "Cache-Control: s-maxage=60, stale-while-revalidate=60, stale-if-error=600"
    cache.play(Row(Answer(said), Ask(1), Ask(1, after=61, asked=2)))
    cache.play(Row(Answer(said), Ask(1), Ask(1, after=200, answer=BUSY, asked=2)))


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in WHILE.items()])
def test_while_revalidate(cache: CacheRig, row: Row) -> None:
    cache.play(row)


def test_one_fetch_behind_many(cache: CacheRig) -> None:
    """RFC 5861 section 3: while one fetch is under way behind a stale answer, others get that answer too, and cause none."""
    cache.begin({}, scripted=True)
    client = cache.connect(Ask())
    asked, _ = cache.origin.asked()
    asked.send(f"HTTP/1.1 200 OK\r\n{SWR}\r\nContent-Length: 3\r\n\r\nold".encode())
    assert client.response().body == b"old"
    cache.wait(40)
    cache.wait(21)
    assert [cache.ask(Ask()).body for _ in range(3)] == [b"old"] * 3
    open_now = [peer for peer in cache.origin.peers if not peer.eof]
    again = cache.origin.maybe_accept() or open_now[0]
    again.request()
    assert again.silent()
    assert cache.origin.maybe_accept() is None
    again.send(f"HTTP/1.1 200 OK\r\n{SWR}\r\nContent-Length: 3\r\n\r\nnew".encode())
    cache.rig.settle()
    assert cache.ask(Ask()).body == b"new"
