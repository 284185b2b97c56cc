"""Issue 6, acceptance 3: dig through proxyd to a pool of resolvers, over UDP and TCP on one port number."""
from __future__ import annotations

import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.databases import Unbound
from tests.acceptance.examples import example
from tests.acceptance.stage import Process, Proxyd, ending, free_port, needed, until
from tests.acceptance.wires import until_checked

HOSTS, QUERIES, DIGS = 500, 10_000, 4
# Asks for the address of check.pool.example.
CHECK = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + b"\x05check\x04pool\x07example\x00" + b"\x00\x01\x00\x01"
INTERVAL_S, TIMEOUT_S, FALL = 0.2, 0.15, 2
RATE = 500          # queries a second while a resolver dies
CLIENT = "127.0.0.77"


class Resolver(Unbound):
    """It answers for host0 … host499.pool.example, says its name at who.pool.example, and has an answer there that is too large for UDP."""

    def __init__(self, folder: Path, name: str, *, proxied: bool = False) -> None:
        records = [f"host{i}.pool.example. 60 A 10.1.{i // 250}.{i % 250}" for i in range(HOSTS)]
        large = " ".join(f'"{i:03d} {"." * 240}"' for i in range(20))
        records += ["check.pool.example. 60 A 10.9.9.9", f'who.pool.example. 60 TXT "{name}"', f"large.pool.example. 60 TXT {large}"]
        super().__init__(folder, name, *records)
        with self._config.open("a") as config:
            if proxied:
                # Who comes from CLIENT is told something else: the answer shows whom unbound takes the client for.
                config.write(f"server:\n  proxy-protocol-port: {self.port}\n  access-control-view: {CLIENT}/32 known\n"
                             "view:\n  name: known\n  view-first: yes\n"
                             "  local-zone: 'you.pool.example.' static\n  local-data: 'you.pool.example. 60 TXT \"known\"'\n")


