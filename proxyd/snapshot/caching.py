"""What the cache of a route would do with a request, in words: under which key it looks, and how it treats what it finds there."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from proxyd.config.units import Lifetime, Size
from proxyd.snapshot.verdicts import null_listener
from proxyd_ext.route.stats import RouteStats
from proxyd_ext.snapshot import Snapshot
from proxyd_ext.snapshot.spec import CacheKeyPart, CacheSpec, Condition, ListenerSpec, RespondAction, RouteSpec, SnapshotSpec

if TYPE_CHECKING:
    from proxyd.snapshot.conduct import Facts
    from proxyd.snapshot.explain import Question

STORED_METHODS = frozenset({"GET", "HEAD"})
SAFE_METHODS = STORED_METHODS | {"OPTIONS"}      # RFC 9110 §9.2.1
_PORTS = {"http": "80", "https": "443"}
_WHOLE_URL = ("scheme", "host", "path", "query")
_TESTS: Mapping[str, str] = {"exact": "= {}", "prefix": "= {}*", "suffix": "= *{}", "regex": "~ {}"}


def cache_facts(cache: CacheSpec, scheme: str, path: str, question: Question) -> Facts:
    """(what, words). `path`: in normal form."""
    if question.method not in STORED_METHODS:
        left = "" if question.method in SAFE_METHODS else ", and makes what is stored for the URL invalid when it succeeds (RFC 9111 §4.4)"
        yield "cache", f"not for {question.method}: it goes to the server{left}"
        return
    past = bypassing(cache.bypass, path, question)
    if past is not None:
        yield "cache", f"not for this request, which has {condition_text(past)}: it goes to the server, and its answer is not stored"
        return
    yield "cache", "; ".join(_conduct(cache))
    yield "cache key", f"zone {cache.zone}, {key_text(cache.key, scheme, path, question)}"


def bypassing(conditions: Sequence[Condition], path: str, question: Question) -> Condition | None:
    """The first condition that holds, as the native side sees it: each becomes a route, and the first route that matches wins."""
    if not conditions:
        return None
    names = [str(number) for number in range(len(conditions))]
    routes = tuple(RouteSpec(name, RespondAction(204), conditions=(one,)) for name, one in zip(names, conditions, strict=True))
    stats = tuple(RouteStats("", name) for name in (*names, "-"))
    native = Snapshot(SnapshotSpec(0, "", (ListenerSpec(null_listener("", ""), "", 0, stats),), (routes,)))
    chosen, _ = native.match(
        0, question.method, question.host, path, headers=question.headers, query=question.query, client=question.client
    )
    return conditions[chosen] if chosen >= 0 else None


def condition_text(condition: Condition) -> str:
    """`cookie session`, `header x-no-cache = 1`, `no header accept`."""
    what = f"{condition.of} {condition.name}"
    if condition.test == "present":
        return f"no {what}" if condition.negate else what
    return f"{what} {'not ' if condition.negate else ''}{_TESTS[condition.test].format(condition.value)}"


def key_text(key: Sequence[CacheKeyPart], scheme: str, path: str, question: Question) -> str:
    """The whole URL as one, other keys part by part: `host a.example, path /x, query w=1, query h: none`."""
    port = "" if question.port in ("", _PORTS[scheme]) else f":{question.port}"
    plain = {"scheme": scheme, "host": question.host.lower() + port, "path": path, "query": question.query}
    if tuple(part.kind for part in key) == _WHOLE_URL and not key[-1].names:
        return f"{scheme}://{plain['host']}{path}{'?' if question.query else ''}{question.query}"
    return ", ".join(text for part in key for text in _part(part, plain, question))


def _part(part: CacheKeyPart, plain: Mapping[str, str], question: Question) -> Iterator[str]:
    if not part.names:
        yield f"{part.kind} {plain[part.kind]}".rstrip() if plain[part.kind] else f"{part.kind}: none"
        return
    values = {"query": _parameters, "header": _fields, "cookie": _cookies}[part.kind](question)
    for name in part.names:
        yield f"{part.kind} {name}={values[name]}" if name in values else f"{part.kind} {name}: none"


def _parameters(question: Question) -> dict[str, str]:
    """The first of each name counts."""
    pairs = [part.partition("=") for part in question.query.split("&") if part]
    return {unquote_plus(name): value for name, _, value in reversed(pairs)}


def _fields(question: Question) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for name, value in question.headers:
        found.setdefault(name.lower(), []).append(value.strip())
    return {name: ", ".join(values) for name, values in found.items()}


def _cookies(question: Question) -> dict[str, str]:
    pairs = [part.strip().partition("=") for name, value in question.headers if name.lower() == "cookie" for part in value.split(";")]
    return {name: value for name, _, value in reversed(pairs)}


def _conduct(cache: CacheSpec) -> Iterator[str]:
    yield f"fresh {freshness_text(cache)}"
    if cache.negative_s >= 0:
        statuses = ",".join(str(low) if low == high else f"{low}-{high}" for low, high in cache.negative)
        yield f"{statuses} that tell none {_time(cache.negative_s)}"
    for word, seconds in (("while a new one is fetched", cache.while_revalidate_s), ("when the server fails", cache.if_error_s)):
        if seconds >= 0:
            yield f"stale {word} {f'for {_time(seconds)}' if seconds else 'never'}"
    yield f"others wait {cache.collapse_ms / 1000:g} s for the fetch of one" if cache.collapse_ms else "each fetches for itself"
    if cache.strip_set_cookie:
        yield "stored without Set-Cookie"
    if not cache.client_directives:
        yield "Cache-Control of requests is ignored"
    if cache.share:
        yield f"then in the shared tier, {cache.share_ms} ms at most"
    if cache.compress is not None:
        yield f"compressed to {', '.join(cache.compress.encodings)} from {Size(cache.compress.min_size)}"


def freshness_text(cache: CacheSpec) -> str:
    """`as the answer says, else 10m`, `for 1h whatever the answer says`."""
    if cache.override_s >= 0:
        return f"for {_time(cache.override_s)} whatever the answer says"
    text = "as the answer says"
    if cache.default_s >= 0:
        text += f", else {_time(cache.default_s)}"
    elif cache.heuristic_percent:
        text += f", else {cache.heuristic_percent}% of its age when it came, up to {_time(cache.heuristic_max_s)}"
    bounds = [f"{word} {_time(value)}" for word, value in (("at least", cache.min_s), ("at most", cache.max_s)) if value >= 0]
    return ", ".join([text, *bounds])


def _time(seconds: int) -> str:
    return str(Lifetime(seconds))
