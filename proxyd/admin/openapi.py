"""The API described to programs: an OpenAPI 3.1 document, made from the table of views, so that no path can be missing or left over."""
from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from proxyd.admin import problem
from proxyd.admin.request import View

_VARIABLE = re.compile(r"\{(\w+)(?::[^}]*)?\}")     # `{server:.+}` of a route is `{server}` of a template
_WORD = re.compile(r"\W+")

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457; `proxyd explain CODE` tells more of a code.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:proxyd:problem:PXD-242"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string", "pattern": "^PXD-[0-9]{3}$"},
        "help": {"type": "string"},
        "diagnostics": {"type": "array", "items": {"type": "object"}, "description": "Where a config is to blame: each error and warning."},
    },
}
REFUSALS = {
    "400": "PXD-244 and others: a parameter or the body is wrong",
    "401": "PXD-270, PXD-271: no user, or a wrong password",
    "403": "PXD-240, PXD-241, PXD-246, PXD-272: not from there, or not with this role",
    "404": "there is no such thing",
    "408": "PXD-276: the body did not arrive in time",
    "429": "PXD-273: too many wrong passwords",
    "503": "PXD-260, PXD-274, PXD-275, PXD-277: too many clients, or too much to do; try again",
    "default": "another problem",
}


def document(views: Iterable[View], prefix: str, version: str) -> dict[str, Any]:
    """`prefix` is what stands before the paths of the views."""
    paths: dict[str, dict[str, Any]] = {}
    for view in views:
        for path in (prefix + view.path, view.path) if view.at_root else (prefix + view.path,):
            template = _VARIABLE.sub(r"{\1}", path)
            paths.setdefault(template, {})[view.method.lower()] = _operation(view, template)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "proxyd admin API",
            "version": version,
            "description": "What an operator reads and does. Changes ask for `Content-Type: application/json` or `X-Proxyd-Request: 1`.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {"Problem": PROBLEM},
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic", "description": "A user of `admin.users`; over TCP, where there are users."},
                "session": {"type": "apiKey", "in": "cookie", "name": "proxyd_2080",
                            "description": "From POST /session; named by the port."},
            },
        },
    }


def _operation(view: View, path: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": "_".join(filter(None, (view.method.lower(), *_WORD.split(path)))),
        "summary": view.summary,
        "description": "For everybody." if view.public else f"Takes the role {view.needs}.",
        "x-role": None if view.public else view.needs,
        "responses": {"2XX": _answer(view)} | {status: _problem(text) for status, text in REFUSALS.items()},
    }
    parameters = [_parameter(name, "path", "", required=True) for name in _VARIABLE.findall(path)]
    parameters += [_parameter(name, "query", text, required=False) for name, text in view.query.items()]
    if parameters:
        found["parameters"] = parameters
    if view.takes:
        schema = {"type": "object" if view.takes.endswith("json") else "string"}
        found["requestBody"] = {"content": {view.takes: {"schema": schema}}}
    if not view.public:
        found["security"] = [{}, {"basic": []}, {"session": []}]      # {}: where nobody is asked for
    return found


def _parameter(name: str, place: str, text: str, *, required: bool) -> dict[str, Any]:
    found = {"name": name, "in": place, "required": required, "schema": {"type": "string"}}
    return found | {"description": text} if text else found


def _answer(view: View) -> dict[str, Any]:
    schema = {} if view.answers.endswith("json") else {"type": "string"}
    return {"description": "done", "content": {view.answers: {"schema": schema}}}


def _problem(text: str) -> dict[str, Any]:
    return {"description": text, "content": {problem.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
