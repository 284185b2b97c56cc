"""Kept requests over the API, why they became what they did, and requests as they come."""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from proxyd.admin.client import Answer, Refused
from proxyd.admin.server import AdminServer
from proxyd_ext.log import AccessLog
from tests.proxyd.admin.fake_daemon import FakeDaemon
from tests.proxyd.admin.streams import stream
from tests.proxyd.records.sample import REQUEST, failed, record

Ask = Callable[..., Awaitable[Answer]]


@pytest.fixture
def kept(daemon: FakeDaemon) -> None:
    daemon.flight.on_records([
        record(id=1, time_us=1_000_000, path=b"/fast", t_total_us=1_000),
        record(id=2, time_us=2_000_000, path=b"/slow", t_total_us=900_000),
        failed("connect_refused", 502, id=3, time_us=3_000_000, path=b"/lost"),
    ])


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(("query", "paths"), [
    ({}, ["/lost", "/slow", "/fast"]), ({"limit": "1"}, ["/lost"]), ({"status": "2xx"}, ["/slow", "/fast"]),
    ({"status": "5xx", "route": "api", "slower_than": "1s"}, []), ({"order": "slow", "limit": "2"}, ["/slow", "/lost"]),
])
async def test_kept_requests(ask: Ask, query: dict[str, str], paths: list[str]) -> None:
    assert [found["path"] for found in (await ask("GET", "/requests", query=query)).json()] == paths


@pytest.mark.parametrize("query", [{"status": "99"}, {"colour": "red"}, {"order": "old"}, {"limit": "-1"}, {"slower_than": "soon"}])
async def test_what_cannot_be_asked(ask: Ask, query: dict[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        await ask("GET", "/requests", query=query)
    assert caught.value.code == "PXD-244"


@pytest.mark.usefixtures("kept")
async def test_one_request_with_its_steps(ask: Ask) -> None:
    found, = (await ask("GET", "/requests/0000000000000003")).json()
    assert found["record"]["path"] == "/lost"
    assert [step["about"] for step in found["steps"]][:2] == ["client", "route"]
    with pytest.raises(Refused) as caught:
        await ask("GET", "/requests/none")
    assert (caught.value.status, caught.value.code) == (404, "PXD-261")


async def test_requests_as_they_come(server: AdminServer, daemon: FakeDaemon) -> None:
    log = AccessLog(-1, "json", 1)
    log.start()
    daemon.records.follow(log)
    try:
        async with stream(server.addresses[0], "/requests/stream?path=/api") as heard:
            messages = heard.messages()
            assert await anext(messages) is None
            log.submit(0, REQUEST | {"path": b"/other"})
            log.submit(0, REQUEST)
            message: Any = await anext(messages)
            assert (message.event, message.data["path"]) == ("request", "/api/v1/pay")
    finally:
        log.stop()
        daemon.records.finish(log)