def dig(port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [needed("dig"), "@127.0.0.1", "-p", str(port), "+tries=1", "+timeout=2", *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)


def dig_many(folder: Path, port: int, queries: int, *arguments: str) -> Counter[str]:
    """So many queries by several dig at once; how often each status, or `no answer`, came."""
    asked, processes = queries // DIGS, []
    names = folder / "names.txt"
    names.write_text("".join(f"host{i % HOSTS}.pool.example. A\n" for i in range(asked)))
    for number in range(DIGS):
        # Each from an address of its own: the sockets of dig share ports (SO_REUSEPORT), and of two with the same one gets both answers.
        command = [needed("dig"), "@127.0.0.1", "-p", str(port), "-b", f"127.0.0.{10 + number}", "+tries=1", "+timeout=2", "+noedns"]
        command += [*arguments, "-f", str(names)]
        processes.append(Process(command, folder / f"dig{number}.log"))
    told: Counter[str] = Counter()
    with ending(*processes):
        for process in processes:
            process.child.wait(60)
            text = process.output()
            process.log.unlink()
            told.update(line.partition("status: ")[2].partition(",")[0] for line in text.splitlines() if "->>HEADER<<-" in line)
            told["addresses"] += sum("\tA\t10.1." in line or "IN A 10.1." in " ".join(line.split()) for line in text.splitlines())
            told["no answer"] += text.count("no servers could be reached")
    return told


class Pool:
    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.resolvers = [Resolver(folder, f"resolver{i}") for i in range(2)]
        for resolver in self.resolvers:
            resolver.start()
        members = ", ".join(f"'{resolver.address}'" for resolver in self.resolvers)
        check = (
            f"{{udp: {{send_hex: '{CHECK.hex()}', expect_hex: '{CHECK[:2].hex()}'}}, interval: {INTERVAL_S * 1000:.0f}ms, "
            f"timeout: {TIMEOUT_S * 1000:.0f}ms, fall: {FALL}, rise: 1}}"
        )
        self.proxyd = Proxyd(folder, (
            "log: {access: none}\nlisteners:\n"
            f"  dns: {{bind: ['127.0.0.1:{self.port}'], mode: udp, to: resolvers, flow: {{responses: 1, idle_timeout: 5s}}}}\n"
            f"  dns-tcp: {{bind: ['127.0.0.1:{self.port}'], mode: tcp, to: resolvers}}\n"
            f"upstreams: {{resolvers: {{servers: [{members}], health: {{active: {check}}}}}}}\n"
        ))

    def up(self) -> float:
        return self.proxyd.total("proxyd_upstream_server_up")


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    pool = Pool(tmp_path)
    with pool.resolvers[0], pool.resolvers[1], ending(pool.proxyd):
        until_checked(pool.proxyd, 2)
        yield pool
        assert pool.proxyd.end() == 0


def test_ten_thousand_queries(pool: Pool, tmp_path: Path) -> None:
    began = time.monotonic()
    told = dig_many(tmp_path, pool.port, QUERIES)
    print(f"\n{QUERIES} queries by {DIGS} dig over UDP in {time.monotonic() - began:.1f} s: {dict(told)}")
    assert told == {"NOERROR": QUERIES, "addresses": QUERIES, "no answer": 0}
    over_tcp = dig_many(tmp_path, pool.port, QUERIES // 5, "+tcp")
    assert over_tcp == {"NOERROR": QUERIES // 5, "addresses": QUERIES // 5, "no answer": 0}
    metrics = pool.proxyd.metrics()
    # A port is used again only after its answer, with which the flow has ended.
    assert metrics['proxyd_udp_flows_total{listener="dns"}'] == QUERIES
    assert metrics['proxyd_udp_datagrams_total{direction="in",listener="dns"}'] == QUERIES
    assert metrics['proxyd_udp_datagrams_total{direction="out",listener="dns"}'] == QUERIES
    assert metrics['proxyd_l4_flow_ends_total{listener="dns",reason="responses"}'] == QUERIES
    assert metrics['proxyd_tcp_connections_total{listener="dns-tcp"}'] == QUERIES // 5
    names = {dig(pool.port, "+short", "who.pool.example.", "TXT").stdout for _ in range(10)}
    assert names == {'"resolver0"\n', '"resolver1"\n'}, "both are asked"


def test_what_is_too_large_for_udp_comes_over_tcp(pool: Pool) -> None:
    cut = dig(pool.port, "+ignore", "large.pool.example.", "TXT")
    assert cut.returncode == 0, cut.stdout
    flags = cut.stdout.partition(";; flags:")[2].partition(";")[0].split()
    assert "tc" in flags, cut.stdout
    whole = dig(pool.port, "large.pool.example.", "TXT")
    assert "Truncated, retrying in TCP mode" in whole.stdout
    assert "(TCP)" in whole.stdout
    assert all(f'"{i:03d} ' in whole.stdout for i in range(20))
    assert pool.proxyd.metrics()['proxyd_tcp_connections_total{listener="dns-tcp"}'] == 1
    assert pool.proxyd.total("proxyd_l4_bytes_total", 'listener="dns-tcp"', 'direction="out"') > 4800


def query(number: int, name: bytes) -> bytes:
    labels = b"".join(bytes([len(label)]) + label for label in name.split(b"."))
    return number.to_bytes(2, "big") + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01"


def test_a_resolver_dies(pool: Pool, tmp_path: Path) -> None:
    """At a steady rate, each query from a port of its own. Lost is at most what one of two gets until the checks have taken it out."""
    asked: dict[int, tuple[float, socket.socket]] = {}
    answered: dict[int, float] = {}

    def take() -> None:
        for number, (_, client) in asked.items():
            if number not in answered:
                try:
                    answer = client.recv(512)
                except (BlockingIOError, ConnectionRefusedError):
                    continue
                assert answer[:2] == number.to_bytes(2, "big")
                assert answer[3] & 15 == 0
                answered[number] = time.monotonic()

    def ask(seconds: float, first: int) -> int:
        began = time.monotonic()
        for number in range(first, first + int(RATE * seconds)):
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            client.connect(("127.0.0.1", pool.port))
            asked[number] = time.monotonic(), client
            client.send(query(number, b"host%d.pool.example" % (number % HOSTS)))
            if number % 16 == 0:
                time.sleep(max(0.0, began + (number - first) / RATE - time.monotonic()))     # the rate is what this is about
                take()
        return first + int(RATE * seconds)

    last = ask(0.5, 0)
    pool.resolvers[0].kill()
    died = time.monotonic()
    ask(1.5, last)
    until(lambda: pool.up() == 1, "it is taken out")
    time.sleep(0.2)     # what is not answered by now is lost
    noticed_s = FALL * (INTERVAL_S * 1.1) + TIMEOUT_S
    take()
    lost = {number: asked[number][0] for number in asked if number not in answered}
    for _, client in asked.values():
        client.close()
    most = RATE * noticed_s / 2 * 1.2
    last_s = max(lost.values(), default=died) - died
    print(f"\n{len(lost)} of {len(asked)} queries lost at {RATE} a second, the last {last_s:.2f} s after its death; "
          f"by the checks alone it could be {most:.0f}")
    assert len(lost) <= most
    assert last_s < noticed_s + 0.1, "later ones are all answered"
    told = dig_many(tmp_path, pool.port, 1000)
    assert told == {"NOERROR": 1000, "addresses": 1000, "no answer": 0}
    pool.resolvers[0].start()
    until(lambda: pool.up() == 2, "it is back")
    until(lambda: dig(pool.port, "+short", "who.pool.example.", "TXT").stdout == '"resolver0"\n', "it gets queries again")


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_the_resolver_is_told_the_client(tmp_path: Path, transport: str) -> None:
    """`proxy_protocol: v2` in front of each datagram and each connection; unbound answers by the client's address."""
    port = free_port()
    resolver = Resolver(tmp_path, "resolver", proxied=True)
    with resolver:
        resolver.start()
        proxyd = Proxyd(tmp_path, (
            "log: {access: none}\nlisteners:\n"
            f"  dns: {{bind: ['127.0.0.1:{port}'], mode: udp, to: resolvers, flow: {{responses: 1}}}}\n"
            f"  dns-tcp: {{bind: ['127.0.0.1:{port}'], mode: tcp, to: resolvers}}\n"
            f"upstreams: {{resolvers: {{servers: ['{resolver.address}'], health: {{dns: check.pool.example}}, proxy_protocol: v2}}}}\n"
        ))
        with ending(proxyd):
            def you(source: str) -> str:
                return dig(port, transport, "-b", source, "+short", "you.pool.example.", "TXT").stdout

            until_checked(proxyd, 1)        # which come with a header, too
            assert you(CLIENT) == '"known"\n'
            assert you("127.0.0.78") == ""
            known = dig(port, transport, "-b", "127.0.0.78", "+short", "who.pool.example.", "TXT")
            assert known.stdout == '"resolver"\n', known.stdout
            # Without the header it says nothing: what came before did come by it.
            assert dig(resolver.port, transport, "+timeout=1", "-b", CLIENT, "you.pool.example.", "TXT").returncode != 0
            assert proxyd.end() == 0


def test_the_example(pool: Pool, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "example").mkdir()
    proxyd = Proxyd(tmp_path / "example", example("dns", {
        '":53"': f"'127.0.0.1:{port}'", "10.0.0.0/8": "127.0.0.0/8", "example.com": "check.pool.example",
        "10.0.3.11:53": pool.resolvers[0].address, "10.0.3.12:53": pool.resolvers[1].address, "10.0.3.13:53": f"127.0.0.1:{free_port()}",
    }))
    with ending(proxyd):
        until_checked(proxyd, 2)
        for transport in ("+notcp", "+tcp"):
            told = dig_many(tmp_path, port, 400, transport)
            assert told == {"NOERROR": 400, "addresses": 400, "no answer": 0}
        assert proxyd.end() == 0
