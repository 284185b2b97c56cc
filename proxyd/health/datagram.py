"""One question by UDP: sent from a connected socket, so that only the server's own datagrams (and ICMP about it) come back, and sent again
while nothing does, since datagrams get lost."""
from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxyd.health.check import Address, CheckFailed

TRIES = 3
WAITING = 64
"""Most answers that wait to be looked at; more are dropped."""

Judge = Callable[[bytes], str]
"""Looks at one answer: "" passes; other text says why not, and the next answer is waited for; `CheckFailed` ends the check."""


class _Ear(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes | Exception] = asyncio.Queue(WAITING)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._keep(data)

    def error_received(self, exc: Exception) -> None:
        self._keep(exc)

    def _keep(self, item: bytes | Exception) -> None:
        if not self.heard.full():
            self.heard.put_nowait(item)


async def ask(address: Address, question: bytes, patience: float, judge: Judge) -> None:
    """Returns once an answer passes. The question is sent again after each third of `patience`, the seconds that the caller gives the whole
    check (and holds himself)."""
    if isinstance(address, str):
        raise CheckFailed("a unix socket cannot be asked by UDP")
    loop = asyncio.get_running_loop()
    transport, ear = await loop.create_datagram_endpoint(_Ear, remote_addr=address)
    reasons: list[str] = []
    try:
        for left in range(TRIES, 0, -1):
            transport.sendto(question)
            try:
                async with asyncio.timeout(patience / TRIES if left > 1 else None):
                    return await _listen(ear, judge, reasons)
            except TimeoutError:
                continue
    except asyncio.CancelledError as cancelled:
        for reason in reasons[-1:]:
            cancelled.add_note(reason)
        raise
    finally:
        transport.close()


async def _listen(ear: _Ear, judge: Judge, reasons: list[str]) -> None:
    while True:
        item = await ear.heard.get()
        if isinstance(item, ConnectionRefusedError):
            raise CheckFailed("nobody listens on this UDP port")
        if isinstance(item, Exception):
            raise item
        reason = judge(item)
        if not reason:
            return
        reasons.append(reason)
