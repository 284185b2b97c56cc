"""Starts and stops what is measured: nginx, HAProxy, Varnish, proxyd, floor, each from its template, each in its own process group."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness import l4, l4_templates, system, templates
from harness.build import BENCH
from harness.model import LESSER_VARIANTS, Family, Placement, Workload
from harness.templates import Site

START_SECONDS = 15.0
STOP_SECONDS = 5.0
# Below Linux's ephemeral range, so that no connection of the bench itself can sit on a port that a contestant is about to bind.
_PORTS = range(18_000, 32_000)
_next_port = iter(_PORTS)


class StartError(Exception):
    """A contestant did not come up; the message carries its last words."""


@dataclass(frozen=True, slots=True)
class Program:
    """A binary to be measured: `label` is unique in a session, `argv` is what starts it (options are added)."""

    family: Family
    label: str
    argv: tuple[str, ...]
    version: str
    threads: str = ""  # proxyd only


@dataclass(frozen=True, slots=True)
class Contestant:
    """A program in one of the ways a workload wants it tuned."""

    name: str
    program: Program
    variant: str
    control: bool = False  # a second copy of another contestant: shows how far equal things differ here

    @property
    def role(self) -> str:
        """Its family, or what keeps it from being compared with: "control", "lesser"."""
        return "control" if self.control else "lesser" if self.variant in LESSER_VARIANTS else self.program.family


@dataclass(slots=True)
class Running:
    contestant: Contestant
    port: int
    directory: Path
    process: subprocess.Popen[bytes]
    stopped: bool = field(default=False)

    @property
    def group(self) -> int:
        return self.process.pid

    def said(self) -> str:
        lines = (self.directory / "stderr").read_text(errors="replace").strip().splitlines()
        return "\n".join(lines[-8:]) or "(nothing on stderr)"

    def stop(self) -> None:
        if self.stopped:
            return
        self.stopped = True
        _stop(self.process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """TERM to the group that we started, KILL if it stays."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sent)
        except ProcessLookupError:
            break
        try:
            process.wait(STOP_SECONDS)
            break
        except subprocess.TimeoutExpired:
            continue
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # workers that outlived their master
    process.wait()


def free_port() -> int:
    for port in _next_port:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise StartError("no free port is left")


def pinned(cpus: frozenset[int]) -> Callable[[], None]:
    return lambda: os.sched_setaffinity(0, cpus)


@dataclass(slots=True)
class Origin:
    process: subprocess.Popen[bytes]
    ports: tuple[int, ...]

    def stop(self) -> None:
        _stop(self.process)


def origin_start(program: Path, servers: int, cpus: frozenset[int]) -> Origin:
    process = subprocess.Popen(
        [program, "-n", str(servers)], stdout=subprocess.PIPE, start_new_session=True, preexec_fn=pinned(cpus)
    )
    assert process.stdout is not None
    ports = tuple(int(p) for p in process.stdout.readline().split())
    if len(ports) != servers:
        _stop(process)
        raise StartError("the origin did not start")
    return Origin(process, ports)


def contestants_of(workload: Workload, programs: list[Program], control: bool) -> list[Contestant]:
    found = []
    for program in programs:
        for variant in workload.variants_of(program.family):
            found.append(Contestant(f"{program.label}-{variant}" if variant else program.label, program, variant))
    if control:
        first = next((c for c in found if c.program.family == "nginx" and not c.variant), None)
        if first:
            found.append(Contestant(f"{first.name} (control)", first.program, first.variant, control=True))
    return found


