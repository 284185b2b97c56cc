"""sd_notify(3): tells the service manager how we are. Without NOTIFY_SOCKET every call is nothing."""
from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    __slots__ = ("_address", "watchdog_seconds")

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        source = os.environ if environ is None else environ
        path = source.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        usec, pid = source.get("WATCHDOG_USEC", ""), source.get("WATCHDOG_PID", str(os.getpid()))
        # The manager kills us when it hears nothing for this long; half of it is the usual beat. 0.0 = it does not watch.
        self.watchdog_seconds = int(usec) / 1e6 if usec.isascii() and usec.isdigit() and pid == str(os.getpid()) else 0.0

    def send(self, *facts: str) -> None:
        """`send("READY=1", "STATUS=serving")`. A manager that is gone is not our trouble."""
        if self._address:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                try:
                    sock.sendto("\n".join(facts).encode(), self._address)
                except OSError:
                    return
