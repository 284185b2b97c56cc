"""The embedded demo (`make run`): two origins in the daemon's own process, so that there is something to balance at once.

    /          a small page that says which origin made it        /echo     the request as the origin saw it, as JSON
    /healthz   200 "ok"                                           /ws       a WebSocket that sends back what it gets
    /big       64 MiB, streamed                                   /slow     an answer that takes a second
"""
from __future__ import annotations

import asyncio
import html
import json
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from proxyd.config.address import BindAddress
from proxyd.sockets import BindError, Bound, open_bound
from proxyd.state import DaemonError

if TYPE_CHECKING:
    from proxyd.config.model import Config
    from proxyd.daemon import Daemon

ADDRESSES: tuple[tuple[str, int], ...] = (("127.0.0.1", 9001), ("127.0.0.1", 9002))
BIG_BYTES = 64 << 20
BLOCK = bytes(range(256)) * 256    # 64 KiB

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>proxyd demo: origin {name}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:4em auto;padding:0 1em}}
h1 b{{color:{color}}} code{{background:#eee;padding:.1em .3em}}</style>
<h1>Served by origin <b>{name}</b></h1>
<p>This page came through proxyd. Reload it: the other origin answers. It is the {count}. page of this one.</p>
<p>You are <code>{client}</code>; the request has the id <code>{id}</code>.</p>
<p>Try <a href="/echo">/echo</a>, <a href="/big">/big</a>, <a href="/slow">/slow</a>, or a WebSocket on <code>/ws</code>.</p>
</html>
"""


class Origin:
    """One demo origin: handlers and how often its page was made."""

    def __init__(self, name: str, color: str) -> None:
        self.name, self.color, self.pages = name, color, 0

    def build_app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/", self.page),
                web.get("/healthz", self.healthz),
                web.route("*", "/echo", self.echo),
                web.get("/ws", self.websocket),
                web.get("/big", self.big),
                web.get("/slow", self.slow),
            ]
        )
        return app

    async def page(self, request: web.Request) -> web.Response:
        self.pages += 1
        client, request_id = (html.escape(request.headers.get(name, "unknown")) for name in ("X-Forwarded-For", "X-Request-ID"))
        text = PAGE.format(name=self.name, color=self.color, count=self.pages, client=client, id=request_id)
        return web.Response(text=text, content_type="text/html", headers={"X-Origin": self.name})

    async def healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def echo(self, request: web.Request) -> web.Response:
        body = await request.text()
        headers = list(request.headers.items())
        seen = {"origin": self.name, "method": request.method, "target": request.raw_path, "headers": headers, "body": body}
        return web.Response(text=json.dumps(seen, indent=2) + "\n", content_type="application/json", headers={"X-Origin": self.name})

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        return socket

    async def big(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(BIG_BYTES), "X-Origin": self.name})
        await response.prepare(request)
        for _ in range(BIG_BYTES // len(BLOCK)):
            await response.write(BLOCK)
        return response

    async def slow(self, request: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.Response(text=f"origin {self.name}, a second later\n", headers={"X-Origin": self.name})


class DemoOrigins:
    """A `proxyd.state.Service`: the origins live as long as the daemon, whatever its config says."""

    def __init__(self, daemon: Daemon | None = None, addresses: Sequence[tuple[str, int]] = ADDRESSES) -> None:
        self._addresses = tuple(addresses)
        self._passed = daemon.passed if daemon is not None else None
        self._bounds: list[Bound] = []
        self._runners: list[web.AppRunner] = []
        self.ports: list[int] = []      # as bound

    async def apply(self, config: Config | None = None) -> None:
        """Start the origins at the first call. DaemonError when a port is taken."""
        if self._runners:
            return
        for (host, port), (name, color) in zip(self._addresses, (("one", "#0a6"), ("two", "#06c")), strict=True):
            runner = web.AppRunner(Origin(name, color).build_app(), access_log=None, shutdown_timeout=1.0)
            self._runners.append(runner)
            await runner.setup()
            try:
                bound = open_bound(BindAddress(host=host, port=port), engines=1, passed=self._passed)
            except BindError as error:
                await self.close()
                raise DaemonError(f"the demo origin {error}") from error
            self._bounds.append(bound)
            await web.SockSite(runner, socket.socket(fileno=bound.fds[0])).start()     # the site owns the descriptor from here on
            self.ports.append(bound.port)

    async def begin(self) -> None:
        """Nothing: servers are there before who asks them."""

    def bounds(self) -> Sequence[Bound]:
        return self._bounds

    async def hand_over(self) -> None:
        """The connections that there are go on."""
        for runner in self._runners:
            for site in list(runner.sites):
                await site.stop()

    async def close(self) -> None:
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()
        self._bounds.clear()
        self.ports.clear()
