"""The access log: where the native writer puts records, as which lines, and when a file is another one."""
from __future__ import annotations

import asyncio
import logging
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from proxyd.config.address import Address
from proxyd.config.log import STANDARD, hidden_fields, hidden_parameters, syslog_of
from proxyd.logs.rotation import Rotation
from proxyd.state import DaemonError, LogEntry
from proxyd_ext.log import AccessLog, Rules

if TYPE_CHECKING:
    from proxyd.config.model import AccessLog as AccessConfig
    from proxyd.config.model import Config

Format = Literal["json", "combined", "haproxy", "logfmt", "pretty"]
Frame = Literal["none", "file", "local", "rfc5424"]

LOCAL_SYSLOG = ("/dev/log", "/run/systemd/journal/syslog")
NOTHING = LogEntry("access", 0, 0)

log = logging.getLogger("proxyd.logs")


@dataclass(frozen=True, slots=True)
class LogWanted:
    """What a config wants of the access log. While that stays the same, a reload leaves the log alone."""

    access: AccessConfig | None      # None: no access log, and the records are for the tap alone
    parameters: tuple[str, ...]      # of queries, with credentials in them: hidden whatever `redact` says

    @classmethod
    def of(cls, config: Config) -> LogWanted:
        names: set[str] = set()
        for policy in config.policies.values():
            auth = policy.auth
            if auth is not None:
                places = (auth.api_key.query if auth.api_key else None, auth.jwt.query if auth.jwt else None)
                names.update(name for name in places if name is not None)
        return cls(config.log.access, tuple(sorted(names)))

    def format(self, fd: int) -> Format:
        if self.access is None:
            return "json"
        if self.access.format == "auto":
            return "pretty" if os.isatty(fd) else "json"
        return self.access.format

    def frame(self) -> Frame:
        """What stands in front of each line. A service manager's journal puts its own there."""
        if self.access is None:
            return "none"
        if self.access.to == "syslog":
            return "local"
        if syslog_of(self.access.to) is not None:
            return "rfc5424"
        journal = self.access.to in STANDARD and "JOURNAL_STREAM" in os.environ
        return "file" if self.access.format == "haproxy" and not journal else "none"

    def rules(self) -> Rules:
        access = self.access
        if access is None:
            return Rules(parameters=self.parameters)
        slow = access.sample.slower_than
        return Rules(
            keep=access.sample.shares(),
            slow_us=int(slow) * 1_000 if slow else None,
            hide=hidden_fields(access.redact),
            parameters={*self.parameters, *hidden_parameters(access.redact)},
            frame=self.frame(),
            machine=socket.gethostname(),
        )


@dataclass(slots=True)
class AccessSink:
    """A native writer of access records. When the config wants something else, another takes its place."""

    log: AccessLog
    wanted: LogWanted
    rotation: Rotation | None = None
    trouble: str = ""              # with the rotation, told already
    before: AccessSink | None = None     # whose place it has taken, while that one still closes
    counted: LogEntry = NOTHING    # by all that have closed

    @classmethod
    def open(cls, wanted: LogWanted, engines: int) -> AccessSink:
        """Start the writer. DaemonError when the target cannot be opened."""
        access = wanted.access
        fd = open_target(access.to) if access is not None else -1
        try:
            color = fd >= 0 and os.isatty(fd) and "NO_COLOR" not in os.environ
            writer = AccessLog(fd, wanted.format(fd), engines, color=color, rules=wanted.rules())
        finally:
            if fd >= 0:
                os.close(fd)       # the writer has its own duplicate
        writer.start()
        if access is None or access.rotate is None:
            return cls(writer, wanted)
        return cls(writer, wanted, Rotation(Path(access.to), access.rotate))

    def reopen(self) -> None:
        """Open the target by its name again (after a rotation). DaemonError leaves the old file in use."""
        if self.wanted.access is None:
            return
        fd = open_target(self.wanted.access.to)
        try:
            self.log.reopen(fd)
        finally:
            os.close(fd)

    async def rotate(self, wall: float) -> None:
        """Begin another file if it is time to."""
        if self.rotation is None:
            return
        try:
            await asyncio.to_thread(self._rotate, self.rotation, wall)    # a disk may take its time
        except (DaemonError, OSError) as error:
            self._tell(str(error))
        else:
            self._tell("")

    def _rotate(self, rotation: Rotation, wall: float) -> None:
        if rotation.is_due(wall):
            rotation.put_aside()
            self.reopen()
            rotation.begin(wall)

    def _tell(self, trouble: str) -> None:
        """Once, not with every look at the file."""
        if trouble and trouble != self.trouble:
            log.error("the access log is not rotated: %s", trouble)
        self.trouble = trouble

    def close(self) -> None:
        """Write what was submitted, and end; a sink that takes nothing is waited for two seconds."""
        self.log.stop()

    def follow(self, before: AccessSink) -> None:
        """Go on with the counts of the one whose place this takes; `forget` it when it has closed."""
        self.before = before

    def forget(self) -> None:
        if self.before is not None:
            self.counted, self.before = self.before.entry(), None

    def entry(self) -> LogEntry:
        """What this one, and all before it, did with records."""
        counted = self.counted if self.before is None else self.before.entry()
        return LogEntry(
            "access", counted.written + self.log.written, counted.dropped + self.log.dropped, counted.sampled_out + self.log.sampled_out
        )

    def entries(self) -> tuple[LogEntry, ...]:
        """None where there never was an access log."""
        entry = self.entry()
        return (entry,) if self.wanted.access is not None or entry != NOTHING else ()


def open_target(to: str) -> int:
    """A descriptor of one's own for a target of `log.access`. The caller closes it."""
    if to in STANDARD:
        return os.dup(1 if to == "stdout" else 2)
    try:
        if to == "syslog":
            return _connect_local()
        receiver = syslog_of(to)
        if receiver is not None:
            return _connect(receiver)
        # O_NONBLOCK for the opening only: a pipe that nobody reads must be refused, not waited for.
        fd = os.open(to, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | _as_root(to), 0o640)
        os.set_blocking(fd, True)
        return fd
    except OSError as error:
        raise DaemonError(f"cannot open the access log {to}: {(error.strerror or str(error)).lower()}") from error


def _as_root(to: str) -> int:
    """Root follows no link in a folder of somebody else, such as the user that it becomes (`runtime.user`): who was proxyd once would have
    root write into any file."""
    return os.O_NOFOLLOW if os.geteuid() == 0 and os.stat(os.path.dirname(os.path.abspath(to))).st_uid != 0 else 0


def _connect(receiver: Address) -> int:
    """A socket of datagrams, connected; the native writer connects it again when the receiver has gone and returned."""
    family = socket.AF_UNIX if receiver.is_unix else socket.AF_INET6 if ":" in receiver.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as ours:
        ours.connect(receiver.path if receiver.is_unix else (receiver.host, receiver.port))
        return ours.detach()


def _connect_local() -> int:
    """The syslog daemon of this machine."""
    for path in LOCAL_SYSLOG[:-1]:
        try:
            return _connect(Address(path=path))
        except OSError:
            continue
    return _connect(Address(path=LOCAL_SYSLOG[-1]))
