"""What the service manager keeps for us: every listening socket of the config that serves, so that after a crash the next process finds
them, with whoever came meanwhile in their queues (FileDescriptorStoreMax= of systemd.service(5); proxyd/process/supervise.py)."""
from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from proxyd.process.notify import Notifier
from proxyd.process.passed import KEPT
from proxyd.sockets import Bound

Sockets = Mapping[str, Sequence[int]]
"""Descriptors by the names under which they are kept and handed over."""


def sockets_of(bounds: Iterable[Bound]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for bound in bounds:
        found.setdefault(bound.keep_name, []).extend(bound.fds)
    return found


class FdStore:
    """What it has been given, and what changes about that."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._kept: dict[str, list[int]] = {}      # name -> inodes of its sockets

    def follow(self, sockets: Sockets, gone: Iterable[str] = ()) -> None:
        """Keep these and no others (but for those of the manager's own socket units, which it has anyway). `gone`: names that a process
        before us has left there."""
        sockets = {name: fds for name, fds in sockets.items() if name.startswith(KEPT)}
        wanted = {name: [os.fstat(fd).st_ino for fd in fds] for name, fds in sockets.items()}
        for name in {*gone, *(name for name, inodes in self._kept.items() if wanted.get(name) != inodes)}:
            self._notifier.forget(name)
        for name, fds in sockets.items():
            if self._kept.get(name) != wanted[name]:
                self._notifier.keep(name, fds)
        self._kept = wanted
