"""Bans and CORS on the wire."""
from __future__ import annotations

import pytest

from proxyd_ext.filter.key import hash_key
from proxyd_ext.limit.ban import Bans
from proxyd_ext.limit.inflight import Inflight
from proxyd_ext.limit.rate import RateLimit, now_us
from proxyd_ext.snapshot.spec import (
    AccessFilter,
    BanFilter,
    CorsFilter,
    Filter,
    InflightFilter,
    LimitKeyPart,
    RateLimitFilter,
    RequestFilter,
    RespondAction,
    RouteSpec,
)
from tests.support.engine import Rig, get
from tests.support.questions import bearer, decision, nothing_asked
from tests.support.wire import Peer

CLIENT = (LimitKeyPart("client.ip"),)
TOKEN = "Authorization: Bearer t"
MINUTE_US = 60_000_000


def banned(after: int = 3, for_s: int = 600) -> BanFilter:
    return BanFilter("ban", Bans("ban", after=after, within_us=MINUTE_US, for_us=for_s * 1_000_000))


def behind(rig: Rig, ban: BanFilter, *steps: Filter) -> Peer:
    rig.publish(
        [RouteSpec("all", RespondAction(200), filters=[ban, *steps])], trust=["127.0.0.0/8"], client_ip_header="X-Client", idle_ms=0
    )
    return rig.connect()


def test_who_is_refused_too_often(clocked: Rig) -> None:
    ban = banned()
    client = behind(clocked, ban, bearer())
    for status in (401, 401, 401, 403, 403):
        client.send(get("/", "X-Client: 192.0.2.1"))
        answer = client.response()
        assert answer.status == status
    assert answer.field("proxy-status") == 'proxyd; error=http_request_denied; details="banned"'
    assert (answer.field("retry-after"), answer.field("connection")) == ("600", None)
    client.send(get("/", "X-Client: 192.0.2.1", TOKEN))
    assert client.response().status == 403        # whoever it says it is
    assert nothing_asked(clocked)
    client.send(get("/", "X-Client: 192.0.2.2"))
    assert client.response().status == 401
    clocked.engines[0].advance(600_000)
    client.send(get("/", "X-Client: 192.0.2.1"))
    assert client.response().status == 401
    assert clocked.errors() == {"unauthenticated": 5, "banned": 3}
    assert ban.bans.stats(now_us())["refused"] == 3


@pytest.mark.parametrize(
    ("step", "counts"),
    [
        (AccessFilter(), True),
        (RateLimitFilter("r", RateLimit("r", requests=1, per_us=3_600_000_000, burst=0), CLIENT), True),
        (RateLimitFilter("r", RateLimit("r", requests=1, per_us=3_600_000_000, burst=0), CLIENT, dry_run=True), False),
        (InflightFilter("i", Inflight("i"), CLIENT, 0), True),
        (RequestFilter("m", frozenset({"POST"})), False),
        (bearer(optional=True), False),
    ],
)
def test_what_counts(rig: Rig, step: Filter, counts: bool) -> None:
    """401, 403 and 429 of the steps behind it."""
    client = behind(rig, banned(after=5), step)
    for _ in range(8):
        client.send(get())
        client.response()
    assert (rig.errors().get("banned", 0) > 0) == counts


@pytest.mark.parametrize(("status", "counts"), [(401, True), (403, True), (429, True), (302, False), (404, False), (503, False)])
def test_verdicts_that_count(clocked: Rig, status: int, counts: bool) -> None:
    """Who is sent to a sign-in page has not been refused."""
    client = behind(clocked, banned(after=2), bearer())
    for _ in range(2):
        client.send(get("/", TOKEN))
        decision(clocked).deny(status=status)
        assert client.response().status == status
    client.send(get("/", TOKEN))
    if not counts:
        decision(clocked).allow()
    assert client.response().status == (403 if counts else 200)


def test_no_word_is_no_refusal(clocked: Rig) -> None:
    client = behind(clocked, banned(after=1), bearer())
    client.send(get("/", TOKEN))
    decision(clocked).fail()
    assert client.response().status == 503
    client.send(get("/", TOKEN))
    decision(clocked).allow()
    assert client.response().status == 200


def test_by_network_and_lifted(rig: Rig) -> None:
    ban = BanFilter("ban", Bans("ban", after=1, within_us=MINUTE_US, for_us=MINUTE_US), ipv4_bits=24, ipv6_bits=48)
    client = behind(rig, ban, AccessFilter(allow=["10.0.0.0/8"]))
    for address, word in (
        ("192.0.2.1", "denied"), ("192.0.2.200", "banned"), ("192.0.3.1", "denied"), ("2001:db8::1", "denied"),
        ("2001:db8:0:9::1", "banned"), ("2001:db8:1::1", "denied"),
    ):
        client.send(get("/", f"X-Client: {address}"))
        answer = client.response()
        assert (answer.status, f'details="{word}"' in str(answer.field("proxy-status"))) == (403, True)
    key = hash_key((LimitKeyPart("client.ip", ipv4_bits=24, ipv6_bits=48),), ["192.0.2.77"])
    assert ban.bans.left_us(key, now_us()) > 0
    assert ban.bans.reset(key) == 1
    client.send(get("/", "X-Client: 192.0.2.1"))
    assert 'details="denied"' in str(client.response().field("proxy-status"))


def test_cors_words_stand_on_every_answer(rig: Rig) -> None:
    """Also on those that the steps behind it refuse: else no script could read why."""
    limit = RateLimitFilter("r", RateLimit("r", requests=1, per_us=3_600_000_000, burst=1), CLIENT)
    cors = CorsFilter("cors", ["https://a.example"], expose=["X-A"])
    client = behind(rig, banned(after=9), cors, RequestFilter("m", frozenset({"GET", "POST"})), limit, bearer())
    origin = "Origin: https://a.example"
    seen = []
    for request in (get("/", origin), get("/", origin, TOKEN), get("/", origin), get("/", origin, method="PUT")):
        client.send(request)
        if TOKEN.encode() in request:
            decision(rig).allow()
        answer = client.response()
        seen.append(answer.status)
        assert answer.all("access-control-allow-origin") == ["https://a.example"]
        assert answer.all("access-control-expose-headers") == ["X-A"]
    assert seen == [401, 200, 429, 405]
    client.send(get("/", "Origin: https://b.example", "Access-Control-Request-Method: GET", method="OPTIONS"))
    answer = client.response()
    assert (answer.status, answer.all("access-control-allow-origin")) == (204, [])
