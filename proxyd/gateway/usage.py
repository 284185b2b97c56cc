"""Keeps what was used of quotas in a file, so that a restart does not give everybody a new one.

The file is written every so often and at the end, beside its name and renamed; the one before it stays as NAME.previous. It is read once,
before engines serve. A damaged one is set aside as NAME.damaged-TIME and told in the log; then the previous one counts. One that cannot be
read at all is tried again, and not overwritten before: what was counted meanwhile comes on top of it.

Periods are calendar periods in UTC, as numbers that the engines compute alike: days since 1970-01-01, weeks from Monday, months.
"""
from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxyd.config.plans import PERIODS, Period

if TYPE_CHECKING:
    from proxyd.clock import Clock
    from proxyd.gateway.consumers import ConsumerKey, Consumers
    from proxyd.tasks import Tasks

FORMAT = 1
NUMBER_MAX = 2**20 - 1       # of a period, and
USED_MAX = 2**44 - 1         # of its requests: a handle keeps both in one word
DAY = 86_400

log = logging.getLogger("proxyd.gateway")

Counts = dict["ConsumerKey", tuple[int, int]]      # (number of the period, requests in it)


class Damaged(ValueError):
    pass


def period_number(period: Period, wall: float) -> int:
    """Of the period that holds this time."""
    days = int(wall // DAY)
    if period == "day":
        return days
    if period == "week":
        return (days + 3) // 7               # 1970-01-01 was a Thursday
    date = datetime.fromtimestamp(wall, UTC)
    return date.year * 12 + date.month - 1


@dataclass(frozen=True, slots=True)
class UsageRule:
    file: Path
    every: float             # seconds


@dataclass(frozen=True, slots=True)
class UsageView:
    file: str
    every: float
    saved_at: float          # wall time; 0.0: not yet
    error: str               # of the last attempt to read or write; "" when it went well


class UsageKeeper:
    """The file of one daemon. `follow` may be called again with other settings; `close` writes for the last time."""

    def __init__(self, tasks: Tasks, clock: Clock, consumers: Consumers) -> None:
        self._tasks, self._clock, self._consumers = tasks, clock, consumers
        self._rule: UsageRule | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_over = False        # another process keeps the file
        self._loaded = False         # the file that was there is part of the counts
        self._fresh = True           # nothing has been read yet: what was counted since is not in any file
        self._written: Counts | None = None
        self._turn = threading.Lock()      # one write at a time: a thread goes on for a moment after its task was cancelled
        self._saved_at, self._error = 0.0, ""

    async def follow(self, rule: UsageRule | None) -> None:
        """Keep usage in this file from now on. When it returns, what the file holds counts. Never fails: see the head of this file."""
        if rule == self._rule or self._is_over:
            return
        await self._end()
        if rule is not None and (self._rule is None or self._rule.file != rule.file):
            self._loaded, self._written = False, None
        self._rule = rule
        if rule is not None:
            await self._load(rule)
            self._task = self._tasks.keep("usage of quotas", lambda: self._work(rule))

    async def close(self) -> None:
        """After the engines have closed."""
        await self._end()
        await self.save()

    async def save(self) -> None:
        """Write now."""
        if self._rule is not None:
            await self._save(self._rule)

    async def hand_over(self) -> None:
        """Another process has read the file and counts on: what this one still counts must not take the place of that."""
        await self.follow(None)
        self._is_over = True

    def view(self) -> UsageView | None:
        if self._rule is None:
            return None
        return UsageView(str(self._rule.file), self._rule.every, self._saved_at, self._error)

    async def _end(self) -> None:
        if self._task is not None:
            await self._tasks.cancel(self._task)
            self._task = None

    async def _work(self, rule: UsageRule) -> None:
        while True:
            await self._clock.sleep(rule.every)
            await self._save(rule)

    async def _load(self, rule: UsageRule) -> None:
        try:
            found = await asyncio.to_thread(read, rule.file, self._clock.wall())
        except OSError as error:
            self._tell(f"cannot read {rule.file}: {error.strerror or error}; it is tried again, and not overwritten")
            return
        now = self._clock.wall()
        for key, (number, used) in found.items():
            if number > period_number(key[0], now) + 1:      # it would count until that time comes
                log.warning("usage of quotas: that of %s in %s is of a time to come, and left out", key[1], rule.file)
                continue
            self._consumers.restore(key, number, used, on_top=self._fresh)
        self._loaded, self._fresh, self._error = True, False, ""

    async def _save(self, rule: UsageRule) -> None:
        if not self._loaded:
            await self._load(rule)
            if not self._loaded:
                return
        counts = current(self._consumers.usage(), self._clock.wall())
        if counts == self._written:
            return

        def work() -> None:
            with self._turn:
                write(rule.file, counts, self._clock.wall())

        try:
            await asyncio.to_thread(work)
        except OSError as error:
            self._tell(f"cannot write {rule.file}: {error.strerror or error}; a restart would forget what was used since")
            return
        self._written, self._saved_at, self._error = counts, self._clock.wall(), ""

    def _tell(self, error: str) -> None:
        """Once, not every few seconds."""
        if error != self._error:
            log.error("usage of quotas: %s", error)
        self._error = error


def current(usage: Iterable[tuple[ConsumerKey, int, int]], wall: float) -> Counts:
    """Without periods that have ended."""
    now = {period: period_number(period, wall) for period in PERIODS}
    return {key: (number, used) for key, number, used in usage if number >= now[key[0]]}


# ------------------------------------------------------------------ the file
def read(path: Path, wall: float) -> Counts:
    """What is known; nothing where there is no file. Blocks. OSError: it cannot be read. Damage is set aside, and told."""
    try:
        return parse(path.read_bytes())
    except FileNotFoundError:
        return {}
    except Damaged as error:
        aside = path.with_name(f"{path.name}.damaged-{datetime.fromtimestamp(wall, UTC):%Y%m%dT%H%M%SZ}")
        os.replace(path, aside)
        previous = _previous(path)
        try:
            found = parse(previous.read_bytes())
        except (OSError, Damaged):
            log.error("usage of quotas: %s is damaged (%s) and stands aside as %s; everybody begins with a whole quota", path, error, aside)
            return {}
        log.error("usage of quotas: %s is damaged (%s) and stands aside as %s; the one before it, %s, counts", path, error, aside, previous)
        return found


def parse(content: bytes) -> Counts:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Damaged(str(error)) from error
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("usage"), dict):
        raise Damaged("it is not a file of usage")
    return {(period, name): _count(entry) for period in PERIODS for name, entry in _section(data["usage"], period).items()}


