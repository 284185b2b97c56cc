"""The admin server: binds what the config names, keeps what did not change over a reload, serves the views behind the guard."""
from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from aiohttp import web

from proxyd.admin import problem
from proxyd.admin.access import VIEWS, Access
from proxyd.admin.address import AddressError, default_bind
from proxyd.admin.audit import record_changes
from proxyd.admin.control import Control
from proxyd.admin.door import IDLE_S, VISITORS, Door, Visitors, attend
from proxyd.admin.forwarded import TRUST, Trust
from proxyd.admin.guard import HOSTS, harden, refuse_strangers, render_problems
from proxyd.admin.pages import add_pages
from proxyd.admin.request import CONFIG_BYTES
from proxyd.admin.turns import HEAVY, in_turn
from proxyd.admin.views import Views
from proxyd.clock import Clock, SystemClock
from proxyd.codes import BIND_FAILED
from proxyd.config.address import BindAddress
from proxyd.diagnostics import Diagnostic
from proxyd.metrics.admin import Kind
from proxyd.sockets import BindError, Bound, Passed, close_all, open_bound
from proxyd.state import DaemonError

if TYPE_CHECKING:
    from proxyd.config.model import Config

AdminBind = BindAddress | Literal["auto"]
SOCKET_MODE = 0o600

_log = logging.getLogger("proxyd.admin")


@dataclass(slots=True)
class _Open:
    """One bound address and what serves it."""

    bound: Bound
    door: Door
    server: asyncio.Server


class AdminServer:
    """A `Service` of the daemon. Requests that are under way finish when their address goes."""

    def __init__(
        self, control: Control, binds: Sequence[AdminBind] | None = None, *, passed: Passed | None = None, clock: Clock | None = None
    ) -> None:
        """Nothing is opened before the first `apply`. `binds` stand for those of the config (`--admin` of a command that serves)."""
        self._control = control
        self._binds = binds
        self._passed = passed
        self._clock = clock or SystemClock()
        self._access = Access(self._clock)
        self._hosts: set[str] = set()
        self._trust = Trust()
        self._visitors: Visitors = {}
        self._runner: web.AppRunner | None = None
        self._open: dict[AdminBind, _Open] = {}      # by the address as the config spells it

    @property
    def addresses(self) -> list[str]:
        """What is listened on, with real ports: `unix:/run/proxyd/admin.sock`, `127.0.0.1:2080`."""
        return [entry.bound.address for entry in self._open.values()]

    async def apply(self, config: Config) -> None:
        """Listen where `config` says. Raises DaemonError, and then listens where it did before."""
        wanted = config.admin.bind if self._binds is None else self._binds
        for bind in wanted:
            refuse_unsafe(bind, asks=bool(config.admin.users))
        added: dict[AdminBind, Bound] = {}
        errors: list[Diagnostic] = []
        for index, bind in enumerate(wanted):
            if bind not in self._open and bind not in added:
                try:
                    added[bind] = bind_admin(bind, self._passed)
                except (BindError, AddressError) as error:
                    errors.append(_cannot_bind(error, f"admin.bind[{index}]" if self._binds is None else ""))
        if errors:
            close_all(list(added.values()))
            raise DaemonError(errors[0].message, errors)
        runner = await self._running()
        self._access.use(config.admin)
        self._trust.use(config.admin.client_ip)
        self._hosts.clear()
        self._hosts.update(config.admin.hosts)
        for bind, bound in added.items():
            self._open[bind] = await self._serve(runner, bound)
        for entry in self._open.values():
            entry.door.limit = config.admin.max_connections
        await self._leave(set(self._open) - set(wanted))

    def bounds(self) -> Sequence[Bound]:
        return [entry.bound for entry in self._open.values()]

    async def hand_over(self) -> None:
        for entry in self._open.values():
            entry.bound.give_away()
        await self._leave(list(self._open))

    async def close(self) -> None:
        await self._leave(list(self._open))
        # A connection that was accepted in this turn is made known to aiohttp in the next one, and would be left open without an answer.
        await asyncio.sleep(0)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        await self._access.close()

    async def _running(self) -> web.AppRunner:
        if self._runner is None:
            recording = record_changes(self._control.audit, self._clock)
            middlewares = [attend, render_problems, recording, refuse_strangers, self._access.admit, in_turn]
            application = web.Application(middlewares=middlewares, client_max_size=CONFIG_BYTES)
            application[HOSTS], application[TRUST], application[VISITORS] = self._hosts, self._trust, self._visitors
            application[VIEWS], application[HEAVY] = {}, asyncio.Lock()
            application.on_response_prepare.append(harden)
            Views(self._control, self._access).add_to(application)
            add_pages(application)
            self._runner = web.AppRunner(
                application, access_log=None, shutdown_timeout=2.0, handle_signals=False, keepalive_timeout=IDLE_S)
            await self._runner.setup()
        return self._runner

    async def _serve(self, runner: web.AppRunner, bound: Bound) -> _Open:
        assert runner.server is not None
        sock = socket.socket(fileno=bound.fds[0])        # the server owns the descriptor from here on
        kind: Kind = "unix" if sock.family == socket.AF_UNIX else "tcp"
        door = Door(runner.server, self._visitors, self._control.admin_counts, kind)
        return _Open(bound, door, await asyncio.get_running_loop().create_server(door, sock=sock))

    async def _leave(self, binds: Iterable[AdminBind]) -> None:
        for bind in binds:
            entry = self._open.pop(bind)
            entry.server.close()
            entry.bound.remove_file()


def refuse_unsafe(bind: AdminBind, *, asks: bool = False) -> None:
    """Raise DaemonError for an address that others could reach, unless the config has users, so that they are asked who they are."""
    if isinstance(bind, BindAddress) and not bind.is_loopback and not asks:
        message = f"the admin API would be open to others at {bind}, and it has no users to ask for"
        raise DaemonError(message, [Diagnostic(problem.BIND_UNSAFE.code, message, help=problem.BIND_UNSAFE.help, path="admin.bind")])


def bind_admin(bind: AdminBind, passed: Passed | None = None) -> Bound:
    """Bind one address; `auto` is the default socket, or the one beside it when another daemon has that. Raises BindError, AddressError."""
    if isinstance(bind, BindAddress):
        return open_bound(bind, engines=1, mode=SOCKET_MODE, passed=passed)
    address = default_bind()
    try:
        return open_bound(BindAddress(path=address.path), engines=1, mode=SOCKET_MODE, passed=passed)
    except BindError:
        beside = default_bind(taken=True)
        bound = open_bound(BindAddress(path=beside.path), engines=1, mode=SOCKET_MODE)
        _log.warning("another proxyd has the admin socket %s; this one uses %s", address, beside)
        return bound


def _cannot_bind(error: BindError | AddressError, path: str) -> Diagnostic:
    return Diagnostic(BIND_FAILED.code, f"the admin API {error}", help=error.help if isinstance(error, BindError) else "", path=path)
