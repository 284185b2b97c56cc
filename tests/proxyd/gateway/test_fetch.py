from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from proxyd.gateway.fetch import Document, FetchError, HttpFetch, Tag

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def fetch() -> AsyncIterator[HttpFetch]:
    made = HttpFetch(timeout_s=5.0, max_bytes=1000)
    yield made
    await made.close()


async def test_a_document(fetch: HttpFetch) -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.raw_path == "/keys?a=%2Fb"
        return web.Response(body=b"x" * 1000, headers={"ETag": '"1"', "Last-Modified": "yesterday", "Cache-Control": "public, Max-Age=90"})

    async with serving(answer) as base:
        assert await fetch.get(f"{base}/keys?a=%2Fb") == Document(b"x" * 1000, Tag('"1"', "yesterday"), 90.0)


async def test_one_that_has_not_changed(fetch: HttpFetch) -> None:
    async def answer(request: web.Request) -> web.Response:
        assert (request.headers["If-None-Match"], request.headers["If-Modified-Since"]) == ('"1"', "yesterday")
        return web.Response(status=304)

    tag = Tag('"1"', "yesterday")
    async with serving(answer) as base:
        assert await fetch.get(base, tag) == Document(None, tag)
        with pytest.raises(FetchError, match="status 500"):
            await fetch.get(base)


@pytest.mark.parametrize("status", [201, 204, 301, 302, 304, 307, 404, 500, 503])
async def test_other_answers(fetch: HttpFetch, status: int) -> None:
    """A redirect is one of them: nobody else than the place in the config says whose signatures count."""
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": "/there"} if status // 100 == 3 else {})

    async with serving(answer) as base:
        with pytest.raises(FetchError, match=f"status {status}"):
            await fetch.get(base)


async def test_one_that_is_too_large(fetch: HttpFetch) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b"x" * 1000)
        return response

    async with serving(answer) as base:
        with pytest.raises(FetchError, match="larger"):
            await fetch.get(base)


async def test_one_that_does_not_come() -> None:
    over = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    fetch = HttpFetch(timeout_s=0.05)
    async with serving(answer) as base:
        with pytest.raises(FetchError, match=r"no answer within 0\.05 s"):
            await fetch.get(base)
        over.set()
    await fetch.close()


async def test_nobody_there(fetch: HttpFetch) -> None:
    with pytest.raises(FetchError, match=r"http://127\.0\.0\.1:1/"):
        await fetch.get("http://127.0.0.1:1/")
    with pytest.raises(FetchError):
        await fetch.get("http://[::1")


@pytest.mark.parametrize(
    ("cache_control", "expected"),
    [
        ("", None), ("public", None), ("no-store", 0.0), ("private, no-cache", 0.0), ('max-age="60"', 60.0), ("max-age=x", None),
        ("s-maxage=5", None),
    ],
)
async def test_how_long_it_may_be_kept(fetch: HttpFetch, cache_control: str, expected: float | None) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(headers={"Cache-Control": cache_control})

    async with serving(answer) as base:
        assert (await fetch.get(base)).max_age == expected
