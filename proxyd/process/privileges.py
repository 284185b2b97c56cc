"""From root to an ordinary user (`runtime.user`), once all is open that only root may open.

Every thread changes (setresuid(2) of glibc sees to that), supplementary groups go, and no program that is started later gains anything back
(no_new_privs). The main thread, which binds what a reload adds, keeps the one capability that ports below 1024 take; the engines, which
read what strangers send, keep none. After an upgrade the new process has that user from its beginning, and finds old ports open, but has no
right to further ones below 1024: those take a restart, or a service manager that grants the capability.
"""
from __future__ import annotations

import contextlib
import ctypes
import grp
import logging
import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from proxyd import codes, statedir
from proxyd.diagnostics import Diagnostic
from proxyd.state import DaemonError

if TYPE_CHECKING:
    from proxyd.config.model import Config
    from proxyd.sockets import Bound

PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS = 8, 38
CAP_NET_BIND_SERVICE = 10
CAPABILITY_VERSION = 0x20080522    # _LINUX_CAPABILITY_VERSION_3: sets of 64 bits, in two words each
STATE_FOLDER = "/var/lib/proxyd"
OWN_FOLDER = "proxyd"              # a folder whose name begins so, and all in it, is meant for us

log = logging.getLogger("proxyd.process")


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@dataclass(frozen=True, slots=True)
class Identity:
    uid: int
    gid: int
    groups: tuple[int, ...]


def identity(user: str, group: str | None) -> Identity:
    """Of a name or a number. DaemonError when this machine knows no such user or group."""
    uid = gid = int(user) if user.isdigit() else -1
    groups: list[int] = []
    with contextlib.suppress(KeyError):
        entry = pwd.getpwuid(uid) if user.isdigit() else pwd.getpwnam(user)
        uid, gid = entry.pw_uid, entry.pw_gid
        groups = os.getgrouplist(entry.pw_name, gid)
    if uid < 0:
        raise _refused("user", f"there is no user `{user}` on this machine", f"make it: useradd --system {user}")
    if group is not None:
        try:
            gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
        except KeyError:
            raise _refused("group", f"there is no group `{group}` on this machine", f"make it: groupadd --system {group}") from None
    return Identity(uid, gid, tuple(groups) or (gid,))


def files_of(config: Config, bounds: Iterable[Bound]) -> Iterator[Path]:
    """What root has opened, or made, and the user goes on with: logs, socket files, what outlives a restart."""
    if (state := state_folder()) is not None:
        yield state
    snapshot, access = config.cache.memory.snapshot, config.log.access
    names = [snapshot.file if snapshot else "", config.usage.file if config.usage else "", access.to if access else ""]
    names += [bound.file[0] for bound in bounds if bound.file]
    for path in (Path(name) for name in names if name.startswith("/")):
        yield path
        if path.parent.name.startswith(OWN_FOLDER):
            yield path.parent


def state_folder() -> Path | None:
    """Where root's state is (proxyd.statedir); None: it keeps none."""
    name = os.environ.get("PROXYD_STATE") or os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or STATE_FOLDER
    return None if name == statedir.NONE else Path(name)


