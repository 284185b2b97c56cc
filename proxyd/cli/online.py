"""`proxyd check --online`: what only this machine and the network can tell. A listener that cannot be bound, or a log that cannot be
opened, is an error; a dead server or a name without an address is a warning, as it is when proxyd starts. Servers that get datagrams only
are not connected to: what they answer to is known to their checks alone."""
from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable
from typing import Literal

from proxyd.codes import BIND_FAILED, LOG_FAILED, SERVER_DEAD, UNRESOLVED
from proxyd.config import Config
from proxyd.config.address import Address, BindAddress
from proxyd.diagnostics import Diagnostic
from proxyd.snapshot.describe import reachable
from proxyd.sockets import BindError, Kind, open_bound, socket_kind

Transport = Literal["tcp", "udp"]
CONNECT_TIMEOUT_S = 2.0
AT_ONCE = 64


async def check_online(config: Config, served: frozenset[tuple[str, Transport]]) -> list[Diagnostic]:
    """`served`: addresses that a running proxyd listens on."""
    found = [
        entry for path, bind, kind in binds(config) if (str(bind), transport(kind)) not in served for entry in check_bind(path, bind, kind)
    ]
    found += check_log(config)
    turns = asyncio.Semaphore(AT_ONCE)
    found += [
        entry
        for result in await asyncio.gather(*(check_server(place, address, turns, by=by) for place, address, by in servers(config)))
        for entry in result
    ]
    return found


def binds(config: Config) -> Iterable[tuple[str, BindAddress, Kind]]:
    for name, listener in config.listeners.items():
        for index, bind in enumerate(listener.bind):
            yield f"listeners.{name}.bind[{index}]", bind, socket_kind(listener.mode)


def transport(kind: Kind) -> Transport:
    return "udp" if kind == "udp" else "tcp"


def servers(config: Config) -> Iterable[tuple[str, Address, Transport]]:
    used: dict[str, set[Transport]] = {}
    for listener in config.listeners:
        for route in config.flow_routes_of(listener):
            for name in route.to:
                used.setdefault(name, set()).add(config.listeners[listener].transport)
    for routes in config.tables():
        for name in {name for each in routes for name in reachable(each)}:
            used.setdefault(name, set()).add("tcp")
    for name, upstream in config.upstreams.items():
        by: Transport = "udp" if used.get(name) == {"udp"} else "tcp"
        for index, server in enumerate(upstream.servers):
            yield f"upstreams.{name}.servers[{index}].address", server.address, by


def check_bind(path: str, bind: BindAddress, kind: Kind) -> list[Diagnostic]:
    """Bind and let go again. A unix socket is left alone: binding it would take the place of the file that is there."""
    if bind.is_unix:
        return []
    try:
        open_bound(bind, engines=1, kind=kind).close()
    except BindError as error:
        return [Diagnostic(BIND_FAILED.code, str(error), help=error.help, path=path)]
    return []


def check_log(config: Config) -> list[Diagnostic]:
    """Whether the access log's file could be opened; it is not, since that would make it."""
    to = config.log.access.to if config.log.access is not None else "stdout"
    if to in ("stdout", "stderr"):
        return []
    place = to if os.path.exists(to) else os.path.dirname(to) or "."
    if os.access(place, os.W_OK) and (place == to or os.path.isdir(place)):
        return []
    reason = "no permission to write there" if os.path.exists(place) else f"there is no folder `{place}`"
    return [Diagnostic(LOG_FAILED.code, f"cannot open the access log {to}: {reason}", help=LOG_FAILED.help, path="log.access.to")]


async def check_server(path: str, address: Address, turns: asyncio.Semaphore, *, by: Transport = "tcp") -> list[Diagnostic]:
    async with turns:
        try:
            await asyncio.wait_for(connect(address) if by == "tcp" else resolve(address), CONNECT_TIMEOUT_S)
        except socket.gaierror as error:
            message = f"the name `{address.host}` does not resolve: {(error.strerror or str(error)).lower()}"
            return [Diagnostic(UNRESOLVED.code, message, help="its servers count as down until it does", severity="warning", path=path)]
        except OSError as error:
            reason = os.strerror(error.errno).lower() if error.errno else "no answer"    # a TimeoutError is an OSError without a number
            help_ = "proxyd starts nevertheless, and uses the server when it answers"
            return [Diagnostic(SERVER_DEAD.code, f"no connection to `{address}`: {reason}", help=help_, severity="warning", path=path)]
    return []


async def resolve(address: Address) -> None:
    await asyncio.get_running_loop().getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)


async def connect(address: Address) -> None:
    if address.is_unix:
        _, writer = await asyncio.open_unix_connection(address.path)
    else:
        _, writer = await asyncio.open_connection(address.host, address.port)
    writer.close()
    await writer.wait_closed()
