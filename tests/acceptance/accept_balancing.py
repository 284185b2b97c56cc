"""The native pools against a real nginx: 10,000 picks, one after the other, must be the same ones.

One nginx plays both parts: servers that answer with their own address, and in front of them an upstream for each case. Requests are sent
one behind the other on one connection, so that a single worker picks them in that order.
"""
from __future__ import annotations

import socket
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxyd_ext.snapshot.spec import Balance
from tests.acceptance.stage import Process, ending, free_port, listens, needed
from tests.support.virtual import members_of, pool_of

PICKS = 10_000
BATCH = 100
SERVERS = 20

WEIGHTS: dict[str, tuple[int, ...]] = {
    "one": (1,),
    "equal": (1, 1, 1, 1, 1),
    "5-1-1": (5, 1, 1),
    "1-2-3-4": (1, 2, 3, 4),
    "40-1-1-7": (40, 1, 1, 7),
    "common divisor": (4, 2, 6),
    "twenty": tuple(1 + i * 7 % 10 for i in range(SERVERS)),
}


@dataclass(frozen=True, slots=True)
class Nginx:
    """`/wrr/N`, `/hash/N` and `/least/N` go by the N-th row of WEIGHTS, `/unix` by hash to three servers on unix sockets."""

    process: Process
    port: int
    labels: list[str]          # of the servers, as nginx has them

    def ask(self, path: str, keys: list[str]) -> list[str]:
        """What answers each key: the labels of the servers."""
        out: list[str] = []
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as client, client.makefile("rb") as answers:
            for begin in range(0, len(keys), BATCH):
                batch = keys[begin : begin + BATCH]
                client.sendall(b"".join(f"GET {path}?k={key} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for key in batch))
                for _ in batch:
                    assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
                    size = 0
                    while (line := answers.readline()) != b"\r\n":
                        name, _, value = line.partition(b":")
                        if name.lower() == b"content-length":
                            size = int(value)
                    out.append(answers.read(size).decode())
        return out


def config(folder: Path, front: int, labels: list[str], unix: list[str]) -> str:
    upstreams, places, servers = [], [], []
    for i, weights in enumerate(WEIGHTS.values()):
        lines = "".join(f"server {label} weight={weight};" for label, weight in zip(labels, weights, strict=False))
        for kind, rule in (("wrr", ""), ("hash", "hash $arg_k consistent;"), ("least", "least_conn;")):
            upstreams.append(f"upstream {kind}{i} {{ {rule} {lines} keepalive 32; keepalive_requests 1000000; }}")
            places.append(f"location = /{kind}/{i} {{ proxy_pass http://{kind}{i}; }}")
    upstreams.append(f"upstream unix {{ hash $arg_k consistent; {''.join(f'server {each};' for each in unix)} keepalive 32; }}")
    places.append("location = /unix { proxy_pass http://unix; }")
    servers += [f'server {{ listen {label}; return 200 "{label}"; }}' for label in [*labels, *unix]]
    return (
        f"daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 1; user root; worker_rlimit_nofile 4096;\n"
        "events { worker_connections 2048; }\nhttp { access_log off; keepalive_requests 1000000; proxy_http_version 1.1;\n"
        '  proxy_set_header Connection ""; default_type text/plain;\n'
        f"  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;\n"
        f"  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n  "
        + "\n  ".join(upstreams + servers)
        + f"\n  server {{ listen 127.0.0.1:{front}; {' '.join(places)} }}\n}}\n"
    )


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("nginx")
    ports: set[int] = set()
    while len(ports) < SERVERS + 1:
        ports.add(free_port())
    front, *others = sorted(ports)
    labels = [f"127.0.0.1:{port}" for port in others]
    unix = [f"unix:{folder}/{i}.sock" for i in range(3)]
    (folder / "nginx.conf").write_text(config(folder, front, labels, unix))
    process = Process([needed("nginx"), "-c", str(folder / "nginx.conf"), "-p", str(folder)], folder / "nginx.log")
    process.ready(lambda: listens(front), "nginx listens")
    with ending(process):
        yield Nginx(process, front, labels)


def ours(labels: list[str], weights: tuple[int, ...], balance: Balance, keys: list[str] | None = None) -> list[str]:
    pool = pool_of(members_of(labels, weights), balance)
    return [labels[member] for member in pool.sequence(PICKS, [zlib.crc32(key.encode()) for key in keys] if keys else None)]


CASES = pytest.mark.parametrize("case", list(WEIGHTS))
KEYS = [f"user-{i * 7919 % 100_003}" for i in range(PICKS)]


@CASES
def test_smooth_round_robin_is_nginx(nginx: Nginx, case: str) -> None:
    weights = WEIGHTS[case]
    theirs = nginx.ask(f"/wrr/{list(WEIGHTS).index(case)}", ["-"] * PICKS)
    assert ours(nginx.labels[: len(weights)], weights, "round_robin") == theirs


@CASES
def test_consistent_hash_is_nginx(nginx: Nginx, case: str) -> None:
    weights = WEIGHTS[case]
    theirs = nginx.ask(f"/hash/{list(WEIGHTS).index(case)}", KEYS)
    assert ours(nginx.labels[: len(weights)], weights, "hash", KEYS) == theirs
    assert len(set(theirs)) == len(weights)


def test_consistent_hash_of_unix_servers_is_nginx(nginx: Nginx) -> None:
    theirs = nginx.ask("/unix", KEYS)
    assert ours(sorted(set(theirs)), (1, 1, 1), "hash", KEYS) == theirs


@CASES
def test_least_conn_shares_as_nginx(nginx: Nginx, case: str) -> None:
    """One after the other, all servers are idle each time: by weight then, period by period as with nginx."""
    weights = WEIGHTS[case]
    theirs = nginx.ask(f"/least/{list(WEIGHTS).index(case)}", ["-"] * PICKS)
    mine = ours(nginx.labels[: len(weights)], weights, "least_conn")
    period = sum(weights)
    for begin in range(0, PICKS - period, period):
        assert sorted(mine[begin : begin + period]) == sorted(theirs[begin : begin + period])
