"""A small client of the admin API for the command line: standard library only, because a command should start in milliseconds."""
from __future__ import annotations

import base64
import errno
import http.client
import json
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from proxyd.admin.address import AdminAddress, TcpAddress, UnixAddress, others_beside

PREFIX = "/api/v1"
EVENTS = "text/event-stream"

Query = Mapping[str, str] | Sequence[tuple[str, str]]      # a name may come several times in a sequence


class AdminError(Exception):
    """No answer that could be used. The message is a sentence for the user."""


class NotReachable(AdminError):
    """Nothing answers at the address. `others` are sockets beside it, which may be meant."""

    others: Sequence[UnixAddress] = ()


class TimedOut(NotReachable):
    """Something is there, but gave no answer in time."""


class NotPermitted(AdminError):
    """The socket or the daemon refuses this user."""


class Refused(AdminError):
    """The daemon answered with a problem: `status`, `problem` is its problem+json object (empty if the answer held none)."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or f"the daemon answered with status {status}"))
        self.status = status
        self.problem = problem
        self.code = str(problem.get("code", ""))

    @property
    def diagnostics(self) -> list[dict[str, Any]]:
        found = self.problem.get("diagnostics", [])
        return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket. Python's client has no such connection; only `connect` differs."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content_type: str
    body: bytes

    def json(self) -> Any:
        """The JSON value of the body. Raises AdminError if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise AdminError("the answer is not JSON; is this proxyd's admin address?") from None


class Client:
    """One request, one connection. `timeout_s` bounds every single wait for the network."""

    def __init__(self, address: AdminAddress, timeout_s: float = 10.0) -> None:
        self.address = address
        self.timeout_s = timeout_s

    def get(self, path: str, query: Query | None = None, *, accept: frozenset[int] = frozenset()) -> Any:
        """The JSON value of a GET below /api/v1. A status in `accept` (503 of /ready) is an answer, too."""
        return self.send("GET", path, query=query, accept=accept).json()

    def post(self, path: str, value: object = None, query: Mapping[str, str] | None = None) -> Any:
        return self.send_json("POST", path, value, query).json()

    def send_json(self, method: str, path: str, value: object = None, query: Mapping[str, str] | None = None) -> Answer:
        body = b"" if value is None else json.dumps(value).encode()
        return self.send(method, path, query=query, body=body, content_type="application/json")

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: bytes = b"",
        content_type: str = "",
        accept: frozenset[int] = frozenset(),
    ) -> Answer:
        """Raises TimedOut, NotReachable, NotPermitted, Refused (any status of 400 and more that is not in `accept`) or AdminError."""
        target = PREFIX + path + (f"?{urlencode(query)}" if query else "")
        headers = self._headers() | {"Connection": "close"} | ({"Content-Type": content_type} if content_type else {})
        with self._conversation("did not answer within") as connection:
            connection.request(method, target, body=body or None, headers=headers)
            response = connection.getresponse()
            payload = response.read()
        answer = Answer(response.status, response.headers.get_content_type(), payload)
        if answer.status >= 400 and answer.status not in accept:
            raise self._refusal(answer)
        return answer

    def stream(self, path: str, query: Query | None = None) -> Iterator[tuple[str, Any]]:
        """Events of a stream below /api/v1 as they come: (name, JSON value), and ("", None) now and then while nothing happens.

        Ends when the daemon ends it. Raises as `send` does.
        """
        target = PREFIX + path + (f"?{urlencode(query)}" if query else "")
        with self._conversation("has said nothing for") as connection:
            connection.request("GET", target, headers=self._headers() | {"Accept": EVENTS})
            response = connection.getresponse()
            if response.status != 200:
                raise self._refusal(Answer(response.status, response.headers.get_content_type(), response.read()))
            yield from _events(response)

    @contextmanager
    def _conversation(self, late: str) -> Iterator[http.client.HTTPConnection]:
        """A connection for one request; what goes wrong on it, as an AdminError. `late`: what is said of a daemon that is too slow."""
        connection = self._connection()
        try:
            yield connection
        except TimeoutError:
            raise TimedOut(f"proxyd at {self.address} {late} {self.timeout_s:g} s") from None
        except OSError as error:
            raise self._explain(error) from None
        except http.client.IncompleteRead:
            raise NotReachable(f"the answer from {self.address} was cut short") from None
        except http.client.HTTPException:
            raise AdminError(f"what answers at {self.address} does not speak HTTP; is this proxyd's admin address?") from None
        finally:
            connection.close()

    def _headers(self) -> dict[str, str]:
        """Fields that every request has: that no page of the web sends it, and who sends it."""
        found = {"X-Proxyd-Request": "1"}
        if isinstance(self.address, TcpAddress) and self.address.user:
            credential = f"{self.address.user}:{self.address.password}".encode()
            found["Authorization"] = f"Basic {base64.b64encode(credential).decode()}"
        return found

    def _connection(self) -> http.client.HTTPConnection:
        if isinstance(self.address, UnixAddress):
            return _UnixConnection(self.address.path, self.timeout_s)
        return http.client.HTTPConnection(self.address.host, self.address.port, timeout=self.timeout_s)

    def _explain(self, error: OSError) -> AdminError:
        if error.errno in {errno.EACCES, errno.EPERM}:
            return NotPermitted(f"you may not use the admin socket {self.address}; run as the user that runs proxyd, or as root")
        reasons = {
            errno.ENOENT: "there is no such socket",
            errno.ECONNREFUSED: "nothing listens there",
            errno.ECONNRESET: "the connection was reset",
            errno.EPIPE: "the connection was closed",
        }
        reason = reasons.get(error.errno or 0, error.strerror or str(error))
        found = NotReachable(f"no proxyd answers at {self.address}: {reason}")
        found.others = others_beside(self.address)
        return found

    def _refusal(self, answer: Answer) -> AdminError:
        problem: Mapping[str, Any] = {}
        if answer.content_type in {"application/problem+json", "application/json"}:
            found = answer.json()
            problem = found if isinstance(found, dict) else {}
        if not problem:
            return AdminError(f"what answers at {self.address} (status {answer.status}) is not proxyd's admin API")
        refused = Refused(answer.status, problem)
        return NotPermitted(str(refused)) if refused.code == "PXD-246" else refused


def _events(lines: Iterable[bytes]) -> Iterator[tuple[str, Any]]:
    """Server-sent events (WHATWG HTML); our own have their data on one line."""
    name, data = "message", b""
    for raw in lines:
        line = raw.rstrip(b"\r\n")
        if line.startswith(b":"):
            yield "", None
        elif line.startswith(b"event: "):
            name = line[7:].decode()
        elif line.startswith(b"data: "):
            data = line[6:]
        elif not line and data:
            yield name, json.loads(data)
            name, data = "message", b""
