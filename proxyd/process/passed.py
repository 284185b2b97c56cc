"""Listening descriptors that were opened before us (sd_listen_fds(3): LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES): by a service manager's
socket units, or by a proxyd before this one, which a manager keeps (fdstore.py) or which hands over to us (upgrade.py).

A listener of the config takes all that are bound to its address; there is no spelling of its own, so the same file works with and without
them. Those of a proxyd are known by the beginning of their names: of them nobody else has an idea, so the file of a unix socket is ours to
remove, and one that no listener wants any more is closed (`close_kept`). What a socket unit passed stays, for a later config.
"""
from __future__ import annotations

import os
import socket
import urllib.parse
from collections.abc import MutableMapping
from dataclasses import dataclass

from proxyd.config.address import BindAddress

FIRST_FD = 3   # SD_LISTEN_FDS_START
KEPT = "proxyd-"
"""How the names of descriptors begin that a proxyd opened."""
MOST = 64      # descriptors of one address: as many as there can be engines


@dataclass(frozen=True, slots=True)
class Taken:
    """Descriptors of one address."""

    fds: list[int]
    name: str

    @property
    def kept(self) -> bool:
        """A proxyd opened them."""
        return self.name.startswith(KEPT)


def keep_name(address: str, *, datagrams: bool) -> str:
    """The name of the descriptors of an address: ASCII without a colon, as `FDNAME` has to be."""
    return KEPT + ("udp " if datagrams else "") + urllib.parse.quote(address)


class PassedFds:
    """What was passed and is not taken yet."""

    __slots__ = ("_closed", "_names")

    def __init__(self, environ: MutableMapping[str, str] | None = None, *, first: int = FIRST_FD) -> None:
        """Reads the environment and removes the variables from it, so that no child believes they are meant for it."""
        source = os.environ if environ is None else environ
        pid, count = source.pop("LISTEN_PID", ""), source.pop("LISTEN_FDS", "")
        names = source.pop("LISTEN_FDNAMES", "").split(":")
        self._names: dict[int, str] = {}      # by descriptor
        self._closed: set[str] = set()        # names of those that nobody can use
        if pid != str(os.getpid()) or not (count.isascii() and count.isdigit()):
            return
        sockets: set[int] = set()
        for number in range(int(count)):
            fd = first + number
            inode = os.fstat(fd).st_ino
            if inode in sockets:              # a manager that keeps what its own socket unit opened passes it twice
                os.close(fd)
                continue
            sockets.add(inode)
            os.set_inheritable(fd, False)
            self._names[fd] = names[number] if number < len(names) else ""

    def take(self, bind: BindAddress, *, datagrams: bool = False) -> Taken | None:
        """All descriptors that listen at this address (or, of datagrams, are bound to it); None: there is none."""
        # The file of a unix socket of ours got its name after it was bound: the socket knows only an earlier one.
        name = keep_name(str(bind), datagrams=datagrams)
        fds = [fd for fd in self._names if self._names[fd] == name or _serves(fd, bind, datagrams)][:MOST]
        if not fds:
            return None
        taken = Taken(fds, self._names[fds[0]])
        if bind.is_unix and taken.kept and not os.path.exists(bind.path):
            self._close(fds)                  # removed by who opened it, when it left: nobody can come here any more
            return None
        for fd in fds:
            del self._names[fd]
        return taken

    def by_name(self) -> dict[str, list[int]]:
        """What is left, by name: for a process that passes it on."""
        found: dict[str, list[int]] = {}
        for fd, name in self._names.items():
            found.setdefault(name, []).append(fd)
        return found

    def left(self) -> tuple[int, ...]:
        """Descriptors that no listener took."""
        return tuple(self._names)

    def close_kept(self) -> set[str]:
        """Close what a proxyd opened and no listener has taken, so that nobody waits in vain there. The names of all that were closed."""
        self._close([fd for fd, name in self._names.items() if name.startswith(KEPT)])
        closed, self._closed = self._closed, set()
        return closed

    def _close(self, fds: list[int]) -> None:
        for fd in fds:
            self._closed.add(self._names.pop(fd))
            os.close(fd)


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
