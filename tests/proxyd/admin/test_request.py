"""What a request carries, when it was made to do harm: each is answered as the client's mistake, and none as an error of ours."""
from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from proxyd.admin import request
from proxyd.admin.guard import json_answer
from proxyd.admin.request import JSON_BYTES
from proxyd.admin.server import AdminServer
from proxyd.admin.sse import frame

FIELDS = {"X-Proxyd-Request": "1"}
DIGITS = "9" * 5_000      # more than int() takes


async def status_of(server: AdminServer, method: str, path: str, body: bytes | None = None, fields: dict[str, str] | None = None) -> int:
    address, headers = f"http://{server.addresses[1]}/api/v1{path}", FIELDS | (fields or {})
    async with aiohttp.ClientSession() as session, session.request(method, address, data=body, headers=headers) as answer:
        return answer.status


@pytest.mark.parametrize(("method", "path", "body"), [
    ("GET", f"/requests?limit={DIGITS}", None), ("GET", f"/events?after={DIGITS}", None), ("GET", f"/stats/stream?routes={DIGITS}", None),
    ("POST", "/stop", b"[" * 200_000), ("POST", "/route/explain", b'{"url": "/", "method": "\\ud800"}'),
    ("POST", "/cache/purge", b'{"url": "\\ud800"}'),
])
async def test_no_error_of_ours(method: str, path: str, body: bytes | None, server: AdminServer) -> None:
    assert await status_of(server, method, path, body) == 400


async def test_a_question_is_no_longer_than_can_be_read_at_once(server: AdminServer) -> None:
    padding = b" " * JSON_BYTES
    assert await status_of(server, "POST", "/route/explain", b'{"url": "/"}' + padding) == 413
    assert await status_of(server, "POST", "/check", b"listen: :1\n" + padding) == 200, "a config may be longer"


async def test_a_body_that_does_not_come(server: AdminServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "BODY_S", 0.01)

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with aiohttp.ClientSession() as session:
        address = f"http://{server.addresses[1]}/api/v1/route/explain"
        async with session.post(address, data=slowly(), headers=FIELDS) as answer:
            assert (answer.status, (await answer.json(content_type=None))["code"]) == (408, "PXD-276")


async def test_an_id_that_no_event_can_have(server: AdminServer) -> None:
    assert await status_of(server, "GET", "/events", fields={"Last-Event-ID": DIGITS}) == 200


def test_lone_surrogates_come_back_as_they_came() -> None:
    found = json_answer({"text": "\ud800"}).body
    assert isinstance(found, bytes)
    assert json.loads(found) == {"text": "\ud800"}
    assert json.loads(frame("\udc80").removeprefix(b"data: ")) == "\udc80"
