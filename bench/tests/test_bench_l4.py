"""Below HTTP: the load counts what is right and notices what is not, the origin answers, the floors pass on, contestants are asked."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from harness import l4, l4_templates, preflight
from harness.build import BENCH
from harness.contestants import Origin
from harness.load import MARK, l4load_argv, parse_report
from harness.model import L4, Load, Workload
from harness.system import stream_module
from harness.templates import Site, connection_limit
from harness.workloads import WORKLOADS, select

ROWS = {w.name: w for w in WORKLOADS if w.l4}
SITE = Site(18000, 18001, "/run/x", (9001, 9002), 20000)
UDP = Workload("u", "u", connections=32, l4=L4("udp", window=8))


def loaded(programs: dict[str, Path], *options: str) -> tuple[Load, dict[str, int]]:
    """What l4load says, and those of its errors that are not 0."""
    done = subprocess.run([programs["l4load"], *options], capture_output=True, text=True, check=True, timeout=20)
    load = parse_report(done.stdout, 0.0)
    return load, {kind: count for kind, count in load.errors.items() if count}


def both(origin: Origin, launch: Callable[..., int], program: str, *options: str) -> int:
    """A floor before both ports of the origin; gives its port."""
    return launch(program, *options, "-o", str(origin.ports[0]), "-o", str(origin.ports[1]))


def test_origin_echoes_a_message_split_at_every_byte_and_one_behind_it(l4_origin: Origin) -> None:
    one, other = l4.message_of(l4.ECHO, 40, tag=1), l4.message_of(l4.ECHO, 24, tag=2)
    with l4.connect(l4_origin.ports[0]) as client, l4.connect(l4_origin.ports[0]) as second:
        for at in range(1, len(one)):
            client.sendall(one[:at])
            second.sendall(other)  # when this is back, what came before it has been read: so the rest comes apart from it
            assert l4.receive(second, len(other)) == other
            client.sendall(one[at:] + other)
            assert l4.receive(client, len(one + other)) == one + other


def test_origin_answers_in_order_a_client_that_reads_late(l4_origin: Origin) -> None:
    size = 1 << 20
    requests = [l4.message_of(l4.BULK, 64, size, tag) for tag in (1, 2)] + [l4.message_of(l4.WHO)]
    with socket.socket() as late, l4.connect(l4_origin.ports[0]) as direct:
        late.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        late.settimeout(10)
        late.connect(("127.0.0.1", l4_origin.ports[0]))
        late.sendall(b"".join(requests))
        answers = []
        for request in requests[:2]:
            direct.sendall(request)
            answers.append(l4.receive(direct, size))
            assert l4.receive(late, size) == answers[-1]
        assert answers[0][1:] == answers[1][:-1]  # the tag is where in the pattern it begins
        _, _, sender, server = l4.HEAD.unpack(l4.receive(late, l4.HEAD.size))
        assert (sender, server) == (late.getsockname()[1], l4_origin.ports[0])


@pytest.mark.parametrize("head", [l4.HEAD.pack(l4.ECHO, 15, 0, 0), l4.HEAD.pack(7, 16, 0, 0), l4.message_of(l4.BULK, 16, 1 << 30)])
def test_origin_closes_on_what_it_does_not_know(l4_origin: Origin, head: bytes) -> None:
    with l4.connect(l4_origin.ports[0]) as client:
        client.sendall(head)
        assert client.recv(1) == b""


@pytest.mark.parametrize(
    ("options", "connections"),
    [(("-c", "8"), 8), (("-c", "8", "-m", "1024"), 8), (("-c", "4", "-A", "1048576", "-V"), 4), (("-c", "4", "-f"), 100)],
)
def test_the_load_and_the_origin_count_the_same_through_a_floor(
    programs: dict[str, Path], l4_origin: Origin, launch: Callable[..., int], options: tuple[str, ...], connections: int
) -> None:
    for mode in ("relay", "splice"):
        port = both(l4_origin, launch, "floor", mode)
        asked, opened = l4.origin_seen(l4_origin.ports[0], L4())
        load, errors = loaded(programs, "tcp", "-p", str(port), "-n", "100", *options)
        asked_after, opened_after = l4.origin_seen(l4_origin.ports[0], L4())
        assert (load.requests, errors, asked_after - asked, opened_after - opened - 1) == (100, {}, 100, connections)
        assert 0 < load.p50_us <= load.p99_us <= load.max_us * 1.02


def test_the_load_gives_every_flow_of_udp_its_turn_from_the_same_ports(
    programs: dict[str, Path], l4_origin: Origin, launch: Callable[..., int]
) -> None:
    port = both(l4_origin, launch, "udpfloor")
    before, _ = l4.origin_seen(l4_origin.ports[0], L4("udp"))
    for _ in range(2):
        load, errors = loaded(programs, "udp", "-p", str(port), "-c", "200", "-w", "16", "-n", "1000")
        assert (load.requests, errors, load.bytes) == (1000, {}, 64_000)
    after, _ = l4.origin_seen(l4_origin.ports[0], L4("udp"))
    assert after - before == 2000


@contextmanager
def tcp_peer(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """A server that answers what it gets with what `answer` makes of it, and closes when that is nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            client, _ = server.accept()
            with client, suppress(ConnectionError):
                while (got := client.recv(65536)) and (said := answer(got)):
                    client.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (lambda got: got[:-1] + bytes([got[-1] ^ 1]), "content"),
        (lambda got: got[:12] + bytes(4) + got[16:], "content"),  # another's: its tag
        (lambda got: got + b"x", "content"),
        (lambda got: b"", "read"),
    ],
)
def test_the_load_notices_a_wrong_answer(programs: dict[str, Path], answer: Callable[[bytes], bytes], kind: str) -> None:
    with tcp_peer(answer) as port:
        load, errors = loaded(programs, "tcp", "-p", str(port), "-c", "1", "-n", "5")
    assert (load.requests, errors) == (0, {kind: 1})


