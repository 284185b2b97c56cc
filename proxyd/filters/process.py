"""A worker process, seen from the daemon: started, spoken to, ended; and its output, as lines of the daemon's log.

Not forked but executed: a fork would copy the engines' locks and descriptors. The child has its end of a socket, a pipe for what it
prints, nothing else of ours; it leads a process group of its own, so that what a filter has started ends with it.
"""
from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal, Protocol, cast

import proxyd
from proxyd.clock import Clock
from proxyd.filters.protocol import Answer, Broken, Frames, HookWord, Loaded, ProtocolError, ask, parse_answer, parse_loaded

LOAD_S = 10.0              # for a worker to start and to import the filter
EXIT_S = 1.0               # for it to leave when its socket is closed
REAP_S = 5.0               # for the kernel to end it when it is killed
POLL_S = 0.01              # between two looks whether it has
OUTPUT_S = 0.5             # for what it printed last to be read
OUTPUT_BYTES = 65_536      # that are read of what a worker prints in each second; it does not wait for us, what is more is lost
OUTPUT_LINES = 50          # of those that are logged
LINE_MAX = 1_000           # characters
# What the service manager tells the daemon: a library of the filter's that listens to it would speak for the daemon.
NOT_ITS_OWN = frozenset({"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"})
ROOT = Path(proxyd.__file__).resolve().parents[1]

GoneWord = Literal["crash", "stuck", "garbage", "closed"]

log = logging.getLogger("proxyd.filters")


class LoadFailed(Exception):
    """The filter cannot be used. The message names file and line; `trace` is the traceback, if there is one."""

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace


class Owner(Protocol):
    """Who hears of a worker. Called on the loop."""

    def on_answer(self, call: int, answer: Answer) -> None: ...
    def on_gone(self, word: GoneWord, reason: str) -> None:
        """It answers no more calls. Called once, unless `start_worker` raised."""


class Worker(Protocol):
    """What generation.py needs of a process."""

    @property
    def loaded(self) -> Loaded: ...
    @property
    def last_heard(self) -> float: ...
    @property
    def end(self) -> str: ...
    def ask(self, call: int, hook: HookWord, deadline: float, request: bytes) -> None: ...
    def kill(self, word: GoneWord, reason: str) -> None: ...
    async def close(self) -> None: ...


async def start_worker(name: str, file: Path, clock: Clock, owner: Owner) -> Worker:
    """A process that has loaded the filter. LoadFailed: it could not, and nothing is left of it."""
    process = Process(name, clock, owner)
    try:
        await process.start(file)
    except BaseException:
        await process.close()
        raise
    return process


class Process(asyncio.Protocol):
    def __init__(self, name: str, clock: Clock, owner: Owner) -> None:
        self._name, self._clock, self._owner = name, clock, owner
        self._frames = Frames()
        self._popen: subprocess.Popen[bytes] | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._output: asyncio.BaseTransport | None = None
        self._printed = _Output(name)
        self._loaded: asyncio.Future[Loaded] = asyncio.get_running_loop().create_future()
        self._unsent: list[bytes] = []
        self._gone = False
        self.last_heard = clock.monotonic()

    @property
    def loaded(self) -> Loaded:
        return self._loaded.result()

    @property
    def pid(self) -> int:
        return self._popen.pid if self._popen is not None else 0

    # ------------------------------------------------------------------ life
    async def start(self, file: Path) -> None:
        loop = asyncio.get_running_loop()
        self._popen, ours, reader = _spawn(file)
        self._output, _ = await loop.connect_read_pipe(lambda: self._printed, reader)
        await loop.create_unix_connection(lambda: self, sock=ours)
        try:
            async with asyncio.timeout(LOAD_S):
                await asyncio.shield(self._loaded)
        except TimeoutError:
            raise LoadFailed(f"{file}: it did not load within {LOAD_S:g} s") from None

    def kill(self, word: GoneWord, reason: str) -> None:
        """At once. `on_gone` is called before it returns."""
        self._signal()
        self._leave(word, reason)

    async def close(self) -> None:
        """Ask it to leave, make it, and wait until it has; some seconds at most, whatever the filter does."""
        self._gone = True
        ready = self._loaded.done()
        self._loaded.cancel()
        if self._transport is not None:
            self._transport.close()
        popen = self._popen
        if popen is not None and popen.returncode is None:
            if ready:
                await _ended(popen, EXIT_S)
            self._signal()      # before it is waited for: until then the number of its group is its own
            if await _ended(popen, REAP_S):
                popen.wait()
            else:
                log.error("filter %s: process %d does not end", self._name, popen.pid)
        if not self._printed.paused:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._printed.ended.wait(), OUTPUT_S)
        if self._output is not None:
            self._output.close()

    @property
    def end(self) -> str:
        """How the process ended, once `close` has returned: "exit status 3", "SIGSEGV"."""
        code = self._popen.returncode if self._popen is not None else None
        if code is None:
            return "unknown"
        return f"exit status {code}" if code >= 0 else signal.Signals(-code).name

    def _signal(self) -> None:
        """To it and to what it has started."""
        if self._popen is not None and self._popen.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)

    def _leave(self, word: GoneWord, reason: str) -> None:
        if self._transport is not None:
            self._transport.abort()
        if not self._loaded.done():
            self._loaded.set_exception(LoadFailed(reason))
            self._gone = True
        if not self._gone:
            self._gone = True
            self._owner.on_gone(word, reason)

    # ------------------------------------------------------------------ what is said
    def ask(self, call: int, hook: HookWord, deadline: float, request: bytes) -> None:
        # Engines ask in bursts; one system call takes them all. (The worker answers one by one: behind an answer may come an endless call.)
        self._unsent.append(ask(call, hook, deadline, request))
        if len(self._unsent) == 1:
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(unsent))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)     # those of uvloop are no subclasses

    def data_received(self, data: bytes) -> None:
        self.last_heard = self._clock.monotonic()
        try:
            for kind, call, body in self._frames.feed(data):
                if self._loaded.done():
                    self._owner.on_answer(call, parse_answer(kind, body))
                else:
                    self._on_loaded(parse_loaded(kind, body))
        except ProtocolError as error:
            self.kill("garbage", f"it wrote to the descriptor of its worker: {error}")

    def _on_loaded(self, told: Loaded | Broken) -> None:
        if isinstance(told, Broken):
            self._gone = True
            self._loaded.set_exception(LoadFailed(told.message, told.trace))
        else:
            self._loaded.set_result(told)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._gone:
            self._signal()      # its socket is closed: nothing of it is of use, if it should still live
            self._leave("crash", "its process ended")


