"""A daemon inside the test's own loop.

    async with running("listen: 127.0.0.1:0\\nto: ...") as daemon:
        assert (await get(port_of(daemon))).status == 200
"""
from __future__ import annotations

import contextlib
import textwrap
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from proxyd.clock import Clock
from proxyd.daemon import Daemon, ServiceFactory
from proxyd.discovery.resolver import AresResolver, Resolver


def running(
    text: str,
    *,
    threads: int = 0,
    access: str = "none",
    path: Path | None = None,
    services: Sequence[ServiceFactory] = (),
    watch: bool = False,
    clock: Clock | None = None,
    resolver: Callable[[], Resolver] = AresResolver,
) -> contextlib.AbstractAsyncContextManager[Daemon]:
    """A daemon that serves `text`; left at once at the end. With `path`, the text is written there and the daemon started from it."""
    whole = whole_config(text, threads=threads, access=access)
    if path is not None:
        path.write_text(whole)
    return _run(Daemon(path=path, text=whole if path is None else None, services=services, watch=watch, clock=clock, resolver=resolver))


@contextlib.asynccontextmanager
async def _run(daemon: Daemon) -> AsyncIterator[Daemon]:
    await daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop(now=True)
        await daemon.wait()


def whole_config(text: str, *, threads: int = 0, access: str = "none") -> str:
    """`text` with the process's settings beside it, so that a test names only what it is about."""
    return f"runtime: {{threads: {threads}}}\nlog: {{access: {access}}}\n{textwrap.dedent(text)}"


def port_of(daemon: Daemon, listener: str = "default") -> int:
    """The port that the listener's first address has."""
    address = next(entry.address for entry in daemon.listener_entries() if entry.name == listener)
    return int(address.rpartition(":")[2])
