"""With real neighbours: nginx and HAProxy as origins, HAProxy in front, curl as the client, promtool as the reader of the metrics."""
from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.stage import Process, Proxyd, ending, free_port, listens, needed

BIG = bytes(range(256)) * 4096 * 3    # 3 MiB


class Neighbours:
    """client → HAProxy → proxyd → nginx (files) or HAProxy (answers of its own); `direct` leaves out the HAProxy in front."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nginx_port, self.haproxy_port, self.front_port, self.port = (free_port() for _ in range(4))
        (folder / "www").mkdir()
        (folder / "www" / "big").write_bytes(BIG)
        (folder / "www" / "small").write_text("small\n")
        folder.chmod(0o755)
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 1; user root;\n"
            "events {}\nhttp { access_log off; keepalive_requests 20;\n"
            f"  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;\n"
            f"  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n"
            "  client_max_body_size 0; gzip on; gzip_types *; gzip_min_length 1; if_modified_since before;\n"
            f"  server {{ listen 127.0.0.1:{self.nginx_port}; root {folder}/www;\n"
            "    location /upload { dav_methods PUT; }\n"
            "  }\n}\n"
        )
        (folder / "haproxy.cfg").write_text(
            "global\n  maxconn 1000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"
            f"frontend answers\n  bind 127.0.0.1:{self.haproxy_port}\n"
            "  http-request return status 200 content-type text/plain string haproxy if { path /haproxy }\n"
            "  http-request return status 503 content-type text/plain string busy if { path /busy }\n"
            f"frontend front\n  bind 127.0.0.1:{self.front_port}\n  default_backend proxyd\n"
            f"backend proxyd\n  http-reuse always\n  server proxyd 127.0.0.1:{self.port}\n"
        )
        config = (
            f"listen: '127.0.0.1:{self.port}'\nlog: {{access: none}}\n"
            f"upstreams:\n  files: {{servers: ['127.0.0.1:{self.nginx_port}']}}\n"
            f"  answers: {{servers: ['127.0.0.1:{self.haproxy_port}']}}\n"
            "routes:\n  - {match: /haproxy, to: answers}\n  - {match: /busy, to: answers}\n  - {to: files}\n"
        )
        self.nginx = Process([needed("nginx"), "-c", str(folder / "nginx.conf"), "-p", str(folder)], folder / "nginx.log")
        self.haproxy = Process([needed("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")], folder / "haproxy.log")
        self.nginx.ready(lambda: listens(self.nginx_port), "nginx listens")
        self.haproxy.ready(lambda: listens(self.haproxy_port), "HAProxy listens")
        self.proxyd = Proxyd(folder, config)

    def curl(self, path: str, *arguments: str, direct: bool) -> tuple[int, bytes]:
        """The status, and the head with the body as curl shows them."""
        url = f"http://127.0.0.1:{self.port if direct else self.front_port}{path}"
        command = [needed("curl"), "-sS", "-i", "--max-time", "20", *arguments, url]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        final = done.stdout.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        return int(final[9:12]), final.partition(b"\r\n\r\n")[2]


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    built = Neighbours(tmp_path_factory.mktemp("peers"))
    with ending(built.proxyd, built.haproxy, built.nginx):
        yield built


EITHER = pytest.mark.parametrize("direct", [True, False], ids=["direct", "behind HAProxy"])


@EITHER
def test_files(neighbours: Neighbours, direct: bool) -> None:
    assert neighbours.curl("/small", direct=direct) == (200, b"small\n")
    assert neighbours.curl("/big", direct=direct) == (200, BIG)
    assert neighbours.curl("/big", "-r", "100-199", direct=direct) == (206, BIG[100:200])
    assert neighbours.curl("/small", "--head", direct=direct) == (200, b"")
    assert neighbours.curl("/small", "--compressed", direct=direct) == (200, b"small\n")      # nginx answers in chunks
    assert neighbours.curl("/small", "-0", direct=direct) == (200, b"small\n")
    assert neighbours.curl("/missing", direct=direct)[0] == 404


@EITHER
def test_not_modified(neighbours: Neighbours, direct: bool) -> None:
    assert neighbours.curl("/small", "-z", "1 Jan 2035 00:00:00 GMT", direct=direct) == (304, b"")


@EITHER
@pytest.mark.parametrize("field", ["X-Plain: 1", "Transfer-Encoding: chunked", "Expect: 100-continue"])
def test_uploads(neighbours: Neighbours, direct: bool, field: str) -> None:
    source = neighbours.folder / "www" / "big"
    name = f"{field.partition(':')[0]}-{direct}"
    target = neighbours.folder / "www" / "upload" / name
    target.parent.mkdir(exist_ok=True)
    status, _ = neighbours.curl(f"/upload/{name}", "-T", str(source), "-H", field, direct=direct)
    assert status in (201, 204)
    assert target.read_bytes() == BIG


@EITHER
def test_answers_of_haproxy(neighbours: Neighbours, direct: bool) -> None:
    assert neighbours.curl("/haproxy", direct=direct) == (200, b"haproxy")
    assert neighbours.curl("/busy", direct=direct) == (503, b"busy")


def test_many_on_one_connection(neighbours: Neighbours) -> None:
    """nginx closes its connections after twenty requests each; nobody notices."""
    command = [needed("curl"), "-sS", "--max-time", "60", f"http://127.0.0.1:{neighbours.port}/small?[1-500]"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"small\n" * 500), done.stderr


def test_promtool_likes_the_metrics(neighbours: Neighbours) -> None:
    neighbours.curl("/small", direct=True)
    command = [needed("curl"), "-sS", "--unix-socket", neighbours.proxyd.admin.removeprefix("unix:"), "http://admin/metrics"]
    metrics = subprocess.run(command, capture_output=True, check=True).stdout
    assert b"proxyd_http_requests_total" in metrics
    done = subprocess.run([needed("promtool"), "check", "metrics"], input=metrics, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
