"""A small service manager for one proxyd, where there is no other (a container, a shell): `proxyd run --supervise`.

It speaks to its child as systemd would (sd_notify(3), sd_listen_fds(3)), and knows as little of proxyd: it keeps the listening sockets that
the child gives it, starts another child with them when one dies, and passes signals on. A connection that comes between two children waits
in the queue of a kept socket. At an upgrade the child names another process as the main one (MAINPID); that one is adopted when its parent
leaves (PR_SET_CHILD_SUBREAPER).

It ends with its child: when that ends by itself (code 0), was told to, or has never served, since what it says about its config will not
change by repetition. It never gives up otherwise: a child is started at once, one that dies again and again after 100 ms, 200 ms ... 10 s.
"""
from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

from proxyd.clock import Clock, SystemClock
from proxyd.process import program
from proxyd.process.notify import Notifier
from proxyd.process.passed import PassedFds

PR_SET_CHILD_SUBREAPER = 36
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
LEAVING = (signal.SIGTERM, signal.SIGINT)
BACKOFF_FIRST, BACKOFF_MAX = 0.1, 10.0     # seconds
STEADY = 10.0          # seconds that a child has lived when its death counts as the first one
MESSAGE_BYTES = 65_536
PID_DIGITS = 9
FDS_A_MESSAGE = 253    # SCM_MAX_FD of the kernel
CREDENTIALS = struct.Struct("3i")          # struct ucred: pid, uid, gid
OUR_OWN = ("FDSTORE", "FDSTOREREMOVE", "FDNAME", "FDPOLL", "MAINPID")
"""What a child says to us and not to our own manager."""

log = logging.getLogger("proxyd.process")


class KeptSockets:
    """Descriptors that children have given us, by name. The same socket is kept once."""

    def __init__(self) -> None:
        self.by_name: dict[str, list[int]] = {}

    def add(self, name: str, fds: Sequence[int]) -> None:
        inodes = {os.fstat(fd).st_ino for kept in self.by_name.values() for fd in kept}
        for fd in fds:
            if os.fstat(fd).st_ino in inodes:
                os.close(fd)
            else:
                self.by_name.setdefault(name, []).append(fd)

    def remove(self, name: str) -> None:
        for fd in self.by_name.pop(name, ()):
            os.close(fd)

    def close(self) -> None:
        for name in list(self.by_name):
            self.remove(name)


