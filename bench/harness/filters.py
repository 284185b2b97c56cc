"""Routes with filters for instructions.py: each row's filters with their native tables, in the state in which they are warm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from proxyd_ext.auth.verdict import Verdict, Verdicts
from proxyd_ext.filter.key import hash_key
from proxyd_ext.limit.gate import Gate, Lane
from proxyd_ext.limit.inflight import Inflight
from proxyd_ext.limit.rate import RateLimit
from proxyd_ext.snapshot.spec import AuthFilter, Filter, HeadersFilter, InflightFilter, LimitKeyPart, RateLimitFilter

CLIENT = LimitKeyPart("client.ip")
KEY = LimitKeyPart("header", "x-api-key")
KEYS = 20_000                  # the table has room for no more, so it is as full as it may be
TOKEN = "e30." + "a" * 796     # 800 bytes, as a JWT with a handful of claims has
FOREVER_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Filtered:
    """What a route has, and field lines that its requests bring, in turn."""

    filters: Sequence[Filter] = ()
    lane: Lane | None = None
    fields: Sequence[str] = ("",)
    remembered: Verdicts | None = None     # of the auth step: what it is asked becomes VERDICT


VERDICT = Verdict(allow=True, user="alice", lines=b"X-User: alice\r\n")


def rate(name: str, key: LimitKeyPart, capacity: int = 1_000_000) -> RateLimitFilter:
    """So much a second that nobody is refused; the clock of the bench stands still."""
    limit = RateLimit(name, requests=1_000_000, per_us=1_000_000, burst=1_000_000, capacity=capacity)
    return RateLimitFilter(name, limit, (key,), quota=1_000_001, window_s=2)


def api_keys(count: int) -> list[str]:
    """Field lines; in an order in which neighbours do not follow one another."""
    return [f"X-API-Key: key-{i * 7919 % count:06}\r\n" for i in range(count)]


def _one() -> Filtered:
    return Filtered([rate("per-ip", CLIENT)])


def _three() -> Filtered:
    return Filtered([rate("per-ip", CLIENT), rate("per-host", LimitKeyPart("host")), rate("per-route", LimitKeyPart("route"))])


def _by_header(enter: bool) -> Filtered:
    limited = rate("per-key", KEY, KEYS)
    fields = api_keys(KEYS)
    for each in fields if enter else ():
        limited.limit.try_take(hash_key(limited.key, [each[11:-2]]), 1)
    return Filtered([limited], fields=fields)


def _auth() -> Filtered:
    verdicts = Verdicts("token")
    filters = [AuthFilter("token", verdicts, "bearer"), HeadersFilter(request_remove=("x-user",))]
    return Filtered(filters, fields=BEARER, remembered=verdicts)


def _places() -> Filtered:
    gate = Gate()
    lane = Lane(gate, "r0")
    gate.configure(1_000, [(lane, 10, 100, 100, 1_000)])
    return Filtered([InflightFilter("in-flight", Inflight("in-flight"), (CLIENT,), 100)], lane)


BEARER = (f"Authorization: Bearer {TOKEN}\r\n",)


@dataclass(frozen=True, slots=True)
class Row:
    """A route with filters beside one without, which is sent the same bytes."""

    title: str
    build: Callable[[], Filtered]
    fields: Sequence[str] = field(default=("",))     # what requests to the route without filters bring


ROWS: Mapping[str, Row] = {
    "rate": Row("one rate_limit by client.ip", _one),
    "rates": Row("three rate_limits: client.ip, host, route", _three),
    "header": Row(f"rate_limit by header, {KEYS:,} keys that are known", lambda: _by_header(True), api_keys(KEYS)),
    "newcomers": Row("rate_limit by header, every request a new key", lambda: _by_header(False), api_keys(KEYS)),
    "auth": Row("auth: a bearer token of 800 bytes with a remembered verdict", _auth, BEARER),
    "places": Row("concurrency by client.ip, and places of the route", _places),
}
# What is promised: user-space instructions of a limited route that passes, over those of one without limits.
BOUNDS: Mapping[str, float] = {"rate": 3.0}
