"""How a route and its upstreams treat a request, in words, told from the specification that the engines serve by."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from proxyd.snapshot.build_policies import route_priority
from proxyd.snapshot.gates import UNBOUNDED, needs_lane
from proxyd_ext.snapshot.spec import (
    FailoverSpec,
    HedgeSpec,
    MirrorSpec,
    ProxyAction,
    RetrySpec,
    RewriteSpec,
    SplitSpec,
    Statuses,
    StickySpec,
    UpstreamSpec,
)

if TYPE_CHECKING:
    from proxyd.config.model import Config, Route

Facts = Iterator[tuple[str, str]]


def route_facts(action: ProxyAction, upstreams: Sequence[UpstreamSpec]) -> Facts:
    """(what, words) of all that holds for the route, whichever upstream is drawn."""
    if action.split is not None:
        yield "pinned", split_text(action.split)
    if action.rewrite is not None:
        yield "rewrite", rewrite_text(action.rewrite)
    yield "timeout", timeout_text(action)
    if action.hedge is not None:
        yield "hedge", hedge_text(action.hedge)
    if action.failover is not None:
        yield "failover", failover_text(action.failover, upstreams)
    if action.mirror is not None:
        yield "mirror", mirror_text(action.mirror, upstreams)


def place_facts(config: Config, route: Route) -> Facts:
    """(what, words) of the class of its requests, and of the places that it has for those on servers."""
    priority = route_priority(config, route)
    if priority != "normal":
        yield "priority", str(priority)
    if not needs_lane(config, route):
        return
    own, whole = route.concurrency or UNBOUNDED, config.places
    parts = [f"{own.reserved} of its own"] if own.reserved else []
    parts += [f"{own.max} at most"] if own.max else []
    if whole is not None and whole.total:
        parts.append(f"{whole.total} of all routes together")
    parts.append(f"{own.queue} more may wait {ms(int(own.queue_timeout))}" if own.queue else "none waits")
    yield "places", ", ".join(parts)


def upstream_facts(upstream: UpstreamSpec, retry: RetrySpec) -> Facts:
    """(what, words) of all that holds for requests to one upstream."""
    if upstream.sticky is not None:
        yield "sticky", sticky_text(upstream.sticky)
    if upstream.zone_min:
        yield "zone", f"its own, while {upstream.zone_min}% of it is usable"
    if upstream.max_requests:
        yield "bound", bound_text(upstream)
    yield "retry", retry_text(retry)


def retry_text(retry: RetrySpec) -> str:
    """`up to 2 more tries: connection failed; reset, status 503 (idempotent requests only); budget 20%, at least 3`."""
    always = ["connection failed"] if retry.connect_failure else []
    only = f"idempotent requests{', or with Idempotency-Key' if retry.idempotency_key else ' only'}"
    careful = [word for word, on in (("reset", retry.reset), ("timeout", retry.timeout)) if on] + statuses_text(retry.statuses)
    if not retry.attempts or not (always or careful):
        return "none"
    causes = [", ".join(always)] if always else []
    causes += [f"{', '.join(careful)} ({only})"] if careful else []
    parts = [f"up to {retry.attempts} more {'try' if retry.attempts == 1 else 'tries'}: {'; '.join(causes)}", *_waits(retry)]
    return "; ".join([*parts, f"budget {retry.budget_percent}% of the requests under way, {retry.budget_min} always"])


def _waits(retry: RetrySpec) -> Iterator[str]:
    if retry.backoff_ms:
        growth = f", then {retry.factor_percent / 100:g} times that, up to {ms(retry.backoff_max_ms)}" if retry.attempts > 1 else ""
        yield f"after {'0 to ' if retry.jitter else ''}{ms(retry.backoff_ms)}{growth}"
    if retry.retry_after_max_ms:
        yield f"Retry-After up to {ms(retry.retry_after_max_ms)}"


def failover_text(failover: FailoverSpec, upstreams: Sequence[UpstreamSpec]) -> str:
    causes = [
        word for word, on in (
            ("no server can take it", failover.no_server), ("connection failed", failover.connect_failure),
            ("reset", failover.reset), ("timeout", failover.timeout),
        ) if on
    ]
    return f"to {upstreams[failover.target.upstream].name} when: {', '.join([*causes, *statuses_text(failover.statuses)])}"


def mirror_text(mirror: MirrorSpec, upstreams: Sequence[UpstreamSpec]) -> str:
    share = f"{mirror.sample_ppm / 10_000:g}%"
    return f"{share} copied to {upstreams[mirror.upstream].name}, {mirror.in_flight} at a time and engine at most"


def hedge_text(hedge: HedgeSpec) -> str:
    after = ms(hedge.after_ms) if hedge.after_ms else f"the time within which {hedge.percentile}% of the answers came lately"
    return f"{hedge.max} more {'try' if hedge.max == 1 else 'tries'} beside the first after {after}; the first answer wins"


def timeout_text(action: ProxyAction) -> str:
    connect = sorted({target.connect_ms for target in action.targets})
    known = [
        ("connect", connect[0] if len(connect) == 1 else 0), ("per try", action.per_try_ms), ("first byte", action.first_byte_ms),
        ("between bytes", action.between_bytes_ms), ("total", action.total_ms),
    ]
    return ", ".join(f"{word} {ms(value)}" for word, value in known if value) or "none"


def split_text(split: SplitSpec) -> str:
    return f"to one upstream by {'cookie' if split.kind == 'cookie' else 'the hash of header'} {split.name}"


def rewrite_text(rewrite: RewriteSpec) -> str:
    parts = [f"strip {rewrite.strip}"] if rewrite.strip else []
    parts += [f"path {rewrite.path}"] if rewrite.path else []
    return ", ".join(parts + ([f"host {rewrite.host}"] if rewrite.host else []))


def sticky_text(sticky: StickySpec) -> str:
    if sticky.kind == "key":
        return f"by the hash of {sticky.hash_key}{f':{sticky.hash_name}' if sticky.hash_name else ''}"
    return f"by cookie {sticky.name}" + (f", set when the server sets {sticky.follows}" if sticky.kind == "app_cookie" else "")


def bound_text(upstream: UpstreamSpec) -> str:
    waiting = f"; {upstream.max_pending} more may wait {ms(upstream.queue_ms)}" if upstream.max_pending else "; none waits"
    return f"{upstream.max_requests} requests at a time{waiting}"


def statuses_text(statuses: Statuses) -> list[str]:
    """`["status 502-504"]`, or nothing."""
    texts = [str(low) if low == high else f"{low}-{high}" for low, high in statuses]
    return [f"status {', '.join(texts)}"] if texts else []


def ms(value: int) -> str:
    return f"{value} ms" if value < 1_000 else f"{value / 1_000:g} s"
