"""The client against peers that are not proxyd: it always ends in a sentence."""
from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxyd.admin.address import TcpAddress, UnixAddress
from proxyd.admin.client import AdminError, Client, NotPermitted, NotReachable, Refused, TimedOut

Peer = Callable[[bytes], TcpAddress]


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A peer that reads one request and sends `answer`, whatever was asked."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(answer: bytes) -> TcpAddress:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while b"\r\n\r\n" not in connection.recv(65536):
                    pass
                connection.sendall(answer)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return TcpAddress("127.0.0.1", listener.getsockname()[1])

    yield start
    for thread in threads:
        thread.join(5)
    for listener in listeners:
        listener.close()


def http(status: str, body: bytes, content_type: str = "application/json") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_an_answer(peer: Peer) -> None:
    assert Client(peer(http("200 OK", b'{"a": 1}'))).get("/status") == {"a": 1}


def test_no_socket_and_nobody_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with pytest.raises(NotReachable, match="there is no such socket"):
        Client(UnixAddress(str(path))).get("/status")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with pytest.raises(NotReachable, match="nothing listens there"):
        Client(UnixAddress(str(path))).get("/status")


def test_an_unusable_path(tmp_path: Path) -> None:
    with pytest.raises(AdminError, match="too long"):
        Client(UnixAddress("/" + "x" * 300)).get("/status")


def test_a_socket_that_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, address: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("socket.socket.connect", refuse)
    with pytest.raises(NotPermitted, match="root"):
        Client(UnixAddress("/run/x.sock")).get("/status")


@pytest.mark.parametrize(("answer", "words"), [
    (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
    (b"", "no proxyd answers"),
    (http("200 OK", b"<html>", "text/html"), "not JSON"),
    (http("404 Not Found", b"<html>", "text/html"), "not proxyd's admin API"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "cut short"),
])
def test_other_programs(peer: Peer, answer: bytes, words: str) -> None:
    with pytest.raises(AdminError, match=words):
        Client(peer(answer)).get("/status")


@pytest.mark.parametrize(("answer", "words"), [
    (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
    (b"", "no proxyd answers"),
    (http("503 Service Unavailable", b'{"code": "PXD-245", "detail": "not now"}', "application/problem+json"), "not now"),
])
def test_a_stream_that_does_not_begin(peer: Peer, answer: bytes, words: str) -> None:
    with pytest.raises(AdminError, match=words):
        list(Client(peer(answer)).stream("/stats/stream"))


def test_silence_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = Client(TcpAddress("127.0.0.1", listener.getsockname()[1]), timeout_s=0.05)
        with pytest.raises(TimedOut, match=r"within 0\.05 s"):
            client.get("/status")


def test_a_problem(peer: Peer) -> None:
    body = b'{"code": "PXD-247", "detail": "2 errors", "diagnostics": [{"code": "PXD-021"}, "junk"]}'
    with pytest.raises(Refused, match="2 errors") as refusal:
        Client(peer(http("422 Unprocessable", body, "application/problem+json"))).post("/config")
    assert (refusal.value.status, refusal.value.code, refusal.value.diagnostics) == (422, "PXD-247", [{"code": "PXD-021"}])
