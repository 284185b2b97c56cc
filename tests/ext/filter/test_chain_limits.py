"""Limits of a route on the wire: what passes, what is held, what is refused and with which words, and what a refusal gives back."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytest

from proxyd_ext.auth.verdict import Consumer, Verdict, Verdicts
from proxyd_ext.filter.key import hash_key
from proxyd_ext.limit.inflight import Inflight
from proxyd_ext.limit.rate import RateLimit, now_us
from proxyd_ext.snapshot.spec import (
    AccessFilter,
    AuthFilter,
    CorsFilter,
    Filter,
    InflightFilter,
    LimitKeyPart,
    Plan,
    PlanFilter,
    ProxyAction,
    RateLimitFilter,
    RequestFilter,
    RespondAction,
    RouteSpec,
    TargetSpec,
)
from tests.support.engine import OK, Rig, get, post
from tests.support.questions import bearer, decision, hooked, nothing_asked, script
from tests.support.wire import Message, Peer

HOUR_US = 3_600_000_000
CLIENT = (LimitKeyPart("client.ip"),)
HOST = (LimitKeyPart("host"),)
TOKEN = "Authorization: Bearer t0ken"


def rate(
    policy: str = "rate", *, requests: int = 1, per_s: float = 3_600, burst: int = 0, key: Sequence[LimitKeyPart] = CLIENT,
    algorithm: Literal["token_bucket", "leaky_bucket"] = "token_bucket", delay: int = -1, **settings: Any,
) -> RateLimitFilter:
    limit = RateLimit(policy, requests=requests, per_us=int(per_s * 1_000_000), burst=burst, algorithm=algorithm, delay=delay)
    return RateLimitFilter(policy, limit, key, quota=requests, window_s=int(per_s), **settings)


def respond(rig: Rig, *filters: Filter, **settings: Any) -> Peer:
    """A client of a route that has these filters and answers by itself."""
    rig.publish([RouteSpec("all", RespondAction(200, b"ok"), filters=filters)], **settings)
    return rig.connect()


def ask(client: Peer, *fields: str, path: str = "/", **more: Any) -> Message:
    client.send(get(path, *fields, **more))
    return client.response()


def left(step: RateLimitFilter, *texts: str) -> int:
    """Requests of a key that would pass at once."""
    peeked = step.limit.peek(hash_key(step.key, texts or ["127.0.0.1"]), now_us())
    return peeked["remaining"] if peeked else -1


def decisions(step: RateLimitFilter) -> dict[str, int]:
    words = ("passed", "delayed", "refused", "delayed_dry_run", "refused_dry_run")
    stats = step.limit.stats()
    return {word: stats[word] for word in words if stats[word]}


# ---- what passes and what is refused ----

def test_what_exceeds_the_burst_is_refused(rig: Rig) -> None:
    step = rate(requests=2, burst=4)
    origin = rig.origin().serve()
    rig.serve(origin, filters=[step])
    clients = [rig.connect() for _ in range(8)]        # on whichever engine: the limit is one
    answers = [ask(client) for client in clients]
    assert sorted(answer.status for answer in answers) == [200] * 5 + [429] * 3
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.field("proxy-status") == 'proxyd; error=http_request_denied; details="rate_limited"'
    assert refused.field("retry-after") == "1800"
    assert refused.field("ratelimit-policy") == '"rate";q=2;w=3600'
    assert refused.field("ratelimit") == '"rate";r=0;t=9000'
    assert refused.field("connection") is None
    assert decisions(step) == {"passed": 5, "refused": 3}
    assert rig.errors() == {"rate_limited": 3}
    assert len(origin.requests) == 5


def test_own_status_and_name(clocked: Rig) -> None:
    client = respond(clocked, rate('a "name"\\', status=503))
    assert ask(client).status == 200
    refused = ask(client)
    assert (refused.status, refused.field("ratelimit-policy")) == (503, '"a \\"name\\"\\\\";q=1;w=3600')
    assert refused.all("retry-after") == ["3600"]


@pytest.mark.parametrize(("words", "passing", "refused"), [("none", 0, 0), ("refused", 0, 1), ("always", 1, 1)])
def test_who_is_told(rig: Rig, words: Literal["none", "refused", "always"], passing: int, refused: int) -> None:
    origin = rig.origin().serve()
    rig.serve(origin, filters=[rate(burst=1, headers=words)])
    client = rig.connect()
    first, _, third = ask(client), ask(client), ask(client)
    assert (first.status, third.status) == (200, 429)
    assert [len(first.all(name)) for name in ("ratelimit", "ratelimit-policy", "retry-after")] == [passing, passing, 0]
    assert [len(third.all(name)) for name in ("ratelimit", "ratelimit-policy", "retry-after")] == [refused, refused, 1]
    if passing:
        assert first.field("ratelimit") == '"rate";r=1;t=3600'


def test_many_limits_that_tell(clocked: Rig) -> None:
    """Whole lines, however many there are and however long their names."""
    steps = [rate(f"{i:02}" + '"' * 62, burst=5, headers="always") for i in range(16)]
    client = respond(clocked, CorsFilter("cors", ["https://a.example"]), *steps)
    answer = ask(client, "Origin: https://a.example")
    assert (answer.status, answer.body) == (200, b"ok")
    quoted = [f'"{i:02}' + '\\"' * 62 + '"' for i in range(16)]
    assert answer.all("ratelimit-policy") == [f"{name};q=1;w=3600" for name in quoted]
    assert answer.all("ratelimit") == [f"{name};r=5;t=3600" for name in quoted]
    assert answer.field("access-control-allow-origin") == "https://a.example"


@pytest.mark.parametrize("algorithm", ["token_bucket", "leaky_bucket"])
@pytest.mark.parametrize(("requests", "per_s", "burst"), [(1, 1, 0), (3, 1, 2), (7, 60, 4), (10, 3, 9), (1, 90, 3)])
def test_who_obeys_is_not_refused_again(
    clocked: Rig, algorithm: Literal["token_bucket", "leaky_bucket"], requests: int, per_s: int, burst: int
) -> None:
    """Retry-After, and what RateLimit says of the quota, hold to the second."""
    client = respond(clocked, rate(requests=requests, per_s=per_s, burst=burst, algorithm=algorithm, headers="always"), idle_ms=0)
    for round_ in range(4):
        answer = ask(client)
        while answer.status == 200:
            told = dict(part.split("=") for part in str(answer.field("ratelimit")).split(";")[1:])
            answer = ask(client)
            assert answer.status == (200 if int(told["r"]) > 0 else 429)
        clocked.advance(1_000 * int(answer.field("retry-after") or 0))
        assert ask(client).status == 200
        answer = ask(client)
        told = dict(part.split("=") for part in str(answer.field("ratelimit")).split(";")[1:])
        clocked.advance(1_000 * int(told["t"]) + round_)
        assert [ask(client).status for _ in range(burst + 1)] == [200] * (burst + 1)


def test_dry_run(rig: Rig) -> None:
    """Counted, told nobody, and neither refused nor held."""
    hard, soft = rate("hard", burst=0, dry_run=True, headers="always"), rate("soft", burst=9, delay=0, dry_run=True)
    client = respond(rig, hard, soft)
    answers = [ask(client) for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    assert answers[-1].all("ratelimit") == answers[-1].all("retry-after") == []
    assert decisions(hard) == {"passed": 1, "refused_dry_run": 2}
    assert decisions(soft) == {"passed": 1, "delayed_dry_run": 2}


# ---- held ----

@pytest.mark.parametrize("algorithm", ["token_bucket", "leaky_bucket"])
def test_what_exceeds_the_rate_is_held(clocked: Rig, algorithm: Literal["token_bucket", "leaky_bucket"]) -> None:
    step = rate(requests=2, per_s=1, burst=2, delay=0, algorithm=algorithm)
    origin = clocked.origin().serve()
    clocked.serve(origin, filters=[step])
    clients = [clocked.connect() for _ in range(4)]
    for client in clients:
        client.send(get())
        clocked.settle()
    assert [client.response().status for client in (clients[0], clients[3])] == [200, 429]
    for client, others in ((clients[1], clients[2:3]), (clients[2], [])):
        clocked.advance(499)
        assert client.silent()
        clocked.advance(1)
        assert client.response().status == 200
        assert all(other.silent() for other in others)
    assert decisions(step) == {"passed": 1, "delayed": 2, "refused": 1}
    assert len(origin.requests) == 3


def test_the_longest_delay_is_waited_once(clocked: Rig) -> None:
    steps = [rate(str(ms), requests=1, per_s=ms / 1_000, burst=9, delay=0) for ms in (300, 2_000, 700)]
    client = respond(clocked, *steps)
    assert ask(client).status == 200
    client.send(get())
    clocked.settle()
    clocked.advance(1_999)
    assert client.silent()
    clocked.advance(1)
    assert client.response().status == 200


def test_a_refusal_is_not_held(clocked: Rig) -> None:
    """And takes back what the limit that would have held it took."""
    slow, hard = rate("slow", requests=1, per_s=3_600, burst=9, delay=0), rate("hard", burst=1)
    client = respond(clocked, slow, hard)
    assert ask(client).status == 200
    client.send(get())
    clocked.settle()
    assert ask(clocked.connect()).status == 429
    clocked.advance(3_600_000)
    assert client.response().status == 200
    assert decisions(slow) == {"passed": 1, "delayed": 2}


@pytest.mark.parametrize("how", ["reset", "close"])
def test_client_leaves_while_it_is_held(clocked: Rig, how: str) -> None:
    origin = clocked.origin().serve()
    clocked.serve(origin, filters=[rate(requests=1, per_s=10, burst=9, delay=0)])
    assert ask(clocked.connect()).status == 200
    client = clocked.connect()
    client.send(get("/held"))
    clocked.settle()
    getattr(client, how)()
    clocked.settle()
    assert clocked.total("exchanges") == (0 if how == "reset" else 1)        # a FIN alone may be a half-close
    clocked.advance(10_000)
    assert clocked.total("exchanges") == 0
    assert clocked.requests() == ({("GET", 200): 1, ("GET", 499): 1} if how == "reset" else {("GET", 200): 2})


def test_half_closed_client_gets_its_held_answer(clocked: Rig) -> None:
    client = respond(clocked, rate(requests=1, per_s=10, burst=9, delay=0))
    assert ask(client).status == 200
    client.send(get())
    client.half_close()
    clocked.advance(10_000)
    assert client.response().status == 200
    assert client.ended()


def test_held_behind_auth(clocked: Rig) -> None:
    """The delay counts from when the limit was asked: what the verdict took is not waited a second time."""
    verdicts = Verdicts("sso")
    origin = clocked.origin().serve()
    clocked.serve(origin, filters=[rate(requests=1, per_s=10, burst=9, delay=0), bearer(verdicts)])
    client = clocked.connect()
    client.send(get("/", TOKEN))
    decision(clocked).allow()
    assert client.response().status == 200
    client.send(get("/", TOKEN))
    question = decision(clocked)
    clocked.advance(4_000)
    question.allow()
    clocked.settle()
    clocked.advance(5_999)
    assert client.silent()
    clocked.advance(1)
    assert client.response().status == 200
    client.send(get("/", TOKEN))
    question = decision(clocked)
    clocked.advance(1_000)
    question.deny(status=403)
    assert client.response().status == 403          # guessing costs, but need not wait


def test_held_then_asked_of_a_filter(clocked: Rig) -> None:
    """Before a user's filter is asked, the delay is over: it sees requests in the shape that the limit gives them."""
    step = script("request", timeout_ms=1_000)
    client = respond(clocked, rate(requests=1, per_s=5, burst=9, delay=0), step)
    client.send(get())
    hooked(clocked).change()
    assert client.response().status == 200
    client.send(get())
    clocked.advance(4_999)
    assert nothing_asked(clocked)
    clocked.advance(1)
    hooked(clocked).change()
    assert client.response().status == 200


