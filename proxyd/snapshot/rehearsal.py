"""`tests` of a config: each request is put to the native route table and filters, and what they do is held against what is expected.

The same answers as `proxyd route` gives. What only a running daemon or a server can tell (what limits have left, who somebody is, what a
server answers) is not known here, and cannot be expected.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from proxyd.codes import COMPILE_FAILED, TEST_FAILED
from proxyd.config.builtin import BUILT_IN
from proxyd.config.expectations import NONE_WORD, Expectation
from proxyd.config.target import flow_parts, port_part, query_part, request_parts
from proxyd.diagnostics import Diagnostic
from proxyd.snapshot.explain import Question, compile_unbound, explain
from proxyd.snapshot.explain_flow import FlowQuestion, explain_flow
from proxyd.snapshot.limit_texts import Request, key_texts
from proxyd_ext.snapshot.spec import InflightFilter, RateLimitFilter

if TYPE_CHECKING:
    from proxyd.config.model import Config, Route
    from proxyd.snapshot.compiled import Compiled
    from proxyd.state import RouteDecision

ADMISSION = "allow/deny"     # as `proxyd route` calls what a listener's own lists say


class Miss(NamedTuple):
    """An expectation that was not met."""

    field: str
    message: str
    help: str = ""


class Case(NamedTuple):
    """What one test expects, and what became of its request on one listener."""

    compiled: Compiled
    test: Expectation
    question: Question | None     # None: a flow
    decision: RouteDecision

    @property
    def route(self) -> Route | None:
        """None: no route took it, or it is a flow."""
        config = self.compiled.config
        routes = config.routes_of(config.listeners[self.decision.listener])
        return next((route for route in routes if route.name == self.decision.route), None)

    @property
    def refusal(self) -> tuple[str, str] | None:
        """Who refuses it, by name, and how."""
        verdict = next((verdict for verdict in self.decision.policies if verdict.refuses), None)
        if verdict is None:
            return None
        return (self.decision.listener if verdict.name == ADMISSION else verdict.name), verdict.text

    @property
    def became(self) -> str:
        """What became of it, in words."""
        if self.refusal is not None:
            return f"`{self.refusal[0]}` {self.refusal[1]}"
        route = self.decision.route
        return f"it takes the route `{route}`, {self.decision.action}" if route is not None else f"it gets {self.decision.action}"


def rehearse(config: Config) -> list[Diagnostic]:
    """An error for each expectation that is not met, with the path of its setting; none where there are no tests."""
    if not config.tests:
        return []
    try:
        compiled = compile_unbound(config)
    except ValueError as error:
        return [Diagnostic(COMPILE_FAILED.code, f"the engines refuse the config: {error}", help=COMPILE_FAILED.help)]
    found: dict[tuple[str, str], Diagnostic] = {}
    for index, test in enumerate(config.tests):
        for field, message, help_ in _misses(compiled, test):
            path = f"tests[{index}].{field}"
            found.setdefault((path, message), Diagnostic(TEST_FAILED.code, message, help=help_, path=path))
    return list(found.values())


def _misses(compiled: Compiled, test: Expectation) -> Iterator[Miss]:
    cases = list(_flow_cases(compiled, test) if test.is_flow else _cases(compiled, test))
    if not cases:
        on = f" on `{test.listener}`" if test.listener else ""
        yield Miss("request", f"no listener takes `{test.request}`{on}", "see `mode` and `bind` of the listeners")
    for case in cases:
        where = f" on `{case.decision.listener}`" if len({other.decision.listener for other in cases}) > 1 else ""
        for field, check in CHECKS.items():
            misses = list(check(case)) if field in test.model_fields_set else []
            yield from (miss._replace(message=miss.message + where) for miss in misses)
            if misses and field == "route":
                break      # what else it expects, it expects of that route


def _cases(compiled: Compiled, test: Expectation) -> Iterator[Case]:
    method, url = test.method_and_url
    fields = tuple((name, str(value)) for name, value in test.headers.items())
    host = next((value for name, value in fields if name.lower() == "host"), "")
    others = tuple(field for field in fields if field[0].lower() != "host")
    question = Question(
        *request_parts(method, url, host), test.client or "", test.listener or "", others, query_part(url), port_part(url, host)
    )
    listeners = compiled.config.listeners
    decisions = [decision for decision in explain(compiled, question) if listeners[decision.listener].mode == "http"]
    if test.listener is None:    # those with routes of their own are for something else: the redirect to https, say
        decisions = [decision for decision in decisions if listeners[decision.listener].own_routes is None] or decisions
    for decision in decisions:
        yield Case(compiled, test, question, decision)


def _flow_cases(compiled: Compiled, test: Expectation) -> Iterator[Case]:
    parts = flow_parts(test.request)
    assert parts is not None
    for decision in explain_flow(compiled, FlowQuestion(*parts, test.client or "", test.listener or "", test.alpn)):
        yield Case(compiled, test, None, decision)


# ------------------------------------------------------------------ one for each thing that can be expected
def _route(case: Case) -> Iterator[Miss]:
    wanted, decision = case.test.route, case.decision
    if wanted == (decision.route or NONE_WORD):
        return
    message = "expected no route" if wanted == NONE_WORD else f"expected the route `{wanted}`"
    differs = dict(decision.why_not).get(wanted or "")
    if differs:
        help_ = f"`{wanted}` does not match: {' and '.join(differs)} {'differs' if len(differs) == 1 else 'differ'}"
    elif decision.route is not None and wanted != NONE_WORD:
        help_ = f"`{decision.route}` stands before `{wanted}`, and the first route that matches wins"
    else:
        help_ = ""
    yield Miss("route", f"{message}, and {case.became}", help_)


def _upstream(case: Case) -> Iterator[Miss]:
    for name in case.test.upstream:
        if name not in case.decision.upstreams:
            may = " or ".join(f"`{known}`" for known in case.decision.upstreams)
            yield Miss("upstream", f"expected the upstream `{name}`, and {f'it may be sent to {may}' if may else case.became}")


def _status(case: Case) -> Iterator[Miss]:
    status = _own_status(case)
    if status is None:
        message = f"expected {case.test.status} of proxyd itself, and a server answers: {case.became}"
        yield Miss("status", message, "expect `route` or `upstream`")
    elif status != case.test.status:
        yield Miss("status", f"expected the status {case.test.status}, and it is {status}: {case.became}")


def _own_status(case: Case) -> int | None:
    """Status of the answer that proxyd makes; None: a server makes it."""
    if case.refusal is not None:
        said = re.match(r"refuses: ([0-9]{3})", case.refusal[1])
        return int(said[1]) if said else None
    route = case.route
    if route is None:
        return int(case.decision.action[:3])     # `404 no route`, `400 …`, `405 …`
    if route.redirect is not None:
        return route.redirect.status
    return route.respond.status if route.respond is not None else None


def _redirect(case: Case) -> Iterator[Miss]:
    route, question = case.route, case.question
    if case.refusal is not None or route is None or route.redirect is None or question is None:
        yield Miss("redirect", f"expected a redirect, and {case.became}")
        return
    spec = next(spec for spec in case.compiled.spec.listeners if spec.name == case.decision.listener)
    parts = {
        "scheme": spec.scheme, "host": question.host + (f":{question.port}" if question.port else ""), "path": case.decision.path,
        "query": f"?{question.query}" if question.query else "",
    }
    location = re.sub(r"\{(\w+)\}", lambda name: parts[name[1]], route.redirect.to)
    if location != case.test.redirect:
        yield Miss("redirect", f"expected a redirect to `{case.test.redirect}`, and it is to `{location}`")


def _policies(case: Case) -> Iterator[Miss]:
    route = case.route
    names = [name for name, _ in case.compiled.config.policies_of(route)] if route is not None else []
    for name in case.test.policies:
        if name not in names:
            have = ", ".join(f"`{known}`" for known in names)
            yield Miss("policies", f"the policy `{name}` is not in force: {_by_route(case)} uses {have or 'none'}")


def _limit(case: Case) -> Iterator[Miss]:
    route, question = case.route, case.question
    assert question is not None
    steps = _steps(case)
    for name in case.test.limit:
        step = next((step for step in steps if isinstance(step, RateLimitFilter | InflightFilter) and step.policy == name), None)
        if step is None or route is None:
            policy = case.compiled.config.policies.get(name) or BUILT_IN[name]
            limits = policy.rate_limit is not None or policy.concurrency is not None
            what = f"{_by_route(case)} does not use it" if limits else "it is no `rate_limit` and no `concurrency`"
            yield Miss("limit", f"`{name}` does not limit it: {what}")
            continue
        request = Request(
            case.decision.listener, route.name, question.method, question.host, case.decision.path, question.query, question.headers,
            question.client,
        )
        texts = key_texts(step.key, request)
        if texts is not None and not any(texts):
            kinds = " and ".join(f"{part.kind} {part.name}".strip() for part in step.key)
            yield Miss("limit", f"`{name}` does not count it: the request brings no {kinds}")


def _refused(case: Case) -> Iterator[Miss]:
    wanted, refusal = case.test.refused, case.refusal
    if wanted == (refusal[0] if refusal is not None else NONE_WORD):
        return
    message = "expected that nobody refuses it" if wanted == NONE_WORD else f"expected that `{wanted}` refuses it"
    unsaid = next((verdict.text for verdict in case.decision.policies if verdict.name == wanted), "")
    help_ = "add `client: ADDRESS` to the test" if not case.test.client and "client" in unsaid else ""
    route = case.route
    if route is not None and wanted in case.compiled.config.policies and wanted not in dict(case.compiled.config.policies_of(route)):
        help_ = f"the route does not use `{wanted}`"
    yield Miss("refused", f"{message}, and {case.became}", help_)


def _cache_key(case: Case) -> Iterator[Miss]:
    facts = dict(case.decision.facts)
    stored = facts.get("cache key", "")
    key = stored.partition(", ")[2] if stored and case.refusal is None else NONE_WORD      # behind the zone
    if key != case.test.cache_key:
        why = f"`{key}`" if key != NONE_WORD else f"none: {facts.get('cache') or 'the route has no `cache`'}"
        wanted = "nothing stored" if case.test.cache_key == NONE_WORD else f"the key `{case.test.cache_key}`"
        yield Miss("cache_key", f"expected {wanted}, and it is {why}")


def _sends(case: Case) -> Iterator[Miss]:
    route = case.route
    if route is None or route.to is None or case.refusal is not None:
        yield Miss("sends", f"no server is sent anything: {case.became}")
        return
    sent = _sent(case, route)
    for name, wanted in case.test.sends.items():
        values = sent.get(name.lower(), [])
        sends = f"it is `{', '.join(values)}`" if values else "it is not sent"
        if wanted == NONE_WORD and values:
            yield Miss(f"sends.{name}", f"expected that `{name}` is not sent, and {sends}")
        elif wanted != NONE_WORD and str(wanted) not in (*values, ", ".join(values)):
            yield Miss(f"sends.{name}", f"expected `{name}: {wanted}`, and {sends}")


def _sent(case: Case, route: Route) -> Mapping[str, list[str]]:
    """The request's own fields after the changes of policies and of the route, by lower-case name."""
    found: dict[str, list[str]] = {}
    for name, value in case.question.headers if case.question is not None else ():
        found.setdefault(name.lower(), []).append(value)
    changes = [policy.headers for _, policy in case.compiled.config.policies_of(route)]
    changes += [route.rewrite.headers] if route.rewrite is not None else []
    for change in changes:
        if change is None:
            continue
        for name in change.request.remove:
            found.pop(name.lower(), None)
        for name, value in change.request.set.items():
            found[name.lower()] = [str(value)]
        for name, value in change.request.add.items():
            found.setdefault(name.lower(), []).append(str(value))
    return found


def _steps(case: Case) -> tuple[object, ...]:
    """The filters of the route that took it."""
    spec = case.compiled.spec
    listener = next(listener for listener in spec.listeners if listener.name == case.decision.listener)
    return next((tuple(route.filters) for route in spec.tables[listener.table] if route.name == case.decision.route), ())


def _by_route(case: Case) -> str:
    return f"the route `{case.decision.route}`" if case.decision.route else case.became


CHECKS: dict[str, Callable[[Case], Iterator[Miss]]] = {
    "route": _route, "upstream": _upstream, "status": _status, "redirect": _redirect, "policies": _policies, "limit": _limit,
    "refused": _refused, "cache_key": _cache_key, "sends": _sends,
}
