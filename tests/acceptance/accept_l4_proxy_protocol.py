"""Issue 6, acceptance 3: HAProxy and nginx as peers of the PROXY protocol, on either side of proxyd, versions 1 and 2.

    client 127.0.0.5 → HAProxy or nginx, which send a header → proxyd, which believes it
    client 127.0.0.5 → proxyd, which sends a header → nginx or HAProxy, which tell whom they take the client for
"""
from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.stage import OriginProcess, Process, Proxyd, ending, free_port, listens, needed, until
from tests.acceptance.wires import Line, dial, exactly, is_closed, record_of, until_end

CLIENT, OTHER = "127.0.0.5", "127.0.0.6"
V2 = b"\r\n\r\n\0\r\nQUIT\n"
HAPROXY_WAYS = {
    "v1": "send-proxy", "v2": "send-proxy-v2", "v2-crc": "send-proxy-v2 proxy-v2-options crc32c,unique-id",
}
FRONTS = (*HAPROXY_WAYS, "nginx")
WAYS = {"v1": "v1", "v2": "v2", "v2-crc": "{version: v2, crc32c: true, unique_id: true}"}


def v2_header(source: tuple[str, int], destination: tuple[str, int], *, transport: int = 1) -> bytes:
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(destination[0]) + struct.pack("!HH", source[1], destination[1])
    return V2 + bytes([0x21, 0x10 | transport]) + struct.pack("!H", len(addresses)) + addresses


def stream_module() -> Path:
    path = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    assert path.exists(), "libnginx-mod-stream is missing: `make acceptance` installs it when it runs as root"
    return path


def fetch(port: int, path: str, source: str, *, before: bytes = b"", host: str = "127.0.0.1") -> tuple[int, str]:
    """An HTTP request from this address: the client's own port, and the answer."""
    with socket.create_connection((host, port), timeout=10, source_address=(source, 0)) as client:
        client.sendall(before + f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        own: int = client.getsockname()[1]
        return own, until_end(client).decode()


# ---------------------------------------------------------------------- in front of proxyd
class Fronts:
    """HAProxy in its ways and nginx, each in front of the same two listeners of proxyd, http and tcp."""

    def __init__(self, folder: Path, origin: OriginProcess, line: Line) -> None:
        self.http, self.tcp, self.log = free_port(), free_port(), folder / "access.log"
        self.ports = {(front, kind): free_port() for front in FRONTS for kind in ("http", "tcp")}
        self.six = free_port()
        target = {"http": self.http, "tcp": self.tcp}
        proxies = "".join(
            f"listen {front}-{kind}\n  bind 127.0.0.1:{self.ports[front, kind]}\n"
            f"  unique-id-format {front}-%ci-%cp\n  server proxyd 127.0.0.1:{target[kind]} {way}\n"
            for front, way in HAPROXY_WAYS.items() for kind in target
        )
        (folder / "haproxy.cfg").write_text(
            "global\n  maxconn 200\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"
            f"{proxies}listen six\n  bind ::1:{self.six}\n  server proxyd 127.0.0.1:{self.http} send-proxy-v2\n"
            # Its checks say LOCAL: they are the connection's own.
            "backend checked\n  mode http\n  option httpchk GET /checked\n"
            f"  server proxyd 127.0.0.1:{self.http} send-proxy-v2 check inter 100ms\n"
        )
        streams = "".join(
            f"  server {{ listen 127.0.0.1:{self.ports['nginx', kind]}; proxy_pass 127.0.0.1:{port};\n"
            "    proxy_protocol on; proxy_half_close on; }\n"
            for kind, port in target.items()
        )
        (folder / "nginx.conf").write_text(
            f"load_module {stream_module()};\ndaemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 1; user root;\n"
            f"events {{}}\nstream {{\n{streams}}}\n"
        )
        believed = "client_ip: {proxy_protocol: true, trust: [127.0.0.1/32]}, limits: {header_timeout: 1s}"
        self.proxyd = Proxyd(folder, (
            f"log: {{access: {{to: '{self.log}', format: json}}}}\nlisteners:\n"
            f"  http: {{bind: ['127.0.0.1:{self.http}'], to: origin, {believed}}}\n"
            f"  tcp: {{bind: ['127.0.0.1:{self.tcp}'], mode: tcp, to: line, {believed}}}\n"
            f"upstreams:\n  origin: {{servers: ['{origin.address}']}}\n  line: {{servers: ['{line.address}'], health: none}}\n"
        ))
        self.haproxy = Process([needed("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")], folder / "haproxy.log")
        self.nginx = Process([needed("nginx"), "-c", str(folder / "nginx.conf"), "-p", str(folder)], folder / "nginx.log")
        self.line = line

    def ready(self) -> None:
        for process, front in ((self.haproxy, "v1"), (self.nginx, "nginx")):
            process.ready(partial(listens, self.ports[front, "http"]), f"{front} listens")

    def rejected(self, listener: str) -> float:
        return self.proxyd.total("proxyd_connections_rejected_total", f'listener="{listener}"', 'reason="proxy_header"')


@pytest.fixture(scope="module")
def fronts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronts]:
    folder = tmp_path_factory.mktemp("fronts")
    with contextlib.ExitStack() as stack:
        origin = OriginProcess(folder, "origin")
        stack.enter_context(ending(origin))
        fronts = Fronts(folder, origin, stack.enter_context(Line()))
        stack.enter_context(ending(fronts.proxyd, fronts.haproxy, fronts.nginx))
        fronts.ready()
        yield fronts
        assert fronts.proxyd.end() == 0


