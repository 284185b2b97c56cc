"""nginx's rewrite module: `return`, `rewrite`, `if` and `set`, as routes with conditions, redirects and rewrites of the path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from proxyd.config.match import METHODS
from proxyd.importing.nginx.patterns import PathPattern
from proxyd.importing.nginx.tree import Directive, Scope
from proxyd.importing.nginx.values import fill_in, header_name, unescaped, variables
from proxyd.importing.report import Report
from proxyd.importing.yaml_text import Value

Tests = dict[str, Value]
"""Members of `match` beside the path: host, method, header, query, cookie."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a request must be like; nothing at all: any is."""

    tests: Tests = field(default_factory=dict)
    path: PathPattern | None = None


LOCATION_WORDS = {
    "scheme": "{scheme}", "host": "{host}", "http_host": "{host}", "request_uri": "{path}{query}", "uri": "{path}",
    "document_uri": "{path}", "is_args": "", "args": "{query}", "query_string": "{query}",
}  # fmt: skip
_REDIRECTS = ("301", "302", "303", "307", "308")
_CLOSED = "444"
_REASONS = {
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 410: "Gone",
    429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable",
}  # fmt: skip


@dataclass(slots=True)
class Answer:
    """An action that ends the request, under conditions, or always."""

    route: dict[str, Value]
    origin: Directive
    tests: Tests = field(default_factory=dict)
    path: PathPattern | None = None  # where only some paths get it


@dataclass(slots=True)
class Rewriting:
    """What the directives of one block come to, in their order."""

    answers: list[Answer] = field(default_factory=list)  # under conditions; asked before anything else
    final: Answer | None = None  # for whatever comes by
    rewrite: dict[str, Value] | None = None  # of the path
    values: dict[str, str] = field(default_factory=dict)  # of `set`


def location_of(text: str) -> str | None:
    """A `Location` with nginx's variables as one of `redirect.to`; None where one has no counterpart."""
    text = re.sub(r"\$(is_args\$args|\{is_args\}\$\{args\})|\?\$(args|query_string)\Z", "$args", text)
    filled = fill_in(text, LOCATION_WORDS)
    return None if variables(filled) or re.search(r"\$[0-9]", filled) or "{query}" in filled[:-7] else filled


def rewriting_of(scope: Scope, report: Report, *, tls: bool, outer: Mapping[str, str]) -> Rewriting:
    found = Rewriting(values=dict(outer))
    for one in scope.block.block:
        if found.final is not None:
            break
        match one.name:
            case "set" if len(one.args) == 2:
                found.values[one.first.removeprefix("$")] = fill_in(one.args[1], found.values)
            case "return":
                found.final = return_answer(one, scope, report)
            case "if":
                _branch(one, scope, report, found, tls=tls)
            case "rewrite" if len(one.args) >= 2:
                _rewrite(one, report, found)
            case "break":
                break
    return found


def return_answer(one: Directive, scope: Scope, report: Report) -> Answer:
    status, text = (one.first, unescaped(one.args[1]) if len(one.args) > 1 else "") if one.first.isdigit() else ("302", one.first)
    if status in _REDIRECTS and text:
        to = location_of(text)
        if to is not None:
            return Answer({"redirect": {"to": to, "status": int(status)}}, one)
        reason = f"`{text}` has a variable that redirects do not have"
        return _untold(one, report, reason, "`redirect` knows {scheme}, {host}, {path} and {query}")
    if status == _CLOSED:
        report.changed(one.origin, "the connection is not closed without a word: the client gets 403")
        return Answer({"respond": {"status": 403}}, one)
    if variables(text):
        return _untold(one, report, "the text has variables", "`respond` has a fixed body")
    if not 200 <= int(status) <= 599:
        return _untold(one, report, f"{status} is not a status that can be answered", "")
    made: dict[str, Value] = {"status": int(status)}
    body = text or (f"{status} {_REASONS[int(status)]}\n" if int(status) in _REASONS else "")
    if body and int(status) not in (204, 205, 304):
        made["body"] = body
    content_type = scope.first("default_type", "text/plain")
    if text and content_type != "text/plain":
        made["content_type"] = content_type
    return Answer({"respond": made if len(made) > 1 else int(status)}, one)


