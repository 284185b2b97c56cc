"""Who may ask, and how a refusal looks: the two middlewares in front of every view.

- A unix socket answers the user that runs proxyd, and root (SO_PEERCRED). Its mode says the same; this holds when the mode was changed.
- TCP answers only when the Host field names this machine, or a page of the web whose name was pointed at 127.0.0.1 could read and steer
  proxyd (DNS rebinding).
- Over TCP a request that changes something must carry what a page of another site cannot send without a CORS preflight, which is never
  granted here (CSRF).
"""
from __future__ import annotations

import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from proxyd.admin import problem
from proxyd.admin.address import is_loopback_host
from proxyd.admin.problem import Problem

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SIMPLE_TYPES = frozenset({"", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})
"""Media types that a form of any page may post (Fetch, "CORS-safelisted request-header")."""
REQUEST_FIELD = "X-Proxyd-Request"
_UCRED = struct.Struct("3i")

_log = logging.getLogger("proxyd.admin")


def json_answer(value: object, status: int = 200, content_type: str = "application/json") -> web.Response:
    body = json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n"
    return web.Response(status=status, body=body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})


def problem_answer(found: Problem, instance: str) -> web.Response:
    return json_answer(found.body(instance), found.kind.status, problem.CONTENT_TYPE)


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
        return problem_answer(Problem(problem.BODY_TOO_LARGE, "the body of the request is longer than 16 MiB"), request.path)
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
        check_host(request.headers.get("Host", ""))
        if request.method not in SAFE_METHODS:
            check_not_cross_site(request.headers.get("Content-Type", ""), request.headers.get(REQUEST_FIELD))
    return await handler(request)


def peer_of(sock: Any) -> tuple[int, int]:
    """Process and user at the other end. `sock` is a connected unix socket (or the loop's stand-in for it)."""
    pid, uid, _gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return pid, uid


def check_uid(uid: int) -> None:
    if uid not in {0, os.geteuid()}:
        raise Problem(problem.PEER_REFUSED, f"user id {uid} may not use this socket; it answers user id {os.geteuid()} and root")


def check_host(field: str) -> None:
    host = field.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    if not is_loopback_host(host):
        raise Problem(problem.HOST_REFUSED, f"the Host field says `{field}`, which is not this machine's loopback")


def check_not_cross_site(content_type: str, field: str | None) -> None:
    if field is None and content_type.partition(";")[0].strip().lower() in SIMPLE_TYPES:
        raise Problem(problem.CROSS_SITE, f"a request that changes something needs Content-Type: application/json or {REQUEST_FIELD}: 1")
