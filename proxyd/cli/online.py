"""`proxyd check --online`: what only this machine and the network can tell. A listener that cannot be bound, or a log that cannot be
opened, is an error; a dead server or a name without an address is a warning, as it is when proxyd starts. Servers that get datagrams only
are not connected to: what they answer to is known to their checks alone. The stores and services beside them (tiers, shared limits, keys of
tokens, forward auth) are connected to, and told nothing.

All of it takes TOTAL_S at most; what was not tried by then is told."""
from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from proxyd.codes import BIND_FAILED, LOG_FAILED, SERVER_DEAD, UNRESOLVED
from proxyd.config import Config
from proxyd.config.address import Address, BindAddress
from proxyd.config.key_files import jwt_policies
from proxyd.config.log import is_file, syslog_of
from proxyd.diagnostics import Diagnostic
from proxyd.snapshot.describe import reachable
from proxyd.sockets import BindError, Kind, open_bound, socket_kind

Transport = Literal["tcp", "udp"]
CONNECT_TIMEOUT_S = 2.0
TOTAL_S = 15.0
AT_ONCE = 64


class Place(NamedTuple):
    """Something remote that the config names."""

    path: str
    address: Address
    by: Transport = "tcp"
    help: str = "proxyd starts nevertheless, and uses the server when it answers"


async def check_online(config: Config, served: frozenset[tuple[str, Transport]]) -> list[Diagnostic]:
    """`served`: addresses that a running proxyd listens on."""
    found = [
        entry for path, bind, kind in binds(config) if (str(bind), transport(kind)) not in served for entry in check_bind(path, bind, kind)
    ]
    found += check_log(config)
    return found + await try_all([*servers(config), *services(config)])


async def try_all(places: Sequence[Place], *, within: float = TOTAL_S) -> list[Diagnostic]:
    """A warning for each that cannot be reached, and one for those that there was no time for."""
    turns = asyncio.Semaphore(AT_ONCE)
    tasks = [asyncio.ensure_future(check_place(place, turns)) for place in places]
    if not tasks:
        return []
    done, left = await asyncio.wait(tasks, timeout=within)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    found = [entry for task in tasks if task in done for entry in task.result()]
    if left:
        message = f"{len(left)} of {len(tasks)} addresses were not tried: {within:g} s are over"
        help_ = "most of those before them do not answer; mend these first"
        found.append(Diagnostic(SERVER_DEAD.code, message, help=help_, severity="warning"))
    return found


def binds(config: Config) -> Iterable[tuple[str, BindAddress, Kind]]:
    for name, listener in config.listeners.items():
        for index, bind in enumerate(listener.bind):
            yield f"listeners.{name}.bind[{index}]", bind, socket_kind(listener.mode)


def transport(kind: Kind) -> Transport:
    return "udp" if kind == "udp" else "tcp"


def services(config: Config) -> Iterable[Place]:
    """Beside the servers: what proxyd itself asks."""
    shared = config.cache.shared
    if shared is not None and config.stores and config.cache.is_shared:
        help_ = "proxyd starts nevertheless: its own memory serves alone until the tier answers"
        if shared.redis is not None:
            yield Place("cache.shared.redis", shared.redis.address, help=help_)
        for index, address in enumerate(shared.memcached):
            yield Place(f"cache.shared.memcached[{index}]", address, help=help_)
    if config.limits is not None and config.limits.redis is not None:
        help_ = "proxyd starts nevertheless: until it answers, each proxy admits its share"
        yield Place("limits.redis", config.limits.redis.address, help=help_)
    if config.tracing is not None:
        help_ = "proxyd starts nevertheless; spans that the collector does not take are dropped"
        yield from url_place("tracing.otlp", config.tracing.otlp, help_)
    for name, policy in config.policies.items():
        if policy.auth is not None and policy.auth.forward is not None:
            help_ = "who is asked about is refused with 503 until it answers"
            yield from url_place(f"policies.{name}.auth.forward.url", policy.auth.forward.url, help_)
    for name, jwt in jwt_policies(config):
        help_ = "tokens are refused with 503 until the keys can be fetched"
        here = f"policies.{name}.auth.jwt"
        if jwt.keys is not None and jwt.keys.jwks is not None:
            yield from url_place(f"{here}.keys.jwks", jwt.keys.jwks, help_)
        for index, issuer in enumerate(jwt.issuer if jwt.keys is None else ()):
            yield from url_place(f"{here}.issuer[{index}]", issuer, help_)


def url_place(path: str, url: str, help_: str) -> Iterable[Place]:
    parts = urlsplit(url)
    if parts.hostname:
        yield Place(path, Address(parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)), help=help_)


def servers(config: Config) -> Iterable[Place]:
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
            yield Place(f"upstreams.{name}.servers[{index}].address", server.address, by)


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
    """Whether the access log's file could be opened; it is not, since that would make it. A syslog daemon may come later; datagrams tell
    nothing of who takes them."""
    to = config.log.access.to if config.log.access is not None else "stdout"
    if not is_file(to):
        return list(check_syslog(to))
    place = to if os.path.exists(to) else os.path.dirname(to) or "."
    if os.access(place, os.W_OK) and (place == to or os.path.isdir(place)):
        return []
    reason = "no permission to write there" if os.path.exists(place) else f"there is no folder `{place}`"
    return [Diagnostic(LOG_FAILED.code, f"cannot open the access log {to}: {reason}", help=LOG_FAILED.help, path="log.access.to")]


def check_syslog(to: str) -> Iterable[Diagnostic]:
    """Of those on this machine, whether the socket is there."""
    receiver = syslog_of(to)
    if receiver is not None and receiver.is_unix and not Path(receiver.path).is_socket():
        message = f"no syslog daemon has a socket at {receiver.path}"
        help_ = "proxyd starts nevertheless; records that nobody takes are dropped and counted"
        yield Diagnostic(SERVER_DEAD.code, message, help=help_, severity="warning", path="log.access.to")


async def check_place(place: Place, turns: asyncio.Semaphore) -> list[Diagnostic]:
    path, address, by, help_ = place
    async with turns:
        try:
            await asyncio.wait_for(connect(address) if by == "tcp" else resolve(address), CONNECT_TIMEOUT_S)
        except socket.gaierror as error:
            message = f"the name `{address.host}` does not resolve: {(error.strerror or str(error)).lower()}"
            return [Diagnostic(UNRESOLVED.code, message, help="its servers count as down until it does", severity="warning", path=path)]
        except OSError as error:
            reason = os.strerror(error.errno).lower() if error.errno else "no answer"    # a TimeoutError is an OSError without a number
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
