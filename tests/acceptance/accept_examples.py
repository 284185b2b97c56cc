"""Every example of config/ that speaks HTTP, run for real. (Those for databases, DNS, TCP and TLS: accept_l4_*.py.)

Each server 10.A.B.C:PORT of an example is played by an origin at 127.A.B.C:PORT; networks move with them.
"""
from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.acceptance.echo import EchoOrigin
from tests.acceptance.stage import ROOT, Proxyd, ending, free_port
from tests.support.tokens import Issuer


@dataclass(frozen=True)
class Ask:
    """A request, and what must come back: the status, and where it was answered (a beginning of the origin's address; empty: by proxyd)."""

    path: str = "/"
    status: int = 200
    origin: str | None = None
    method: str = "GET"
    host: str = "127.0.0.1"
    fields: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)  # fields of the answer that begin so


KEY = "a-key-of-acme"      # gateway.yaml has its SHA-256 once it is changed for this one
EXAMPLES: dict[str, Sequence[Ask]] = {
    "two-lines": [Ask(origin="127.0.0.1:900"), Ask("/x", origin="127.0.0.1:900")],
    "ten-lines": [Ask("/static/a", origin="127.0.0.1:900"), Ask("/static/a", told={"cache-status": "proxyd; hit"}), Ask("/api/x"), Ask()],
    "api": [Ask(origin="127.0.1.1"), Ask("/orders", method="POST", origin="127.0.1.1")],
    "site": [
        Ask("/static/app.js", origin="127.0.1.21"), Ask("/static/app.js", told={"cache-status": "proxyd; hit"}),
        Ask("/api/items", origin="127.0.1.1"), Ask("/page", origin="127.0.1.3"), Ask("/page", told={"cache-status": "proxyd; hit"}),
        Ask("/page", fields={"Cookie": "session=1"}, told={"cache-status": "proxyd; fwd=bypass"}),
        Ask("/buy", method="POST", origin="127.0.1.3"),
    ],
    "jwt-api": [
        Ask("/healthz", origin="127.0.1.1"), Ask("/v1/items", 401, "", told={"www-authenticate": "Bearer"}), Ask("/other", 404, ""),
        Ask("/v1/items", origin="127.0.1.1", fields={"Authorization": "Bearer TOKEN"}, told={"ratelimit-policy": '"each-user"'}),
        Ask("/v1/items", 403, "", "POST", fields={"Authorization": "Bearer TOKEN"}),
    ],
    "cache": [
        Ask("/static/x", origin="127.0.1.1"), Ask("/static/x", told={"cache-status": "proxyd; hit"}),
        Ask("/img/a?w=1&x=2", origin="127.0.2.1"), Ask("/img/a?x=3&w=1", told={"cache-status": "proxyd; hit"}),
        Ask("/img/*", method="PURGE", origin=""), Ask("/", host="shop.example.com", origin="127.0.1.1"),
    ],
    "canary": [
        Ask("/", host="preview.example.com", origin="127.0.2.11"), Ask("/api/x", fields={"X-Release": "next"}, origin="127.0.2.11"),
        Ask("/api/x", told={"set-cookie": "release="}), Ask("/", origin="127.0.1.1"),
    ],
    "circuit": [Ask("/search/x", origin="127.0.2.1"), Ask("/reports", origin="127.0.1.1")],
    "failover": [Ask("/", origin="127.1.0.1"), Ask("/", method="POST", origin="127.1.0.1")],
    "gateway": [
        Ask("/healthz", origin="127.0.1.1"), Ask("/api/x", 401, ""), Ask("/api/x", fields={"X-API-Key": KEY}, origin="127.0.1.1"),
        Ask("/api/reports/1", fields={"X-API-Key": KEY}, origin="127.0.2.1"), Ask("/reports/1", origin="127.0.2.1"),
        Ask("/admin/x", origin="127.0.1.1"), Ask("/shop", origin="127.0.1.1", told={"ratelimit-policy": '"visitors"'}),
    ],
    "many-hosts": [
        Ask("/x", 301, "", host="www.example.com", told={"location": "http://example.com/x"}), Ask("/x", 404, "", host="nobody.test"),
        Ask("/x", host="a.example.com", origin="127.0.5.1"), Ask("/x", 403, "", host="wiki.example.com"),
    ],
    "sticky": [
        Ask("/", origin="127.0.1.1", told={"set-cookie": "shop_server="}), Ask("/", host="forum.example.com", origin="127.0.2.1"),
        Ask("/images/a", origin="127.0.3.1"),
    ],
    "websocket": [Ask("/", origin="127.0.3.2"), Ask("/rooms/1", origin="127.0.3.1"), Ask("/ws", origin="127.0.3.1")],
}  # fmt: skip


