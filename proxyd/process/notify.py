"""sd_notify(3): tells the service manager how we are, and gives it descriptors to keep. Without NOTIFY_SOCKET every call is nothing."""
from __future__ import annotations

import os
import socket
from array import array
from collections.abc import Mapping, Sequence

FDS_A_MESSAGE = 253    # SCM_MAX_FD of the kernel
PATIENCE = 0.2         # seconds that a manager may take to make room for a message


class Notifier:
    __slots__ = ("_address", "watchdog_seconds")

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        source = os.environ if environ is None else environ
        path = source.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        usec, pid = source.get("WATCHDOG_USEC", ""), source.get("WATCHDOG_PID", str(os.getpid()))
        # The manager kills us when it hears nothing for this long; half of it is the usual beat. 0.0 = it does not watch.
        self.watchdog_seconds = int(usec) / 1e6 if usec.isascii() and usec.isdigit() and pid == str(os.getpid()) else 0.0

    @property
    def watches_children(self) -> bool:
        """Whether the manager hears of deaths as a parent does, and of no others: systemd, whose socket has a path. Our own supervisor,
        whose socket has none, watches whoever is named to it."""
        return self._address.startswith("/")

    def send(self, *facts: str, fds: Sequence[int] = ()) -> bool:
        """`send("READY=1", "STATUS=serving")`. A manager that is gone is not our trouble. Whether it was told."""
        if not self._address:
            return False
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))] if fds else []
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(PATIENCE)
            try:
                sock.sendmsg(["\n".join(facts).encode()], rights, 0, self._address)
            except OSError:
                return False
        return True

    def keep(self, name: str, fds: Sequence[int]) -> None:
        """Let the manager keep descriptors under a name and pass them to the process after us, if this one dies."""
        for start in range(0, len(fds), FDS_A_MESSAGE):
            self.send("FDSTORE=1", f"FDNAME={name}", "FDPOLL=0", fds=fds[start:start + FDS_A_MESSAGE])

    def forget(self, name: str) -> None:
        """Let it close what it keeps under the name."""
        self.send("FDSTOREREMOVE=1", f"FDNAME={name}")

    def mute(self) -> None:
        """Another process speaks for the service from now on."""
        self._address, self.watchdog_seconds = "", 0.0
