"""Issue 6, acceptance 3: curl, openssl and Chromium over one `tls_passthrough` listener, with three names that lead to three servers.

Whom a client has met is told by the certificate that it was shown: openssl's own server, nginx and Python's ssl each have their own.
"""
from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.examples import example
from tests.acceptance.stage import Process, Proxyd, ending, exchange, free_port, listens, needed
from tests.acceptance.wires import record_of, records, until_checked

NAMES = ("openssl.example", "nginx.example", "python.example")
SPLIT = "h2.example"            # of both HTTP/2's server, nginx, and another, which does not offer it
ALERT_RECORD, FATAL = 21, 2


class Certificate:
    def __init__(self, folder: Path, name: str, *more: str) -> None:
        self.name = name
        self.file, self.key = folder / f"{name}.pem", folder / f"{name}.key"
        names = ",".join(f"DNS:{each}" for each in (name, f"www.{name}", *more))
        command = [
            needed("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}", "-keyout", str(self.key), "-out", str(self.file),
        ]
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, text=True, check=False)
        assert done.returncode == 0, done.stderr


class PythonServer:
    """TLS by Python's ssl; answers requests with the name that the client has asked for and the protocol that was agreed on."""

    def __init__(self, certificate: Certificate) -> None:
        self.port = free_port()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.file, certificate.key)
        context.set_alpn_protocols(["http/1.1", "x-special"])
        context.sni_callback = self._named
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _named(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        self._name = name

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
            body = f"<!doctype html><title>python</title><p>python says hello to {self._name} over {chosen}</p>\n".encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass        # a client that only wanted to see the certificate
        finally:
            writer.close()

    def _run(self) -> None:
        async def serve() -> None:
            server = await asyncio.start_server(self._talk, "127.0.0.1", self.port, ssl=self._context)
            self._stop = asyncio.Event()
            self._ready.set()
            await self._stop.wait()
            server.close()

        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(serve())

    def __enter__(self) -> PythonServer:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


class Servers:
    """Three of different make, of which nginx speaks HTTP/2; the port of each by its name."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.chmod(0o755)
        (folder / "index.html").write_text("<!doctype html><title>nginx</title><p>nginx says hello</p>\n")
        self.certificates = {name: Certificate(folder, name, SPLIT) for name in NAMES}
        self.ports = {name: free_port() for name in NAMES}
        self.proxied = free_port()      # of nginx, where it wants a PROXY header
        of_openssl, of_nginx, of_python = (self.certificates[name] for name in NAMES)
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 1; user root;\nevents {{}}\n"
            f"http {{ access_log off; types {{ text/html html; }}\n"
            f"  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;\n"
            f"  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n"
            f"  server {{ root {folder}; listen 127.0.0.1:{self.ports[of_nginx.name]} ssl http2;\n"
            f"    listen 127.0.0.1:{self.proxied} ssl http2 proxy_protocol; add_header X-Client $proxy_protocol_addr;\n"
            f"    ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {of_nginx.file}; ssl_certificate_key {of_nginx.key};\n  }}\n}}\n"
        )
        s_server = [
            needed("openssl"), "s_server", "-accept", f"127.0.0.1:{self.ports[of_openssl.name]}", "-cert", str(of_openssl.file),
            "-key", str(of_openssl.key), "-alpn", "http/1.1", "-www", "-quiet",
        ]
        commands = {of_openssl.name: s_server, of_nginx.name: [needed("nginx"), "-c", str(folder / "nginx.conf"), "-p", str(folder)]}
        for name, command in commands.items():
            process = Process(command, folder / f"{name}.log")
            stack.enter_context(ending(process))
            process.ready(partial(listens, self.ports[name]), f"{name} listens")
        python = PythonServer(of_python)
        self.ports[of_python.name] = python.port
        stack.enter_context(python)


class Stage:
    """Three listeners in front of the same servers, which differ in what they do with hellos that no route takes."""

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.folder, self.certificates, self.ports, self.log = folder, servers.certificates, servers.ports, folder / "access.log"
        self.strict, self.open, self.named = (free_port() for _ in range(3))
        routes = (
            f"      - {{name: h2, match: {{sni: [{SPLIT}], alpn: [h2]}}, to: nginx}}\n"
            f"      - {{name: h1, match: {{sni: [{SPLIT}], alpn: [http/1.1, http/1.0]}}, to: python}}\n"
            "      - {name: special, match: {alpn: [x-special]}, to: python}\n"
            f"      - {{match: {NAMES[0]}, to: openssl}}\n      - {{match: {NAMES[1]}, to: nginx}}\n"
            f"      - {{match: {{sni: ['{NAMES[2]}', '*.{NAMES[2]}']}}, to: python}}\n"
        )
        upstreams = "".join(
            f"  {name.partition('.')[0]}: {{servers: ['127.0.0.1:{port}'], health: none}}\n" for name, port in servers.ports.items())
        self.proxyd = Proxyd(folder, (
            f"log: {{access: {{to: '{self.log}', format: json}}}}\nlisteners:\n"
            f"  strict:\n    bind: ['127.0.0.1:{self.strict}']\n    mode: tls_passthrough\n"
            f"    limits: {{header_timeout: 1s}}\n    routes:\n{routes}"
            f"  open:\n    bind: ['127.0.0.1:{self.open}']\n    mode: tls_passthrough\n"
            f"    to: python\n    routes:\n{routes}"
            f"  named:\n    bind: ['127.0.0.1:{self.named}']\n    mode: tls_passthrough\n"
            f"    to: python\n    no_sni: refuse\n    routes:\n{routes}"
            f"upstreams:\n{upstreams}"
        ))

    def curl(self, name: str, *arguments: str, trust: str | None = None) -> str:
        """The page, from a server whose certificate is that of `trust` (by default of the name itself)."""
        command = [
            needed("curl"), "-sS", "--max-time", "10", "--cacert", str(self.certificates[trust or name].file), "--noproxy", "*",
            "--resolve", f"{name}:{self.strict}:127.0.0.1", *arguments, f"https://{name}:{self.strict}/",
        ]
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

def s_client(port: int, *arguments: str) -> tuple[str, str, str]:
    """Of a handshake by `openssl s_client`: the name in the certificate, the protocol agreed on and the alert, as openssl says them."""
    command = [needed("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", *arguments]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=20, check=False)
    lines = (done.stdout + done.stderr).decode(errors="replace").splitlines()       # some HTTP/2 may stand there, too
    subject = next((line.partition("CN = ")[2] for line in lines if line.startswith("subject=")), "")
    alpn = next((line.partition(": ")[2] for line in lines if line.startswith("ALPN protocol")), "")
    return subject, alpn, next((line.rpartition("SSL alert number ")[2] for line in lines if "SSL alert number" in line), "")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(tmp_path_factory.mktemp("tls"), stack)


@pytest.fixture
def stage(servers: Servers, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path, servers)
    with ending(stage.proxyd):
        yield stage
        assert stage.proxyd.end() == 0


def test_curl_meets_each_name_at_its_own_server(stage: Stage) -> None:
    assert "s_server" in stage.curl(NAMES[0])
    assert "nginx says hello" in stage.curl(NAMES[1])
    assert f"python says hello to {NAMES[2]} over http/1.1" in stage.curl(NAMES[2])
    assert f"python says hello to www.{NAMES[2]} over" in stage.curl(f"www.{NAMES[2]}", trust=NAMES[2])
    told = records(stage.log, 4)
    assert {record["tls.server_name"]: record["upstream"] for record in told} == {
        NAMES[0]: "openssl", NAMES[1]: "nginx", NAMES[2]: "python", f"www.{NAMES[2]}": "python",
    }
    assert all(record["kind"] == record["protocol"] == "tls" and record["bytes_in"] > 300 and record["bytes_out"] > 300 for record in told)


def test_curl_is_sent_by_protocol(stage: Stage) -> None:
    """The same name: who offers HTTP/2 gets the server that speaks it."""
    version = ("-o", "/dev/null", "-w", "%{http_version}")
    assert stage.curl(SPLIT, "--http2", *version, trust=NAMES[1]) == "2"
    assert stage.curl(SPLIT, "--http1.1", *version, trust=NAMES[2]) == "1.1"
    assert f"python says hello to {SPLIT} over http/1.1" in stage.curl(SPLIT, "--http1.1", trust=NAMES[2])


def test_openssl_is_shown_each_servers_certificate(stage: Stage) -> None:
    for name in NAMES:
        for version in ("-tls1_2", "-tls1_3"):
            assert s_client(stage.strict, "-servername", name, version) == (name, "", ""), version
    assert s_client(stage.strict, "-servername", SPLIT, "-alpn", "http/1.1,h2") == (NAMES[1], "h2", "")
    assert s_client(stage.strict, "-servername", SPLIT, "-alpn", "http/1.1") == (NAMES[2], "http/1.1", "")
    assert s_client(stage.strict, "-servername", "whatever.example", "-alpn", "x-special") == (NAMES[2], "x-special", "")
    assert s_client(stage.strict, "-servername", NAMES[1].upper()) == (NAMES[1], "", "")


def test_names_that_no_route_takes(stage: Stage) -> None:
    def rejected(listener: str, reason: str) -> float:
        return stage.proxyd.total("proxyd_connections_rejected_total", f'listener="{listener}"', f'reason="{reason}"')

    unknown, none = ("-servername", "unknown.example"), ("-noservername",)
    assert s_client(stage.strict, *unknown) == ("", "", "112")
    assert s_client(stage.strict, *none) == ("", "", "112")
    assert s_client(stage.strict, "-servername", f"a.{NAMES[0]}") == ("", "", "112"), "no pattern of ours"
    assert s_client(stage.strict, "-servername", SPLIT, "-alpn", "h3") in {("", "", "112"), ("", "", "120")}
    assert s_client(stage.open, *unknown) == (NAMES[2], "", "")
    assert s_client(stage.open, *none) == (NAMES[2], "", "")
    assert s_client(stage.named, *unknown) == (NAMES[2], "", "")
    assert s_client(stage.named, *none) == ("", "", "112")
    assert (rejected("strict", "name"), rejected("open", "name"), rejected("named", "name")) == (4, 0, 1)


def test_what_is_no_hello(stage: Stage) -> None:
    for said in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"SSH-2.0-x\r\n", b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", bytes(100)):
        answer = exchange(stage.strict, said)
        assert len(answer) == 7, answer
        assert (answer[0], answer[1], answer[5]) == (ALERT_RECORD, 3, FATAL)
    command = [needed("curl"), "-sS", "--max-time", "10", f"http://127.0.0.1:{stage.strict}/"]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode != 0
    assert stage.proxyd.total("proxyd_connections_rejected_total", 'reason="hello"') == 5
    began = time.monotonic()
    exchange(stage.strict, hello(NAMES[0])[:-1])
    assert 0.9 < time.monotonic() - began < 3, "it had a second"
    assert {record["end"] for record in records(stage.log, 6)} == {"refused"}


def hello(name: str) -> bytes:
    """What Python's ssl says first."""
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


def pieces(data: bytes, size: int) -> Sequence[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def test_hellos_in_pieces(stage: Stage) -> None:
    """Over packets, and over records: the server gets all of them."""
    whole = hello(NAMES[1])
    records_of_it = [b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces(whole[5:], 100)]
    for parts in (pieces(whole, 50), records_of_it, [b"".join(records_of_it)]):
        with socket.create_connection(("127.0.0.1", stage.strict), timeout=10) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for part in parts:
                client.sendall(part)
            answer = client.recv(65536)
            assert answer[0] == 22, "the server's hello"
            assert answer[5] == 2
    assert {record["server"] for record in records(stage.log, 3)} == {f"127.0.0.1:{stage.ports[NAMES[1]]}"}


def is_for(name: str, record: dict[str, Any]) -> bool:
    return bool(record["tls.server_name"] == name)


def test_chromium_loads_pages(stage: Stage) -> None:
    """Its hello has post-quantum shares, GREASE, and extensions in random order."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        print("\nChromium is not installed here: that it loads pages was not tried")
        return
    rules = ", ".join(f"MAP {name} 127.0.0.1" for name in NAMES)
    for name, said in ((NAMES[1], "nginx says hello"), (NAMES[2], f"python says hello to {NAMES[2]} over http/1.1")):
        command = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", "--disable-dev-shm-usage",
            "--no-proxy-server", "--disable-background-networking", f"--user-data-dir={stage.folder}/{name}",
            f"--host-resolver-rules={rules}", "--dump-dom", f"https://{name}:{stage.strict}/",
        ]
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, text=True, timeout=60, check=False)
        assert said in done.stdout, done.stdout + done.stderr
        print(f"\n{program} has loaded https://{name}/")
        record_of(stage.log, partial(is_for, name))


def test_the_example(servers: Servers, tmp_path: Path) -> None:
    port, of = free_port(), {name.partition(".")[0]: f"127.0.0.1:{port}" for name, port in servers.ports.items()}
    nobody = [f"127.0.0.1:{free_port()}" for _ in range(3)]
    proxyd = Proxyd(tmp_path, example("tls-passthrough", {
        '":443"': f"'127.0.0.1:{port}'",
        "10.0.1.11:443": of["openssl"], "10.0.1.12:443": nobody[0], "10.0.3.11:443": of["python"], "10.0.3.12:443": nobody[1],
        "10.0.2.11:443": f"127.0.0.1:{servers.proxied}", "10.0.2.12:443": nobody[2], "10.0.3.21:443": of["nginx"],
    }))
    with ending(proxyd):
        until_checked(proxyd, 4)
        assert s_client(port, "-servername", "shop.example.com")[0] == NAMES[0]
        assert s_client(port, "-servername", "api.example.com", "-alpn", "http/1.1")[0] == NAMES[2]
        over_h2 = Counter(s_client(port, "-servername", "api.example.com", "-alpn", "h2,http/1.1")[0] for _ in range(60))
        assert set(over_h2) == {NAMES[1], NAMES[2]}
        assert over_h2[NAMES[1]] < 25, "one in ten"
        for arguments in (["-servername", "blog.apps.example.com"], ["-servername", "other.example.org"], ["-noservername"]):
            assert s_client(port, *arguments)[0] == NAMES[1]
        command = [needed("curl"), "-sSik", "--max-time", "10", "--noproxy", "*", "--interface", "127.0.0.5",
                   "--resolve", f"a.apps.example.com:{port}:127.0.0.1", f"https://a.apps.example.com:{port}/"]
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, text=True, check=False)
        assert "x-client: 127.0.0.5" in done.stdout.lower(), done.stdout + done.stderr
        assert proxyd.end() == 0
