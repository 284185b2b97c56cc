"""What of the machine a proxy depends on. All is read from /proc, or tried out; nothing is changed."""
from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import platform
import resource
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from proxyd.doctor.finding import Finding

FILES_WANTED = 65_536          # a proxied connection takes two descriptors
BACKLOG_WANTED = 4_096
PORTS_WANTED = 25_000          # for connections to one server
CONNTRACK_FULL = 0.8           # of its table
KERNEL_WANTED = (5, 4)         # UDP_GRO, pidfd, EPOLLEXCLUSIVE
TIME_ERROR = 5                 # adjtimex(2): the clock is not synchronised
EXTRAS = {"redis": "redis", "memcached": "emcache", "geoip": "maxminddb"}


def examine(proc: Path = Path("/proc")) -> Iterator[Finding]:
    yield kernel(platform.release())
    yield open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    yield backlog(_number(proc / "sys/net/core/somaxconn"))
    yield ports(_text(proc / "sys/net/ipv4/ip_local_port_range"))
    yield from conntrack(proc / "sys/net/netfilter")
    yield reuse_port()
    yield clock(_clock_state())
    yield extras([name for name, module in EXTRAS.items() if importlib.util.find_spec(module) is None])


def kernel(release: str) -> Finding:
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if numbers >= KERNEL_WANTED:
        return Finding("good", "kernel", f"Linux {release}")
    wanted = ".".join(map(str, KERNEL_WANTED))
    return Finding("warning", "kernel", f"Linux {release} is older than what proxyd is tried on", f"use Linux {wanted} or later")


def open_files(most: int) -> Finding:
    text = "may be as many as one likes" if most == resource.RLIM_INFINITY else f"may be {most}"
    if most == resource.RLIM_INFINITY or most >= FILES_WANTED:
        return Finding("good", "open files", text)
    advice = f"each proxied connection takes two: set LimitNOFILE={FILES_WANTED} in the unit, or `ulimit -Hn {FILES_WANTED}`"
    return Finding("warning", "open files", f"{text}: about {most // 2} connections at a time", advice)


def backlog(somaxconn: int | None) -> Finding:
    if somaxconn is None:
        return Finding("note", "accept queue", "net.core.somaxconn cannot be read")
    if somaxconn >= BACKLOG_WANTED:
        return Finding("good", "accept queue", f"holds {somaxconn} connections")
    advice = f"sysctl -w net.core.somaxconn={BACKLOG_WANTED}, and restart proxyd"
    return Finding("warning", "accept queue", f"holds {somaxconn} connections: a burst of more is dropped", advice)


def ports(text: str) -> Finding:
    numbers = [int(part) for part in text.split() if part.isdigit()]
    if len(numbers) != 2:
        return Finding("note", "local ports", "net.ipv4.ip_local_port_range cannot be read")
    count = numbers[1] - numbers[0] + 1
    shown = f"{count} for connections to one server ({numbers[0]} to {numbers[1]})"
    if count >= PORTS_WANTED:
        return Finding("good", "local ports", shown)
    return Finding("warning", "local ports", shown, "sysctl -w net.ipv4.ip_local_port_range='10240 65535'")


def conntrack(folder: Path) -> Iterator[Finding]:
    """Nothing, where the kernel tracks no connections."""
    count, most = _number(folder / "nf_conntrack_count"), _number(folder / "nf_conntrack_max")
    if count is None or not most:
        return
    text = f"{count} of {most} places are taken"
    if count < CONNTRACK_FULL * most:
        yield Finding("good", "connection tracking", text)
    else:
        advice = f"sysctl -w net.netfilter.nf_conntrack_max={2 * most}, or exempt proxyd's ports (NOTRACK)"
        yield Finding("error", "connection tracking", f"{text}: when it is full, the kernel drops new connections", advice)


def reuse_port() -> Finding:
    try:
        with socket.socket() as first, socket.socket() as second:
            for sock in (first, second):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            first.bind(("127.0.0.1", 0))
            second.bind(first.getsockname())
    except OSError as error:
        text = f"two sockets cannot share a port: {error.strerror}"
        return Finding("error", "SO_REUSEPORT", text, "use a kernel or a sandbox that has it, or `runtime.threads: 1`")
    return Finding("good", "SO_REUSEPORT", "sockets can share a port: one an engine")


def clock(state: int | None) -> Finding:
    if state is None:
        return Finding("note", "clock", "whether it is synchronised cannot be asked here")
    if state != TIME_ERROR:
        return Finding("good", "clock", "is synchronised")
    advice = "run chrony or systemd-timesyncd: tokens, certificates and cache lifetimes go by the clock"
    return Finding("warning", "clock", "is not synchronised", advice)


def extras(missing: list[str]) -> Finding:
    if not missing:
        return Finding("good", "extras", f"all are installed: {', '.join(EXTRAS)}")
    wanted = ",".join(missing)
    return Finding("note", "extras", f"not installed: {', '.join(missing)}", f"if the config wants them: pip install 'proxyd[{wanted}]'")


def _clock_state() -> int | None:
    room = ctypes.create_string_buffer(512)     # struct timex, zeroed: only asks
    state: int = ctypes.CDLL(None).adjtimex(room)
    return state if state >= 0 else None


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""


def file_facts(path: Path) -> str:
    """`-rw-r----- proxyd:proxyd`, for messages about rights."""
    try:
        owner = f"{path.owner()}:{path.group()}"
    except KeyError:
        owner = f"{path.stat().st_uid}:{path.stat().st_gid}"
    return f"{stat.filemode(path.stat().st_mode)} {owner}"