def test_each_one_has_its_turn() -> None:
    elsewhere = {"cache-aside", "dns", "postgres", "redis", "tcp", "tls-passthrough"}
    assert {path.stem for path in (ROOT / "config" / "examples").iterdir()} == {*EXAMPLES, *elsewhere}


@contextlib.contextmanager
def origins(text: str) -> Iterator[dict[str, EchoOrigin]]:
    """One for each server address of a config, but for those of unix sockets and names."""
    found = sorted({(host, int(port)) for host, port in re.findall(r"\b(127(?:\.\d+){3}):(\d+)", text)})
    started: dict[str, EchoOrigin] = {}
    try:
        for host, port in found:
            started[f"{host}:{port}"] = EchoOrigin(f"{host}:{port}", (host, port))
        yield started
    finally:
        for origin in started.values():
            origin.end()


def ask(port: int, one: Ask) -> tuple[int, str | None, dict[str, str]]:
    client = HTTPConnection("127.0.0.1", port, timeout=10)
    client.request(one.method, one.path, headers={"Host": one.host, **one.fields})
    answer = client.getresponse()
    body = answer.read()
    client.close()
    named = {name.lower(): value for name, value in answer.getheaders()}
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    return answer.status, told["origin"] if isinstance(told, dict) and "origin" in told else "", named


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_serves(name: str, tmp_path: Path) -> None:
    port, issuer_port = free_port(), free_port()
    text = re.sub(r"\b10\.(\d+\.\d+\.\d+)", r"127.\1", (ROOT / "config" / "examples" / f"{name}.yaml").read_text())
    with origins("\n".join(line.partition("#")[0] for line in text.splitlines())) as started:
        issuer = Issuer(f"http://127.0.0.1:{issuer_port}")
        keys = EchoOrigin("issuer", ("127.0.0.1", issuer_port))
        keys.pages["/.well-known/jwks.json"] = issuer.jwks()
        changes = {
            "listen: :8080": f"listen: 127.0.0.1:{port}",
            'bind: [":80"]': f'bind: ["127.0.0.1:{port}"]',
            '"127.0.0.1:8081", "unix:/run/proxyd/internal.sock"': f'"127.0.0.1:{free_port()}"',
            "https://id.example.com": issuer.name,
            "/var/lib/proxyd": str(tmp_path),
            "db5dd3f6a43373e8956fd2ec9bf129ec45bbd21176c58f0d0ecbf65594088db8": "0" * 64,
        }
        for shown, mine in changes.items():
            text = text.replace(shown, mine)
        proxyd = Proxyd(tmp_path, text.replace("0" * 64, _sha256(KEY)))
        with ending(proxyd):
            for one in EXAMPLES[name]:
                token = issuer.token(time.time(), scope="shop.read")
                fields = {known: value.replace("TOKEN", token) for known, value in one.fields.items()}
                status, origin, told = ask(port, Ask(one.path, method=one.method, host=one.host, fields=fields))
                assert status == one.status, (one, told)
                if one.origin is not None:
                    assert origin is not None
                    assert origin.startswith(one.origin), one
                    assert bool(origin) == bool(one.origin), one
                for known, beginning in one.told.items():
                    assert told.get(known, "").startswith(beginning), (one, told)
        assert started
        keys.end()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_store_for_applications(tmp_path: Path) -> None:
    """cache-aside.yaml, with the Redis that is away: memory works on."""
    port = free_port()
    text = (ROOT / "config" / "examples" / "cache-aside.yaml").read_text()
    text = text.replace('["127.0.0.1:2081", "unix:/run/proxyd/store.sock"]', f'["127.0.0.1:{port}"]')
    text = text.replace("10.0.3.11:6379", f"127.0.0.1:{free_port()}")
    with ending(Proxyd(tmp_path, text)):
        assert ask(port, Ask("/cache/report:17"))[0] == 404
        client = HTTPConnection("127.0.0.1", port, timeout=10)
        client.request("PUT", "/cache/report:17?ttl=300", body=b"value")
        assert client.getresponse().read() is not None
        client.close()
        client = HTTPConnection("127.0.0.1", port, timeout=10)
        client.request("GET", "/cache/report:17")
        assert client.getresponse().read() == b"value"
        client.close()
