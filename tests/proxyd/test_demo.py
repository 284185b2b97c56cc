from __future__ import annotations

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from proxyd.demo import BIG_BYTES, DemoOrigins
from proxyd.state import DaemonError
from tests.support.client import get


@pytest.fixture
async def demo() -> AsyncIterator[DemoOrigins]:
    demo = DemoOrigins(addresses=(("127.0.0.1", 0), ("127.0.0.1", 0)))
    await demo.apply()
    yield demo
    await demo.close()


async def test_the_page_says_who_made_it(demo: DemoOrigins) -> None:
    one, two = [await get(port, "/", "X-Forwarded-For: <b>") for port in demo.ports]
    assert b"origin <b>one</b>" in one.body
    assert b"origin <b>two</b>" in two.body
    assert b"&lt;b&gt;" in one.body
    assert (one.field("x-origin"), two.field("x-origin")) == ("one", "two")


async def test_echo_tells_what_arrived(demo: DemoOrigins) -> None:
    response = await get(demo.ports[0], "/echo?a=%2F", "X-Test: 1")
    seen = json.loads(response.body)
    assert (seen["method"], seen["target"]) == ("GET", "/echo?a=%2F")
    assert ["X-Test", "1"] in seen["headers"]


async def test_health(demo: DemoOrigins) -> None:
    assert (await get(demo.ports[1], "/healthz")).body == b"ok\n"


async def test_big_is_as_long_as_it_says(demo: DemoOrigins) -> None:
    response = await get(demo.ports[0], "/big")
    assert len(response.body) == BIG_BYTES


async def test_a_websocket_sends_back_what_it_gets(demo: DemoOrigins) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{demo.ports[0]}/ws") as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"
        await socket.send_bytes(b"\x00\xff")
        assert await socket.receive_bytes() == b"\x00\xff"


async def test_a_second_apply_changes_nothing(demo: DemoOrigins) -> None:
    before = list(demo.ports)
    await demo.apply()
    assert demo.ports == before


async def test_a_taken_port_is_named_and_nothing_stays_open(demo: DemoOrigins) -> None:
    other = DemoOrigins(addresses=(("127.0.0.1", 0), ("127.0.0.1", demo.ports[0])))
    with pytest.raises(DaemonError, match=f"127.0.0.1:{demo.ports[0]}: address already in use"):
        await other.apply()
    assert other.ports == []
