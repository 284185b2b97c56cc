"""An origin in this process that answers with what it was asked for."""
from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    """Tells which origin it is and what it was asked for."""

    protocol_version = "HTTP/1.1"
    server: EchoOrigin

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status = int(self.headers.get("X-Answer") or 200)
        told = {name: self.headers[name] for name in ("X-Env", "X-Debug") if name in self.headers}
        seen = {"origin": self.server.name, "path": self.path, "host": self.headers["Host"], "fields": told}
        body = self.server.pages.get(self.path) or json.dumps(seen).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Powered-By", "echo")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = answer

    def log_message(self, format: str, *args: object) -> None:
        pass


class EchoOrigin(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, name: str, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        super().__init__(address, Echo)
        self.name = name
        self.pages: dict[str, bytes] = {}      # bodies of its own, by path
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"{self.server_address[0]!s}:{self.server_port}"

    def end(self) -> None:
        self.shutdown()
        self.server_close()
