"""What is asked of a contestant before it is measured."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from harness import probe
from harness.contestants import Origin
from harness.model import Workload
from harness.probe import faults_of, fetch

HIT = Workload("w", "w", path="/hit/64", cached=True)


@contextmanager
def cache_before(origin: Origin, misses: int, wrong: bytes = b"") -> Iterator[int]:
    """A cache that asks its origin `misses` times and answers with `wrong`, or what it had last, from then on; gives its port."""
    held, left = b"", misses

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal held, left
            left -= 1
            if left >= 0:
                held = fetch(origin.ports[0], self.path)[2]
            body = held if left >= 0 else wrong or held
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("misses", [1, 3])
def test_a_cache_is_asked_until_it_hits(origin: Origin, misses: int) -> None:
    with cache_before(origin, misses) as port:
        assert faults_of(port, HIT, origin.ports[0], "nginx") == []


@pytest.mark.parametrize(
    ("misses", "wrong", "words"),
    [(1_000_000, b"", "not served from the cache"), (1, b"x", "the second answer"), (0, b"x", "differs from the origin's")],
)
def test_a_cache_that_does_not_hit_or_answers_wrongly_does_not_take_part(
    origin: Origin, misses: int, wrong: bytes, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "HIT_SECONDS", 0.1)
    with cache_before(origin, misses, wrong) as port:
        assert words in "; ".join(faults_of(port, HIT, origin.ports[0], "varnish"))
