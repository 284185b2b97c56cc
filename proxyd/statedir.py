"""Where proxyd keeps what should outlive it: the history of its configs, what operators changed of servers, and its audit trail.

`$PROXYD_STATE` (which root sets for the user that it becomes, `privileges.py`), `$STATE_DIRECTORY` (which systemd sets), `/var/lib/proxyd`
for root and for whom root has left the folder there, `$XDG_STATE_HOME/proxyd`, `~/.local/state/proxyd`: the first of them. In it each
config file has a folder of its own, so that two daemons of one machine keep apart.
`PROXYD_STATE=none`: nothing is kept.
"""
from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

NONE = "none"
SYSTEM = Path("/var/lib/proxyd")
LOCK_PATIENCE = 2.0       # seconds
LOCK_POLL = 0.01


@dataclass(frozen=True, slots=True)
class StateDir:
    """`folder` None: state is kept in memory only; `warning` says why where that is not as it was wished."""

    folder: Path | None = None
    warning: str = ""


def state_dir(config_path: Path | None, environ: Mapping[str, str] = os.environ, uid: int | None = None) -> Path | None:
    """The folder of a config file; None for configs without one, and where nothing is to be kept."""
    if config_path is None:
        return None
    path = os.path.abspath(config_path)
    name = f"{Path(path).name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
    base = _base(environ, os.geteuid() if uid is None else uid, name)
    return base / name if base is not None else None


def _base(environ: Mapping[str, str], uid: int, name: str) -> Path | None:
    named = environ.get("PROXYD_STATE", "") or environ.get("STATE_DIRECTORY", "").partition(":")[0]      # systemd may name several
    if named:
        return None if named == NONE else Path(named)
    if uid == 0 or os.access(SYSTEM / name, os.W_OK):
        return SYSTEM
    state, home = environ.get("XDG_STATE_HOME", ""), environ.get("HOME", "")
    if state.startswith("/"):
        return Path(state, "proxyd")
    return Path(home, ".local/state/proxyd") if home.startswith("/") else None


def open_state(config_path: Path | None, environ: Mapping[str, str] = os.environ, *, leaving_root: bool = False) -> StateDir:
    """Make the folder, or take the one that is there. Never raises: a daemon starts without it, too.

    `leaving_root`: root will be an ordinary user before it writes there (`privileges.py`), so the folder may be such a one's since an
    earlier start. It is for reading until then; and what is read says what that user may say.
    """
    folder = state_dir(config_path, environ)
    if folder is None:
        return StateDir()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.stat()
    except OSError as error:
        return StateDir(None, _unusable(folder, (error.strerror or str(error)).lower()))
    foreign = facts.st_uid not in {os.geteuid(), 0} and not (leaving_root and os.geteuid() == 0)
    if foreign or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return StateDir(None, _unusable(folder, "other users may write to it"))
    if not os.access(folder, os.W_OK | os.X_OK):
        return StateDir(None, _unusable(folder, "it is not writable"))
    return StateDir(folder)


def _unusable(folder: Path, reason: str) -> str:
    return f"history and audit trail are kept in memory only: {folder}: {reason}"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else changes what is in the folder meanwhile: during an upgrade two daemons share it. Blocks for LOCK_PATIENCE at most, then
    TimeoutError (which is an OSError)."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise TimeoutError(f"{folder}/lock: another process holds it") from None
                time.sleep(LOCK_POLL)
        yield
    finally:
        os.close(descriptor)      # which unlocks it


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that it is the old one or the new one, whatever happens. Blocks. OSError: it is the old one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """A rename, or a new file, must outlive a loss of power as well."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
