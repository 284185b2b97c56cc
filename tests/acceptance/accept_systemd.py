"""The service under a real systemd: the package installed in a Debian 12 that was booted (`debian.py:Machine`), its units as they are.

All tests but the first run with SystemCallErrorNumber= unset: a system call that the unit forbids is then no error that the daemon may live
with, but its death, which would be seen in the journal. Everything that a config can ask for has to do without them.
"""
from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.accept_upgrade import Crowd
from tests.acceptance.debian import Machine, build_package
from tests.acceptance.stage import OriginProcess, Wrk, ending, exchange, listens, until

GET = b"GET /who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
UNIT, CONFIG = "proxyd.service", "/etc/proxyd/proxyd.yaml"
ORIGIN_PORT = 9001
NET_BIND_SERVICE = 1 << 10
WATCHDOG = 10.0         # seconds; WatchdogSec= of the unit
EXPOSURE = 2.0          # of systemd-analyze security, 10 being the worst
FILTER = """
import os
from proxyd.filters import Changes, Request

def on_request(request: Request) -> Changes:
    try:
        os.sched_setaffinity(0, {0})
    except PermissionError:
        return Changes(set={"X-Env": "confined"})
    return Changes(set={"X-Env": "free"})
"""


def config(turn: int = 0, *, tcp_port: int = 432) -> str:
    """Ports below 1024, files, a unix socket, a name to resolve, DNS, a filter process, threads that compress."""
    return f"""
runtime: {{threads: 2, shutdown: {{drain: 10s}}}}
log: {{access: {{to: /var/log/proxyd/access.log, format: combined}}}}
listeners:
  web: {{bind: ["127.0.0.1:80", "unix:/run/proxyd/web.sock"]}}
  dns: {{bind: ["127.0.0.1:53"], mode: udp, to: resolver}}
  tcp: {{bind: ["127.0.0.1:{tcp_port}"], mode: tcp, to: app}}
upstreams:
  app: {{servers: ["localhost:{ORIGIN_PORT}"], health: /}}
  resolver: {{servers: ["127.0.0.1:{ORIGIN_PORT}"]}}
cache: {{memory: {{size: 16MiB, snapshot: {{file: /var/lib/proxyd/cache.snapshot}}}}}}
policies: {{small: {{compress: {{}}}}, tried: {{python: tried.py}}}}
routes:
  - {{match: /who, respond: {{body: "turn {turn}."}}}}
  - {{match: /text, to: app, cache: {{ttl: 10m}}, use: [small]}}
  - {{match: /filtered, to: app, use: [tried]}}
  - {{to: app}}
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """With an origin at 127.0.0.1:9001 of its network, over TCP and UDP."""
    folder = tmp_path_factory.mktemp("systemd")
    package = build_package(folder)
    found = Machine(folder / "root", ["logrotate"])
    try:
        found.path("/proxyd.deb").write_bytes(package.read_bytes())
        with found.network():
            origin = OriginProcess(folder, "app", ORIGIN_PORT)
            datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            datagrams.bind(("127.0.0.1", ORIGIN_PORT))
        threading.Thread(target=answer_datagrams, args=(datagrams,), daemon=True).start()
        with ending(origin):
            yield found
    finally:
        found.remove()


def answer_datagrams(datagrams: socket.socket) -> None:
    while True:
        question, client = datagrams.recvfrom(512)
        datagrams.sendto(b"answer to " + question, client)


def until_changed(machine: Machine, name: str, was: str) -> None:
    until(lambda: machine.fact(UNIT, name) != was, f"{name} is no longer {was}")


def facts_of_main(machine: Machine) -> dict[str, str]:
    """What the kernel says of the main process."""
    text = machine.run("cat", f"/proc/{machine.fact(UNIT, 'MainPID')}/status")
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def serve(machine: Machine, text: str) -> None:
    """As an administrator would: the file, then a restart."""
    machine.path(CONFIG).write_text(text)
    machine.run("systemctl", "restart", UNIT)
    assert machine.fact(UNIT, "ActiveState") == "active"


def ask(machine: Machine, port: int = 80, data: bytes = GET) -> bytes:
    with machine.network():
        return exchange(port, data)


def get(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", "Connection: close", *fields, "", ""]).encode()


def test_installed_and_confined(machine: Machine) -> None:
    machine.run("dpkg", "-i", "/proxyd.deb")
    assert (machine.fact(UNIT, "ActiveState"), machine.fact(UNIT, "UnitFileState")) == ("active", "enabled")
    assert ask(machine, 8080).endswith(b"proxyd is installed. Its config is /etc/proxyd/proxyd.yaml.\n")
    assert machine.fact(UNIT, "StatusText").startswith("serving config ")
    facts = facts_of_main(machine)
    assert set(facts["Uid"].split()) == {machine.run("id", "-u", "proxyd").strip()} != {"0"}
    assert {int(facts[each], 16) for each in ("CapEff", "CapPrm", "CapBnd")} == {NET_BIND_SERVICE}
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
    threads = machine.run("sh", "-c", "cat /proc/$0/task/*/status", machine.fact(UNIT, "MainPID"))
    assert threads.count(f"CapEff:\t{0:016x}") >= len(os.sched_getaffinity(0)), "engines have none"


def test_the_unit_is_understood_and_hardened(machine: Machine) -> None:
    units = [f"/lib/systemd/system/{unit}" for unit in (UNIT, "proxyd.socket")]
    assert machine.run("systemd-analyze", "verify", "--man=no", *units) == ""
    found = re.search(r"exposure level for proxyd.service: ([\d.]+)", machine.run("systemd-analyze", "security", "--no-pager", UNIT))
    assert found
    print(f"\nsystemd-analyze security: {found[1]}")
    assert float(found[1]) <= EXPOSURE


def test_everything_works_in_its_confinement(machine: Machine) -> None:
    machine.path("/etc/proxyd/tried.py").write_text(FILTER)
    machine.path("/etc/proxyd/tried.py").chmod(0o644)
    serve(machine, config())
    assert ask(machine).endswith(b"turn 0.")
    assert b"X-Env: confined" in ask(machine, data=get("/filtered"))

    machine.drop_in(UNIT, "deadly", "[Service]\nSystemCallErrorNumber=\n")
    machine.path("/etc/proxyd/tried.py").write_text(FILTER.replace("os.sched_setaffinity(0, {0})", "pass"))
    serve(machine, config())
    assert b"X-Env: free" in ask(machine, data=get("/filtered"))
    text = get("/text", "Accept-Encoding: gzip", f"X-Long: {'the same words, ' * 200}")      # which the origin answers with
    until(lambda: b"content-encoding:" in ask(machine, data=text).lower(), "it is compressed aside")
    assert b"served by app" in ask(machine, 432, get("/"))
    with machine.network(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.sendto(b"question", ("127.0.0.1", 53))
        assert client.recv(512) == b"answer to question"
    for path, mode in (("/run/proxyd/web.sock", 770), ("/run/proxyd/admin.sock", 600), ("/var/log/proxyd/access.log", 640)):
        assert machine.run("stat", "-c", "%U:%G %a", path) == f"proxyd:proxyd {mode}\n", path
    unharmed(machine)


def unharmed(machine: Machine) -> None:
    assert machine.fact(UNIT, "NRestarts") == "0"
    found = machine.journal(UNIT)
    assert "status=31/SYS" not in found, found


def test_reloaded(machine: Machine) -> None:
    pid = machine.fact(UNIT, "MainPID")
    machine.path(CONFIG).write_text(config(1, tcp_port=433))
    machine.run("systemctl", "reload", UNIT)
    assert ask(machine).endswith(b"turn 1.")
    assert b"served by app" in ask(machine, 433, get("/")), "a port below 1024, opened by the reload"

    machine.path(CONFIG).write_text("nonsense: 1\n")
    machine.run("systemctl", "reload", UNIT, code=1)
    assert "unknown option `nonsense`" in machine.journal(UNIT)
    assert ask(machine).endswith(b"turn 1.")
    assert machine.fact(UNIT, "MainPID") == pid
    machine.path(CONFIG).write_text(config(0))
    machine.run("systemctl", "reload", UNIT)
    unharmed(machine)


def test_logs_are_rotated(machine: Machine) -> None:
    log = machine.path("/var/log/proxyd/access.log")
    ask(machine)
    until(lambda: log.stat().st_size > 0, "a record is written")
    machine.run("logrotate", "--force", "/etc/logrotate.d/proxyd")
    rotated = log.with_name("access.log.1")
    written = rotated.stat().st_size
    ask(machine)
    until(lambda: log.stat().st_size > 0, "the next is in the new file")
    assert rotated.stat().st_size == written
    unharmed(machine)


def test_upgraded_under_load(machine: Machine, tmp_path: Path) -> None:
    """By the verb, by the signal, and by an update of the package."""
    with machine.network():
        wrk = Wrk(tmp_path, "http://127.0.0.1:80/who", connections=16)
    with ending(wrk):
        for order in (["proxyd", "upgrade"], ["systemctl", "kill", "-s", "USR2", "--kill-whom=main", UNIT], ["dpkg", "-i", "/proxyd.deb"]):
            pid = machine.fact(UNIT, "MainPID")
            machine.run(*order)
            until_changed(machine, "MainPID", pid)
            assert machine.fact(UNIT, "ActiveState") == "active"
        load = wrk.stop()
    print(f"\nupgraded three times under systemd: {load.requests} requests, {load.failed} failed")
    assert load.requests > 500
    assert load.failed == 0, load
    unharmed(machine)


def signal_main(machine: Machine, name: str) -> None:
    machine.run("sh", "-c", f"kill -{name} {machine.fact(UNIT, 'MainPID')}")      # the shell's own: a small system has no other


def crowd_while_killed(machine: Machine) -> Crowd:
    """Those who came while the main process was killed, three times."""
    crowd = Crowd(80)
    for _ in range(3):
        restarts = machine.fact(UNIT, "NRestarts")
        signal_main(machine, "KILL")
        with machine.network():
            crowd.come(50)
        until_changed(machine, "NRestarts", restarts)
    print(f"\nkilled three times: {crowd.answered} answered, {crowd.refused} refused, longest wait {crowd.longest:.2f} s")
    return crowd


def test_systemd_keeps_the_sockets_over_a_crash(machine: Machine) -> None:
    """The first to be killed is one that took over from another, so that it was not systemd that started it."""
    assert int(machine.fact(UNIT, "NFileDescriptorStore")) > 0
    assert crowd_while_killed(machine).refused == 0


def test_one_that_dies_while_the_one_before_it_drains_is_replaced_at_once(machine: Machine) -> None:
    """It is no child of systemd's yet, which would notice by the watchdog only."""
    with machine.network():
        download = socket.create_connection(("127.0.0.1", 80))
    with download:
        download.sendall(get("/stream"))
        assert download.recv(1000).startswith(b"HTTP/1.1 200")
        before = machine.fact(UNIT, "MainPID")
        machine.run("proxyd", "upgrade")
        machine.run("test", "-d", f"/proc/{before}")
        restarts = machine.fact(UNIT, "NRestarts")
        signal_main(machine, "KILL")
        crowd = Crowd(80)
        with machine.network():
            crowd.come(50)
        until_changed(machine, "NRestarts", restarts)
    print(f"\nkilled while another drained: {crowd.refused} refused, longest wait {crowd.longest:.2f} s")
    assert crowd.refused == 0
    assert crowd.longest < WATCHDOG / 2