def _spawn(file: Path) -> tuple[subprocess.Popen[bytes], socket.socket, IO[bytes]]:
    """The process, our end of its socket, and what it prints. LoadFailed: there can be none.

    To be called on the loop's thread: the kernel's "die with the parent" means the thread that has started the child. It takes about a
    millisecond (vfork: nothing of our memory is copied, however large the cache is).
    """
    try:
        ours, theirs = socket.socketpair()
        reader, writer = map(_opened, os.pipe(), ("rb", "wb"))
    except OSError as error:
        raise LoadFailed(f"a worker process cannot be started: {error}") from error
    os.set_blocking(writer.fileno(), False)        # it does not wait for us, and loses what it has no room for
    command = [sys.executable, "-m", "proxyd.filters.worker", str(theirs.fileno()), str(os.getpid()), str(file)]
    with theirs, writer:
        try:
            popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer, pass_fds=(theirs.fileno(),), cwd=ROOT,
                start_new_session=True, env={name: value for name, value in os.environ.items() if name not in NOT_ITS_OWN},
            )
        except OSError as error:
            ours.close()
            reader.close()
            raise LoadFailed(f"a worker process cannot be started: {error}") from error
    return popen, ours, reader


def _opened(number: int, mode: str) -> IO[bytes]:
    return cast("IO[bytes]", open(number, mode, buffering=0))


async def _ended(popen: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether it ends in time; it is left for `popen.wait` to take its status."""
    end = time.monotonic() + seconds
    while not _has_ended(popen.pid):
        if time.monotonic() >= end:
            return False
        await asyncio.sleep(POLL_S)
    return True


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class _Output(asyncio.Protocol):
    """The reading end of what a worker prints."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rest = b""
        self._read = self._lines = self._dropped = 0
        self._waking: asyncio.TimerHandle | None = None
        self._transport: asyncio.ReadTransport | None = None
        self.ended = asyncio.Event()
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.ReadTransport, transport)     # those of uvloop are no subclasses

    def data_received(self, data: bytes) -> None:
        if self._waking is None:
            self._waking = asyncio.get_running_loop().call_later(1.0, self._on_second)
        self._read += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[: 4 * LINE_MAX]
        for line in lines:
            self._tell(line.decode("utf-8", "replace"))
        if self._read >= OUTPUT_BYTES and self._transport is not None:
            self._transport.pause_reading()
            self.paused = True

    def _tell(self, line: str) -> None:
        self._lines += 1
        if self._lines > OUTPUT_LINES:
            self._dropped += 1
            return
        level = logging.INFO
        if line[:1] == "<" and line[2:3] == ">":        # sd-daemon(3)
            level = {"3": logging.ERROR, "4": logging.WARNING}.get(line[1], logging.INFO)
            line = line[3:]
        shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line[:LINE_MAX].expandtabs())
        log.log(level, "filter %s: %s", self._name, shown)

    def _on_second(self) -> None:
        if self._dropped:
            log.info("filter %s: … %d more lines", self._name, self._dropped)
        self._read = self._lines = self._dropped = 0
        self._waking = None
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self.paused = False

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self.ended.set()
        if self._waking is not None:
            self._waking.cancel()
        if self._rest:
            self._tell(self._rest.decode("utf-8", "replace"))
