"""Who may ask, and how a refusal looks: the two middlewares in front of every view.

- A unix socket answers the user that runs proxyd, and root (SO_PEERCRED). Its mode says the same; this holds when the mode was changed.
- TCP answers only when the Host field names this machine, or a page of the web whose name was pointed at it could read and steer proxyd
  (DNS rebinding). Names that mean it are loopback ones, the address that was connected to, and those of `admin.hosts`.
- Over TCP a request that changes something must carry what a page of another site cannot send without a CORS preflight, which is never
  granted here (CSRF). And where a browser says which page it comes from, that must be ours: another port of this machine is another
  origin, but the same site, so that it would be sent our cookie.

Who of those may do what is decided behind it, in access.py.
"""
from __future__ import annotations

import ipaddress
import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Collection
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from proxyd.admin import problem
from proxyd.admin.address import is_loopback_host
from proxyd.admin.problem import Problem

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SIMPLE_TYPES = frozenset({"", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})
"""Media types that a form of any page may post (Fetch, "CORS-safelisted request-header")."""
REQUEST_FIELD = "X-Proxyd-Request"
HOSTS: web.AppKey[set[str]] = web.AppKey("hosts", set)
"""Names under which the application is reached over TCP, beside loopback ones."""
_UCRED = struct.Struct("3i")

_log = logging.getLogger("proxyd.admin")


def json_answer(value: object, status: int = 200, content_type: str = "application/json") -> web.Response:
    # A lone surrogate, which JSON of a client may hold, becomes the escape that it was.
    body = json.dumps(value, ensure_ascii=False, indent=2).encode("utf-8", "backslashreplace") + b"\n"
    return web.Response(status=status, body=body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})


def problem_answer(found: Problem, instance: str) -> web.Response:
    answer = json_answer(found.body(instance), found.kind.status, problem.CONTENT_TYPE)
    answer.headers.update(found.fields)
    return answer


async def harden(request: web.Request, response: web.StreamResponse) -> None:
    """Of every answer: no guessing of media types, no use by pages of others (a signal `on_response_prepare`)."""
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"


@web.middleware
async def render_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what handlers raise into problem+json; nothing else leaves with a status of 400 or more."""
    try:
        return await handler(request)
    except Problem as found:
        return problem_answer(found, request.path)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        answer = problem_answer(Problem(problem.METHOD_NOT_ALLOWED, f"{request.path} takes {allowed}, not {request.method}"), request.path)
        answer.headers["Allow"] = allowed
        return answer
    except web.HTTPNotFound:
        return problem_answer(Problem(problem.NOT_FOUND, f"there is no {request.path}; see /api/v1 for what there is"), request.path)
    except web.HTTPRequestEntityTooLarge:
        return problem_answer(Problem(problem.BODY_TOO_LARGE, "the body of the request is longer than this path takes"), request.path)
    except web.HTTPException as error:
        return problem_answer(Problem(problem.PARAMETER_INVALID, error.reason), request.path)
    except Exception:
        # The last line of the API: the client gets a problem instead of a dropped connection, the log gets the trace.
        _log.exception("%s %s failed", request.method, request.path)
        return problem_answer(Problem(problem.INTERNAL, "the request met an error of proxyd's own; its log says more"), request.path)


@web.middleware
async def refuse_strangers(request: web.Request, handler: Handler) -> web.StreamResponse:
    sock = request.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_UNIX:
        check_uid(peer_of(sock)[1])
    else:
        host, hosts = request.headers.get("Host", ""), request.app[HOSTS]
        check_host(host, {*hosts, address_of(sock)} if sock is not None else hosts)
        if request.method not in SAFE_METHODS:
            check_not_cross_site(request.headers.get("Content-Type", ""), request.headers.get(REQUEST_FIELD))
            check_origin(request.headers.get("Origin", ""), request.headers.get("Sec-Fetch-Site", ""), host, hosts)
    return await handler(request)


def peer_of(sock: Any) -> tuple[int, int]:
    """Process and user at the other end. `sock` is a connected unix socket (or the loop's stand-in for it)."""
    pid, uid, _gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return pid, uid


def check_uid(uid: int) -> None:
    if uid not in {0, os.geteuid()}:
        raise Problem(problem.PEER_REFUSED, f"user id {uid} may not use this socket; it answers user id {os.geteuid()} and root")


def address_of(sock: Any) -> str:
    """The address of ours that the client has connected to, as a Host field spells it without brackets."""
    address = ipaddress.ip_address(sock.getsockname()[0].partition("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)


def host_of(field: str) -> str:
    """A Host field without its port and brackets, in lower case."""
    host = field.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


def check_host(field: str, hosts: Collection[str] = ()) -> None:
    """`hosts`: names and addresses beside loopback ones; IPv6 with or without brackets."""
    host = host_of(field)
    if not is_loopback_host(host) and host not in hosts and f"[{host}]" not in hosts:
        raise Problem(problem.HOST_REFUSED, f"the Host field says `{field}`, which is not an address or a name of the admin API")


def check_origin(origin: str, site: str, host: str, hosts: Collection[str]) -> None:
    """What a browser says of the page that asks: `Origin` (RFC 6454) and `Sec-Fetch-Site`; "" where it says nothing. `hosts`: where a proxy
    that speaks TLS is in front, and gives us another Host than the page has."""
    said = urlsplit(origin)
    ours = not origin or said.netloc.lower() == host.strip().lower() or (said.hostname or "") in hosts
    if not ours or site not in {"", "same-origin", "none"}:
        raise Problem(problem.CROSS_SITE, f"the request was made by a page of {origin or 'another site'}, not by the dashboard")


def check_not_cross_site(content_type: str, field: str | None) -> None:
    if field is None and content_type.partition(";")[0].strip().lower() in SIMPLE_TYPES:
        raise Problem(problem.CROSS_SITE, f"a request that changes something needs Content-Type: application/json or {REQUEST_FIELD}: 1")
