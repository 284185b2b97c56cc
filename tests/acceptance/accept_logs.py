"""Access logs, held against who reads them: goaccess, halog, a JSON Schema, a strict reader of logfmt, rsyslogd. And what they may cost:
no line under a rotation, no engine's time when a disk is full or nobody reads.

h2load sends the exact number of requests that it is told; everything else is counted here, request by request.
"""
from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxyd_ext.log import AccessLog, Rules
from tests.acceptance.stage import OriginProcess, Process, Proxyd, ending, exchange, free_port, needed, until
from tests.support.logfmt import read_logfmt
from tests.support.records import read_records

LOAD = 2_000
HOSTILE = [
    b'/%22%0a%3c?q="\xc3\xa9\xff\x80=#|{}',
    b"/a%20b?%00=%7f&token=hunter2&%74oken=hunter2;x",
    b"/'$(id)`?a=\\\"b",
]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


class Scene:
    """A daemon before one origin that answers and one that is dead; its log is set by a reload."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.origin = OriginProcess(folder, "one")
        self.dead = free_port()
        self.rounds = 0
        self.proxyd = Proxyd(folder, self.config("none"))

    def config(self, access: str) -> str:
        return f"""
            listen: 127.0.0.1:{self.port}
            runtime: {{threads: 2}}
            upstreams:
              app: {{servers: ["{self.origin.address}"], health: none}}
              dead: {{servers: ["127.0.0.1:{self.dead}"], health: none}}
            routes:
              - {{match: /gone, respond: 410}}
              - {{match: /moved, redirect: /}}
              - {{match: /dead, to: dead, retry: {{attempts: 1}}}}
              - {{match: /kept/*, to: app, cache: {{ttl: 1m}}}}
              - {{to: app}}
            log: {{access: {access}}}
        """

    def log_to(self, access: str) -> None:
        done = self.proxyd.reload(self.config(access))
        assert done.returncode == 0, done.stdout + done.stderr

    def load(self, count: int, path: str = "/a?x=1") -> float:
        """So many requests, all answered 200; the daemon's CPU time that they took, which depends little on who else is on the machine."""
        began = self.cpu_seconds()
        done = subprocess.run(
            [needed("h2load"), "--h1", f"-n{count}", "-c8", f"http://127.0.0.1:{self.port}{path}"],
            capture_output=True, text=True, timeout=300, check=True,
        )
        assert f"status codes: {count} 2xx" in done.stdout, done.stdout
        return self.cpu_seconds() - began

    def cpu_seconds(self) -> float:
        user, system = Path(f"/proc/{self.proxyd.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def ask(self, target: bytes, more: bytes = b"") -> int:
        """One request on a connection of its own; the status."""
        answer = exchange(self.port, b"GET " + target + b" HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n" + more + b"\r\n")
        return int(answer.split(b" ", 2)[1])

    def traffic(self) -> Counter[int]:
        """Some of everything; how many of each status. Of four requests for what may be kept, three are answered from memory."""
        self.load(LOAD)
        self.rounds += 1
        sent = Counter({200: LOAD})
        for target in [b"/gone"] * 7 + [b"/moved"] * 5 + [b"/dead"] * 3 + [b"/kept/%d" % self.rounds] * 4 + [b"/nul%00"]:
            sent[self.ask(target)] += 1
        for target in HOSTILE:
            sent[self.ask(target, b"User-Agent: \"\\ \xff \t%22\r\nReferer: http://x/?token=hunter2\r\n")] += 1
        sent[int(exchange(self.port, b"GET / HTTP/1.1\r\n\r\n").split(b" ", 2)[1])] += 1
        assert sent[410] == 7
        assert sent[308] == 5
        assert sent[502] == 3
        assert sent[400] >= 1
        return sent

    def dropped(self) -> int:
        return int(self.proxyd.total("proxyd_log_dropped_total"))

    def sampled_out(self) -> int:
        return int(self.proxyd.total("proxyd_log_sampled_out_total"))

    def record(self, access: str, name: str) -> tuple[Path, Counter[int]]:
        """The log of some traffic, all of it, and what the traffic was."""
        path = self.folder / name
        self.log_to(access.replace("FILE", str(path)))
        sent = self.traffic()
        until(lambda: lines(path) >= sent.total(), f"{sent.total()} lines of {name}, not {lines(path)}")
        self.log_to("none")
        assert lines(path) == sent.total()
        return path, sent


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("logs"))
    with ending(scene.proxyd, scene.origin):
        yield scene


# ---------------------------------------------------------------- formats
def test_combined_is_read_by_goaccess(scene: Scene, tmp_path: Path) -> None:
    path, sent = scene.record("{to: FILE, format: combined}", "combined.log")
    report = tmp_path / "report.json"
    subprocess.run(
        [needed("goaccess"), str(path), "--log-format=COMBINED", "--no-global-config", "--no-progress", "-o", str(report)],
        capture_output=True, text=True, timeout=60, check=True,
    )
    found = json.loads(report.read_text())
    assert (found["general"]["total_requests"], found["general"]["failed_requests"]) == (sent.total(), 0)
    codes = {int(code["data"][:3]): code["hits"]["count"] for kind in found["status_codes"]["data"] for code in kind["items"]}
    assert codes == dict(sent)


def halog(path: Path, *arguments: str) -> list[list[str]]:
    """The rows that it prints; it must have understood every line."""
    with path.open() as file:
        done = subprocess.run([needed("halog"), *arguments], stdin=file, capture_output=True, text=True, timeout=60, check=True)
    count = lines(path)
    assert f"{count} lines in" in done.stderr, done.stderr
    assert " 0 parsing errors" in done.stderr, done.stderr
    return [line.split() for line in done.stdout.splitlines() if not line.startswith("#")]


def test_haproxy_is_read_by_halog(scene: Scene) -> None:
    path, sent = scene.record("{to: FILE, format: haproxy}", "haproxy.log")
    assert {int(status): int(count) for status, count in halog(path, "-st")} == dict(sent)
    servers = {row[0]: dict(zip(("2xx", "3xx", "4xx", "5xx", "total", "ok"), map(int, [*row[2:6], row[7], row[8]]), strict=True))
               for row in halog(path, "-srv")}
    answered = sent[200] - 3 + sent[500]
    app = servers[f"app/{scene.origin.address}"]
    assert (app["2xx"], app["5xx"], app["total"], app["ok"]) == (sent[200] - 3, sent[500], answered, answered)
    assert servers[f"dead/127.0.0.1:{scene.dead}"] | {"total": 3} == {"2xx": 0, "3xx": 0, "4xx": 0, "5xx": 3, "total": 3, "ok": 0}
    assert servers["default/<CACHE>"]["2xx"] == 3
    own = servers["default/<NOSRV>"]
    assert (own["3xx"], own["4xx"]) == (5, 7 + sent[400])
    assert {state: int(count) for state, count in halog(path, "-tc")} == {
        "--": sent[200] + sent[500], "LR": 12, "SC": 3, "PR": sent[400]}
    urls = {row[-1]: int(row[0]) for row in halog(path, "-u", "-query")}
    assert (urls["/a?x=1"], urls["/gone"], urls[f"/kept/{scene.rounds}"]) == (LOAD, 7, 4)
    assert int(halog(path, "-ic")[0][0]) == sent.total()
    # percentiles of those that a server answered, up to the last one
    assert int(halog(path, "-pct")[-1][1]) == answered
    assert len(halog(path, "-e")) == sent[500] + sent[502]
    assert len(halog(path, "-Q")) == 0


def test_json_is_what_the_schema_says(scene: Scene) -> None:
    path, sent = scene.record("{to: FILE, format: json}", "json.log")
    records = read_records(path.read_bytes())
    assert Counter(record["status"] for record in records) == sent
    assert len({record["id"] for record in records}) == sent.total()
    assert Counter(record["status_by"] for record in records)["cache"] == 3
    failed = [record for record in records if record["status"] == 502]
    assert [(record["error"], record["server"]) for record in failed] == [("connection_refused", f"127.0.0.1:{scene.dead}")] * 3
    assert all(record.get("tries") for record in failed if record["attempts"] > 1)


def test_logfmt_is_read_strictly(scene: Scene) -> None:
    path, sent = scene.record("{to: FILE, format: logfmt}", "logfmt.log")
    records = [dict(read_logfmt(line)) for line in path.read_text().splitlines()]
    assert Counter(int(record["status"]) for record in records) == sent
    assert sum(record.get("query") == "x=1" for record in records) == LOAD
    assert any('"' in record.get("query", "") for record in records)


# ---------------------------------------------------------------- which, and without what
def test_a_sample_and_what_it_leaves_out(scene: Scene) -> None:
    path = scene.folder / "sample.log"
    before = scene.sampled_out()
    scene.log_to(f"{{to: {path}, format: json, sample: {{2xx: 10%, slower_than: 1h, 4xx: 0%}}}}")
    sent = scene.traffic()
    until(lambda: lines(path) + scene.sampled_out() - before == sent.total(), "every request is written or left out")
    written = Counter(record["status"] for record in read_records(path.read_bytes()))
    others = {status: count for status, count in sent.items() if status not in (200, 400, 410)}
    assert written - Counter({200: written[200]}) == others
    assert 0.05 < written[200] / sent[200] < 0.16
    scene.log_to("none")


@pytest.mark.parametrize("form", ["combined", "haproxy", "json", "logfmt", "pretty"])
def test_no_secret_is_written(scene: Scene, form: str) -> None:
    path = scene.folder / f"secret-{form}.log"
    scene.log_to(f"{{to: {path}, format: {form}, redact: ['query:token', client.ip, 'header:user-agent']}}")
    for target in HOSTILE:
        scene.ask(target + (b"&" if b"?" in target else b"?") + b"Token=hunter2", b"Referer: http://x/?token=hunter2\r\n")
    until(lambda: lines(path) == len(HOSTILE), "the requests are written")
    text = path.read_text()
    assert "***" in text
    assert "hunter2" not in text
    assert not any(line.startswith("127.0.0.1") or '"client.address":"127.0.0.1"' in line for line in text.splitlines())
    scene.log_to("none")


# ---------------------------------------------------------------- syslog
RSYSLOG = """
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{local}" UseSpecialParser="on" CreatePath="on")
input(type="imuxsock" Socket="{unix}" UseSpecialParser="off" CreatePath="on")
module(load="imudp")
input(type="imudp" address="127.0.0.1" port="{port}")
template(name="seen" type="string" string="%pri% %timegenerated:::date-unixtimestamp% %hostname% %app-name% %procid% %msg%\\n")
*.* action(type="omfile" file="{out}" template="seen")
"""


@pytest.fixture
def rsyslog(tmp_path: Path) -> Iterator[dict[str, Any]]:
    places: dict[str, Any] = {"local": tmp_path / "local", "unix": tmp_path / "unix", "port": free_port(), "out": tmp_path / "out"}
    config = tmp_path / "rsyslog.conf"
    config.write_text(RSYSLOG.format(**places))
    daemon = Process([needed("rsyslogd"), "-n", "-f", str(config), "-i", str(tmp_path / "pid")], tmp_path / "rsyslog.log")
    with ending(daemon):
        daemon.ready(lambda: places["unix"].exists() and places["local"].exists(), "rsyslogd listens")
        yield places


@pytest.mark.parametrize("by", ["udp", "unix"])
def test_rsyslogd_takes_rfc_5424(scene: Scene, rsyslog: dict[str, Any], by: str) -> None:
    scene.log_to(f"'syslog://127.0.0.1:{rsyslog['port']}'" if by == "udp" else f"'syslog+unix:{rsyslog['unix']}'")
    for target in (b"/a", b"/gone", b"/dead"):
        scene.ask(target)
    until(lambda: lines(rsyslog["out"]) == 3, "three messages")
    seen = [line.split(" ", 5) for line in rsyslog["out"].read_text().splitlines()]
    assert {tuple(each[2:5]) for each in seen} == {(socket.gethostname(), "proxyd", str(scene.proxyd.pid))}
    records = [json.loads(each[5]) for each in seen]
    severities = {200: 134, 410: 132, 502: 131}
    assert [int(each[0]) for each in seen] == [severities[record["status"]] for record in records]
    scene.log_to("none")


def test_rsyslogd_takes_what_goes_to_the_daemon_of_the_machine(rsyslog: dict[str, Any]) -> None:
    """Its socket of that kind expects syslog(3)'s form; /dev/log of this machine is not touched."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(rsyslog["local"]))
        log = AccessLog(sender.fileno(), "json", 1, rules=Rules(frame="local"))
        log.submit(0, {"status": 500, "path": b"/x", "time_us": time.time_ns() // 1000})
        log.start()
        log.stop()
    until(lambda: lines(rsyslog["out"]) == 1, "a message")
    priority, _, _, program, pid, message = rsyslog["out"].read_text().split(" ", 5)
    assert (priority, program, pid) == ("131", "proxyd", str(os.getpid()))
    assert json.loads(message)["path"] == "/x"


def test_a_receiver_that_goes_and_returns(scene: Scene, tmp_path: Path) -> None:
    place, before = tmp_path / "log", scene.dropped()
    got = 0

    def receiver() -> socket.socket:
        place.unlink(missing_ok=True)
        ours = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.bind(str(place))
        ours.setblocking(False)
        return ours

    def drain(ours: socket.socket) -> None:
        nonlocal got
        while True:
            try:
                assert b" access - {" in ours.recv(65_536)
                got += 1
            except BlockingIOError:
                return

    def accounted(ours: socket.socket, sent: int) -> bool:
        drain(ours)
        return got + scene.dropped() - before == sent

    with receiver() as first:
        scene.log_to(f"'syslog+unix:{place}'")
        for _ in range(20):
            scene.ask(b"/a")
        until(lambda: accounted(first, 20), "twenty messages")
    assert got == 20
    scene.load(LOAD)
    until(lambda: scene.dropped() - before == LOAD, "what nobody received is counted")
    with receiver() as second:
        for _ in range(20):
            scene.ask(b"/a")
        until(lambda: accounted(second, LOAD + 40), "twenty more")
        assert got == 40
        scene.log_to("none")


# ---------------------------------------------------------------- files that are others, and none
def test_a_rotation_under_load_loses_no_line(scene: Scene) -> None:
    path, count = scene.folder / "rotated.log", 40_000
    scene.log_to(f"{{to: {path}, format: json, rotate: {{size: 64KiB, keep: 10000}}}}")
    sent = 0
    while len(list(scene.folder.glob("rotated.log.*"))) < 3:
        scene.load(count)
        sent += count
    until(lambda: sum(map(lines, {path, *scene.folder.glob("rotated.log.*")})) == sent, "every line is in some file")
    scene.log_to("none")
    files = [path, *scene.folder.glob("rotated.log.*")]
    records = [record for file in files for record in map(json.loads, file.read_bytes().splitlines())]
    assert len({record["id"] for record in records}) == sent
    assert [file.stat().st_size > 64 * 1024 for file in files if file != path] == [True] * (len(files) - 1)


def test_neither_a_full_disk_nor_an_unread_pipe_slows_an_engine(scene: Scene, tmp_path: Path) -> None:
    """Every request is answered, and costs what it costs without a log; all that is lost is counted."""
    count = 20_000
    scene.log_to("none")
    free = min(scene.load(count) for _ in range(2))
    before = scene.dropped()
    scene.log_to("{to: /dev/full, format: json}")
    full = min(scene.load(count) for _ in range(2))
    until(lambda: scene.dropped() - before == 2 * count, "every record is counted as dropped")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    before = scene.dropped()
    try:
        scene.log_to(f"{{to: {fifo}, format: json}}")
        blocked = min(scene.load(count) for _ in range(2))
        scene.log_to("none")
        os.set_blocking(reader, False)
        kept = sum(piece.count(b"\n") for piece in iter(lambda: os.read(reader, 1 << 20), b""))
    finally:
        os.close(reader)
    until(lambda: kept + scene.dropped() - before == 2 * count, "every record is in the pipe or counted")
    print(f"CPU of {count} requests: {free:.2f} s without a log, {full:.2f} s with a full disk, {blocked:.2f} s with a blocked pipe")
    assert max(full, blocked) < 1.5 * free + 0.2
