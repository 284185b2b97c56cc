"""Acceptance 3: a hundred reloads under load cost no request and no WebSocket; a broken file changes nothing."""
from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from tests.acceptance.stage import OriginProcess, Proxyd, Wrk, allow_descriptors, ending, exchange, free_port

RELOADS = 100
WEBSOCKETS = 500


def config(turn: int, port: int, second: int, app: list[OriginProcess], chat: OriginProcess) -> str:
    """The route /turn, the weights of all servers and which three of the four serve differ with every turn; a listener every tenth."""
    serving = [(origin.address, 1 + (turn + i) % 5) for i, origin in enumerate(app) if (turn + i) % len(app)]
    members = ", ".join(f"{{address: '{address}', weight: {weight}}}" for address, weight in serving)
    extra = f"  second: {{bind: ['127.0.0.1:{second}'], limits: {{per_client: 20000}}}}\n" if turn // 10 % 2 else ""
    return (
        "log: {access: none}\n"
        f"listeners:\n  web: {{bind: ['127.0.0.1:{port}'], limits: {{per_client: 20000}}}}\n{extra}"
        f"upstreams:\n  app: {{servers: [{members}]}}\n  chat: {{servers: ['{chat.address}']}}\n"
        f"routes:\n  - {{match: /ws, to: chat}}\n  - {{match: /turn, respond: {{body: 'turn {turn}.'}}}}\n  - {{to: app}}\n"
    )


async def talk(sockets: list[aiohttp.ClientWebSocketResponse], text: str) -> None:
    """Every socket says something and gets it back."""
    async def echo(socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.send_str(text)
        assert await socket.receive_str(timeout=30) == text

    await asyncio.gather(*(echo(socket) for socket in sockets))


async def test_a_hundred_reloads(tmp_path: Path) -> None:
    allow_descriptors()
    port, second = free_port(), free_port()
    app = [OriginProcess(tmp_path, f"app{i}") for i in range(4)]
    chat = OriginProcess(tmp_path, "chat")
    with ending(*app, chat):
        proxyd = Proxyd(tmp_path, config(0, port, second, app, chat))
        with ending(proxyd):
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(connector=connector) as session:
                opened = [session.ws_connect(f"http://127.0.0.1:{port}/ws", autoclose=False) for _ in range(WEBSOCKETS)]
                sockets = await asyncio.gather(*opened)
                await talk(sockets, "hello")
                wrk = Wrk(tmp_path, f"http://127.0.0.1:{port}/")
                with ending(wrk):
                    for turn in range(1, RELOADS + 1):
                        done = await asyncio.to_thread(proxyd.reload, config(turn, port, second, app, chat))
                        assert done.returncode == 0, f"reload {turn}: {done.stdout}{done.stderr}"
                        answer = await asyncio.to_thread(exchange, port, b"GET /turn HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                        assert answer.endswith(f"turn {turn}.".encode()), answer
                        # A fifth of the sockets after each reload, so that all have spoken after five.
                        await talk(sockets[turn % 5 :: 5], f"after {turn}")
                    load = wrk.stop()
                await talk(sockets, "goodbye")
                assert [socket for socket in sockets if socket.closed] == []
                for socket in sockets:
                    await socket.close()
            assert load.requests > 1000
            assert load.failed == 0, load
            metrics = proxyd.metrics()
            assert metrics['proxyd_config_reloads_total{result="ok"}'] >= RELOADS, [name for name in metrics if "reloads" in name]
            print(f"\n{RELOADS} reloads, {load.requests} requests, {load.failed} failed, {WEBSOCKETS} WebSockets kept")


async def test_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    port = free_port()
    good = f"listen: '127.0.0.1:{port}'\nroutes: [{{respond: {{body: 'still here'}}}}]\nlog: {{access: none}}\n"
    proxyd = Proxyd(tmp_path, good)
    with ending(proxyd):
        done = proxyd.reload(good.replace("respond", "respnd"))
        assert done.returncode == 6, done.stdout + done.stderr
        assert "PXD-02" in done.stdout + done.stderr
        assert "did you mean `respond`" in done.stdout + done.stderr
        check = proxyd.run("check", "-c", str(proxyd.config))
        assert check.returncode == 3
        assert set(check.stdout.splitlines()) & set((done.stdout + done.stderr).splitlines())
        answer = exchange(port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.endswith(b"still here")
        assert proxyd.status()["phase"] == "serving"
        assert proxyd.end() == 0
