"""What a flow would meet: which listener takes it, whether the client may connect, which route a server name takes, and which servers wait.

The native table of names and the native access rule are asked, so that the dry run cannot differ from the traffic.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from proxyd.config.address import BindAddress
from proxyd.snapshot.conduct import bound_text, ms, sticky_text
from proxyd.snapshot.describe import flow_action_text
from proxyd.snapshot.explain import Live, compile_unbound, target_view
from proxyd.snapshot.verdicts import admission
from proxyd.state import RouteDecision, TargetView
from proxyd_ext.route.names import routes_of

if TYPE_CHECKING:
    from proxyd.config.model import Config
    from proxyd.snapshot.compiled import Compiled
    from proxyd_ext.snapshot.spec import FlowRoute, FlowSpec, ListenerSpec, RetrySpec, UpstreamSpec

Kind = Literal["tcp", "tls", "udp"]
MODES: dict[Kind, str] = {"tcp": "tcp", "tls": "tls_passthrough", "udp": "udp"}
WILDCARDS = frozenset({"", "::", "0.0.0.0"})


@dataclass(frozen=True, slots=True)
class FlowQuestion:
    """A connection, or a datagram. `client`: an IP literal, or "" where it is not known."""

    kind: Kind
    host: str = ""                 # address that it goes to; "": any of this machine. Of "tls" the server name, which is no address
    port: int = 0                  # 0: any
    path: str = ""                 # of a unix socket that it goes to
    client: str = ""
    listener: str = ""             # "": every listener
    alpn: tuple[str, ...] = ()     # "tls": protocols that the hello offers

    @property
    def name(self) -> str:
        """Server name of the hello, as it is looked up: lower case, without a dot at its end."""
        return self.host.lower().removesuffix(".") if self.kind == "tls" else ""


def explain_flow(compiled: Compiled, question: FlowQuestion, live: Live | None = None) -> tuple[RouteDecision, ...]:
    """One decision for every listener address that the flow could go to; none if there is no such listener."""
    return tuple(
        _decide(compiled, spec, spec.flow, question, live)
        for spec in compiled.spec.listeners
        if spec.flow is not None and spec.flow.kind == question.kind and question.listener in ("", spec.name)
        and _reaches(question, spec.listener.address)
    )


def explain_flow_config(config: Config, question: FlowQuestion) -> tuple[RouteDecision, ...]:
    """The same for a config that serves nowhere."""
    return explain_flow(compile_unbound(config), question)


def _reaches(question: FlowQuestion, address: str) -> bool:
    """Whether it could go to a listener with this address."""
    bind = BindAddress.parse(address)
    if question.path or bind.is_unix:
        return question.path in ("", bind.path) and bind.is_unix and not question.port
    if question.port not in (0, bind.port):
        return False
    return question.kind == "tls" or question.host in WILDCARDS or bind.host in WILDCARDS or question.host == bind.host


def _decide(compiled: Compiled, spec: ListenerSpec, flow: FlowSpec, question: FlowQuestion, live: Live | None) -> RouteDecision:
    verdict = () if spec.access is None else (admission(spec.access, question.client, datagrams=flow.kind == "udp"),)
    mode, address = MODES[flow.kind], spec.listener.address
    chosen, why_not = _route(flow, question)
    if chosen is None:
        action = f"refused: {'no route takes this server name' if _by_name(flow, question) else 'no route is for these protocols'}"
        return RouteDecision(spec.name, address, "", None, action, (), why_not, verdict, mode=mode)
    upstreams = compiled.spec.upstreams
    names = tuple(upstreams[target.upstream].name for target in chosen.targets if target.weight)
    return RouteDecision(
        spec.name, address, "", chosen.name, flow_action_text(chosen, upstreams), names, why_not, verdict,
        tuple(_targets(compiled, chosen, flow.kind, live)), tuple(_facts(spec, flow)) if chosen.targets else (), mode,
    )


def _candidates(flow: FlowSpec, question: FlowQuestion) -> list[int]:
    """Routes that the server name may take; without names there is one, which takes everything."""
    if flow.kind != "tls":
        return [0]
    rows = [(name, number) for number, route in enumerate(flow.routes) for name in _patterns(route)]
    return routes_of(rows, question.name.encode())


def _patterns(route: FlowRoute) -> Sequence[bytes | None]:
    """Of its server names, as the native table takes them; None: every hello."""
    return [name.lower().encode() for name in route.names] or [None]


def _by_name(flow: FlowSpec, question: FlowQuestion) -> bool:
    return not _candidates(flow, question)


def _route(flow: FlowSpec, question: FlowQuestion) -> tuple[FlowRoute | None, tuple[tuple[str, tuple[str, ...]], ...]]:
    """The first route for the name whose protocols are offered, and of those before it what differs."""
    named = set(_candidates(flow, question))
    why_not: list[tuple[str, tuple[str, ...]]] = []
    for number, route in enumerate(flow.routes):
        misses = [] if number in named else ["server name"]
        if route.alpn and not set(route.alpn) & set(question.alpn):
            misses.append("protocol")
        if not misses:
            return route, tuple(why_not)
        why_not.append((route.name, tuple(misses)))
    return None, tuple(why_not)


def _targets(compiled: Compiled, route: FlowRoute, kind: Kind, live: Live | None) -> Iterator[TargetView]:
    total = sum(target.weight for target in route.targets)
    for target in route.targets:
        if target.weight:
            facts = [*_upstream_facts(compiled.spec.upstreams[target.upstream])]
            if kind != "udp":         # there is nothing to connect
                facts.append(("connect", _connect_text(target.retry, target.connect_ms)))
            yield target_view(compiled, target, target.weight / total, "target", live, tuple(facts))


def _facts(spec: ListenerSpec, flow: FlowSpec) -> Iterator[tuple[str, str]]:
    """(what, words) of all that holds for flows of the listener."""
    if spec.proxy is not None:
        yield "PROXY header", f"{'in front of each datagram' if flow.kind == 'udp' else 'needed'}, from {', '.join(spec.proxy)}"
    times = [("idle", flow.idle_ms), ("age", flow.max_age_ms), ("drain", flow.drain_ms)]
    yield "timeout", ", ".join(f"{word} {ms(value)}" for word, value in times if value) or "none"
    if flow.responses:
        yield "responses", f"{flow.responses} of the server end{'s' if flow.responses == 1 else ''} it"
    if flow.kind == "udp" and flow.amplification:
        yield "amplification", f"{flow.amplification} bytes back for each byte of a source that has not spoken again, 4 KiB always"
    if spec.connections or spec.per_client:
        bounds = [(spec.connections, "on the listener"), (spec.per_client, "of one client")]
        yield "bound", ", ".join(f"{value} {where}" for value, where in bounds if value) + " at a time"


def _upstream_facts(upstream: UpstreamSpec) -> Iterator[tuple[str, str]]:
    """(what, words) of all that holds for flows to one upstream."""
    if upstream.sticky is not None:
        yield "sticky", sticky_text(upstream.sticky)
    if upstream.zone_only:
        yield "zone", "its own only"
    elif upstream.zone_min:
        yield "zone", f"its own, while {upstream.zone_min}% of it is usable"
    if upstream.max_requests:
        yield "bound", bound_text(upstream)
    if upstream.proxy:
        parts = [word for word, on in (("CRC32c", upstream.proxy_crc), ("unique id", upstream.proxy_unique_id)) if on]
        yield "PROXY header", f"sent, version {upstream.proxy}" + (f" with {' and '.join(parts)}" if parts else "")
    if upstream.on_down_close:
        yield "on_down", "its flows are closed when a server is taken out"


def _connect_text(retry: RetrySpec, connect_ms: int) -> str:
    tries = retry.attempts if retry.connect_failure else 0
    more = f"; up to {tries} more {'try' if tries == 1 else 'tries'} on another server" if tries else ""
    return f"within {ms(connect_ms)}{more}"
