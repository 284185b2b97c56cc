"""Listening descriptors that a service manager opened for us (sd_listen_fds(3): LISTEN_PID, LISTEN_FDS).

A listener of the config takes the passed descriptor that is bound to its address; there is no spelling of its own, so the same file
works with and without socket activation.
"""
from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from proxyd.config.address import BindAddress

FIRST_FD = 3   # SD_LISTEN_FDS_START


class PassedFds:
    """What was passed and is not taken yet."""

    __slots__ = ("_fds",)

    def __init__(self, environ: MutableMapping[str, str] | None = None, *, first: int = FIRST_FD) -> None:
        """Reads the environment and removes the variables from it, so that no child believes they are meant for it."""
        source = os.environ if environ is None else environ
        pid, count = source.pop("LISTEN_PID", ""), source.pop("LISTEN_FDS", "")
        source.pop("LISTEN_FDNAMES", None)
        self._fds: list[int] = []
        if pid == str(os.getpid()) and count.isascii() and count.isdigit():
            for fd in range(first, first + int(count)):
                os.set_inheritable(fd, False)
                self._fds.append(fd)

    def take(self, bind: BindAddress, *, datagrams: bool = False) -> int | None:
        for fd in self._fds:
            if _serves(fd, bind, datagrams):
                self._fds.remove(fd)
                return fd
        return None

    def left(self) -> tuple[int, ...]:
        """Descriptors that no listener took."""
        return tuple(self._fds)


def _serves(fd: int, bind: BindAddress, datagrams: bool) -> bool:
    """Whether `fd` is a listening stream socket (or a datagram socket) with this address."""
    # The object is a view on a descriptor that it must not close.
    sock = socket.socket(fileno=fd)
    try:
        if sock.type != (socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM):
            return False
        if not datagrams and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return False
        name = sock.getsockname()
    except OSError:
        return False
    finally:
        sock.detach()
    if not bind.is_unix:
        hosts = (bind.host,) if bind.host else ("::", "0.0.0.0")
        return isinstance(name, tuple) and name[1] == bind.port and name[0] in hosts
    return isinstance(name, str) and os.path.abspath(name) == os.path.abspath(bind.path)