# ---- given back ----

def test_a_later_refusal_gives_back(rig: Rig) -> None:
    """By a rate, by requests in flight, by a plan's rate and by its quota: all that the limits before it took."""
    consumer, verdicts = Consumer("ann"), Verdicts("keys")
    first, table = rate("first", burst=99), Inflight("held")
    second = rate("second", burst=99, key=HOST)
    plan_rate = RateLimit("gold", requests=1, per_us=HOUR_US, burst=3)
    plans = PlanFilter("keys", [Plan("gold", plan_rate, quota_requests=2)])
    own = rate("own", burst=1, key=(LimitKeyPart("user"),))
    rig.serve(
        rig.origin().serve(),
        filters=[first, second, InflightFilter("held", table, CLIENT, 9), bearer(verdicts, "keys"), plans, own],
    )
    client = rig.connect()
    client.send(get("/", TOKEN))
    question = decision(rig)
    question.allow(plan=0, consumer=consumer)
    assert client.response().status == 200
    verdicts.put(question.digest, Verdict(allow=True, user="ann", plan=0, consumer=consumer), 3_600_000)
    assert ask(client, TOKEN).status == 200
    took = (left(first), left(second, "test"), consumer.usage()[1])
    assert took == (98, 98, 2)
    refused = ask(client, TOKEN)
    assert (refused.status, refused.field("proxy-status")) == (429, 'proxyd; error=http_request_denied; details="quota_exceeded"')
    assert (left(first), left(second, "test"), consumer.usage()[1]) == took
    consumer.set_usage(consumer.usage()[0], 1)
    refused = ask(client, TOKEN)        # the quota has one again; the limit of the user has none
    assert refused.field("ratelimit-policy") == '"own";q=1;w=3600'
    assert (left(first), left(second, "test"), consumer.usage()[1]) == (98, 98, 1)
    assert (plan_rate.peek(consumer.hash, now_us()) or {})["remaining"] == 2
    own.limit.reset()
    assert ask(client, TOKEN).status == 200
    consumer.set_usage(0, 0)
    assert ask(client, TOKEN).status == 200        # the fourth of the plan's rate
    refused = ask(client, TOKEN)
    assert refused.field("ratelimit-policy") == '"gold";q=0;w=1'
    assert (left(first), left(second, "test"), consumer.usage()[1]) == (96, 96, 1)
    rig.until(lambda: table.stats()["in_flight"] == 0, "all in flight are given back")


