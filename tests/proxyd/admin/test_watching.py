"""Statistics and events over the API: as JSON, and as streams of server-sent events."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from proxyd.admin import sse
from proxyd.admin.client import Answer, Refused
from proxyd.admin.server import AdminServer
from proxyd.stats.report import report
from tests.proxyd.admin.fake_daemon import FakeDaemon
from tests.proxyd.admin.streams import stream
from tests.support.wait import until

Ask = Callable[..., Awaitable[Answer]]


async def test_stats(ask: Ask, daemon: FakeDaemon) -> None:
    daemon.history.look()
    found = (await ask("GET", "/stats")).json()
    assert found["total"]["requests"] == 0
    assert [entry["name"] for entry in found["upstreams"]] == [view.name for view in daemon.upstreams()]
    assert found["logs"] == [{"sink": "access", "written": 10, "dropped": 0, "sampled_out": 0}]


async def test_history(ask: Ask, daemon: FakeDaemon) -> None:
    for _ in range(3):
        daemon.history.look()
    assert (await ask("GET", "/stats/history", query={"seconds": "2"})).json()["requests"] == [0, 0]
    assert (await ask("GET", "/stats/history", query={"upstream": "app"})).json()["p99"] == [None] * 3


@pytest.mark.parametrize("query", [{"seconds": "0"}, {"seconds": "901"}, {"seconds": "x"}, {"route": "a", "upstream": "b"}])
async def test_what_cannot_be_asked(ask: Ask, query: dict[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        await ask("GET", "/stats/history", query=query)
    assert caught.value.code == "PXD-244"


async def test_events(ask: Ask, daemon: FakeDaemon) -> None:
    for number in range(3):
        daemon.events.note("cache.purge", f"purge {number}", objects=number)
    found = (await ask("GET", "/events")).json()
    assert [event["text"] for event in found] == ["purge 0", "purge 1", "purge 2"]
    rest = await ask("GET", "/events", query={"after": str(found[0]["id"]), "limit": "1"})
    assert [event["facts"] for event in rest.json()] == [{"objects": 2}]


# ---------------------------------------------------------------------- streams
async def test_a_stream_goes_on_where_the_last_one_ended(server: AdminServer, daemon: FakeDaemon) -> None:
    known = [daemon.events.note("cache.purge", text) for text in ("a", "b")]
    async with stream(server.addresses[0], "/events", Last_Event_ID=str(known[0].id)) as heard:
        assert (heard.status, heard.fields["content-type"], heard.fields["cache-control"]) == (200, "text/event-stream", "no-store")
        messages = heard.messages()
        assert await anext(messages) is None
        first = await anext(messages)
        assert first is not None
        assert (first.event, first.id, first.data["text"]) == ("cache.purge", str(known[1].id), "b")
        daemon.events.note("daemon.stop", "c\nover two lines")
        second = await anext(messages)
        assert second is not None
        assert (second.event, second.data["text"]) == ("daemon.stop", "c\nover two lines")


async def test_stats_come_with_every_point(server: AdminServer, daemon: FakeDaemon) -> None:
    async with stream(server.addresses[0], "/stats/stream?routes=5") as heard:
        messages = heard.messages()
        assert await anext(messages) is None
        for _ in range(2):
            daemon.history.look()
            message = await anext(messages)
            assert message is not None
            assert (message.event, message.data["total"]["requests"]) == ("stats", 0)


async def test_few_reports_do_for_all_who_listen(server: AdminServer, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[int]()

    def counted(reported: Any, *, routes: int) -> dict[str, Any]:
        made.append(routes)
        return report(reported, routes=routes)

    monkeypatch.setattr("proxyd.admin.watching.report", counted)
    async with AsyncExitStack() as stack:
        heard = [await stack.enter_async_context(stream(server.addresses[0], f"/stats/stream?routes={asked}")) for asked in (5, 90, 200, 0)]
        messages = [each.messages() for each in heard]
        for each in messages:
            assert await anext(each) is None
        daemon.history.look()
        for each in messages:
            assert await anext(each) is not None
    assert sorted(made) == [0, 200]


async def test_a_stream_ends_when_the_daemon_leaves(server: AdminServer, daemon: FakeDaemon) -> None:
    async with stream(server.addresses[0], "/events") as heard:
        messages = heard.messages()
        assert await anext(messages) is None
        daemon.left.set()
        assert [message async for message in messages] == []
    assert len(daemon.events.feed) == 0


async def test_a_quiet_stream_is_kept_alive(server: AdminServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "KEEPALIVE", 0.01)
    async with stream(server.addresses[0], "/events") as heard:
        messages = heard.messages()
        assert [await anext(messages) for _ in range(3)] == [None, None, None]


async def test_a_client_that_goes_is_let_go(server: AdminServer, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "KEEPALIVE", 0.01)
    async with stream(server.addresses[0], "/events") as heard:
        assert await anext(heard.messages()) is None
        assert len(daemon.events.feed) == 1
    await until(lambda: len(daemon.events.feed) == 0)


async def test_a_slow_client_is_told_what_it_missed(server: AdminServer, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stream(server.addresses[0], "/events") as heard:
        messages = heard.messages()
        assert await anext(messages) is None
        for number in range(300):                        # in one turn of the loop: nobody can take them in between
            daemon.events.note("cache.purge", str(number))
        found: list[Any] = [await anext(messages) for _ in range(257)]
        assert [message.data["text"] for message in found[:256]] == [str(number) for number in range(256)]
        assert (found[256].event, found[256].data) == ("missed", {"missed": 44})


async def test_a_client_that_takes_nothing_is_cut_off(
    server: AdminServer, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sse, "PATIENCE", 0.05)
    async with stream(server.addresses[0], "/events"):
        await until(lambda: len(daemon.events.feed) == 1)

        def fill() -> bool:
            daemon.events.note("cache.purge", "x" * 1_000_000)
            return len(daemon.events.feed) == 0

        await until(fill, "nobody waits for it any more")
    assert not caplog.records, "which is no error of ours"


async def test_streams_are_bounded(server: AdminServer, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "STREAMS_MAX", 1)
    async with stream(server.addresses[0], "/events") as heard:
        assert await anext(heard.messages()) is None
        async with stream(server.addresses[0], "/events") as refused:
            assert refused.status == 503
        assert (await ask("GET", "/events")).status == 200


async def test_a_head_of_a_stream_is_a_head(server: AdminServer) -> None:
    reader, writer = await asyncio.open_unix_connection(server.addresses[0].removeprefix("unix:"))
    writer.write(b"HEAD /api/v1/stats/stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 200")
    writer.close()
