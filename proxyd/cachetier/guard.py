"""Every operation on the tier passes here: a deadline, a bound on how many are under way, and the circuit."""
from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from proxyd.cachetier.counters import TierCounters
from proxyd.cachetier.settings import TierSettings
from proxyd.cachetier.tier import TierError, TooLarge, WrongAnswer
from proxyd.circuit import Circuit

T = TypeVar("T")
Why = Literal["skipped", "timeout", "error", "wrong", "refused"]

_log = logging.getLogger("proxyd.cachetier")


class NotDone(Exception):
    """The operation came to nothing. `why`: not even tried, out of time, failed, answered nonsense, or only this item was refused."""

    def __init__(self, why: Why, reason: str) -> None:
        super().__init__(reason)
        self.why: Why = why


class Guard:
    __slots__ = ("_counters", "_on_open", "_settings", "_slots", "circuit", "last_error")

    def __init__(self, settings: TierSettings, circuit: Circuit, counters: TierCounters, on_open: Callable[[], None]) -> None:
        self._on_open = on_open
        self._settings = settings
        self._counters = counters
        self._slots = asyncio.Semaphore(settings.concurrency)
        self.circuit = circuit
        self.last_error = ""

    async def run(self, operation: Callable[[], Awaitable[T]], *, probe: bool = False, reserved: bool = False) -> T:
        """Raises NotDone. `probe`: try although the circuit is open. `reserved`: not bounded, since others may be waiting for it."""
        if self.circuit.open and not probe:
            raise NotDone("skipped", "the circuit is open")
        allowed = self._settings.timeout_s
        self._counters.operations += 1
        try:
            async with asyncio.timeout(allowed), contextlib.nullcontext() if reserved else self._slots:
                found = await operation()
        except TimeoutError as error:
            self.failed(f"no answer within {allowed * 1000:g} ms")
            raise NotDone("timeout", self.last_error) from error
        except TooLarge as error:
            self.circuit.succeeded()
            raise NotDone("refused", str(error)) from error
        except TierError as error:
            self.failed(str(error))
            raise NotDone("wrong" if isinstance(error, WrongAnswer) else "error", self.last_error) from error
        except Exception as error:
            # Client libraries have their own ways to trip over nonsense; to those who ask it is one more failure.
            self.failed(f"{type(error).__name__}: {error}")
            raise NotDone("wrong", self.last_error) from error
        if self.circuit.open:
            _log.info("the shared cache tier works again")
        self.circuit.succeeded()
        return found

    def failed(self, reason: str) -> None:
        """An operation failed, or what it brought turned out to be wrong."""
        self._counters.failures += 1
        self.last_error = reason
        if self.circuit.failed():
            self._counters.circuit_opened += 1
            self._on_open()
            _log.warning("the shared cache tier is left alone for %g s: %s; memory works on", self._settings.circuit_open_s, reason)