def not_imported(one: Directive) -> dict[str, Value]:
    """What stands in the place of what could not be translated, so that its requests do not fall to another route."""
    return {"respond": {"status": 501, "body": f"not imported from nginx: {one.origin}\n"}}


def _untold(one: Directive, report: Report, reason: str, instead: str) -> Answer:
    report.left_out(one.origin, f"{reason}; the route answers 501", instead)
    return Answer(not_imported(one), one)


def _branch(one: Directive, scope: Scope, report: Report, found: Rewriting, *, tls: bool) -> None:
    inner = rewriting_of(Scope(one, scope), report, tls=tls, outer=found.values)
    if inner.final is None and not inner.answers:
        report.left_out(one.origin, "only an `if` that answers has a counterpart", "make a route of its own, by `match`")
        return
    tests = condition(one.args, tls=tls)
    if tests is None:
        refuses = inner.final is not None and any(code in str(inner.final.route.get("respond")) for code in ("401", "403", "404", "444"))
        passes = "; what it refuses passes now" if refuses else ""
        report.left_out(one.origin, f"routes have no such condition{passes}", "see `proxyd explain routes.match`")
        return
    answers = [*inner.answers, *([inner.final] if inner.final else [])]
    for each in tests:
        for answer in answers:
            if not set(each.tests) & set(answer.tests):
                together = {**each.tests, **answer.tests}
                path = answer.path if each.path is None else each.path
                if not together and path is None:
                    found.final = Answer(answer.route, answer.origin)
                    return
                found.answers.append(Answer(answer.route, answer.origin, together, path))


def condition(args: tuple[str, ...], *, tls: bool) -> list[Condition] | None:
    """What requests must be like, in ways of which one is enough; none at all: they never are. None where it cannot be said."""
    words = " ".join(args).strip().removeprefix("(").removesuffix(")").strip()
    parsed = re.match(r"\$(\w+)(?:\s*(!?=|!?~\*?)\s*(.*))?\Z", words, re.DOTALL)
    if parsed is None:
        return None
    name, operator, value = parsed[1], parsed[2] or "", (parsed[3] or "").strip("\"'")
    if name in ("scheme", "https"):
        return _scheme(name, operator, value, tls=tls)
    if name == "host" and operator in ("=", "~", "~*"):
        return [Condition({"host": value.lower() if operator == "=" else {"regex": _regex(operator, value)}})]
    if name == "request_method":
        return _methods(operator, value)
    if name in ("uri", "document_uri", "request_uri") and operator in ("=", "~", "~*"):
        if name == "request_uri" and "?" in value.replace("\\?", "?"):
            return None
        return [Condition(path=value if operator == "=" else {"regex": _regex(operator, value)})]
    return _named(name, operator, value)


def _scheme(name: str, operator: str, value: str, *, tls: bool) -> list[Condition] | None:
    """A listener has one scheme."""
    if operator not in ("=", "!=", ""):
        return None
    has = ("https" if tls else "http") if name == "scheme" else ("on" if tls else "")
    holds = bool(has) if not operator else (has == value) == (operator == "=")
    return [Condition()] if holds else []


def _methods(operator: str, value: str) -> list[Condition] | None:
    named = [value]
    if operator not in ("=", "!="):
        named = [word for word in METHODS if re.search(value, word)] if _simple(value) else []
    if not named or not set(named) <= set(METHODS):
        return None
    wanted: list[Value] = [*named] if not operator.startswith("!") else [word for word in METHODS if word not in named]
    if "GET" in wanted and "HEAD" not in wanted:
        return None  # a route that names GET takes HEAD, too
    return [Condition({"method": wanted})] if wanted else []