@pytest.mark.parametrize("front", FRONTS)
def test_http_behind(fronts: Fronts, front: str) -> None:
    for source in (CLIENT, OTHER):
        _, answer = fetch(fronts.ports[front, "http"], f"/{front}", source)
        assert answer.startswith("HTTP/1.1 200")
        assert f"\nX-Forwarded-For: {source}\n" in answer


@pytest.mark.parametrize("front", FRONTS)
def test_flows_behind(fronts: Fronts, front: str) -> None:
    with fronts.line.flow(fronts.ports[front, "tcp"], CLIENT) as (client, server):
        port = client.getsockname()[1]
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert until_end(server) == b"question", "the header is not passed on"
        server.sendall(b"answer")
        server.close()
        assert until_end(client) == b"answer"
    told = record_of(fronts.log, lambda record: record["client.port"] == port and record["listener"] == "tcp")
    assert (told["client.address"], told["bytes_in"], told["bytes_out"], told["end"]) == (CLIENT, 9, 7, "client")


def test_a_client_of_ipv6_behind(fronts: Fronts) -> None:
    _, answer = fetch(fronts.six, "/six", "::1", host="::1")
    assert "\nX-Forwarded-For: ::1\n" in answer


def test_checks_of_haproxy_are_its_own(fronts: Fronts) -> None:
    told = record_of(fronts.log, lambda record: record["listener"] == "http" and record["path"] == "/checked")
    assert (told["client.address"], told["status"]) == ("127.0.0.1", 200)


NAMED = v2_header(("192.0.2.1", 5), ("127.0.0.1", 6))
GARBAGE = {
    "no header": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "lower case": b"proxy TCP4 192.0.2.1 127.0.0.1 5 6\r\n",
    "no address": b"PROXY TCP4 192.0.2.1 5 6\r\n",
    "a zero before": b"PROXY TCP4 192.0.2.01 127.0.0.1 5 6\r\n",
    "port too high": b"PROXY TCP4 192.0.2.1 127.0.0.1 65536 6\r\n",
    "bare LF": b"PROXY TCP4 192.0.2.1 127.0.0.1 5 6\n",
    "endless": b"PROXY UNKNOWN " + b"." * 4096,
    "version 3": NAMED.replace(b"\x21\x11", b"\x31\x11"),
    "unknown command": NAMED.replace(b"\x21\x11", b"\x22\x11"),
    "too short for its family": V2 + b"\x21\x11\x00\x04\x7f\0\0\1",
    "a TLV longer than the header": V2 + b"\x21\x11\x00\x0f" + NAMED[16:] + b"\x05\x00\x10",
    "a wrong CRC": V2 + b"\x21\x11\x00\x13" + NAMED[16:] + b"\x03\x00\x04abcd",
}