def _argv(contestant: Contestant, workload: Workload, site: Site) -> list[str]:
    """Writes the configuration into the site's directory and gives the command that runs it."""
    if workload.l4:
        return _l4_argv(contestant, workload, site)
    program, variant, directory = contestant.program, contestant.variant, Path(site.directory)
    match program.family:
        case "nginx":
            config = directory / "nginx.conf"
            config.write_text(templates.nginx((BENCH / "peers/nginx.conf").read_text(), site, workload, variant))
            return [*program.argv, "-p", site.directory, "-c", str(config), "-e", "stderr"]
        case "haproxy":
            config = directory / "haproxy.cfg"
            config.write_text(templates.haproxy((BENCH / "peers/haproxy.cfg").read_text(), site, workload, variant))
            (directory / "routes.map").write_text(templates.haproxy_map(workload))
            (directory / "429.http").write_text(templates.haproxy_refusal(), newline="")
            return [*program.argv, "-db", "-f", str(config)]
        case "varnish":
            (directory / "varnish.vcl").write_text(templates.varnish((BENCH / "peers/varnish.vcl").read_text(), site))
            return [*program.argv, *templates.varnish_options(site, variant)]
        case "proxyd":
            config = directory / "proxyd.yaml"
            config.write_text(templates.proxyd((BENCH / "peers/proxyd.yaml").read_text(), site, workload, program.threads, variant))
            (directory / "jwt.secret").write_text(templates.jwt_secret())
            return [*program.argv, "run", "-c", str(config)]
        case "floor":
            mode = variant or "relay"
            options = ["-b", str(256 * 1024)] if mode == "copy256k" else []
            if mode in ("answer", "file"):
                size = workload.answer_bytes or 64
                options = ["-s", str(size), "-b", str(size + 4096)]
            return [
                *program.argv,
                "relay" if mode == "copy256k" else mode,
                "-l", str(site.port), "-o", str(site.origin_ports[0]), *options,
            ]  # fmt: skip


def _l4_argv(contestant: Contestant, workload: Workload, site: Site) -> list[str]:
    program, variant, directory, peers = contestant.program, contestant.variant, Path(site.directory), BENCH / "peers"
    match program.family:
        case "nginx":
            config = directory / "nginx.conf"
            module = system.stream_module(program.argv[0]) or ""
            config.write_text(l4_templates.nginx((peers / "nginx-stream.conf").read_text(), site, workload, variant, module))
            return [*program.argv, "-p", site.directory, "-c", str(config), "-e", "stderr"]
        case "haproxy":
            config = directory / "haproxy.cfg"
            config.write_text(l4_templates.haproxy((peers / "haproxy-tcp.cfg").read_text(), site, workload, variant))
            return [*program.argv, "-db", "-f", str(config)]
        case "proxyd":
            config = directory / "proxyd.yaml"
            config.write_text(l4_templates.proxyd((peers / "proxyd-l4.yaml").read_text(), site, workload, program.threads))
            return [*program.argv, "run", "-c", str(config)]
        case "floor":
            binary = Path(program.argv[0])
            udp = workload.l4 is not None and workload.l4.protocol == "udp"
            binary = binary.with_name("udpfloor") if udp else binary  # build() puts them side by side
            return [str(binary), *l4_templates.floor_options(site, workload, variant)]
        case "varnish":
            raise StartError("Varnish has no L4")


def _answers(port: int, workload: Workload) -> bool:
    if workload.l4 and workload.l4.protocol == "udp":
        return l4.answers(port)
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def start(contestant: Contestant, workload: Workload, origin: Origin, placement: Placement, directory: Path, nofile: int) -> Running:
    """Starts a contestant and waits until it accepts. StartError says why it did not."""
    directory.mkdir(parents=True)
    directory.chmod(0o755)  # nginx's worker changes its user
    site = Site(free_port(), free_port(), str(directory), origin.ports, nofile)
    argv = _argv(contestant, workload, site)
    # HAProxy's access log is its stdout; append mode, so that the runner may truncate the file between rounds
    with (directory / "stderr").open("wb") as stderr, _stdout_path(contestant, directory).open("ab") as stdout:
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True, cwd=BENCH.parent,
                preexec_fn=pinned(placement.proxy),
            )  # fmt: skip
        except OSError as error:
            raise StartError(f"{shlex.join(argv)}: {error.strerror}") from error
    running = Running(contestant, site.port, directory, process)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if _answers(site.port, workload):
            return running
        time.sleep(0.02)
    status = process.poll()
    running.stop()
    why = f"ended with {status}" if status is not None else f"did not listen within {START_SECONDS:.0f} s"
    raise StartError(f"`{shlex.join(argv)}` {why}:\n{running.said()}")


def _stdout_path(contestant: Contestant, directory: Path) -> Path:
    return directory / ("access.log" if contestant.program.family == "haproxy" else "stdout")
