"""`listen`: which sockets there are, and which servers each of them leads to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from proxyd.config.address import BindAddress
from proxyd.importing.nginx.tree import Directive, Scope
from proxyd.importing.report import Report

_TLS_SHIFT = 8000  # 443 → 8443, for a TLS terminator in front


@dataclass(frozen=True, slots=True)
class Listen:
    """One address of a server."""

    address: str  # `0.0.0.0:80`, `[::]:80`, `unix:/run/x.sock`
    port: int  # 0 for a unix socket
    tls: bool
    proxy_protocol: bool
    is_default: bool
    udp: bool = False

    @property
    def any_host(self) -> bool:
        return self.address.startswith(("0.0.0.0:", "[::]:"))


@dataclass(slots=True)
class Socket:
    """Addresses that lead to the same servers."""

    binds: list[str]
    port: int
    tls: bool
    proxy_protocol: bool
    servers: list[Scope]
    default: Scope
    listens: list[Directive] = field(default_factory=list)


def parse_listen(one: Directive, *, tls: bool = False) -> Listen | None:
    """None where proxyd cannot listen there."""
    text, flags = one.first, set(one.args[1:])
    if not text.startswith("unix:"):
        text = text if not re.match(r"[0-9]+\Z", text) else f"0.0.0.0:{text}"
        text = text.replace("*:", "0.0.0.0:").replace("localhost:", "127.0.0.1:")
        text = text if re.search(r":[0-9]+\Z", text) and not text.endswith("]") else f"{text}:80"
    try:
        bind = BindAddress.parse(text)
    except ValueError:
        return None
    return Listen(
        str(bind), bind.port, tls or "ssl" in flags or "quic" in flags, "proxy_protocol" in flags,
        bool({"default_server", "default"} & flags), "udp" in flags,
    )  # fmt: skip


def sockets_of(servers: Sequence[Scope], report: Report, ports: Iterable[int]) -> list[Socket]:
    """In the order in which their addresses are met first. `ports` are those of others."""
    where: dict[tuple[str, bool], list[tuple[Scope, Listen, Directive | None]]] = {}
    for server in servers:
        for listen, directive in _listens(server, report):
            entries = where.setdefault((listen.address, listen.tls), [])
            if not any(other is server for other, _, _ in entries):
                entries.append((server, listen, directive))
    _overlapping(where, report)
    taken = {*ports} | {listen.port for entries in where.values() for _, listen, _ in entries if not listen.tls}
    found: dict[tuple[object, ...], Socket] = {}
    for (address, tls), entries in where.items():
        default = next((server for server, listen, _ in entries if listen.is_default), entries[0][0])
        first = entries[0][1]
        proxied = any(listen.proxy_protocol for _, listen, _ in entries)
        key = (tuple(id(server) for server, _, _ in entries), id(default), tls, proxied, first.port)
        directives = [directive for _, _, directive in entries if directive is not None]
        bind = _behind_tls(first.port, taken) if tls else address
        if key in found:
            found[key].binds += [bind] if bind not in found[key].binds else []
            found[key].listens += directives
        else:
            found[key] = Socket([bind], first.port, tls, proxied, [server for server, _, _ in entries], default, directives)
        if tls:
            reason = f"TLS is not there yet: the routes listen in plain HTTP on {bind}, for a terminator on this machine"
            for directive in directives:
                report.changed(directive.origin, reason, "let it add X-Forwarded-For and -Proto: it is named in `client_ip.trust`")
    for socket in found.values():
        _join_families(socket)
    return list(found.values())


def _listens(server: Scope, report: Report) -> list[tuple[Listen, Directive | None]]:
    directives = server.block.all("listen")
    ssl_on = server.first("ssl") == "on"
    if not directives:
        return [(Listen("0.0.0.0:80", 80, ssl_on, False, False), None)]
    found: list[tuple[Listen, Directive | None]] = []
    for one in directives:
        listen = parse_listen(one, tls=ssl_on)
        if listen is None:
            report.left_out(one.origin, "proxyd cannot listen there", "an address of this machine and a port")
        else:
            found.append((listen, one))
    return found


def _overlapping(where: dict[tuple[str, bool], list[tuple[Scope, Listen, Directive | None]]], report: Report) -> None:
    """nginx listens on `*:80` alone and tells addresses apart by what was connected to; two of our listeners cannot."""
    anywhere = {(entries[0][1].port, tls): address for (address, tls), entries in where.items() if entries[0][1].any_host}
    for address, tls in list(where):
        entries = where[address, tls]
        port = entries[0][1].port
        wide = anywhere.get((port, tls))
        if not port or wide is None or wide == address:
            continue
        same = [id(server) for server, _, _ in entries] == [id(server) for server, _, _ in where[wide, tls]]
        if same and entries[0][1].any_host:
            continue
        for server, _, directive in entries:
            if directive is not None:
                reason = f"it overlaps with {wide}, where its servers are found by name"
                report.changed(directive.origin, reason, "give it a port of its own")
            if not any(server is other for other, _, _ in where[wide, tls]):
                listen = next(listen for known, listen, _ in entries if known is server)
                where[wide, tls].append((server, Listen(wide, port, tls, listen.proxy_protocol, False), directive))
        del where[address, tls]


def _behind_tls(port: int, taken: set[int]) -> str:
    free = port + _TLS_SHIFT if port < 1024 else port
    while free in taken:
        free += 1
    return f"127.0.0.1:{free}" if port else "127.0.0.1:8443"


def _join_families(socket: Socket) -> None:
    """`0.0.0.0:80` and `[::]:80` together are `:80`; the latter alone takes both here."""
    both = {f"0.0.0.0:{socket.port}", f"[::]:{socket.port}"}
    if both <= set(socket.binds):
        socket.binds = [f":{socket.port}", *(bind for bind in socket.binds if bind not in both)]
