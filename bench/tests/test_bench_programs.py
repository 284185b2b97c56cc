"""The bench's own C programs: origin answers as HTTP, floor passes every byte on."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable

import pytest
from harness.contestants import Origin
from harness.probe import fetch, origin_stats

CRLF2 = b"\r\n\r\n"


def read_answer(client: socket.socket, held: bytes = b"") -> tuple[bytes, bytes, bytes]:
    """(head, body, what came behind it) of one answer with Content-Length."""
    while CRLF2 not in held:
        got = client.recv(65536)
        assert got, f"the connection ended after {held!r}"
        held += got
    head, _, rest = held.partition(CRLF2)
    length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(rest) < length:
        got = client.recv(1 << 20)
        assert got, f"the body ended after {len(rest)} of {length} bytes"
        rest += got
    return head, rest[:length], rest[length:]


@pytest.mark.parametrize(("path", "size"), [("/64", 64), ("/0", 0), ("/svc-0001/10k?x=1", 10240), ("/1m", 1 << 20)])
def test_origin_answers_by_the_last_segment(origin: Origin, path: str, size: int) -> None:
    status, fields, body = fetch(origin.ports[0], path)
    assert (status, len(body)) == (200, size)
    assert {"server", "date", "content-type"} <= fields.keys()


def test_origin_says_below_hit_that_its_answers_may_be_stored(origin: Origin) -> None:
    status, fields, body = fetch(origin.ports[0], "/hit/10k")
    assert (status, fields["cache-control"], body) == (200, "max-age=3600", fetch(origin.ports[0], "/10k")[2])
    assert "cache-control" not in fetch(origin.ports[0], "/10k")[1]
    assert "cache-control" not in fetch(origin.ports[0], "/whit/10k")[1]


def test_origin_refuses_what_it_does_not_know(origin: Origin) -> None:
    assert fetch(origin.ports[0], "/nothing")[0] == 404


def test_origin_reads_a_request_split_at_every_byte_and_a_pipelined_one_behind_it(origin: Origin) -> None:
    request = b"POST /a/post HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    with socket.create_connection(("127.0.0.1", origin.ports[1]), timeout=5) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        held = b""
        for at in range(1, len(request)):
            client.sendall(request[:at])
            client.sendall(request[at:] + b"GET /64 HTTP/1.1\r\nHost: x\r\n\r\n")
            head, body, held = read_answer(client, held)
            assert (head.startswith(b"HTTP/1.1 200"), body) == (True, b"ok\n")
            head, body, held = read_answer(client, held)
            assert len(body) == 64


def test_origin_refuses_a_chunked_body_aloud(origin: Origin) -> None:
    with socket.create_connection(("127.0.0.1", origin.ports[0]), timeout=5) as client:
        client.sendall(b"POST /post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 501")


def test_origin_counts_requests_and_connections(origin: Origin) -> None:
    requests, connections = origin_stats(origin.ports[0])
    fetch(origin.ports[0], "/64")
    fetch(origin.ports[1], "/64")
    assert origin_stats(origin.ports[0]) == (requests + 2, connections + 3)
    assert json.loads(fetch(origin.ports[0], "/stats")[2]).keys() == {"requests", "connections"}


@pytest.mark.parametrize("mode", [("relay",), ("relay", "-b", "4096"), ("splice",)])
def test_floor_passes_on_every_byte_to_a_client_that_reads_late(origin: Origin, floor: Callable[..., int], mode: tuple[str, ...]) -> None:
    port = floor(*mode, "-o", str(origin.ports[0]))
    expected = fetch(origin.ports[0], "/1m")[2]
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)  # so that floor must hold back
        client.settimeout(10)
        client.connect(("127.0.0.1", port))
        held = b""
        for _ in range(3):
            client.sendall(b"GET /1m HTTP/1.1\r\nHost: x\r\n\r\n")
            _, body, held = read_answer(client, held)
            assert body == expected


def test_floor_close_ends_each_connection_and_keeps_its_origin_connections(origin: Origin, floor: Callable[..., int]) -> None:
    port = floor("close", "-o", str(origin.ports[0]))
    _, before = origin_stats(origin.ports[0])
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"GET /64 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            head, body, _ = read_answer(client)
            assert b"\r\nConnection: close\r\n" in head
            assert len(body) == 64
            assert client.recv(1) == b""
    _, after = origin_stats(origin.ports[0])
    assert after - before == 2  # floor's one, and the one that asks for the count


@pytest.mark.parametrize("mode", ["answer", "file"])
@pytest.mark.parametrize("size", [64, 1 << 20])
def test_floor_answers_from_memory_a_client_that_reads_late(floor: Callable[..., int], mode: str, size: int) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        client.settimeout(10)
        client.connect(("127.0.0.1", floor(mode, "-s", str(size), "-b", str(size + 4096))))
        for _ in range(3):
            client.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
            head, body, _ = read_answer(client)
            assert (head[:15], body) == (b"HTTP/1.1 200 OK", b"a" * size)