def test_what_a_trial_took_is_given_back_too(rig: Rig) -> None:
    """Else it would tell of refusals that would not have been."""
    trial, hard = rate("trial", burst=99, dry_run=True), rate("hard", burst=0, key=HOST)
    client = respond(rig, trial, hard)
    assert [ask(client).status for _ in range(3)] == [200, 429, 429]
    assert left(trial) == 99
    assert decisions(trial) == {"passed": 3}


def test_inflight_refusal_gives_back(clocked: Rig) -> None:
    step, table = rate(burst=99), Inflight("one")
    origin = clocked.origin()
    clocked.serve(origin, filters=[step, InflightFilter("one", table, CLIENT, 1)])
    waiting, other = clocked.connect(), clocked.connect()
    waiting.send(get())
    peer, _ = origin.asked()
    refused = ask(other)
    assert (refused.status, refused.field("retry-after")) == (429, "1")
    assert refused.field("proxy-status") == 'proxyd; error=http_request_denied; details="concurrency_limited"'
    assert (left(step), table.stats()["in_flight"]) == (99, 1)
    peer.send(OK)
    assert waiting.response().status == 200
    assert table.stats()["in_flight"] == 0


@pytest.mark.parametrize("refusal", ["missing", "denied", "unavailable", "access"])
def test_guessing_costs(clocked: Rig, refusal: str) -> None:
    """What others than limits refuse keeps its price."""
    step = rate(burst=99)
    client = respond(clocked, step, AccessFilter() if refusal == "access" else bearer())
    client.send(get("/", *([TOKEN] if refusal in ("denied", "unavailable") else [])))
    if refusal == "denied":
        decision(clocked).deny(status=401)
    elif refusal == "unavailable":
        decision(clocked).fail()
    assert client.response().status in (401, 403, 503)
    assert left(step) == 99


