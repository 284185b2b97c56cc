"""The admin server: binds what the config names, and keeps what did not change over a reload. What it serves is in `application.py`."""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from proxyd.admin import problem
from proxyd.admin.address import AddressError, default_bind
from proxyd.clock import Clock, SystemClock
from proxyd.codes import BIND_FAILED
from proxyd.config.address import BindAddress
from proxyd.diagnostics import Diagnostic
from proxyd.sockets import BindError, Bound, Passed, close_all, open_bound
from proxyd.state import DaemonError

if TYPE_CHECKING:
    from proxyd.admin.application import Application, Served
    from proxyd.admin.control import Control
    from proxyd.config.model import Config

AdminBind = BindAddress | Literal["auto"]
SOCKET_MODE = 0o600

_log = logging.getLogger("proxyd.admin")


@dataclass(slots=True)
class _Open:
    """One bound address and, once it has begun, what serves it."""

    bound: Bound
    served: Served | None = None


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
        self._config: Config | None = None
        self._application: Application | None = None
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
        self._config = config
        self._open |= {bind: _Open(bound) for bind, bound in added.items()}
        if self._application is not None:
            await self._serve(self._application, config)
        self._leave(set(self._open) - set(wanted))

    async def begin(self) -> None:
        """Answer. Clients that came since the addresses were bound have waited in the kernel's queue."""
        from proxyd.admin.application import Application  # here: it takes 0.2 s to import, for which no other client should wait

        assert self._config is not None, "no config was applied"
        self._application = Application(self._control, self._clock)
        await self._application.start()
        await self._serve(self._application, self._config)

    async def _serve(self, application: Application, config: Config) -> None:
        application.use(config.admin)
        for entry in self._open.values():
            if entry.served is None:
                entry.served = await application.serve(entry.bound)
            entry.served.limit(config.admin.max_connections)

    def bounds(self) -> Sequence[Bound]:
        return [entry.bound for entry in self._open.values()]

    async def hand_over(self) -> None:
        for entry in self._open.values():
            entry.bound.give_away()
        self._leave(list(self._open))

    async def close(self) -> None:
        self._leave(list(self._open))
        # A connection that was accepted in this turn is made known to aiohttp in the next one, and would be left open without an answer.
        await asyncio.sleep(0)
        if self._application is not None:
            await self._application.close()
            self._application = None

    def _leave(self, binds: Iterable[AdminBind]) -> None:
        for bind in binds:
            entry = self._open.pop(bind)
            if entry.served is not None:
                entry.served.close()
                entry.bound.remove_file()
            else:
                close_all([entry.bound])


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
