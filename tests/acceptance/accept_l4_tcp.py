"""Issue 6, acceptance 2, and what else `mode: tcp` promises: idle flows in thousands over a hundred reloads, whole daemon, real sockets."""
from __future__ import annotations

import contextlib
import itertools
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.examples import example
from tests.acceptance.stage import Process, Proxyd, ending, exchange, free_port, listens, until
from tests.acceptance.wires import (
    WHO,
    Echo,
    Line,
    ask,
    dial,
    exactly,
    is_closed,
    most_descriptors,
    record_of,
    records,
    reset,
    until_checked,
    until_end,
)

FLOWS, RELOADS = 10_000, 100
BYTES_EACH = 2048
SPARE = 200              # descriptors that are no flow's
WARM = 200               # flows that have come and gone before the memory is looked at
BIG = bytes(range(256)) * 8192       # 2 MiB


# ---------------------------------------------------------------------- acceptance 2
def idle_config(turn: int, port: int, other: int, servers: list[Echo], guest: Echo) -> str:
    """Timeouts, limits and weights differ with every turn, a server without flows comes and goes, and so does an unrelated listener."""
    members = [f"{{address: '{server.address}', weight: {1 + (turn + i) % 5}}}" for i, server in enumerate(servers)]
    members += [f"'{guest.address}'"] * (turn % 2)
    unrelated = f"  web: {{bind: ['127.0.0.1:{other}'], respond: {{body: 'turn {turn}.'}}}}\n" if turn // 5 % 2 else ""
    return (
        "log: {access: none}\n"
        f"listeners:\n  idle:\n    bind: ['127.0.0.1:{port}']\n    mode: tcp\n    to: echo\n"
        f"    limits: {{per_client: {20_000 + turn}, connections: {30_000 + turn}}}\n"
        f"    flow: {{idle_timeout: {600 + turn}s, max_age: {2 + turn % 3}h}}\n{unrelated}"
        f"upstreams:\n  echo:\n    servers: [{', '.join(members)}]\n    health: {{active: none, passive: none}}\n"
        f"    timeout: {{connect: {3 + turn % 2}s}}\n    on_down: {'close' if turn % 3 else 'keep'}\n"
    )


def say(flows: list[socket.socket], word: bytes) -> None:
    """Each says something of its own and gets it back."""
    for number, flow in enumerate(flows):
        flow.sendall(b"%s %05d" % (word, number))
    for number, flow in enumerate(flows):
        expected = b"%s %05d" % (word, number)
        assert exactly(flow, len(expected)) == expected