def drop(user: str | None, group: str | None, files: Iterable[Path]) -> None:
    """Become that user for good; `files` and folders, which root opened or made for us, become its own. Nothing to do for who is it
    already. DaemonError: it cannot be done."""
    if user is None:
        return
    wanted = identity(user, group)
    if os.geteuid() == wanted.uid:
        return
    if os.geteuid() != 0:
        raise _refused("user", f"only root can become `{user}`, and proxyd was started as {_own_name()}",
                       "start it as root, or as that user, or leave out `runtime.user`")
    if (state := state_folder()) is not None:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.environ["PROXYD_STATE"] = str(state)      # for a process that takes over from us, and has never been root
    for file in files:
        give(file, wanted.uid, wanted.gid)
    _prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups(wanted.groups)
    os.setresgid(wanted.gid, wanted.gid, wanted.gid)
    os.setresuid(wanted.uid, wanted.uid, wanted.uid)
    _keep_capabilities(1 << CAP_NET_BIND_SERVICE)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def become_owner(folder: Path | None) -> None:
    """Before root does what something in a folder says: become whoever could have written it, by owning the folder or one above it."""
    if folder is None or os.geteuid() != 0:
        return
    places = (place.lstat() for place in (folder.absolute(), *folder.absolute().parents))
    owner = next((facts for facts in places if facts.st_uid != 0), None)
    if owner is not None:
        log.warning("%s is user %d's: proxyd becomes this user before it takes a config from there", folder, owner.st_uid)
        drop(str(owner.st_uid), str(owner.st_gid), ())


def leaves_root(config: Config | None) -> bool:
    """Whether root becomes somebody else before it writes anything. None: the file is broken, and what is kept is its owner's."""
    return config is None or config.runtime.user not in {None, "root", "0"}


def renounce(user: str | None) -> None:
    """Before there are threads whose programs could gain rights back once we have become that user: each has this from the one that begins
    it, and nobody can give it to another one."""
    if user is not None and os.geteuid() == 0:
        _prctl(PR_SET_NO_NEW_PRIVS, 1)


def renounce_as_main() -> None:
    """In a thread that may be older than that, and is about to start a program."""
    if "NoNewPrivs:\t1" in Path("/proc/self/status").read_text():
        _prctl(PR_SET_NO_NEW_PRIVS, 1)


def give(path: Path, uid: int, gid: int) -> None:
    """Let that user own a file, or a folder and all below it.

    The folder may be the user's since an earlier start, and then the user says what is in it: no link is followed, and a file that has
    another name elsewhere stays whose it is, or whoever was proxyd once could get any file of root's with the next start.
    """
    with contextlib.suppress(FileNotFoundError):
        _give_one(str(path), None, uid, gid)
    if path.is_symlink() or not path.is_dir():
        return
    for _, folders, files, place in os.fwalk(path, follow_symlinks=False):
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):
                _give_one(name, place, uid, gid)


def _give_one(name: str, place: int | None, uid: int, gid: int) -> None:
    """By a descriptor, so that nobody can put something else in its place between the look and the change."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
    try:
        facts = os.fstat(fd)
        if not stat.S_ISLNK(facts.st_mode) and (stat.S_ISDIR(facts.st_mode) or facts.st_nlink == 1):
            os.chown(f"/proc/self/fd/{fd}", uid, gid)
    finally:
        os.close(fd)


def renounce_capabilities() -> None:
    """For an engine's thread, of a daemon that is not root: it may have begun with what the main thread keeps.

    Giving up is always allowed, but by a filter of system calls that knows no capset(2) (@privileged of systemd): then it stays as it is.
    """
    if os.geteuid() != 0:
        with contextlib.suppress(PermissionError):
            _keep_capabilities(0)


def _keep_capabilities(wanted: int) -> None:
    """This thread has those of this mask from now on, as far as it had them, and no others."""
    libc, header, sets = ctypes.CDLL(None, use_errno=True), _Header(CAPABILITY_VERSION, 0), (_Sets * 2)()
    if libc.capget(ctypes.byref(header), sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    kept = sets[0].permitted & wanted
    sets[0] = _Sets(kept, kept, 0)
    sets[1] = _Sets(0, 0, 0)
    if libc.capset(ctypes.byref(header), sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def _own_name() -> str:
    try:
        return f"`{pwd.getpwuid(os.geteuid()).pw_name}`"
    except KeyError:
        return f"user id {os.geteuid()}"


def _refused(option: str, message: str, help: str) -> DaemonError:
    return DaemonError(message, [Diagnostic(codes.NO_SUCH_USER.code, message, help=help, path=f"runtime.{option}")])
