"""An origin for the acceptance scripts: origin.py NAME PORT FILE. Killed with SIGKILL when a script wants it dead.

    /          64 bytes with its name          /ws        a WebSocket that sends back what it gets
    /healthz   200                             /stream    10 MB, of which a little comes every 10 ms
    /count     (POST) writes the body, which is an id, as a line to FILE at once, and answers a minute later
    any other  what it was asked, as text
"""
from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop
from aiohttp import WSMsgType, web

STREAM_BYTES = 10_000_000


def build_app(name: str, executed: Path) -> web.Application:
    small = f"served by {name}".encode().ljust(64)

    async def page(request: web.Request) -> web.Response:
        return web.Response(body=small, headers={"X-Origin": name})

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(STREAM_BYTES), "X-Origin": name})
        await response.prepare(request)
        for _ in range(STREAM_BYTES // 1000):
            await response.write(b"." * 1000)
            await asyncio.sleep(0.01)
        return response

    async def count(request: web.Request) -> web.Response:
        with executed.open("a") as file:
            file.write(await request.text() + "\n")
        await asyncio.sleep(60)
        return web.Response(text="counted")

    async def websocket(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
        return socket

    async def other(request: web.Request) -> web.Response:
        body = await request.text()
        lines = [f"{request.method} {request.raw_path}", *(f"{field}: {value}" for field, value in request.headers.items()), "", body]
        return web.Response(text="\n".join(lines), headers={"X-Origin": name})

    app = web.Application(client_max_size=1 << 30)
    app.add_routes([
        web.get("/", page), web.get("/healthz", page), web.get("/stream", stream), web.post("/count", count), web.get("/ws", websocket),
        web.route("*", "/{tail:.*}", other),
    ])
    return app


def main() -> None:
    name, port, executed = sys.argv[1:]
    uvloop.install()
    web.run_app(build_app(name, Path(executed)), host="127.0.0.1", port=int(port), access_log=None, print=None)


if __name__ == "__main__":
    main()