@pytest.mark.parametrize("listener", ["http", "tcp"])
def test_who_is_not_believed(fronts: Fronts, listener: str) -> None:
    """Closed without an answer, and counted: strangers, whatever they say; friends without a header that is one, or not in time."""
    port, before = getattr(fronts, listener), fronts.rejected(listener)
    for said in (b"", NAMED, GARBAGE["no header"]):
        with dial(port, OTHER) as stranger:
            with contextlib.suppress(ConnectionError):
                stranger.sendall(said)
            assert is_closed(stranger)
    assert fronts.rejected(listener) == before + 3
    for name, said in GARBAGE.items():
        with dial(port) as friend:
            with contextlib.suppress(ConnectionError):
                friend.sendall(said)
            assert is_closed(friend), name
    until(lambda: fronts.rejected(listener) == before + 3 + len(GARBAGE), "all are counted")
    with dial(port) as slow:
        slow.sendall(NAMED[:-1])
        assert is_closed(slow)
    # And the next one is served.
    if listener == "http":
        assert "\nX-Forwarded-For: 192.0.2.1\n" in fetch(port, "/named", "127.0.0.1", before=NAMED)[1]
    else:
        with dial(port) as client:
            client.sendall(NAMED + b"!")
            with fronts.line.take() as server:
                assert exactly(server, 1) == b"!"
        told = record_of(fronts.log, lambda record: record["listener"] == "tcp" and record["client.address"] == "192.0.2.1")
        assert told["client.port"] == 5


# ---------------------------------------------------------------------- behind proxyd
SEEN = re.compile(r"client (\S+):(\d+) to (\S+):(\d+)(?: id (\S*))?")