def _simple(pattern: str) -> bool:
    return re.fullmatch(r"[\^$()|?:A-Z]+", pattern) is not None and _compiles(pattern)


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _named(name: str, operator: str, value: str) -> list[Condition] | None:
    for prefix, kind in (("http_", "header"), ("cookie_", "cookie"), ("arg_", "query")):
        if name.startswith(prefix) and len(name) > len(prefix):
            rest = header_name(name.removeprefix(prefix)) if kind == "header" else name.removeprefix(prefix)
            test = _test(operator, value)
            return None if test is None else [Condition({kind: {rest: test}})]
    return None


def _test(operator: str, value: str) -> dict[str, Value] | None:
    """nginx has the empty text for what is not there, and takes that and `0` for false."""
    if not operator:
        return {"regex": "[^0]|.."}
    if not value:
        if operator not in ("=", "!="):
            return None
        return {"regex": ".", "not": True} if operator == "=" else {"regex": "."}
    negated: dict[str, Value] = {"not": True} if operator.startswith("!") else {}
    if operator in ("=", "!="):
        return {"exact": value, **negated}
    return {"regex": _regex(operator, value), **negated}


def _regex(operator: str, pattern: str) -> str:
    return f"(?i){pattern}" if operator.endswith("*") else pattern


_KEEPS = re.compile(r"\^(?P<prefix>/[A-Za-z0-9_./-]*?)(?P<rest>/\?\(\.\*\)|\(/\.\*\)|/\(\.\*\)|\(\.\*\))\$?\Z")
_ALL = ("^", ".*", "^.*", "^(.*)$", "^/(.*)$", "^/(.*)", "^(.*)", "(.*)", "/(.*)")


def _rewrite(one: Directive, report: Report, found: Rewriting) -> None:
    pattern, target, flag = one.first, fill_in(one.args[1], found.values), one.args[2] if len(one.args) > 2 else ""
    if flag in ("redirect", "permanent") or re.match(r"https?://|\$scheme", target):
        _redirect(one, pattern, target, 301 if flag == "permanent" else 302, report, found)
        return
    keeps = _KEEPS.match(pattern)
    new = re.match(r"(?P<prefix>/[A-Za-z0-9_./-]*?)?/?\$1\Z", target) if keeps else None
    if flag != "break" and not (flag == "last" and keeps and new):
        report.left_out(one.origin, "what nginx looks up anew has no counterpart", "write a route for each path, with `rewrite`")
        return
    if keeps is None or new is None or "." in keeps["prefix"].replace("\\.", ""):
        report.left_out(one.origin, "only beginnings of paths are rewritten", "see `proxyd explain routes.rewrite`")
        return
    if flag == "last":
        report.changed(one.origin, "the new path is not looked up among the locations: this one keeps the request")
    old, fresh = keeps["prefix"].rstrip("/"), (new["prefix"] or "").rstrip("/")
    if old != fresh:
        found.rewrite = {"replace_prefix": {"from": old or "/", "to": fresh}} if fresh else {"strip_prefix": old}


def _redirect(one: Directive, pattern: str, target: str, status: int, report: Report, found: Rewriting) -> None:
    """nginx adds the query, but for a target that ends with `?`."""
    bare, adds = (target[:-1], False) if target.endswith("?") else (target, "?" not in target)
    if pattern in _ALL:
        bare = re.sub(r"/?\$1\Z", "{path}", bare)
    path: PathPattern | None = None
    literal = re.match(r"\^(?P<path>/(?:[A-Za-z0-9_/~-]|\\?\.)*)(?P<slash>/\?)?\$\Z", pattern)
    if literal:
        path = literal["path"].replace("\\", "") if not literal["slash"] else {"regex": pattern}
    elif pattern not in _ALL:
        path = {"regex": pattern}
    to = location_of(bare + ("" if not adds or "$request_uri" in bare or "$args" in bare else "$args"))
    if to is None:
        reason = "the target has parts of the pattern, or a variable, that redirects do not have; the route answers 501"
        report.left_out(one.origin, reason, "`redirect` knows {scheme}, {host}, {path} and {query}")
    answer = Answer(not_imported(one), one, {}, path) if to is None else Answer({"redirect": {"to": to, "status": status}}, one, {}, path)
    if path is None:
        found.final = answer
    else:
        found.answers.append(answer)


