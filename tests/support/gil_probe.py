"""An origin and a client in a process of their own: prints the times at which it got answers.

    python -m tests.support.gil_probe      says its origin's port, reads the proxy's port, prints "ready" when answers come;
                                           at the end of its standard input it prints one JSON list of monotonic seconds.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
import time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def answer(sock: socket.socket) -> None:
    while sock.recv(65536):
        sock.sendall(ANSWER)


def listen() -> int:
    server = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            sock, _ = server.accept()
            threading.Thread(target=answer, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    port: int = server.getsockname()[1]
    return port


def ask(socks: list[socket.socket]) -> None:
    for sock in socks:
        sock.sendall(REQUEST)
    for sock in socks:
        received = b""
        while not received.endswith(b"hello"):
            piece = sock.recv(65536)
            assert piece, received
            received += piece


def main() -> None:
    print(listen(), flush=True)
    port = int(sys.stdin.readline())
    socks = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(8)]
    times: list[float] = []
    while not select.select([sys.stdin], [], [], 0)[0]:
        ask(socks)
        times.append(time.monotonic())
        if len(times) == 20:
            print("ready", flush=True)
    print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