class Backs:
    """nginx and HAProxy that take nothing without a header and tell what it said; in front of each, a tcp listener and a route a way."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "access.log"
        self.servers = {"nginx": free_port(), "haproxy": free_port()}
        self.http, self.tcp = free_port(), {(server, way): free_port() for server in self.servers for way in WAYS}
        (folder / "haproxy.cfg").write_text(
            "global\n  maxconn 200\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"
            f"frontend told\n  bind 127.0.0.1:{self.servers['haproxy']} accept-proxy\n"
            "  http-request return status 200 content-type text/plain lf-string "
            '"client %[src]:%[src_port] to %[dst]:%[dst_port] id %[fc_pp_unique_id]\\n"\n'
        )
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 1; user root;\nevents {{}}\n"
            "http {\n  log_format told 'logged $proxy_protocol_addr:$proxy_protocol_port remote $remote_addr $uri';\n"
            f"  access_log {folder}/nginx-access.log told;\n  set_real_ip_from 127.0.0.0/8;\n  real_ip_header proxy_protocol;\n"
            f"  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;\n"
            f"  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n"
            f"  server {{ listen 127.0.0.1:{self.servers['nginx']} proxy_protocol; default_type text/plain;\n"
            "    return 200 'client $remote_addr:$proxy_protocol_port to $proxy_protocol_server_addr:$proxy_protocol_server_port\\n';\n"
            "  }\n}\n"
        )
        listeners = "".join(
            f"  {server}-{way}: {{bind: ['127.0.0.1:{port}'], mode: tcp, to: {server}-{way}}}\n"
            for (server, way), port in self.tcp.items()
        )
        routes = "".join(f"  - {{match: '/{server}-{way}/*', to: {server}-{way}}}\n" for server, way in self.tcp)
        upstreams = "".join(
            f"  {server}-{way}: {{servers: ['127.0.0.1:{self.servers[server]}'], health: {{active: none}}, proxy_protocol: {WAYS[way]}}}\n"
            for server, way in self.tcp
        )
        self.proxyd = Proxyd(folder, (
            f"log: {{access: {{to: '{self.log}', format: json}}}}\n"
            f"listeners:\n  web: {{bind: ['127.0.0.1:{self.http}']}}\n{listeners}routes:\n{routes}upstreams:\n{upstreams}"
        ))
        self.nginx_log = folder / "nginx-access.log"
        self.haproxy = Process([needed("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")], folder / "haproxy.log")
        self.nginx = Process([needed("nginx"), "-c", str(folder / "nginx.conf"), "-p", str(folder)], folder / "nginx.log")


@pytest.fixture(scope="module")
def backs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backs]:
    backs = Backs(tmp_path_factory.mktemp("backs"))
    with ending(backs.proxyd, backs.haproxy, backs.nginx):
        for process, server in ((backs.haproxy, "haproxy"), (backs.nginx, "nginx")):
            process.ready(partial(listens, backs.servers[server]), f"{server} listens")
        yield backs
        assert backs.proxyd.end() == 0


def is_of(listener: str, client_port: int, record: dict[str, Any]) -> bool:
    return bool(record["listener"] == listener and record["client.port"] == client_port)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("server", ["nginx", "haproxy"])
def test_told_by_a_tcp_listener(backs: Backs, server: str, way: str) -> None:
    listener = backs.tcp[server, way]
    for source in (CLIENT, OTHER):
        port, answer = fetch(listener, "/flow", source)
        seen = SEEN.search(answer)
        assert seen, answer
        assert seen.groups()[:4] == (source, str(port), "127.0.0.1", str(listener))
        if (server, way) == ("haproxy", "v2-crc"):
            told = record_of(backs.log, partial(is_of, "haproxy-v2-crc", port))
            assert seen[5] == told["id"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("server", ["nginx", "haproxy"])
def test_told_by_an_http_listener(backs: Backs, server: str, way: str) -> None:
    """Each connection to the server is of one client, so none is used again."""
    ids, logged = set(), set()
    for number in range(10):
        source, path = (CLIENT, OTHER)[number % 2], f"/{server}-{way}/{number}"
        port, answer = fetch(backs.http, path, source)
        seen = SEEN.search(answer)
        assert seen, answer
        assert seen.groups()[:4] == (source, str(port), "127.0.0.1", str(backs.http))
        ids.add(seen[5])
        logged.add(f"logged {source}:{port} remote {source} {path}")
    if server == "nginx":
        until(lambda: logged <= set(backs.nginx_log.read_text().splitlines()), "nginx logs them")
    if (server, way) == ("haproxy", "v2-crc"):
        assert len(ids) == 10, "each has an id of its own"
        assert all(ids)


def two(count: Callable[[], float]) -> bool:
    return count() >= 2


def test_checks_come_with_a_header(backs: Backs, tmp_path: Path) -> None:
    """Of no client (LOCAL, or UNKNOWN): else no such server would ever pass."""
    checked = backs.proxyd.config.read_text().replace("active: none", "active: {path: /healthz, interval: 200ms, timeout: 150ms}")
    for port in (*backs.tcp.values(), backs.http):
        checked = checked.replace(str(port), str(free_port()))
    proxyd = Proxyd(tmp_path, checked)
    with ending(proxyd):
        for server, way in backs.tcp:
            passed = partial(proxyd.total, "proxyd_upstream_health_checks_total", f'upstream="{server}-{way}"', 'result="passed"')
            until(partial(two, passed), f"{server} passes, by {way}", 5)
        assert proxyd.total("proxyd_upstream_server_up") == len(backs.tcp)
        assert proxyd.end() == 0
    until(lambda: "/healthz" in backs.nginx_log.read_text(), "nginx logs a check")


def test_the_servers_take_nothing_without_a_header(backs: Backs) -> None:
    """The scene is what it is meant to be."""
    for port in backs.servers.values():
        with dial(port) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert is_closed(client)


# ---------------------------------------------------------------------- datagrams
def test_a_header_before_each_datagram(tmp_path: Path) -> None:
    """A `udp` listener that is told clients, before a server that is told them, too; what is no header, or a stranger's, is dropped."""
    port, log = free_port(), tmp_path / "access.log"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, contextlib.ExitStack() as stack:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        proxyd = Proxyd(tmp_path, (
            f"log: {{access: {{to: '{log}', format: json}}}}\nlisteners:\n"
            f"  told: {{bind: ['127.0.0.1:{port}'], mode: udp, to: app, client_ip: {{proxy_protocol: true, trust: [127.0.0.1/32]}}, "
            "flow: {responses: 1}}\n"
            f"upstreams: {{app: {{servers: ['127.0.0.1:{server.getsockname()[1]}'], health: {{active: none}}, proxy_protocol: v2}}}}\n"
        ))
        stack.enter_context(ending(proxyd))

        def client(source: str) -> socket.socket:
            made = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            made.bind((source, 0))
            made.connect(("127.0.0.1", port))
            made.settimeout(10)
            return made

        named = v2_header(("192.0.2.7", 777), ("127.0.0.1", port), transport=2)
        friend, stranger = client("127.0.0.1"), client(OTHER)
        stranger.send(named + b"of a stranger")
        friend.send(b"without a header")
        friend.send(v2_header(("192.0.2.7", 777), ("127.0.0.1", port)) + b"of a stream")
        friend.send(named + b"question")
        got, back = server.recvfrom(2048)
        assert got == named + b"question"
        server.sendto(b"answer", back)
        assert friend.recv(2048) == b"answer"
        told = record_of(log, lambda record: record["client.address"] == "192.0.2.7")
        assert (told["kind"], told["client.port"], told["packets_in"], told["packets_out"], told["end"]) == ("udp", 777, 1, 1, "responses")
        assert proxyd.total("proxyd_connections_rejected_total", 'reason="proxy_header"') == 3
        assert proxyd.end() == 0
