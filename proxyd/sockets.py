"""Listening sockets: bound before anything is handed over, so that a refused address fails the start or the reload as a whole.

An address of TCP or UDP gets one SO_REUSEPORT socket an engine: the kernel spreads connections, or the datagrams of different clients, and
no queue is shared. SO_REUSEPORT alone would let a second daemon of the same user join the group and take half of the traffic silently, so
the address is first bound once without it; that bind fails when anyone else listens there.

Descriptors that were passed to us are spread over the engines. All are served, also where a process with more engines bound them: the
queue of one that is closed would be lost. Where they are fewer (a unix socket, one of a service manager, or a process with fewer engines
bound them) engines share them. A datagram socket cannot be shared, since all datagrams of a flow must reach one engine: then some have
none.
"""
from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Literal, Protocol

from proxyd.config.address import BindAddress
from proxyd.process.passed import Taken, keep_name

_SERIAL = count()    # sets apart the temporary names of one process
BACKLOG = 65_535   # the kernel cuts it to net.core.somaxconn
RECEIVE_BYTES = 4 << 20    # of a UDP socket, which holds what comes while its engine does something else; cut to net.core.rmem_max

Kind = Literal["http", "tcp", "udp"]
"""What a listener's sockets are for: HTTP, connections that are passed on as they are, datagrams. Listeners that differ in it are different
listeners, even at one address."""


def socket_kind(mode: str) -> Kind:
    """Of a listener's `mode`."""
    kinds: dict[str, Kind] = {"tcp": "tcp", "tls_passthrough": "tcp", "udp": "udp"}
    return kinds.get(mode, "http")


class BindError(Exception):
    """An address cannot be listened on. `help` is a second sentence: what to do about it ("" = nothing to say)."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.help = help


class Passed(Protocol):
    """Descriptors that were passed to us (proxyd.process.passed)."""

    def take(self, bind: BindAddress, *, datagrams: bool = False) -> Taken | None:
        """The listening descriptors (or those of datagram sockets) bound to this address, at most once; None if there is none."""


@dataclass(slots=True)
class Bound:
    """Listening (of UDP: bound), non-blocking descriptors of one address."""

    address: str               # as shown: ":8080", "127.0.0.1:8080", "unix:/run/x.sock"; with the real port where the config said 0
    fds: list[int]
    shared: bool               # they are fewer than the engines, which share them; else spread over them
    port: int = 0              # 0 for a unix socket
    file: tuple[str, int, int] | None = None     # path, device, inode of a socket file that we made
    placed: str = ""           # where the socket file belongs; "" once it is there (and for TCP)
    kind: Kind = "http"
    passed_as: str = ""        # the name under which it was passed to us; "": we opened it
    _closed: bool = field(default=False, repr=False)

    @property
    def keep_name(self) -> str:
        """The name under which its descriptors are kept or handed over."""
        return self.passed_as or keep_name(self.address, datagrams=self.kind == "udp")

    def give_away(self) -> None:
        """Another process serves here from now on: the socket file is its own."""
        self.file = None

    def close(self) -> None:
        """Close the descriptors and remove the socket file. For a Bound that never became a Listener."""
        if not self._closed:
            self._closed = True
            for fd in self.fds:
                os.close(fd)
            self.remove_file()

    def place(self) -> None:
        """Move the socket file to where clients look for it, over what lies there. OSError if the folder does not let us."""
        if self.file is not None and self.placed:
            os.rename(self.file[0], self.placed)
            self.file, self.placed = (self.placed, *self.file[1:]), ""

    def remove_file(self) -> None:
        """Remove the unix socket's file, if it is still the one that we made."""
        if self.file is not None:
            path, device, inode = self.file
            with contextlib.suppress(OSError):
                facts = os.lstat(path)
                if (facts.st_dev, facts.st_ino) == (device, inode):
                    os.unlink(path)


def open_bound(
    bind: BindAddress,
    *,
    engines: int,
    kind: Kind = "http",
    mode: int | None = None,
    exclusive: bool = True,
    passed: Passed | None = None,
    place: bool = True,
) -> Bound:
    """Bind, and listen where there is something to accept. Raises BindError.

    `mode`: permission bits of a unix socket's file (None: as the umask says). `exclusive` False leaves out the probe: the address is
    already ours, by another listener that is about to leave. `place` False leaves a unix socket beside its path, where nobody looks,
    until `Bound.place()`: what may still be taken back must not replace a file that serves.
    """
    taken = passed.take(bind, datagrams=kind == "udp") if passed is not None else None
    if taken is not None:
        return _passed_bound(bind, kind, taken, engines)
    try:
        if not bind.is_unix:
            return _open_ports(bind, kind, engines, exclusive)
        if kind == "udp":
            raise BindError(f"cannot take datagrams on {bind}: a unix socket has no port", "bind it to an address, like `:53`")
        bound = _open_unix(bind, kind, mode, exclusive)
        if place:
            _place(bound)
        return bound
    except OSError as error:
        raise _bind_error(bind, kind, error) from error