@pytest.mark.parametrize("place", [0, 70_000, (1 << 20) - 1])
def test_the_load_notices_a_wrong_byte_in_a_large_answer(programs: dict[str, Path], l4_origin: Origin, place: int) -> None:
    def answer(got: bytes) -> bytes:
        with l4.connect(l4_origin.ports[0]) as direct:
            direct.sendall(got)
            whole = bytearray(l4.receive(direct, 1 << 20))
        whole[place] ^= 1
        return bytes(whole)

    with tcp_peer(answer) as port:
        assert loaded(programs, "tcp", "-p", str(port), "-c", "1", "-n", "5", "-A", str(1 << 20), "-V")[1] == {"content": 1}


@contextmanager
def udp_peer(answers: Callable[[int, bytes], list[bytes]]) -> Iterator[int]:
    """Answers the nth datagram with what `answers` gives."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        server.bind(("127.0.0.1", 0))
        last.connect(server.getsockname())

        def serve() -> None:
            number = 0
            while (arrived := server.recvfrom(2048))[0] != b"end":
                for said in answers(number, arrived[0]):
                    server.sendto(said, arrived[1])
                number += 1

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            last.send(b"end")
            thread.join()


def test_a_lost_datagram_is_sent_again_and_counted_and_a_second_answer_is_not(programs: dict[str, Path]) -> None:
    with udp_peer(lambda number, got: [] if number == 1 else [got, got]) as port:
        load, errors = loaded(programs, "udp", "-p", str(port), "-c", "1", "-n", "5")
    assert (load.requests, errors) == (5, {"lost": 1})


def test_the_load_notices_a_wrong_datagram_and_that_nobody_listens(programs: dict[str, Path]) -> None:
    with udp_peer(lambda _, got: [got[:-1]]) as port:
        assert loaded(programs, "udp", "-p", str(port), "-c", "3", "-n", "5")[1] == {"content": 3}
    assert loaded(programs, "udp", "-p", str(port), "-c", "3", "-n", "5")[1] == {"read": 3}
    assert loaded(programs, "tcp", "-p", str(port), "-c", "3", "-n", "5")[1] == {"connect": 3}
    assert loaded(programs, "tcp", "-p", str(port), "-c", "3", "-n", "5", "-f")[1] == {"connect": 3}


def test_buckets_of_durations_are_as_narrow_as_they_say(tmp_path: Path) -> None:
    program = tmp_path / "buckets"
    source = (
        '#include <stdio.h>\n#include "histogram.h"\nint main(void) { unsigned long long v; while (scanf("%llu", &v) == 1) '
        'printf("%u %llu\\n", histogram_bucket(v), (unsigned long long)histogram_floor(histogram_bucket(v))); }\n'
    )
    subprocess.run(["gcc", "-x", "c", "-I", str(BENCH / "load"), "-o", program, "-"], input=source, text=True, check=True)
    values = sorted({v for e in range(64) for v in ((1 << e) - 1, 1 << e, (1 << e) + (1 << e) // 3)} | {(1 << 64) - 1})
    done = subprocess.run([program], input="\n".join(map(str, values)), capture_output=True, text=True, check=True)
    found = [(int(bucket), int(low)) for bucket, low in (line.split() for line in done.stdout.splitlines())]
    assert len(found) == len(values)
    assert all(low <= value <= low + low // 64 for value, (_, low) in zip(values, found, strict=True))
    assert found == sorted(found)
    assert found[-1][0] < 59 * 64  # HISTOGRAM_BUCKETS


@pytest.mark.parametrize("mode", ["relay", "splice"])
def test_a_floor_of_tcp_takes_part(l4_origin: Origin, launch: Callable[..., int], mode: str) -> None:
    assert l4.faults_of(both(l4_origin, launch, "floor", mode), ROWS["l4-1m"], l4_origin.ports) == []


def test_a_floor_of_udp_takes_part_unless_it_leaves_out_a_server(l4_origin: Origin, launch: Callable[..., int]) -> None:
    assert l4.faults_of(both(l4_origin, launch, "udpfloor"), UDP, l4_origin.ports) == []
    half = launch("udpfloor", "-o", str(l4_origin.ports[0]))
    assert l4.faults_of(half, UDP, l4_origin.ports) == ["probe: flows went to 1 servers of 2"]


def test_who_changes_bytes_or_closes_does_not_take_part(l4_origin: Origin) -> None:
    with tcp_peer(lambda got: b"") as port:
        assert "probe" in l4.faults_of(port, ROWS["l4-small"], l4_origin.ports)[0]
    with udp_peer(lambda _, got: [got[:-1] + b"?"]) as port:
        assert l4.faults_of(port, UDP, l4_origin.ports) == ["probe: a datagram came back changed"]
        assert not l4.answers(port)


def test_a_flow_of_udp_must_keep_its_server_and_its_socket() -> None:
    assert l4.place_faults([{(1, 80)}, {(2, 81)}], (80, 81)) == []
    assert "did not stay" in l4.place_faults([{(1, 80), (3, 80)}, {(2, 81)}], (80, 81))[0]
    assert "share a socket" in l4.place_faults([{(1, 80)}, {(1, 80)}], (80,))[0]


def test_what_a_run_below_http_is_held_to() -> None:
    def load(requests: int, **errors: int) -> Load:
        return Load(requests, 1, 0, 1, 1, 1, errors, 0.1)

    assert l4.load_faults(load(5000, lost=5, read=0)) == []
    assert l4.load_faults(load(5000, lost=6)) == ["6 lost errors"]
    assert l4.load_faults(load(5000, content=1)) == ["1 content errors"]
    small, fresh, udp = ROWS["l4-small"], ROWS["l4-connect"], ROWS["l4-udp-64"]
    assert l4.origin_faults(small, load(500), 500, 65) == []
    assert "the origin 499 requests" in l4.origin_faults(small, load(500), 499, 65)[0]
    assert "3 connections" in l4.origin_faults(small, load(500), 500, 4)[0]  # others' connections are used
    assert l4.origin_faults(fresh, load(500), 500, 501) == []
    assert "64 connections" in l4.origin_faults(fresh, load(500), 500, 65)[0]
    assert l4.origin_faults(udp, load(500, lost=2), 502, 0) == []
    assert "the origin 503 requests" in l4.origin_faults(udp, load(500, lost=2), 503, 0)[0]


def test_l4_stands_for_all_of_it() -> None:
    assert [w.name for w in select("l4,close", quick=False)] == [*ROWS, "close"]
    assert not any(w.l4 for w in select(None, quick=True))
    udp, large = (l4load_argv(Path("l"), 7, ROWS[name], 2)[1:] for name in ("l4-udp-64", "l4-1m-new"))
    assert " ".join(udp) == "udp -p 7 -c 1000 -m 64 -d 2 -w 128"
    assert " ".join(large) == "tcp -p 7 -c 16 -m 64 -d 2 -A 1048576 -f"


@pytest.mark.parametrize("workload", ROWS.values(), ids=ROWS)
def test_files_of_contestants_name_every_server_and_leave_no_word(workload: Workload) -> None:
    def template(name: str) -> str:
        return (BENCH / "peers" / name).read_text()

    texts = [l4_templates.proxyd(template("proxyd-l4.yaml"), SITE, workload, "1")]
    texts += [l4_templates.nginx(template("nginx-stream.conf"), SITE, workload, v, "/m.so") for v in workload.variants_of("nginx")]
    texts += [l4_templates.haproxy(template("haproxy-tcp.cfg"), SITE, workload, v) for v in workload.variants_of("haproxy")]
    texts += [" ".join(l4_templates.floor_options(SITE, workload, v)) for v in workload.variants_of("floor")]
    for text in texts:
        assert "@" not in text.replace("@WORDS@", "")
        assert "9001" in text
        assert "9002" in text
    udp = workload.l4 is not None and workload.l4.protocol == "udp"
    assert ("mode: udp" in texts[0], "udp reuseport" in texts[1]) == (udp, udp)


def test_idle_flows_have_two_descriptors() -> None:
    assert connection_limit(SITE, ROWS["l4-idle"]) == 9900
    assert connection_limit(SITE, ROWS["l4-small"]) == 4096


@pytest.mark.parametrize(
    ("options", "expected"),
    [("--with-stream --x", ""), ("--with-stream=dynamic --modules-path={}", "{}/ngx_stream_module.so"), ("--with-http", None),
     ("--with-stream=dynamic --modules-path=/nowhere", None)],
)  # fmt: skip
def test_nginx_is_asked_where_its_stream_proxy_is(tmp_path: Path, options: str, expected: str | None) -> None:
    (tmp_path / "ngx_stream_module.so").touch()
    nginx = tmp_path / "nginx"
    nginx.write_text(f"#!/bin/sh\necho 'configure arguments: {options.format(tmp_path)}' >&2\n")
    nginx.chmod(0o755)
    assert stream_module(str(nginx)) == (expected.format(tmp_path) if expected else expected)
    assert bool(preflight.without_stream(str(nginx))) == (expected is None)
    assert preflight.without_stream(None) == []


def test_the_line_of_l4load_is_one_json_object(programs: dict[str, Path], l4_origin: Origin) -> None:
    done = subprocess.run(
        [programs["l4load"], "tcp", "-p", str(l4_origin.ports[0]), "-c", "1", "-d", "0.01"], capture_output=True, text=True, check=True
    )
    facts = json.loads(done.stdout.removeprefix(MARK))
    assert facts["requests"] > 0
    assert facts["duration_us"] >= 10_000
    assert facts["bytes"] == 64 * facts["requests"]
