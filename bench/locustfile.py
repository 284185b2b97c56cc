"""Load for whoever prefers locust: `pip install locust`, `make run` in another terminal, and then

    BENCH_PATHS=/,/echo BENCH_POST=/echo locust -f bench/locustfile.py --host http://127.0.0.1:8080 --headless -u 50 -r 25 -t 30s

Without `--headless` and what follows it there is a page at http://127.0.0.1:8089. Unset, the paths are those of `bench/origin`. locust is
Python and runs out of CPU long before a proxy does: read failures and latency here, not throughput.
"""

from __future__ import annotations

import os

from locust import FastHttpUser, between, task

PATHS = os.environ.get("BENCH_PATHS", "/64,/64,/64,/10k,/1m").split(",")
POST = os.environ.get("BENCH_POST", "/post")
BODY = b"x" * 10 * 1024


class Visitor(FastHttpUser):
    """Reads most of the time, uploads now and then, over one keep-alive connection."""

    wait_time = between(0.01, 0.1)

    def on_start(self) -> None:
        self.at = 0

    @task(8)
    def read(self) -> None:
        path = PATHS[self.at % len(PATHS)]
        self.at += 1
        with self.client.get(path, name=path, catch_response=True) as answer:
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}")

    @task(1)
    def upload(self) -> None:
        self.client.post(POST, name=f"POST {POST}", data=BODY, headers={"Content-Type": "application/octet-stream"})


class Stranger(FastHttpUser):
    """Comes once and leaves: a new connection for every request."""

    weight = 1
    wait_time = between(0.1, 0.5)

    @task
    def read(self) -> None:
        self.client.get(PATHS[0], name=f"{PATHS[0]} (new connection)", headers={"Connection": "close"})
