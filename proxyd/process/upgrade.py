"""One process takes over from another, without a connection that is refused: `proxyd upgrade`, SIGUSR2.

    the old one                                              the new one
    starts the program, with its listening sockets     →     takes a config, opens what is new in it, begins to serve
    and what operators changed (`Predecessor.handed`)        as the old one did
    stops listening, drains, leaves                    ←     READY=1   (`Predecessor.tell_ready`)

Both accept from the same sockets for a moment, so there is none in which nobody does. A new one that ends before READY, or says nothing for
`PATIENCE`, changes nothing: the old one serves on, and has its words for whoever asked. They come from a program that can speak for itself
by the socket where READY would come, and from one that cannot even begin (a broken package) by its stderr, which until then is a pipe.
"""
from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass

from proxyd.process import privileges, program
from proxyd.process.fdstore import Sockets
from proxyd.process.supervise import end_of

VARIABLE = "PROXYD_PREDECESSOR"    # "READY-FD,STDERR-FD", in the new one's environment
HANDED = "PROXYD_HANDED_OVER"      # "FD", of a file in memory; a variable of its own, since an older program may be the new one
READY = b"READY=1\n"
PATIENCE = 30.0        # seconds that the new one has until READY
LAST_WORDS = 5.0       # seconds that it then has to leave by itself
TOLD_BYTES = 16_384    # of what it said, the last ones


class UpgradeError(Exception):
    """No new process has taken over. `output`: what it wrote."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The answer to an upgrade that was made."""

    pid: int                   # that serves now
    predecessor: int           # that drains
    seconds: float             # until the new one served


class Upgrade:
    """One attempt to have a new process take over."""

    def __init__(
        self, sockets: Sockets, *, handed: bytes = b"", command: Sequence[str] | None = None, patience: float = PATIENCE
    ) -> None:
        """`handed`: what else the new one shall know (`Predecessor.handed`)."""
        self._sockets, self._handed, self._patience = sockets, handed, patience
        self._command = program.own_command() if command is None else list(command)
        self._output = bytearray()      # of its stderr

    async def run(self) -> int:
        """The process id of the new one, which serves. UpgradeError: there is none."""
        ours, theirs = socket.socketpair()
        with ours:
            try:
                with theirs:
                    child = await asyncio.to_thread(self._start, theirs.fileno())
            except OSError as error:
                raise UpgradeError(f"the new program cannot be started: {(error.strerror or str(error)).lower()}") from error
            try:
                words = await self._words(ours)
            except asyncio.CancelledError:
                child.terminate()            # we leave ourselves
                raise
        if words == READY:
            return child.pid
        message = await self._end(child, silent=words is None)
        raise UpgradeError(message, (self._output + (words or b"")).decode(errors="replace").strip())

    def _start(self, ready: int) -> subprocess.Popen[bytes]:
        privileges.renounce_as_main()
        place = program.first_free(self._sockets)
        environ = {**program.environment(), VARIABLE: f"{place},{place + 1}", HANDED: str(place + 2)}
        reading, writing = os.pipe()
        stderr, handed = os.dup(2), os.memfd_create("proxyd-handed-over")
        try:
            os.pwrite(handed, self._handed, 0)
            child = program.start(self._command, self._sockets, environ, more=[ready, stderr, handed], stderr=writing)
        except OSError:
            os.close(reading)
            raise
        finally:
            for fd in (writing, stderr, handed):
                os.close(fd)
        self._listener = threading.Thread(target=self._pass_on, args=(reading,), name="proxyd-upgrade", daemon=True)
        self._listener.start()
        return child

    def _pass_on(self, fd: int) -> None:
        """What the new one writes to stderr before it has its own goes to ours."""
        with open(fd, "rb", buffering=0) as pipe:
            while piece := pipe.read(65_536):
                self._output += piece
                del self._output[:-TOLD_BYTES]
                os.write(2, piece)

    async def _words(self, ours: socket.socket) -> bytes | None:
        """READY, or what else it says until it ends; None when it has not served in time."""
        ours.setblocking(False)
        words, loop = b"", asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._patience):
                while words != READY and (piece := await loop.sock_recv(ours, TOLD_BYTES)):
                    words += piece
        except TimeoutError:
            return None
        return words

    async def _end(self, child: subprocess.Popen[bytes], *, silent: bool) -> str:
        """See it out; why there is no upgrade."""
        if silent:
            child.terminate()
        try:
            code = await asyncio.to_thread(child.wait, LAST_WORDS)
        except subprocess.TimeoutExpired:
            child.kill()
            code = await asyncio.to_thread(child.wait)
        await asyncio.to_thread(self._listener.join, LAST_WORDS)
        if silent:
            return f"the new program did not serve within {self._patience:g} s, and was ended"
        return f"the new program ended before it served: {f'signal {-code}' if code < 0 else f'exit code {code}'}"


async def death_of(pid: int) -> str:
    """Wait for the end of the one that took over from us. How it died; "" when it left by itself, or another has buried it."""
    await end_of(pid)
    return _look_at(pid)


def _look_at(pid: int) -> str:
    """Only that: who adopts it when we have left is to see its exit code, too."""
    try:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return ""
    if ended is None or (ended.si_code, ended.si_status) == (os.CLD_EXITED, 0):
        return ""
    return f"{'exit code' if ended.si_code == os.CLD_EXITED else 'signal'} {ended.si_status}"


class Predecessor:
    """The process that we take over from, if there is one."""

    __slots__ = ("_ready", "handed")

    def __init__(self, environ: MutableMapping[str, str] | None = None) -> None:
        """Reads the environment and removes the variables from it: they are meant for us alone. From here on stderr is our own."""
        source = os.environ if environ is None else environ
        handed = source.pop(HANDED, "")
        self.handed: bytes | None = None      # None: there is no predecessor, or one that hands nothing over
        if handed:
            with open(int(handed), "rb") as file:
                self.handed = file.read()
        ready, _, stderr = source.pop(VARIABLE, "").partition(",")
        self._ready = socket.socket(fileno=int(ready)) if ready else None
        if self._ready is not None:
            self._ready.set_inheritable(False)
            os.dup2(int(stderr), 2)
            os.close(int(stderr))

    def tell_ready(self) -> None:
        """We serve: it may go."""
        self._tell(READY)

    def tell_failure(self, text: str) -> None:
        """Nothing will come of it."""
        self._tell(text.encode(errors="replace"))

    def _tell(self, words: bytes) -> None:
        if self._ready is not None:
            with self._ready as ready, contextlib.suppress(OSError):      # it may have died meanwhile: then we are needed the more
                ready.sendall(words)
            self._ready = None
