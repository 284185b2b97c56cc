"""What answers at the admin addresses: the views, behind the guard, as one aiohttp application."""
from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from proxyd.admin.access import VIEWS, Access
from proxyd.admin.audit import record_changes
from proxyd.admin.door import IDLE_S, VISITORS, Door, Visitors, attend
from proxyd.admin.forwarded import TRUST, Trust
from proxyd.admin.guard import HOSTS, harden, refuse_strangers, render_problems
from proxyd.admin.pages import add_pages
from proxyd.admin.request import CONFIG_BYTES
from proxyd.admin.turns import HEAVY, in_turn
from proxyd.admin.views import Views

if TYPE_CHECKING:
    from proxyd.admin.control import Control
    from proxyd.clock import Clock
    from proxyd.config.admin import Admin
    from proxyd.metrics.admin import Kind
    from proxyd.sockets import Bound


@dataclass(frozen=True, slots=True)
class Served:
    """An address that is answered at."""

    door: Door
    server: asyncio.Server

    def limit(self, connections: int) -> None:
        self.door.limit = connections

    def close(self) -> None:
        """Accept nobody more; the socket is closed."""
        self.server.close()


class Application:
    """One for the life of the daemon; `start` before all else."""

    def __init__(self, control: Control, clock: Clock) -> None:
        self._control = control
        self._access = Access(clock)
        self._hosts: set[str] = set()
        self._trust = Trust()
        self._visitors: Visitors = {}
        middlewares = [attend, render_problems, record_changes(control.audit, clock), refuse_strangers, self._access.admit, in_turn]
        application = web.Application(middlewares=middlewares, client_max_size=CONFIG_BYTES)
        application[HOSTS], application[TRUST], application[VISITORS] = self._hosts, self._trust, self._visitors
        application[VIEWS], application[HEAVY] = {}, asyncio.Lock()
        application.on_response_prepare.append(harden)
        Views(control, self._access).add_to(application)
        add_pages(application)
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=2.0, handle_signals=False, keepalive_timeout=IDLE_S)

    async def start(self) -> None:
        await self._runner.setup()

    def use(self, admin: Admin) -> None:
        """Who may do what, and whom to believe, from now on."""
        self._access.use(admin)
        self._trust.use(admin.client_ip)
        self._hosts.clear()
        self._hosts.update(admin.hosts)

    async def serve(self, bound: Bound) -> Served:
        """Answer at an address. Its descriptor is the server's from here on."""
        assert self._runner.server is not None
        sock = socket.socket(fileno=bound.fds[0])
        kind: Kind = "unix" if sock.family == socket.AF_UNIX else "tcp"
        door = Door(self._runner.server, self._visitors, self._control.admin_counts, kind)
        return Served(door, await asyncio.get_running_loop().create_server(door, sock=sock))

    async def close(self) -> None:
        """Finish what is under way, for a moment, and cut off the rest."""
        await self._runner.cleanup()
        await self._access.close()