def test_one_that_hangs_is_replaced(machine: Machine) -> None:
    machine.drop_in(UNIT, "watched", "[Service]\nWatchdogSec=2\n")
    serve(machine, config())
    restarts = machine.fact(UNIT, "NRestarts")
    signal_main(machine, "STOP")
    until_changed(machine, "NRestarts", restarts)
    assert ask(machine).endswith(b"turn 0.")
    assert "Watchdog timeout" in machine.journal(UNIT)
    machine.drop_in(UNIT, "watched", "")


def test_a_config_that_is_wrong_is_not_tried_again_and_again(machine: Machine) -> None:
    machine.path(CONFIG).write_text("nonsense: 1\n")
    machine.run("systemctl", "restart", UNIT, code=1)
    assert [machine.fact(UNIT, name) for name in ("ActiveState", "ExecMainStatus", "NRestarts")] == ["failed", "3", "0"]
    serve(machine, config())


def test_a_socket_unit_holds_the_ports(machine: Machine) -> None:
    machine.run("systemctl", "stop", UNIT)
    with machine.network():
        assert not listens(80)
    machine.drop_in("proxyd.socket", "ours", "[Socket]\nListenStream=\nListenStream=127.0.0.1:80\nListenDatagram=127.0.0.1:53\n")
    machine.run("systemctl", "enable", "--now", "proxyd.socket")
    assert machine.fact(UNIT, "ActiveState") == "inactive"
    assert ask(machine).endswith(b"turn 0."), "whoever comes first starts it"
    until(lambda: machine.fact(UNIT, "ActiveState") == "active", "it is active")
    assert crowd_while_killed(machine).refused == 0
    crowd = Crowd(80)
    with machine.network():
        restart = threading.Thread(target=machine.run, args=("systemctl", "restart", UNIT))
        restart.start()
        crowd.come(50)
        restart.join()
    assert (crowd.refused, crowd.cut) == (0, 0), "a restart costs no connection"


def test_removed_and_purged(machine: Machine) -> None:
    machine.run("dpkg", "-r", "proxyd")
    with machine.network():
        assert not listens(80)
    assert not list(machine.path("/etc/systemd/system").glob("*.wants/proxyd*"))
    assert machine.path(CONFIG).exists()
    machine.path("/etc/proxyd/tried.py").unlink()
    machine.run("dpkg", "-P", "proxyd")
    for gone in ("/etc/proxyd", "/var/lib/proxyd", "/var/log/proxyd", "/run/proxyd"):
        machine.run("test", "!", "-e", gone)
    assert machine.run("systemctl", "list-units", "--all", "--no-legend", "proxyd*", "--state=failed") == ""
