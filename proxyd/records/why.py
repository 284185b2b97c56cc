"""What was decided for a request, step by step, in sentences: from its record, and from what the daemon knows now.

A record tells what happened. Why the routes before the one that matched did not is asked again of the route table, if the config that
served the request still serves; and how the servers are now is asked of the daemon.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from proxyd.clock import Clock
from proxyd.records.advice import advice
from proxyd.records.tap import Record
from proxyd.snapshot.explain import Question
from proxyd.state import NO_ROUTE, RouteDecision, UpstreamView

About = Literal["client", "route", "policies", "cache", "queue", "try", "answer", "flow", "error", "advice", "now"]

WHY_NOT_SHOWN = 8        # routes before the one that matched
PAUSE_TOLD = 0.001       # seconds between tries that are worth a word
HASH_SHOWN = 12          # digits of a config's hash in a record

_DECISIONS = {
    "passed": "let it pass", "delayed": "delayed it", "refused": "refused it", "delayed_dry_run": "would have delayed it (dry run)",
    "refused_dry_run": "would have refused it (dry run)", "allowed": "accepted the credential", "denied": "denied access",
    "anonymous": "let it pass without a credential", "changed": "changed it", "replied": "answered it",
    "failed_open": "failed, and the request went on (on_failure: open)", "failed": "failed", "preflight": "answered the CORS preflight",
}
_CACHE = {
    "hit": "answered from memory, still fresh", "miss": "had nothing stored", "stale": "answered from memory, no longer fresh",
    "expired": "had an answer that was too old, so it was fetched again",
    "revalidated": "had an old answer, and the server said that it still holds",
    "bypass": "was not asked: the route or the request says so", "coalesced": "gave the answer of another request's fetch",
    "uncacheable": "knows that this is not stored, and let it go to the server on its own",
}
_ENDS = {
    "client": "the client closed first", "server": "the server closed first", "client_reset": "the client reset it",
    "server_reset": "the server reset it", "idle": "nothing moved for idle_timeout", "age": "it reached max_age",
    "drain": "its listener or server was to be left", "down": "its server was taken out", "responses": "it had all its answers",
    "evicted": "a new flow needed its place", "refused": "it never reached a server", "shutdown": "proxyd stopped",
}
_BY = {"upstream": "the server", "proxyd": "proxyd itself", "cache": "the cache"}


@dataclass(frozen=True, slots=True)
class Step:
    about: About
    text: str


class Knowing(Protocol):
    """The part of the daemon that is asked."""

    @property
    def config_hash(self) -> str: ...

    def explain(self, question: Question) -> tuple[RouteDecision, ...]: ...

    def upstream(self, name: str) -> UpstreamView | None: ...


def story(record: Record, daemon: Knowing, clock: Clock) -> list[Step]:
    """The steps of one record, in the order in which they happened."""
    steps = _flow(record) if "kind" in record else _exchange(record, daemon)
    return [*steps, *_failure(record), *_now(record, daemon, clock)]


# ---------------------------------------------------------------------- exchanges
def _exchange(record: Record, daemon: Knowing) -> Iterator[Step]:
    target = f"{record.get('scheme', 'http')}://{record.get('host', '')}{record.get('path', '')}"
    query = f"?{record['query']}" if "query" in record else ""
    what = f"{record.get('method', '')} {target}{query}" if record.get("path") else "a request that was not understood"
    yield Step("client", f"{_client(record)} sent {what} to listener {record.get('listener', '-')} ({record.get('protocol', 'HTTP')})")
    yield from _route(record, daemon)
    for name, decision in _decisions(record):
        yield Step("policies", f"policy {name} {_DECISIONS.get(decision, decision)}")
    if "user" in record:
        yield Step("policies", f"the user is {record['user']}")
    if "cache" in record:
        age = f", {record['cache_age']} s old" if "cache_age" in record else ""
        yield Step("cache", f"the cache {_CACHE.get(record['cache'], record['cache'])}{age}")
    if record.get("t_queue"):
        yield Step("queue", f"it waited {_time(record['t_queue'])} for a server with room")
    yield from _tries(record)
    whom = _BY.get(record.get("status_by", ""), "nobody")
    sent = f"{record.get('bytes_out', 0)} bytes sent, {record.get('bytes_in', 0)} bytes of body received"
    took = record.get("t_total", 0.0)      # 0: within one turn of the engine's loop, which looks at the clock once
    when = f"{_time(took)} after the request began" if took else "at once"
    yield Step("answer", f"{record.get('status', 0)} came from {whom}, {when}; {sent}")


def _decisions(record: Record) -> Iterator[tuple[str, str]]:
    """Each policy that said something, and what, in their order."""
    for entry in str(record.get("policies", "")).split(","):
        if entry:
            name, _, decision = entry.rpartition(":")
            yield name, decision


def _refusing(record: Record) -> str:
    """The policy that ended the request, as the advice of its fault names it."""
    return next((name for name, decision in _decisions(record) if decision == "refused"), "POLICY")


def _client(record: Record) -> str:
    port = f":{record['client.port']}" if "client.port" in record else ""
    return f"{record.get('client.address', 'a client')}{port}"


def _route(record: Record, daemon: Knowing) -> Iterator[Step]:
    name = record.get("route")
    if not record.get("path"):
        yield Step("route", "it came to no route: the request could not be understood")
        return
    yield Step("route", f"route {name} matched" if name else "no route matched")
    if record.get("config") != daemon.config_hash[:HASH_SHOWN]:
        served = record.get("config", "-")
        yield Step("route", f"the config has changed since ({served} served it): why other routes did not match is not known any more")
        return
    question = Question(
        record.get("method", "GET"), record.get("host", ""), record["path"], record.get("client.address", ""), record.get("listener", ""),
        (), record.get("query", ""),
    )
    decision = next(iter(daemon.explain(question)), None)
    if decision is None:
        return
    if decision.route != (name if name != NO_ROUTE else None):
        told = f"route {decision.route}" if decision.route else "no route"
        yield Step("route", f"asked again without its fields and cookies, which are not kept, {told} matches: a condition on them decided")
        return
    for route, parts in decision.why_not[-WHY_NOT_SHOWN:]:
        yield Step("route", f"route {route}, which comes earlier, did not match: {', '.join(parts)}")
    if len(decision.why_not) > WHY_NOT_SHOWN:
        yield Step("route", f"nor did {len(decision.why_not) - WHY_NOT_SHOWN} before them (`proxyd route` shows all)")
    if decision.route:
        yield Step("route", f"it goes {decision.action}" if decision.action.startswith("to ") else f"its action is: {decision.action}")


def _tries(record: Record) -> Iterator[Step]:
    upstream, failed, attempts = record.get("upstream", ""), record.get("tries", []), record.get("attempts", 0)
    for number, entry in enumerate(failed, 1):
        outcome = f"answered {entry['status']}, which is tried again" if "status" in entry else str(entry["error"]).replace("_", " ")
        yield Step("try", f"try {number}: {upstream} {entry['server']}: {outcome} after {_time(entry['t'])}")
    if attempts > len(failed) and "t_first_byte" in record:
        connected = f", connected in {_time(record['t_connect'])}" if "t_connect" in record else ", over a connection that was open"
        first_byte = _time(record["t_first_byte"])
        yield Step("try", f"try {attempts}: {upstream} {record.get('server', '')} began to answer after {first_byte}{connected}")
    elif attempts == len(failed) > 1 and (pause := record.get("t_total", 0.0) - sum(entry["t"] for entry in failed)) > PAUSE_TOLD:
        yield Step("try", f"between the tries {_time(pause)} passed, as `retry.backoff` says")
    elif attempts > len(failed):
        yield Step("try", f"{attempts - len(failed)} more of {attempts} tries without an answer, the last on {record.get('server', '-')}")


# ---------------------------------------------------------------------- flows
def _flow(record: Record) -> Iterator[Step]:
    kind = str(record["kind"]).upper()
    name = f" for {record['tls.server_name']}" if "tls.server_name" in record else ""
    yield Step("client", f"{_client(record)} began a {kind} flow{name} at listener {record.get('listener', '-')}")
    if record.get("route"):
        yield Step("route", f"route {record['route']} took it")
    yield from _tries(record)
    if record.get("server"):
        yield Step("try", f"it went to {record.get('upstream', '')} {record['server']}")
    moved = f"{record.get('bytes_in', 0)} bytes from the client and {record.get('bytes_out', 0)} to it"
    end = str(record.get("end", "-"))
    yield Step("flow", f"it ended after {_time(record.get('t_total', 0.0))}: {_ENDS.get(end, end)}; {moved}")


# ---------------------------------------------------------------------- both
def _failure(record: Record) -> Iterator[Step]:
    if "error" in record:
        yield Step("error", f"{record['error']}: {record.get('why', '')}")
        if helping := advice(record.get("why", "")):
            yield Step("advice", helping.replace(" POLICY ", f" {_refusing(record)} "))


def _now(record: Record, daemon: Knowing, clock: Clock) -> Iterator[Step]:
    """How the servers that it went to are now."""
    name = record.get("upstream", "")
    view = daemon.upstream(name) if name else None
    if name and view is None:
        yield Step("now", f"there is no upstream {name} any more")
    if view is None:
        return
    labels = dict.fromkeys([*(entry["server"] for entry in record.get("tries", [])), *([record["server"]] if record.get("server") else [])])
    for label in labels:
        server = next((server for server in view.servers if server.label == label), None)
        if server is None:
            yield Step("now", f"{name} {label} is no longer a server of the upstream")
        else:
            reason = f" ({server.reason})" if server.reason else ""
            yield Step("now", f"{name} {label} is {server.state}{reason} for {_time(max(clock.wall() - server.since, 0.0))}")
    yield Step("now", f"{view.usable} of {len(view.servers)} servers of {name} are usable{f'; {view.warning}' if view.warning else ''}")


def _time(seconds: float) -> str:
    """`850 us`, `4.2 ms`, `1.25 s`, `3 min`, `2.5 h`."""
    for unit, word in ((3_600.0, "h"), (60.0, "min"), (1.0, "s"), (0.001, "ms")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {word}"
    return f"{seconds * 1e6:.0f} us"
