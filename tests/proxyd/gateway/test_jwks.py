from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from proxyd.gateway.authority import AuthUnavailable
from proxyd.gateway.fetch import Document, FetchError, Tag
from proxyd.gateway.jwks import DEMAND_GAP_S, FixedKeys, Place, RemoteKeys, TooSoon
from proxyd.jose.keyset import parse_jwks
from proxyd.tasks import Tasks
from tests.support.clock import FakeClock, settle
from tests.support.tokens import Issuer

URL = "https://id.example.com/keys"
REFRESH, STALE = 600.0, 86_400.0


@dataclass
class Script:
    """A server: what it answers with is set by the test, and what it was asked is noted."""

    answer: Callable[[str, Tag | None], Document]
    asked: list[tuple[str, Tag | None]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    closed: bool = False

    async def get(self, url: str, tag: Tag | None = None) -> Document:
        self.asked.append((url, tag))
        if self.gate is not None:
            await self.gate.wait()
        return self.answer(url, tag)

    async def close(self) -> None:
        self.closed = True

    def fails(self, why: str = "status 500") -> None:
        def refuse(url: str, tag: Tag | None) -> Document:
            raise FetchError(f"{url}: {why}")

        self.answer = refuse


@dataclass
class Rig:
    issuer: Issuer
    server: Script
    clock: FakeClock
    tasks: Tasks

    def serves(self, max_age: float | None = None) -> None:
        self.server.answer = lambda url, tag: Document(self.issuer.jwks(), Tag(etag='"1"'), max_age)

    def source(self, place: Place | None = None) -> RemoteKeys:
        return RemoteKeys(place or Place(jwks=URL), self.server, self.tasks, self.clock, refresh_s=REFRESH, stale_s=STALE)

    async def started(self, place: Place | None = None) -> RemoteKeys:
        source = self.source(place)
        source.start()
        await self.clock.sleeping(1)
        return source


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    clock = FakeClock()
    issuer = Issuer()
    made = Rig(issuer, Script(lambda url, tag: Document(issuer.jwks(), Tag(etag='"1"'))), clock, Tasks(clock))
    yield made
    await made.tasks.close()


async def kids(source: RemoteKeys) -> list[str | None]:
    return [key.kid for key in (await source.keys()).keys]


async def failure(question: Awaitable[object]) -> str:
    with pytest.raises(AuthUnavailable) as caught:
        await question
    return str(caught.value)


async def test_the_first_question_waits_for_the_first_fetch(rig: Rig) -> None:
    rig.server.gate = asyncio.Event()
    source = rig.source()
    source.start()
    questions = [asyncio.create_task(kids(source)) for _ in range(5)]
    await settle()
    assert not any(question.done() for question in questions)
    rig.server.gate.set()
    assert await asyncio.gather(*questions) == [["k1"]] * 5
    assert len(rig.server.asked) == 1


async def test_who_waits_may_leave(rig: Rig) -> None:
    rig.server.gate = asyncio.Event()
    source = rig.source()
    source.start()
    question = asyncio.create_task(kids(source))
    await settle()
    question.cancel()
    await settle()
    assert question.cancelled()
    rig.server.gate.set()
    assert await kids(source) == ["k1"]


async def test_it_is_fetched_again_before_anybody_asks_and_only_if_it_changed(rig: Rig) -> None:
    source = await rig.started()
    before = await source.keys()
    rig.server.answer = lambda url, tag: Document(None, tag or Tag())
    await rig.clock.advance(REFRESH - 1)
    assert len(rig.server.asked) == 1
    await rig.clock.advance(1)
    assert rig.server.asked == [(URL, None), (URL, Tag(etag='"1"'))]
    assert await source.keys() is before
    assert source.view().age_s == 0


async def test_the_server_may_ask_for_more_often(rig: Rig) -> None:
    rig.serves(max_age=120)
    await rig.started()
    await rig.clock.advance(360)
    assert len(rig.server.asked) == 4
    rig.serves(max_age=0)
    await rig.clock.advance(240)
    assert len(rig.server.asked) == 4 + 3, "but not for more than once a minute"
    rig.serves(max_age=1e9)
    await rig.clock.advance(60 + 2 * REFRESH)
    assert len(rig.server.asked) == 7 + 3, "nor for less than the config says"


async def test_ten_minutes_without_the_issuer(rig: Rig) -> None:
    source = await rig.started()
    rig.server.fails()
    await rig.clock.advance(REFRESH)
    asked = len(rig.server.asked)
    for _ in range(10):
        await rig.clock.advance(60)
        assert await kids(source) == ["k1"]
    assert 35 <= len(rig.server.asked) - asked <= 45, "tried every 15 s"
    assert source.view().last_error == f"{URL}: status 500"
    rig.issuer.rotate()
    rig.serves()
    await rig.clock.advance(15)
    assert await kids(source) == ["k2"]
    assert source.view().last_error == ""


async def test_keys_are_given_up_at_last(rig: Rig) -> None:
    source = await rig.started()
    rig.server.fails()
    rig.clock.pass_time(STALE)
    assert await kids(source) == ["k1"]
    rig.clock.pass_time(1)
    assert "there are no keys" in await failure(source.keys())
    assert source.view().age_s is None
    rig.serves()
    await rig.clock.advance(REFRESH)
    assert await kids(source) == ["k1"]
    assert rig.server.asked[1] == (URL, None), "a condition would speak of what is gone"


async def test_a_cold_start_without_the_issuer(rig: Rig) -> None:
    rig.server.fails()
    source = await rig.started()
    assert "status 500" in await failure(source.keys())
    assert len(rig.server.asked) == 1, "requests do not fetch"
    waits = []
    for _ in range(6):
        began = rig.clock.monotonic()
        asked = len(rig.server.asked)
        while len(rig.server.asked) == asked:
            await rig.clock.advance(1)
        waits.append(rig.clock.monotonic() - began)
    assert waits == [1, 2, 4, 8, 15, 15]
    rig.serves()
    await rig.clock.advance(15)
    assert await kids(source) == ["k1"]


@pytest.mark.parametrize("content", [b"", b"<html>", b'{"keys": []}', b'{"keys": [{"kty": "oct", "k": "AAAA"}]}'])
async def test_an_answer_without_a_key_takes_none_away(rig: Rig, content: bytes) -> None:
    source = await rig.started()
    rig.server.answer = lambda url, tag: Document(content)
    await rig.clock.advance(REFRESH)
    assert await kids(source) == ["k1"]
    assert source.view().failures == 1


async def test_a_rotated_key_is_found_at_once(rig: Rig) -> None:
    source = await rig.started()
    seen = await source.keys()
    rig.issuer.rotate(keep=True)
    found = await source.newer(seen)
    assert [key.kid for key in found.keys] == ["k1", "k2"]
    assert await source.newer(seen) is found, "who is late gets what the first has fetched"
    assert len(rig.server.asked) == 2


def _document(content: bytes, url: str, tag: Tag | None) -> Document:
    return Document(content)


async def test_who_remembers_is_told_of_a_dropped_key(rig: Rig) -> None:
    told: list[str] = []
    source = RemoteKeys(
        Place(jwks=URL), rig.server, rig.tasks, rig.clock, refresh_s=REFRESH, stale_s=STALE, on_dropped=lambda: told.append("dropped"),
    )
    source.start()
    await rig.clock.sleeping(1)
    first = rig.issuer.jwks()
    rig.issuer.rotate(keep=True)
    both = rig.issuer.jwks()
    second = json.dumps({"keys": json.loads(both)["keys"][1:]}).encode()
    for content, expected in ((first, 0), (both, 0), (both, 0), (second, 1), (first, 2)):
        rig.server.answer = functools.partial(_document, content)
        await rig.clock.advance(REFRESH)
        await settle()
        assert len(told) == expected


async def test_made_up_keys_are_asked_for_once_in_a_while(rig: Rig) -> None:
    source = await rig.started()
    seen = await source.keys()
    assert await source.newer(seen) is seen
    await rig.clock.advance(DEMAND_GAP_S - 2)
    for _ in range(100):
        with pytest.raises(TooSoon) as caught:
            await source.newer(seen)
        assert caught.value.retry_s == 2
    assert len(rig.server.asked) == 2
    await rig.clock.advance(2)
    assert await source.newer(seen) is seen
    assert len(rig.server.asked) == 3


async def test_all_who_ask_for_a_new_key_share_one_fetch(rig: Rig) -> None:
    source = await rig.started()
    seen = await source.keys()
    rig.server.gate = asyncio.Event()
    rig.issuer.rotate()
    questions = [asyncio.create_task(source.newer(seen)) for _ in range(50)]
    await settle()
    rig.server.gate.set()
    assert {found.keys[0].kid for found in await asyncio.gather(*questions)} == {"k2"}
    assert len(rig.server.asked) == 2


async def test_whether_there_is_a_newer_key_may_not_be_told(rig: Rig) -> None:
    """A token of an unknown key is not called wrong while nobody can say so."""
    source = await rig.started()
    seen = await source.keys()
    rig.server.fails()
    assert "status 500" in await failure(source.newer(seen))
    assert "status 500" in await failure(source.newer(seen))
    assert len(rig.server.asked) == 2


# ------------------------------------------------------------------ where the issuer says
ISSUER = "https://id.example.com/tenant"
METADATA = f"{ISSUER}/.well-known/openid-configuration"


def discovering(rig: Rig, **changes: object) -> None:
    metadata = {"issuer": ISSUER, "jwks_uri": URL, **changes}
    rig.server.answer = lambda url, tag: Document(json.dumps(metadata).encode() if url == METADATA else rig.issuer.jwks())


async def test_discovery(rig: Rig) -> None:
    discovering(rig)
    source = await rig.started(Place(issuer=ISSUER))
    assert await kids(source) == ["k1"]
    assert [url for url, _ in rig.server.asked] == [METADATA, URL]
    await rig.clock.advance(REFRESH)
    assert [url for url, _ in rig.server.asked] == [METADATA, URL, URL]


async def test_after_a_failure_the_issuer_is_asked_again(rig: Rig) -> None:
    discovering(rig)
    source = await rig.started(Place(issuer=ISSUER))
    rig.server.fails()
    await rig.clock.advance(REFRESH)
    discovering(rig, jwks_uri="https://other.example.com/keys")
    await rig.clock.advance(1)
    assert [url for url, _ in rig.server.asked[-2:]] == [METADATA, "https://other.example.com/keys"]
    assert source.view().last_error == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"issuer": ISSUER + "/"}, "another issuer"), ({"issuer": None}, "another issuer"), ({"jwks_uri": None}, "missing"),
        ({"jwks_uri": 7}, "missing"), ({"jwks_uri": "http://id.example.com/keys"}, "not https"),
        ({"jwks_uri": "file:///etc/passwd"}, "not https"), ({"jwks_uri": "http://127.0.0.1:2080/metrics"}, "not https"),
    ],
)
async def test_metadata_that_is_not_believed(rig: Rig, changes: dict[str, object], why: str) -> None:
    discovering(rig, **changes)
    source = await rig.started(Place(issuer=ISSUER))
    assert why in await failure(source.keys())
    assert [url for url, _ in rig.server.asked] == [METADATA]


# ------------------------------------------------------------------ life
async def test_the_end(rig: Rig) -> None:
    rig.server.gate = asyncio.Event()
    source = rig.source()
    source.start()
    await settle()
    await source.close()
    assert rig.server.closed
    assert rig.tasks.names() == []


async def test_fixed_keys() -> None:
    held = parse_jwks(Issuer().jwks())
    source = FixedKeys(held)
    assert await source.keys() is await source.newer(held) is held
    await source.close()