def _section(usage: Mapping[str, Any], period: Period) -> Mapping[str, Any]:
    section = usage.get(period, {})
    if not isinstance(section, dict):
        raise Damaged(f"`{period}` is not a mapping")
    return section


def _count(entry: object) -> tuple[int, int]:
    if not isinstance(entry, list) or len(entry) != 2 or not all(type(part) is int for part in entry):
        raise Damaged("a count is not one")
    number, used = entry
    if not 0 <= number <= NUMBER_MAX or not 0 <= used <= USED_MAX:
        raise Damaged("a count is out of bounds")
    return number, used


def render(counts: Counts, wall: float) -> str:
    """The text that `parse` takes."""
    usage: dict[str, dict[str, tuple[int, int]]] = {period: {} for period in PERIODS}
    for (period, name), count in sorted(counts.items()):
        usage[period][name] = count
    return json.dumps({"format": FORMAT, "written": f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%dT%H:%M:%SZ}", "usage": usage})


def write(path: Path, counts: Counts, wall: float) -> None:
    """Replace the file. Blocks. OSError: it is as it was."""
    text = render(counts, wall)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        _keep_previous(path)
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)      # the rename itself must outlive a loss of power
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _keep_previous(path: Path) -> None:
    """A second name for what is there, so that the file never lacks. (A file system without links has no previous one.)"""
    second = path.with_name(f".{path.name}.{os.getpid()}.previous")
    with contextlib.suppress(OSError):
        second.unlink(missing_ok=True)
        os.link(path, second)
        os.replace(second, _previous(path))


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.name}.previous")