# ---- the order ----

def test_each_step_keeps_those_behind_it_from_acting(clocked: Rig) -> None:
    behind = rate(burst=99)
    steps: list[tuple[Filter, bytes, int]] = [
        (AccessFilter(), get(), 403),
        (RequestFilter("m", frozenset({"GET", "PURGE"})), post(), 405),
        (RequestFilter("b", body_size=3), post("/", b"four"), 413),
        (rate("none", burst=0, key=HOST), get(host="used"), 429),
        (InflightFilter("f", Inflight("f"), CLIENT, 0), get(), 429),
        (bearer(), get(), 401),
        (CorsFilter("c", ["*"]), get("/", "Origin: https://a", "Access-Control-Request-Method: GET", method="OPTIONS"), 204),
    ]
    for step, request, status in steps:
        client = respond(clocked, step, behind)
        if status == 429:
            client.send(get(host="used"))
            client.response()
            behind.limit.reset()
        client.send(request)
        assert client.response(to=request.split(b" ")[0].decode()).status == status
        assert left(behind) == -1, step
    assert decisions(behind).get("refused") is None


def test_bodies_that_do_not_tell_their_size(rig: Rig) -> None:
    """A chunked body is cut where it exceeds the route's bound; the smallest of several counts."""
    origin = rig.origin()
    rig.serve(origin, filters=[RequestFilter("a", body_size=9), RequestFilter("b", body_size=5), RequestFilter("c", body_size=7)])
    head = get("/", "Transfer-Encoding: chunked", method="POST")
    client = rig.connect()
    client.send(head + b"5\r\n12345\r\n0\r\n\r\n")
    peer, request = origin.asked()
    assert request.body == b"12345"
    peer.send(OK)
    assert client.response().status == 200
    client.send(head + b"4\r\n1234\r\n")
    peer.head()
    client.send(b"2\r\n56\r\n")
    refused = client.response()
    assert (refused.status, refused.field("connection")) == (413, "close")
    client.close()