def test_ten_thousand_idle_flows_over_a_hundred_reloads(tmp_path: Path) -> None:
    bound = most_descriptors(2 * FLOWS + 2 * SPARE)
    count = min(FLOWS, (bound - SPARE) // 2)
    if count < FLOWS:
        print(f"\nthe machine allows {bound} descriptors a process, which hold {count} flows, not {FLOWS}")
    assert count >= FLOWS // 4, "that is no test of many flows"
    port, other = free_port(), free_port()
    servers, guest = [Echo(tmp_path, f"echo{i}") for i in range(2)], Echo(tmp_path, "guest")
    with ending(*servers, guest), contextlib.ExitStack() as stack:
        proxyd = Proxyd(tmp_path, idle_config(0, port, other, servers, guest))
        stack.enter_context(ending(proxyd))
        with contextlib.ExitStack() as first:
            say([first.enter_context(dial(port)) for _ in range(WARM)], b"warm")
        until(lambda: proxyd.total("proxyd_l4_flows") == 0, "the first flows are gone")
        before = proxyd.memory_bytes()
        flows = [stack.enter_context(dial(port, f"127.0.0.{2 + i % 8}")) for i in range(count)]
        say(flows, b"hello")
        until(lambda: proxyd.total("proxyd_l4_flows", 'listener="idle"') == count, "all are there")
        each = (proxyd.memory_bytes() - before) / count
        print(f"\n{count} idle flows take {each:.0f} bytes of memory each")
        began = time.monotonic()
        for turn in range(1, RELOADS + 1):
            done = proxyd.reload(idle_config(turn, port, other, servers, guest))
            assert done.returncode == 0, f"reload {turn}: {done.stdout}{done.stderr}"
            say(flows[turn % 20 :: 20], b"after %03d" % turn)
            with dial(port) as newcomer:
                assert ask(newcomer, WHO).startswith((b"echo", b"guest"))
            if turn // 5 % 2:
                answer = exchange(other, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                assert answer.endswith(f"turn {turn}.".encode()), answer
        say(flows, b"goodbye")
        after = (proxyd.memory_bytes() - before) / count
        until(lambda: proxyd.total("proxyd_l4_flows", 'listener="idle"') == count, "all are still there, and the newcomers gone")
        ends = {name: value for name, value in proxyd.metrics().items() if name.startswith("proxyd_l4_flow_ends_total") and value}
        assert sum(ends.values()) == WARM + RELOADS, ends
        assert all('reason="client"' in name for name in ends), ends
        assert proxyd.metrics()['proxyd_config_reloads_total{result="ok"}'] >= RELOADS
        print(f"{RELOADS} reloads in {time.monotonic() - began:.0f} s cut none of them; {after:.0f} bytes each then")
        assert each < BYTES_EACH
        assert after < BYTES_EACH
        # All of them leave at once.
        for flow in flows:
            flow.close()
        until(lambda: proxyd.total("proxyd_l4_flows") == 0, "they are gone")
        assert proxyd.end() == 0


# ---------------------------------------------------------------------- one flow, both ends in hand
class Stage:
    """proxyd in front of one server that the script plays."""

    def __init__(self, folder: Path, line: Line, *, listener: str = "", upstream: str = "", more: str = "") -> None:
        self.port, self.log, self.line = free_port(), folder / "access.log", line
        self._listener, self._upstream, self._more = listener, upstream, more
        self.proxyd = Proxyd(folder, self.config())

    def config(self, name: str = "line") -> str:
        return (
            f"log: {{access: {{to: '{self.log}', format: json}}}}\n"
            f"listeners: {{{name}: {{bind: ['127.0.0.1:{self.port}'], mode: tcp, to: app{self._listener}}}}}\n"
            f"upstreams: {{app: {{servers: ['{self.line.address}'], health: none{self._upstream}}}}}\n{self._more}"
        )


@pytest.fixture
def line() -> Iterator[Line]:
    with Line() as line:
        yield line


@contextlib.contextmanager
def staged(folder: Path, line: Line, *, listener: str = "", upstream: str = "", more: str = "") -> Iterator[Stage]:
    stage = Stage(folder, line, listener=listener, upstream=upstream, more=more)
    with ending(stage.proxyd):
        yield stage
        if stage.proxyd.alive:
            assert stage.proxyd.end() == 0


def test_half_closes_and_resets_pass_on(tmp_path: Path, line: Line) -> None:
    with staged(tmp_path, line) as stage:
        def told(port: int) -> dict[str, Any]:
            return record_of(stage.log, lambda record: record["client.port"] == port)

        with line.flow(stage.port) as (client, server):      # a client that has said all, as `nc -N` does
            port = client.getsockname()[1]
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            assert until_end(server) == b"question"
            server.sendall(b"answer")
            server.sendall(b" and more")
            server.close()
            assert until_end(client) == b"answer and more"
        first = told(port)
        assert (first["end"], first["bytes_in"], first["bytes_out"]) == ("client", 9, 16)
        assert (first["kind"], first["protocol"], first["listener"], first["upstream"]) == ("tcp", "tcp", "line", "app")
        assert (first["server"], first["client.address"], first["attempts"]) == (line.address, "127.0.0.1", 1)
        assert 0 < first["t_connect"] <= first["t_total"]
        with line.flow(stage.port) as (client, server):      # a server that has said all, and listens on
            port = client.getsockname()[1]
            server.sendall(b"greeting")
            server.shutdown(socket.SHUT_WR)
            assert until_end(client) == b"greeting"
            client.sendall(b"a long")
            client.sendall(b" reply")
            client.close()
            assert until_end(server) == b"a long reply"
        second = told(port)
        assert (second["end"], second["bytes_in"], second["bytes_out"]) == ("server", 13, 9)
        with line.flow(stage.port) as (client, server):
            port = client.getsockname()[1]
            reset(client)
            with pytest.raises(ConnectionResetError):
                until_end(server)
        assert told(port)["end"] == "client_reset"
        with line.flow(stage.port) as (client, server):
            port = client.getsockname()[1]
            reset(server)
            with pytest.raises(ConnectionResetError):
                until_end(client)
        assert told(port)["end"] == "server_reset"


def test_large_both_ways_and_back_pressure(tmp_path: Path, line: Line) -> None:
    """What nobody takes stays with who sends it, but for the sockets' buffers and limits.buffer; nothing is lost or mixed up."""
    with staged(tmp_path, line, listener=", limits: {buffer: 256KiB}") as stage, line.flow(stage.port) as ends:
        for sender, receiver in (ends, ends[::-1]):
            for end in ends:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 256 << 10)
            before = stage.proxyd.memory_bytes()
            sender.setblocking(False)
            sent = 0
            content = itertools.cycle([BIG])
            with contextlib.suppress(BlockingIOError):
                while sent < 256 << 20:
                    sent += sender.send(next(content)[sent % 256 :])
            # The kernel lets its buffers of the three sockets grow to some megabytes each.
            assert sent < 64 << 20, "nobody stops it"
            assert stage.proxyd.memory_bytes() - before < 4 << 20
            sender.setblocking(True)
            sender.settimeout(10)
            sender.shutdown(socket.SHUT_WR)
            got = until_end(receiver)
            # A stream of bytes counting up: sent piecewise, each piece beginning where the last one ended.
            assert len(got) == sent
            assert got == (bytes(range(256)) * (sent // 256 + 1))[:sent]
            print(f"\n{sent >> 10} KiB waited for a reader")


def test_idle_and_old_flows_end(tmp_path: Path, line: Line) -> None:
    with staged(tmp_path, line, listener=", flow: {idle_timeout: 1s, max_age: 4s}") as stage:
        with line.flow(stage.port) as (client, server):
            began = time.monotonic()
            assert is_closed(client)
            assert is_closed(server)
            assert 0.9 < time.monotonic() - began < 2.5
        with line.flow(stage.port) as (client, server):
            client.settimeout(0.5)
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                while time.monotonic() - began < 10:
                    server.sendall(b".")
                    with contextlib.suppress(TimeoutError):
                        if not client.recv(1):
                            break
                    time.sleep(0.1)         # traffic, so that it is not idle
            assert 3.5 < time.monotonic() - began < 6
        assert [record["end"] for record in records(stage.log, 2)] == ["idle", "age"]


def test_who_may_connect(tmp_path: Path, line: Line) -> None:
    limits = ", allow: [127.0.0.0/8], deny: [127.0.0.66, 127.0.9.0/24], limits: {per_client: 2, connections: 4}"
    with staged(tmp_path, line, listener=limits) as stage, contextlib.ExitStack() as stack:
        def refused(reason: str) -> float:
            return stage.proxyd.total("proxyd_connections_rejected_total", f'reason="{reason}"')

        for source in ("127.0.0.66", "127.0.9.1"):
            with dial(stage.port, source) as stranger:
                assert is_closed(stranger)
        assert refused("denied") == 2
        held = [stack.enter_context(line.flow(stage.port, "127.0.0.2")) for _ in range(2)]
        with dial(stage.port, "127.0.0.2") as third:
            assert is_closed(third)
        assert refused("client_limit") == 1
        held += [stack.enter_context(line.flow(stage.port, f"127.0.0.{i}")) for i in (3, 4)]
        with dial(stage.port, "127.0.0.5") as fifth:
            assert is_closed(fifth)
        assert refused("connections") == 1
        for end in held[0]:     # who leaves makes room, for his own address and for all
            end.close()
        until(lambda: stage.proxyd.total("proxyd_l4_flows") == 3, "one has left")
        stack.enter_context(line.flow(stage.port, "127.0.0.2"))
        assert stage.proxyd.total("proxyd_connections_rejected_total") == 4


def test_a_drain_has_a_deadline(tmp_path: Path, line: Line) -> None:
    """A server that is drained, and a listener that leaves: flows may go on for drain_timeout, new ones go elsewhere."""
    with Line() as second, staged(tmp_path, line, listener=", flow: {drain_timeout: 2s}") as stage:
        with line.flow(stage.port) as (client, server):
            both = stage.config().replace(f"'{line.address}'", f"'{line.address}', '{second.address}'")
            done = stage.proxyd.reload(both)
            assert done.returncode == 0, done.stdout + done.stderr
            done = stage.proxyd.run("upstream", "drain", f"app/{line.address}")
            assert done.returncode == 0, done.stdout + done.stderr
            began = time.monotonic()
            for _ in range(4):
                with second.flow(stage.port) as (new, _server):
                    new.close()
            client.sendall(b"going on")
            assert exactly(server, 8) == b"going on"
            assert is_closed(client)
            assert is_closed(server)
            assert 1 < time.monotonic() - began < 4
        with second.flow(stage.port) as (client, server):
            elsewhere = stage.port
            stage.port = free_port()
            done = stage.proxyd.reload(stage.config("other").replace(line.address, second.address))
            assert done.returncode == 0, done.stdout + done.stderr
            began = time.monotonic()
            until(lambda: not listens(elsewhere), "the old listener is closed")
            client.sendall(b"going on")
            assert exactly(server, 8) == b"going on"
            assert is_closed(client)
            assert 1 < time.monotonic() - began < 4
        ends = Counter(record["end"] for record in records(stage.log, 6))
        assert ends == {"drain": 2, "client": 4}


def test_stopping_waits_for_flows(tmp_path: Path, line: Line) -> None:
    with staged(tmp_path, line, more="runtime: {shutdown: {drain: 3s}}\n") as stage:
        with line.flow(stage.port) as (client, server), line.flow(stage.port) as (stubborn, _):
            stage.proxyd.child.terminate()
            until(lambda: not listens(stage.port), "no new ones are taken")
            client.sendall(b"still here")
            assert exactly(server, 10) == b"still here"
            server.sendall(b"so am I")
            server.close()
            assert until_end(client) == b"so am I"
            client.close()
            began = time.monotonic()
            assert is_closed(stubborn), "it has had its time"
            assert time.monotonic() - began < 5
        assert stage.proxyd.child.wait(5) == 0
        assert {record["end"] for record in records(stage.log, 2)} == {"server", "shutdown"}


# ---------------------------------------------------------------------- several servers
class Checks(Process):
    """A page that tells that a server is well, on another port than the server's."""

    def __init__(self, folder: Path, host: str, port: int, page: str) -> None:
        (folder / "www").mkdir(exist_ok=True)
        (folder / "www" / page).write_text("ok\n")
        command = [sys.executable, "-m", "http.server", "--bind", host, "--directory", str(folder / "www"), str(port)]
        super().__init__(command, folder / f"checks-{host}.log")

        def answers() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex((host, port)) == 0

        self.ready(answers, f"checks of {host}")


def test_flows_of_a_dead_server(tmp_path: Path) -> None:
    """`on_down: close` ends them when the checks (by HTTP, on another port) take it out; `keep` lets them go on; new ones go elsewhere."""
    keep, close, port, checked = free_port(), free_port(), free_port(), free_port()
    hosts = ("127.0.0.2", "127.0.0.3")
    servers = [Echo(tmp_path, f"echo-{host}", host, port) for host in hosts]
    checks = [Checks(tmp_path, host, checked, "healthz") for host in hosts]
    members = ", ".join(f"'{server.address}'" for server in servers)
    health = f"{{active: {{path: /healthz, port: {checked}, interval: 200ms, timeout: 150ms, fall: 2, rise: 1}}}}"
    with ending(*servers, *checks), contextlib.ExitStack() as stack:
        proxyd = Proxyd(tmp_path, (
            "log: {access: none}\nlisteners:\n"
            f"  keep: {{bind: ['127.0.0.1:{keep}'], mode: tcp, to: keeping}}\n"
            f"  close: {{bind: ['127.0.0.1:{close}'], mode: tcp, to: closing}}\n"
            f"upstreams:\n  keeping: {{servers: [{members}], health: {health}}}\n"
            f"  closing: {{servers: [{members}], health: {health}, on_down: close}}\n"
        ))
        stack.enter_context(ending(proxyd))
        until_checked(proxyd, 4)
        flows = {listener: [stack.enter_context(dial(listener)) for _ in range(8)] for listener in (keep, close)}
        names = {flow: ask(flow, WHO) for both in flows.values() for flow in both}
        dead, alive = (server.name.encode() for server in servers)
        assert Counter(names.values()) == {dead: 8, alive: 8}, "round robin"
        checks[0].kill()
        began = time.monotonic()
        for flow in flows[close]:
            if names[flow] == dead:
                assert is_closed(flow)
        assert time.monotonic() - began < 2, "interval times fall, and a check's timeout"
        for flow in (*flows[keep], *(flow for flow in flows[close] if names[flow] == alive)):
            assert ask(flow, WHO) == names[flow]
        until(lambda: proxyd.total("proxyd_upstream_server_up") == 2, "both upstreams have noticed")
        for listener in (keep, close):
            for _ in range(4):
                with dial(listener) as new:
                    assert ask(new, WHO) == alive
        assert proxyd.total("proxyd_l4_flow_ends_total", 'reason="down"') == 4
        for flow in names:
            flow.close()
        assert proxyd.end() == 0


def test_whom_a_source_meets(tmp_path: Path) -> None:
    """`{hash: client.ip}`: always the same server, whatever the port; the flow hash: any, and all alike."""
    affine, spread = free_port(), free_port()
    servers = [Echo(tmp_path, f"echo{i}") for i in range(4)]
    members = ", ".join(f"'{server.address}'" for server in servers)
    with ending(*servers):
        proxyd = Proxyd(tmp_path, (
            "log: {access: none}\nlisteners:\n"
            f"  affine: {{bind: ['127.0.0.1:{affine}'], mode: tcp, to: affine}}\n"
            f"  spread: {{bind: ['127.0.0.1:{spread}'], mode: tcp, to: spread}}\n"
            f"upstreams:\n  affine: {{servers: [{members}], health: none, balance: {{hash: client.ip}}}}\n"
            f"  spread: {{servers: [{members}], health: none, balance: flow_hash}}\n"
        ))
        with ending(proxyd):
            def meets(port: int, source: str) -> bytes:
                with dial(port, source) as flow:
                    return ask(flow, WHO)

            of_source = {source: {meets(affine, source) for _ in range(8)} for source in (f"127.0.1.{i}" for i in range(1, 33))}
            assert all(len(met) == 1 for met in of_source.values()), of_source
            assert len(set.union(*of_source.values())) == 4
            by_port = Counter(meets(spread, "127.0.0.1") for _ in range(200))
            assert len(by_port) == 4, by_port
            assert min(by_port.values()) > 20, by_port
            # Removed, a server takes only its own sources along.
            gone = servers[0].name.encode()
            done = proxyd.reload(proxyd.config.read_text().replace(f"'{servers[0].address}', ", ""))
            assert done.returncode == 0, done.stdout + done.stderr
            for source, (met,) in of_source.items():
                assert (meets(affine, source) == met) is (met != gone)
            assert proxyd.end() == 0


def test_a_refused_connection_is_tried_elsewhere(tmp_path: Path) -> None:
    """One of two servers is dead and nobody has noticed: no client does, either."""
    port, nobody = free_port(), free_port()
    server, log = Echo(tmp_path, "echo"), tmp_path / "access.log"
    with ending(server):
        proxyd = Proxyd(tmp_path, (
            f"log: {{access: {{to: '{log}', format: json}}}}\n"
            f"listeners: {{line: {{bind: ['127.0.0.1:{port}'], mode: tcp, to: app}}}}\n"
            f"upstreams:\n  app:\n    servers: ['127.0.0.1:{nobody}', '{server.address}']\n"
            "    health: {active: none, passive: none}\n    retry: 1\n"
        ))
        with ending(proxyd):
            for _ in range(20):
                with dial(port) as flow:
                    assert ask(flow, WHO) == b"echo"
            told = records(log, 20)
            assert {record["server"] for record in told} == {server.address}
            assert {record["attempts"] for record in told} <= {1, 2}
            assert sum(record["attempts"] == 2 for record in told) >= 5, "the dead one had its turns"
            server.kill()
            with dial(port) as flow:
                assert is_closed(flow)
            last = records(log, 21)[-1]
            assert (last["end"], last["error"], last["attempts"]) == ("refused", "connection_refused", 2)
            assert "refused" in last["why"]
            assert proxyd.end() == 0


def test_the_example(tmp_path: Path) -> None:
    mqtt, smtp, broker, checked = (free_port() for _ in range(4))
    hosts = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
    brokers = [Echo(tmp_path, f"broker-{host}", host, broker) for host in hosts]
    checks = [Checks(tmp_path, host, checked, "health") for host in hosts]
    mails = [Echo(tmp_path, f"mail{i}", greets=True) for i in range(2)]
    with ending(*brokers, *checks, *mails):
        proxyd = Proxyd(tmp_path, example("tcp", {
            '":1883"': f"'127.0.0.1:{mqtt}'", '":25"': f"'127.0.0.1:{smtp}'", "192.0.2.0/24": "127.0.9.0/24", "8080": str(checked),
            "10.1.4.11:1883": brokers[0].address, "10.1.4.12:1883": brokers[1].address, "10.2.4.11:1883": brokers[2].address,
            "10.1.5.25:25": mails[0].address, "10.1.5.26:25": mails[1].address,
        }))
        with ending(proxyd):
            until_checked(proxyd, 5)

            def meets(source: str) -> bytes:
                with dial(mqtt, source) as device:
                    return ask(device, WHO)

            of_source = {source: {meets(source) for _ in range(4)} for source in (f"127.0.1.{i}" for i in range(1, 17))}
            assert all(len(met) == 1 for met in of_source.values()), of_source
            assert set.union(*of_source.values()) == {broker.name.encode() for broker in brokers[:2]}, "those of the own zone, both"
            with dial(mqtt, "127.0.9.9") as stranger:
                assert is_closed(stranger)
            for check in checks[:2]:
                check.kill()
            until(lambda: proxyd.total("proxyd_upstream_server_up", 'upstream="brokers"') == 1, "one is left, far away")
            with dial(mqtt) as device:
                assert is_closed(device), "never there"
            with dial(smtp, "127.0.0.5") as client:
                greeting = ask(client, b"")
                assert greeting.endswith(f" greets 127.0.0.5:{client.getsockname()[1]}\r".encode()), greeting
                assert ask(client, b"EHLO a\n") == b"EHLO a"
            assert proxyd.end() == 0
