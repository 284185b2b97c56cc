"""Acceptance 4: after a quiet second `/metrics`, `/stats` (which the dashboard shows), `top` and the access log agree to the request with a
client that sends a fixed number; also when clients go in the middle of a request, and over a reload."""
from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.acceptance.stage import OriginProcess, Proxyd, ending, free_port, needed, until

REQUESTS = 20_000
CONNECTIONS = 16
CUT = 200                # connections that end in the middle of something
QUIET_S = 1.2


def config(port: int, log: Path, origin: OriginProcess, routes: str = "") -> str:
    return (
        f"listen: 127.0.0.1:{port}\nlog: {{access: {{to: '{log}', format: json}}}}\nroutes: [{routes}{{name: app, to: app}}]\n"
        f"upstreams: {{app: {{servers: ['{origin.address}']}}}}\n"
    )


def h2load(port: int, path: str) -> int:
    """Requests that were answered, as h2load counts them."""
    command = [needed("h2load"), "--h1", "-n", str(REQUESTS), "-c", str(CONNECTIONS), f"http://127.0.0.1:{port}{path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded", done.stdout)
    assert found, done.stdout
    assert found[1] == found[2] == found[3]
    return int(found[3])


def cut_connections(port: int) -> int:
    """Keep-alive connections that end after an answer, within a head, or before the answer came. How many answers were read whole."""
    request, answered = b"GET /cut HTTP/1.1\r\nHost: test\r\n\r\n", 0
    for number in range(CUT):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(request)
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(65536)
            answered += head.startswith(b"HTTP/1.1 200")
            client.sendall((b"", request[:20], request, request * 3)[number % 4])
    return answered


def told(proxyd: Proxyd, log: Path) -> dict[str, int]:
    """The number of requests, as each tells it."""
    top: dict[str, Any] = json.loads(proxyd.run("top", "--once", "--json").stdout)
    records = log.read_text().splitlines()
    return {
        "metrics": int(proxyd.total("proxyd_http_requests_total")),
        "metrics, histogram": int(proxyd.total("proxyd_http_request_duration_seconds_count")),
        "stats": top["total"]["requests"],
        "stats, routes": sum(route["requests"] for route in top["routes"]),
        "stats, codes": sum(top["total"]["codes"].values()),
        "access log": sum(json.loads(record).get("status", 0) > 0 for record in records),
    }


def agreed(proxyd: Proxyd, log: Path) -> int:
    """What all of them tell, once it has been quiet."""
    until(lambda: not sum(entry["in_flight"] for entry in proxyd.status()["listeners"]), "nothing is in flight")
    time.sleep(QUIET_S)
    found = told(proxyd, log)
    assert len(set(found.values())) == 1, found
    return found["metrics"]


def test_all_agree_with_the_client(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "access.log"
    origin = OriginProcess(tmp_path, "app")
    with ending(origin):
        proxyd = Proxyd(tmp_path, config(port, log, origin))
        with ending(proxyd):
            sent = h2load(port, "/")
            assert agreed(proxyd, log) == sent
            upstream, = json.loads(proxyd.run("top", "--once", "--json").stdout)["upstreams"]
            assert upstream["requests"] == sent == int(proxyd.total("proxyd_upstream_requests_total"))

            answered = cut_connections(port)
            assert answered == CUT
            after_cuts = agreed(proxyd, log)
            assert sent + answered <= after_cuts <= sent + 4 * CUT

            assert proxyd.reload(config(port, log, origin, "{match: /other, respond: 204}, ")).returncode == 0
            assert agreed(proxyd, log) == after_cuts
            assert h2load(port, "/again") == REQUESTS
            assert agreed(proxyd, log) == after_cuts + REQUESTS