# ---- keys ----

PEOPLE = ("X-Client: 192.0.2.1", "X-Client: 192.0.2.2")


@pytest.mark.parametrize(
    ("parts", "texts", "one", "other"),
    [
        ([LimitKeyPart("client.ip")], ["192.0.2.1"], get("/", PEOPLE[0]), get("/", PEOPLE[1])),
        ([LimitKeyPart("client.ip", ipv4_bits=31)], ["192.0.2.3"], get("/", PEOPLE[1]), get("/", PEOPLE[0])),
        ([LimitKeyPart("client.ip", ipv4_bits=0)], ["8.8.8.8"], get("/", PEOPLE[1]), get("/", "X-Client: ::1")),
        ([LimitKeyPart("client.ip")], ["2001:db8::1"], get("/", "X-Client: 2001:db8::2"), get("/", "X-Client: 2001:db8:0:1::1")),
        ([LimitKeyPart("client.ip", ipv6_bits=128)], ["::1"], get("/", "X-Client: ::1"), get("/", "X-Client: ::2")),
        ([LimitKeyPart("client.ip", ipv6_bits=45)], ["2001:db8:7::"], get("/", "X-Client: 2001:db8::9"),
         get("/", "X-Client: 2001:db8:8::")),
        ([LimitKeyPart("host")], ["a.example"], get(host="A.Example.:80"), get(host="b.example")),
        ([LimitKeyPart("path")], ["/a/b"], get("/x/../a/%62?q"), get("/a/B")),
        ([LimitKeyPart("method")], ["HEAD"], get(method="HEAD"), get()),
        ([LimitKeyPart("method")], ["BREW"], get(method="BREW"), get(method="brew")),
        ([LimitKeyPart("header", "X-Key")], ["two"], get("/", "x-key: one", "X-KEY: two"), get("/", "X-Key: one")),
        ([LimitKeyPart("cookie", "sid")], ["7"], get("/", "Cookie: a=b; sid=7"), get("/", "Cookie: SID=7; sid=8")),
        ([LimitKeyPart("query", "k")], ["v"], get("/?a=b&k=v&k=w"), get("/?k=w")),
        ([LimitKeyPart("route"), LimitKeyPart("listener")], ["all", "web"], get(), get("/other")),
        ([LimitKeyPart("host"), LimitKeyPart("header", "a")], ["test", ""], get(), get("/", "A: 1")),
        ([LimitKeyPart("header", "a"), LimitKeyPart("header", "b")], ["", "1"], get("/", "B: 1"), get("/", "A: 1")),
        ([LimitKeyPart("header", n) for n in "abcd"], ["1", "2", "3", "4"], get("/", "D: 4", "C: 3", "B: 2", "A: 1"),
         get("/", "D: 1", "C: 2", "B: 3", "A: 4")),
    ],
)
@pytest.mark.parametrize("salt", [0, 7])
def test_keys(clocked: Rig, parts: list[LimitKeyPart], texts: list[str], one: bytes, other: bytes, salt: int) -> None:
    """Requests of one key share a limit, those of another do not; and the control plane finds the key by its texts."""
    step = rate(key=parts, salt=salt)
    clocked.publish(
        [RouteSpec("other", RespondAction(200), path="/other", filters=[step]), RouteSpec("all", RespondAction(200), filters=[step])],
        trust=["127.0.0.0/8"], client_ip_header="X-Client",
    )
    client = clocked.connect()

    def status(request: bytes) -> int:
        client.send(request)
        return client.response(to="HEAD" if request.startswith(b"HEAD") else "GET").status

    assert step.limit.peek(hash_key(parts, texts, salt), now_us()) is None
    assert [status(one), status(one)] == [200, 429]
    found = step.limit.peek(hash_key(parts, texts, salt), now_us())
    assert found is not None
    assert found["remaining"] == 0
    assert step.limit.stats()["keys"] == 1
    assert status(other) == 200
    assert step.limit.stats()["keys"] == 2