def _passed_bound(bind: BindAddress, kind: Kind, taken: Taken, engines: int) -> Bound:
    for fd in taken.fds:
        os.set_blocking(fd, False)
        sock = socket.socket(fileno=fd)    # a view on a descriptor that it must not close
        try:
            _set_up(sock, kind)
        finally:
            sock.detach()
    file = None
    if bind.is_unix and taken.kept:
        facts = os.lstat(bind.path)
        file = (bind.path, facts.st_dev, facts.st_ino)
    shared = kind != "udp" and len(taken.fds) < engines
    return Bound(str(bind), taken.fds, shared=shared, port=bind.port, file=file, kind=kind, passed_as=taken.name)


def _set_up(sock: socket.socket, kind: Kind) -> None:
    """What depends on what it is for. Accepted connections inherit TCP_NODELAY."""
    if kind == "udp":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    elif kind == "tcp" and sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _open_ports(bind: BindAddress, kind: Kind, engines: int, exclusive: bool) -> Bound:
    # With port 0 the kernel gives a free one to the first socket, and the others join it; there is nobody to exclude.
    if exclusive and bind.port:
        with contextlib.closing(_port_socket(bind, kind, reuse_port=False)):
            pass
    sockets: list[socket.socket] = []
    try:
        for _ in range(max(engines, 1)):
            sockets.append(_port_socket(bind, kind, reuse_port=True))
            bind = replace(bind, port=sockets[0].getsockname()[1])
            _set_up(sockets[-1], kind)
        # All are bound before the first listens: the kernel spreads only over those that listen.
        for sock in sockets:
            if kind != "udp":
                sock.listen(BACKLOG)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return Bound(str(bind), [sock.detach() for sock in sockets], shared=False, port=bind.port, kind=kind)


def _port_socket(bind: BindAddress, kind: Kind, *, reuse_port: bool) -> socket.socket:
    """A bound, non-blocking socket that does not listen yet."""
    family = socket.AF_INET6 if not bind.host or ":" in bind.host else socket.AF_INET
    type_ = (socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) | socket.SOCK_NONBLOCK
    try:
        sock = socket.socket(family, type_)
    except OSError:
        # A machine without IPv6 still serves ":8080".
        if bind.host:
            raise
        family = socket.AF_INET
        sock = socket.socket(family, type_)
    try:
        if kind != "udp":      # there it would let anybody bind the same address
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # `[::]:80` beside `0.0.0.0:80` must work, as with nginx; only the short form means both.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(bool(bind.host)))
        sock.bind((bind.host or ("::" if family == socket.AF_INET6 else "0.0.0.0"), bind.port))
    except OSError:
        sock.close()
        raise
    return sock


def _open_unix(bind: BindAddress, kind: Kind, mode: int | None, exclusive: bool) -> Bound:
    if exclusive:
        _refuse_living(bind)
    # Bound under another name, given its mode, and only then moved into place: nobody can connect before the mode holds, a stale
    # file is replaced in one step, and a client never meets a missing path.
    temporary = f"{bind.path}.{os.getpid():x}-{next(_SERIAL):x}"
    if len(os.fsencode(temporary)) > 107:
        temporary = os.path.join(os.path.dirname(bind.path), f".{os.getpid():x}-{next(_SERIAL):x}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        sock.bind(temporary)
        if mode is not None:
            os.chmod(temporary, mode)
        sock.listen(BACKLOG)
        facts = os.lstat(temporary)
    except OSError:
        sock.close()
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    file = (temporary, facts.st_dev, facts.st_ino)
    return Bound(str(bind), [sock.detach()], shared=True, file=file, placed=bind.path, kind=kind)


def _place(bound: Bound) -> None:
    try:
        bound.place()
    except OSError:
        bound.close()
        raise


def _refuse_living(bind: BindAddress) -> None:
    """Raise BindError when the path is not free: something else lies there, or a process serves on it. A stale socket is fine."""
    try:
        facts = os.lstat(bind.path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(facts.st_mode):
        raise BindError(f"cannot listen on {bind}: a file that is not a socket lies there", "choose another path, or remove the file")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(bind.path)
        except (ConnectionRefusedError, FileNotFoundError):
            return                      # nobody is behind it any more
        except BlockingIOError:
            pass                        # its accept queue is full: very much alive
    raise BindError(f"cannot listen on {bind}: another process serves there", "is proxyd already running? `proxyd status` tells")


def _bind_error(bind: BindAddress, kind: Kind, error: OSError) -> BindError:
    reason = (error.strerror or str(error)).lower()
    help_ = ""
    if error.errno == errno.EADDRINUSE:
        options = "-lunp" if kind == "udp" else "-ltnp"
        help_ = f"another process listens there; `ss {options} 'sport = :{bind.port}'` names it" if not bind.is_unix else ""
    elif error.errno == errno.EACCES and not bind.is_unix:
        help_ = f"ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher port than {bind.port}, or run with that capability"
    elif error.errno == errno.EADDRNOTAVAIL:
        help_ = "this machine has no such address; `ip address` lists those it has"
    elif error.errno == errno.ENOENT and bind.is_unix:
        help_ = f"make the folder first: mkdir -p {os.path.dirname(bind.path)}"
    return BindError(f"cannot listen on {bind}: {reason}", help_)


def close_all(bounds: Sequence[Bound]) -> None:
    for bound in bounds:
        bound.close()