class Supervisor:
    def __init__(self, command: Sequence[str], clock: Clock | None = None) -> None:
        """`command` starts a child that speaks the protocol."""
        self._command, self._clock = list(command), clock or SystemClock()
        self._manager = Notifier()               # ours, if we have one
        self._kept = KeptSockets()
        for name, fds in PassedFds().by_name().items():
            self._kept.add(name, fds)
        self._main = 0                           # process id of the child that serves; 0: none
        self._code: int | None = None            # that it ended with
        self.served = self._told = False         # some child has been ready; we were told to leave
        self._moved = asyncio.Event()            # _main has changed, or _told

    async def run(self) -> int:
        """Supervise until it is over; the exit code."""
        adopt_orphans()
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as notify:
            notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            notify.bind("")                      # the kernel finds an abstract name
            loop.add_reader(notify, self._on_message, notify)
            for number in FORWARDED:
                loop.add_signal_handler(number, self._on_signal, number)
            loop.add_signal_handler(signal.SIGCHLD, self._reap)
            try:
                return await self._supervise("@" + notify.getsockname()[1:].decode())
            finally:
                for number in (*FORWARDED, signal.SIGCHLD):
                    loop.remove_signal_handler(number)
                loop.remove_reader(notify)
                self._kept.close()

    async def _supervise(self, notify: str) -> int:
        environ, deaths = program.environment(), 0
        while True:
            began = self._clock.monotonic()
            self._main, self._code = program.start(self._command, self._kept.by_name, environ | {"NOTIFY_SOCKET": notify}).pid, None
            code = await self._end_of_main()
            if self._told or code == 0 or (code > 0 and not self.served):
                return code if code >= 0 else 128 - code
            deaths = deaths + 1 if self._clock.monotonic() - began < STEADY else 1
            wait = min(BACKOFF_FIRST * 2.0 ** (deaths - 2), BACKOFF_MAX) if deaths > 1 else 0.0
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            again = f" in {wait:g} s: the {deaths}. time in a row, and it will be started however often it dies" if wait else ""
            log.error("process %d ended: %s; another one is started%s", self._main, how, again)
            self._main = 0
            if wait and await self._told_within(wait):
                return 0

    async def _end_of_main(self) -> int:
        """Wait for the process that is the main one to end, also when another one becomes it meanwhile. Its exit code, -N for a signal; of
        one that its own parent has buried nobody tells, and it counts as killed."""
        while True:
            pid = self._main
            self._moved.clear()
            ended, moved = asyncio.ensure_future(end_of(pid)), asyncio.ensure_future(self._moved.wait())
            await asyncio.wait({ended, moved}, return_when=asyncio.FIRST_COMPLETED)
            over = ended.done()
            for future in (ended, moved):
                future.cancel()
            self._reap()
            if over and pid == self._main:
                return -signal.SIGKILL if self._code is None else self._code

    def _reap(self) -> None:
        """Bury all children that have ended, also those that we adopted."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid == self._main:
                    self._code = os.waitstatus_to_exitcode(status)

    async def _told_within(self, seconds: float) -> bool:
        sleep, moved = asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(self._moved.wait())
        await asyncio.wait({sleep, moved}, return_when=asyncio.FIRST_COMPLETED)
        for future in (sleep, moved):
            future.cancel()
        return self._told

    # ------------------------------------------------------------------ what it hears
    def _on_signal(self, number: signal.Signals) -> None:
        if number in LEAVING:
            self._told = True
            self._kept.close()       # whoever comes from now on is refused at once, instead of waiting for nobody
            self._moved.set()
        if self._main:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._main, number)

    def _on_message(self, notify: socket.socket) -> None:
        room = socket.CMSG_SPACE(CREDENTIALS.size) + socket.CMSG_SPACE(4 * FDS_A_MESSAGE)
        try:
            text, control, _, _ = notify.recvmsg(MESSAGE_BYTES, room, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        sender, fds = read_control(control)
        facts = dict(line.partition("=")[::2] for line in text.decode(errors="replace").splitlines())
        known = is_descendant(sender)
        if known and not self._told and "FDSTORE" in facts:
            self._kept.add(facts.get("FDNAME", "stored"), fds)
        else:
            for fd in fds:
                os.close(fd)
        if known:
            self._on_facts(facts, facts.get("FDNAME", "stored"))

    def _on_facts(self, facts: dict[str, str], name: str) -> None:
        if "FDSTOREREMOVE" in facts:
            self._kept.remove(name)
        if facts.get("READY") == "1":
            self.served = True
        if facts.get("STOPPING") == "1":
            self._kept.close()
        pid = maybe_pid(facts.get("MAINPID", ""))
        if pid:
            self._main, self._code = pid, None
            self._moved.set()
        passed_on = [f"{key}={value}" for key, value in facts.items() if key not in OUR_OWN]
        if passed_on:
            self._manager.send(*passed_on)


def maybe_pid(text: str) -> int:
    """A process that signals may go to: one below us, or one that has ended meanwhile. 0: it is none.

    Our child may have given up root's rights, which we still have: it must not send them to a process of its choice.
    """
    if not (text.isascii() and text.isdigit()) or len(text) > PID_DIGITS or int(text) <= 1 or int(text) == os.getpid():
        return 0
    return int(text) if is_descendant(int(text)) or not Path(f"/proc/{int(text)}").exists() else 0


def adopt_orphans() -> None:
    """Become the parent of processes below us whose own parent leaves."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


async def end_of(pid: int) -> None:
    """Wait until a process has ended, whoever's child it is."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)


def read_control(control: Sequence[tuple[int, int, bytes]]) -> tuple[int, list[int]]:
    """The sender's process id (0: unknown) and the descriptors of a message."""
    sender, fds = 0, list[int]()
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            sender = CREDENTIALS.unpack(data[:CREDENTIALS.size])[0]
        elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds += struct.unpack(f"{len(data) // 4}i", data[:len(data) // 4 * 4])
    return sender, fds


def is_descendant(pid: int) -> bool:
    """Whether a process is below us: anybody on the machine can send to an abstract socket."""
    while pid > 1 and pid != os.getpid():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return False
        pid = int(stat.rpartition(")")[2].split()[1])
    return pid == os.getpid()