def test_keys_of_who_it_is(clocked: Rig) -> None:
    verdicts = Verdicts("sso")
    user, claim = rate("user", key=(LimitKeyPart("user"),)), rate("claim", burst=1, key=(LimitKeyPart("claim", "tenant"), *HOST))
    client = respond(clocked, bearer(verdicts, optional=True), user, claim)
    for token, name, status in (("a", "ann", 200), ("b", "bob", 200), ("c", "ann", 429), ("d", "carl", 429)):
        client.send(get("/", f"Authorization: Bearer {token}"))
        decision(clocked).allow(name, attributes={"tenant": "acme"})
        assert client.response().status == status
    assert [left(user, name) for name in ("ann", "bob", "carl")] == [0, 0, -1]
    assert left(claim, "acme", "test") == 0
    assert ask(client).status == 200        # nobody: no user, but a host
    assert left(claim, "", "test") == 1


def test_empty_keys_are_not_counted(rig: Rig) -> None:
    parts = (LimitKeyPart("header", "x-key"), LimitKeyPart("cookie", "sid"), LimitKeyPart("query", "k"))
    step, held = rate(key=parts), Inflight("held")
    client = respond(rig, step, InflightFilter("held", held, parts, 1), rate("claim", key=(LimitKeyPart("claim", "sub"),)))
    assert [ask(client, "Cookie: other=1", "X-Key:", path="/?k=").status for _ in range(3)] == [200] * 3
    assert step.limit.stats()["keys"] == held.stats()["passed"] == 0
    assert hash_key(parts, ["", "", ""]) == 0
    assert [ask(client, "X-Key: 1").status for _ in range(2)] == [200, 429]


def test_keys_of_unix_sockets_are_one(clocked: Rig, tmp_path: Any) -> None:
    step = rate()
    clocked.listen("unix", path=str(tmp_path / "s"))
    clocked.publish([RouteSpec("all", RespondAction(200), filters=[step])], listeners=("unix",))
    assert [ask(clocked.connect("unix")).status for _ in range(2)] == [200, 429]
    assert left(step, "unix") == 0


# ---- plans ----

def test_quota_ends_with_its_period(clocked: Rig) -> None:
    """On the wall clock, in UTC: Retry-After is when the next period begins, and then there is a whole quota again."""
    consumer, verdicts = Consumer("ann"), Verdicts("keys")
    clocked.serve(clocked.origin().serve(), filters=[bearer(verdicts, "keys"), PlanFilter("keys", [Plan("day", quota_requests=2)])])
    client = clocked.connect()
    for _ in range(3):
        statuses = []
        for _ in range(4):
            client.send(get("/", TOKEN))
            decision(clocked).allow(plan=0, consumer=consumer)
            answer = client.response()
            statuses.append(answer.status)
        assert statuses == [200, 200, 429, 429]
        assert answer.all("ratelimit") == []
        wait = int(answer.field("retry-after") or 0)
        assert 0 < wait <= 86_400
        before = consumer.usage()
        client.close()
        clocked.engines[0].advance(1_000 * wait)        # in one leap: a day has many ticks
        client = clocked.connect()
        assert before[1] == 2
    assert consumer.usage()[0] == before[0]


def test_plan_of_its_own_policy(clocked: Rig) -> None:
    """Two policies that know who it is on one route: each plan is charged for its own, once."""
    first, second = Consumer("a"), Consumer("b")
    plans = [Plan("p", quota_requests=9)]
    keys = AuthFilter("two", Verdicts("two"), "header", "x-key")
    client = respond(clocked, bearer(policy="one"), keys, PlanFilter("one", plans), PlanFilter("two", plans))
    for consumers in ((first, second), (first, None), (None, second)):
        client.send(get("/", TOKEN, "X-Key: k"))
        for consumer in consumers:
            decision(clocked).allow(plan=-1 if consumer is None else 0, consumer=consumer)
        assert client.response().status == 200
    assert (first.usage()[1], second.usage()[1]) == (2, 2)


def test_limits_across_actions(clocked: Rig) -> None:
    """A route of two paths to one policy shares the limit with another route that uses it."""
    step = rate(burst=1)
    origin = clocked.origin().serve()
    routes = [
        RouteSpec("a", RespondAction(200), path="/a", filters=[step]),
        RouteSpec("b", ProxyAction([TargetSpec(0)]), path="/b", filters=[step]),
        RouteSpec("free", RespondAction(200)),
    ]
    clocked.publish(routes, [clocked.upstream(origin)])
    client = clocked.connect()
    assert [ask(client, path=path).status for path in ("/a", "/b", "/a", "/b", "/c")] == [200, 200, 429, 429, 200]
