"""Listening sockets: bound before anything is handed over, so that a refused address fails the start or the reload as a whole.

An address of TCP gets one SO_REUSEPORT socket an engine: the kernel spreads connections and no accept queue is shared. SO_REUSEPORT
alone would let a second daemon of the same user join the group and take half of the traffic silently, so the address is first bound
once without it; that bind fails when anyone else listens there. A unix socket, and a descriptor that was passed to us, is one queue
that all engines share.
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
from typing import Protocol

from proxyd.config.address import BindAddress

_SERIAL = count()    # sets apart the temporary names of one process
BACKLOG = 65_535   # the kernel cuts it to net.core.somaxconn


class BindError(Exception):
    """An address cannot be listened on. `help` is a second sentence: what to do about it ("" = nothing to say)."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.help = help


class Passed(Protocol):
    """Descriptors that a service manager passed to us (proxyd.passed)."""

    def take(self, bind: BindAddress) -> int | None:
        """The listening descriptor bound to this address, at most once; None if there is none."""


@dataclass(slots=True)
class Bound:
    """Listening, non-blocking descriptors of one address."""

    address: str               # as shown: ":8080", "127.0.0.1:8080", "unix:/run/x.sock"; with the real port where the config said 0
    fds: list[int]
    shared: bool               # one queue for all engines
    port: int = 0              # 0 for a unix socket
    file: tuple[str, int, int] | None = None     # path, device, inode of a socket file that we made
    placed: str = ""           # where the socket file belongs; "" once it is there (and for TCP)
    _closed: bool = field(default=False, repr=False)

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
    mode: int | None = None,
    exclusive: bool = True,
    passed: Passed | None = None,
    place: bool = True,
) -> Bound:
    """Bind and listen. Raises BindError.

    `mode`: permission bits of a unix socket's file (None: as the umask says). `exclusive` False leaves out the probe: the address is
    already ours, by another listener that is about to leave. `place` False leaves a unix socket beside its path, where nobody looks,
    until `Bound.place()`: what may still be taken back must not replace a file that serves.
    """
    fd = passed.take(bind) if passed is not None else None
    if fd is not None:
        os.set_blocking(fd, False)
        return Bound(str(bind), [fd], shared=True, port=bind.port)
    try:
        if not bind.is_unix:
            return _open_tcp(bind, engines, exclusive)
        bound = _open_unix(bind, mode, exclusive)
        if place:
            _place(bound)
        return bound
    except OSError as error:
        raise _bind_error(bind, error) from error


def _open_tcp(bind: BindAddress, engines: int, exclusive: bool) -> Bound:
    # With port 0 the kernel gives a free one to the first socket, and the others join it; there is nobody to exclude.
    if exclusive and bind.port:
        with contextlib.closing(_tcp_socket(bind, reuse_port=False)):
            pass
    sockets: list[socket.socket] = []
    try:
        for _ in range(max(engines, 1)):
            sockets.append(_tcp_socket(bind, reuse_port=True))
            bind = replace(bind, port=sockets[0].getsockname()[1])
        # All are bound before the first listens: the kernel spreads only over those that listen.
        for sock in sockets:
            sock.listen(BACKLOG)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return Bound(str(bind), [sock.detach() for sock in sockets], shared=False, port=bind.port)


def _tcp_socket(bind: BindAddress, *, reuse_port: bool) -> socket.socket:
    """A bound, non-blocking TCP socket that does not listen yet."""
    family = socket.AF_INET6 if not bind.host or ":" in bind.host else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError:
        # A machine without IPv6 still serves ":8080".
        if bind.host:
            raise
        family = socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
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


def _open_unix(bind: BindAddress, mode: int | None, exclusive: bool) -> Bound:
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
    return Bound(str(bind), [sock.detach()], shared=True, file=(temporary, facts.st_dev, facts.st_ino), placed=bind.path)


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


def _bind_error(bind: BindAddress, error: OSError) -> BindError:
    reason = (error.strerror or str(error)).lower()
    help_ = ""
    if error.errno == errno.EADDRINUSE:
        help_ = f"another process listens there; `ss -ltnp 'sport = :{bind.port}'` names it" if not bind.is_unix else ""
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
