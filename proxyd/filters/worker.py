"""The program of a worker process: loads one filter, answers the calls that the daemon sends. Started by `proxyd.filters.process`.

It lives as long as the daemon's end of its socket is open, whatever signals are sent to the group of processes; the kernel kills it when
the daemon dies. User code runs on the one event loop here. A coroutine that is over its time is cancelled; a function that does not return
keeps this process from answering, and the daemon kills it.
"""
from __future__ import annotations

import asyncio
import ctypes
import gc
import inspect
import io
import logging
import os
import signal
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import uvloop

from proxyd.filters.protocol import (
    ASK_REQUEST,
    ASK_RESPONSE,
    Broken,
    Failure,
    Frames,
    Loaded,
    answer,
    broken,
    failed,
    parse_ask,
    parse_payload,
    ready,
)
from proxyd.filters.source import Source, SourceError, files_of, load_source, told, trace_of

MODULE = "proxyd_filter"
BEGIN_AT_ONCE = 4         # calls a turn of the loop, so that answers leave between functions that take long
STUBBORN_AFTER = 1.0      # seconds after which a cancelled call counts as one that does not end
STUBBORN_MAX = 32         # of those: then the process ends
TRACE_PAUSE = 1.0         # seconds between two tracebacks: they cost more than most filters
ASK_MAX = 16_777_216
EXIT_BROKEN = 70
EXIT_STUBBORN = 71
EXIT_ORPHANED = 72
PR_SET_PDEATHSIG = 1


class Worker(asyncio.Protocol):
    """The worker's end of the socket."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._folder = str(source.path.parent)
        self._frames = Frames(ASK_MAX)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._running: dict[int, tuple[asyncio.Task[None], asyncio.TimerHandle]] = {}
        self._arrived: deque[tuple[int, int, bytes]] = deque()
        self._stubborn: set[asyncio.Task[None]] = set()
        self._traced = float("-inf")
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)     # those of uvloop are no subclasses
        self._transport.write(ready(Loaded(frozenset(self._source.hooks), files_of(self._source))))

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set()

    def data_received(self, data: bytes) -> None:
        idle = not self._arrived
        self._arrived += self._frames.feed(data)
        if idle and self._arrived:
            self._begin_some()

    def _begin_some(self) -> None:
        for _ in range(min(BEGIN_AT_ONCE, len(self._arrived))):
            kind, call, body = self._arrived.popleft()
            if kind in (ASK_REQUEST, ASK_RESPONSE):
                self._begin(kind, call, body)
        if self._arrived:
            self._loop.call_soon(self._begin_some)

    def _begin(self, kind: int, call: int, body: bytes) -> None:
        deadline = parse_ask(kind, body)[1]
        left = deadline - time.monotonic()
        if left <= 0:       # it lay in the socket while a call before it did not let go
            self._send(failed(call, Failure("timeout", "it waited for its turn until its time was over")))
            return
        task = self._loop.create_task(self._run(kind, call, body))
        self._running[call] = task, self._loop.call_later(left, self._on_overrun, call)

    async def _run(self, kind: int, call: int, body: bytes) -> None:
        hook, _, payload = parse_ask(kind, body)
        try:
            function = self._source.hooks.get(hook)
            request, response = parse_payload(payload)
            result = None if function is None else function(request) if hook == "request" else function(request, response)
            if inspect.isawaitable(result):
                result = await result
            frame = answer(call, hook, result)
        except BaseException as error:      # SystemExit, too: a filter does not end its worker
            frame = failed(call, Failure("error", f"on_{hook}: {told(error, self._folder)}", self._trace(error)))
        began = self._running.pop(call, None)
        if began is not None:               # else its time was over, and that has been told
            began[1].cancel()
            self._send(frame)

    def _on_overrun(self, call: int) -> None:
        task, _ = self._running.pop(call)
        self._send(failed(call, Failure("timeout", "it took longer than its `timeout` and was cancelled")))
        task.cancel()
        self._loop.call_later(STUBBORN_AFTER, self._look_after, task)

    def _look_after(self, task: asyncio.Task[None]) -> None:
        if task.done():
            return
        self._stubborn.add(task)
        task.add_done_callback(self._stubborn.discard)
        if len(self._stubborn) > STUBBORN_MAX:
            sys.stderr.write("<3>too many cancelled calls do not end\n")
            os._exit(EXIT_STUBBORN)

    def _trace(self, error: BaseException) -> str:
        now = time.monotonic()
        if now - self._traced < TRACE_PAUSE:
            return ""
        self._traced = now
        return trace_of(error, str(self._source.path))

    def _send(self, frame: bytes) -> None:
        if self._transport is not None:
            self._transport.write(frame)


async def serve(sock: socket.socket, path: Path) -> None:
    """Load the filter, on the running loop, so that clients it makes at its top belong to that; then answer until the daemon closes."""
    try:
        source = load_source(path, MODULE)
    except SourceError as error:
        sock.setblocking(True)
        sock.sendall(broken(Broken(str(error), error.trace)))
        os._exit(EXIT_BROKEN)
    gc.collect()
    gc.freeze()
    _, worker = await asyncio.get_running_loop().create_unix_connection(lambda: Worker(source), sock=sock)
    await worker.closed.wait()
    # Not by returning: tasks of the filter's own, threads and what is registered at exit have no say in it.
    os._exit(0)


def _live_with(parent: int) -> None:
    """Die with the daemon, and by nothing that is meant for it: a service manager sends SIGTERM to all processes of a group, a terminal
    SIGINT, while requests are still being drained."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(EXIT_ORPHANED)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    # The kernel, out of memory, chooses the worker and not the daemon.
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def _set_up_output() -> None:
    """Lines to the daemon's log through a pipe that nobody has to wait for: it does not block, and what it has no room for is lost."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        raw = cast(Any, io.FileIO(number, "wb", closefd=False))    # not buffered: a buffer would raise where the pipe is full
        stream = io.TextIOWrapper(raw, "utf-8", "replace", line_buffering=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[_LogHandler()])


class _LogHandler(logging.Handler):
    """Each record as lines that begin with their priority, as sd-daemon(3) has it."""

    def emit(self, record: logging.LogRecord) -> None:
        priority = 3 if record.levelno >= logging.ERROR else 4 if record.levelno >= logging.WARNING else 6
        sys.stderr.write("".join(f"<{priority}>{line}\n" for line in self.format(record).splitlines()))


def main() -> None:
    """Arguments: descriptor of the socket, process id of the daemon, the filter's file (absolute)."""
    number, parent, file = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    _live_with(parent)
    os.set_inheritable(number, False)
    sock = socket.socket(fileno=number)
    _set_up_output()
    sys.dont_write_bytecode = True
    if sys.path[0] == os.getcwd():
        del sys.path[0]       # `-m` has put it there, and the daemon had chosen it for this module to be found
    os.chdir(file.parent)
    sys.argv[:] = [str(file)]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(sock, file))


if __name__ == "__main__":
    main()
