"""Requests that wait for a word about their credential, on the wire: what is asked, what comes of each answer, and of none."""
from __future__ import annotations

from collections.abc import Sequence

import pytest

from proxyd_ext.auth.verdict import Verdict, Verdicts
from proxyd_ext.snapshot.spec import (
    AuthFilter,
    ErrorPage,
    Filter,
    HeadersFilter,
    ProxyAction,
    RouteSpec,
    TargetSpec,
)
from tests.support.engine import OK, Rig, get
from tests.support.questions import CHALLENGE, auth_counts, bearer, decision, guarded, nothing_asked
from tests.support.wire import Message

TOKEN = "Authorization: Bearer t0ken"
ROOM = 960                # slots of an engine that exchanges may wait in
HOUR_MS = 3_600_000


def sent(message: Message, *names: str) -> list[tuple[str, str]]:
    return [(name, value) for name, value in message.fields if name.lower() in names]


# ---- what is asked ----

def test_asked_once_and_remembered(rig: Rig) -> None:
    verdicts, origin = guarded(rig)
    clients = [rig.connect() for _ in range(4)]
    clients[0].send(get("/a?b=c", TOKEN, "X-A: 1", "x-a:  2", host="Shop.Example.:8080"))
    asked = decision(rig)
    assert clients[0].silent()
    assert (asked.subject, asked.credential, len(asked.digest)) == (verdicts.id, b"t0ken", 16)
    assert asked.target[:4] == ["GET", "/a?b=c", "http", "127.0.0.1"]
    assert asked.lines[1:3] == [b"shop.example", b""]
    assert asked.fields == [("Host", "Shop.Example.:8080"), ("Authorization", "Bearer t0ken"), ("X-A", "1"), ("x-a", "2")]
    verdict = Verdict(allow=True, user="ann", lines=b"X-User: ann\r\n")
    verdicts.put(asked.digest, verdict, HOUR_MS)
    asked.decide(verdict)
    assert clients[0].response().status == 200
    for client in clients:
        client.send(get("/", "AUTHORIZATION: bEARER   t0ken"))
        assert client.response().status == 200
    assert nothing_asked(rig)
    assert [sent(request, "x-user") for request in origin.requests] == [[("X-User", "ann")]] * 5
    assert asked.target[4] == origin.requests[0].field("x-request-id")
    assert auth_counts(verdicts) == {"allowed": 5, "asked": 1}


def test_a_word_that_is_not_remembered_holds_for_one(rig: Rig) -> None:
    verdicts, _ = guarded(rig)
    client = rig.connect()
    for allow in (True, False, True):
        client.send(get("/", TOKEN))
        (decision(rig).allow if allow else decision(rig).deny)()
        assert client.response().status == (200 if allow else 401)
    assert auth_counts(verdicts) == {"allowed": 2, "denied": 1, "asked": 3}


@pytest.mark.parametrize(
    ("fields", "credential"),
    [
        (["authorization:bearer a.b-c~1+/="], b"a.b-c~1+/="),
        (["Authorization: BEARER  two words "], b"two words"),
        (["Authorization: Bearer"], None),
        (["Authorization: Bearer "], None),
        (["Authorization: Bearera"], None),
        (["Authorization: Basic YTpi"], None),
        (["Authorization: Bearer a", "Authorization: Bearer a"], None),
        (["Authorization: Bearer a", "authorization:"], None),
        (["Proxy-Authorization: Bearer a"], None),
        ([], None),
    ],
)
def test_bearer_tokens(clocked: Rig, fields: Sequence[str], credential: bytes | None) -> None:
    verdicts, _ = guarded(clocked)
    client = clocked.connect()
    client.send(get("/", *fields))
    if credential is None:
        refused = client.response()
        assert (refused.status, refused.field("www-authenticate")) == (401, 'Bearer realm="test"')
        assert refused.field("proxy-status") == 'proxyd; error=http_request_denied; details="unauthenticated"'
        assert auth_counts(verdicts) == {"missing": 1}
        assert nothing_asked(clocked)
        return
    asked = decision(clocked)
    assert asked.credential == credential
    asked.allow()
    assert client.response().status == 200


@pytest.mark.parametrize(
    ("step", "request_", "credential"),
    [
        (AuthFilter("b", Verdicts("b"), "basic"), get("/", "Authorization: basic YTpi"), b"YTpi"),
        (AuthFilter("b", Verdicts("b"), "basic"), get("/", "Authorization: Bearer YTpi"), None),
        (AuthFilter("h", Verdicts("h"), "header", "X-Key"), get("/", "x-KEY: k 1"), b"k 1"),
        (AuthFilter("h", Verdicts("h"), "header", "X-Key"), get("/", "X-Key: k", "X-Key: l"), None),
        (AuthFilter("h", Verdicts("h"), "header", "X-Key"), get("/", "X_Key: k"), None),
        (AuthFilter("h", Verdicts("h"), "header", "X-Key"), get("/", "X-Key:"), None),
        (AuthFilter("q", Verdicts("q"), "query", "key"), get("/?a=1&key=k%201"), b"k%201"),
        (AuthFilter("q", Verdicts("q"), "query", "key"), get("/?key=k&key=k"), None),
        (AuthFilter("q", Verdicts("q"), "query", "key"), get("/?key=&key2=1"), None),
        (AuthFilter("c", Verdicts("c"), "cookie", "sid"), get("/", "Cookie: a=b; sid=7"), b"7"),
        (AuthFilter("c", Verdicts("c"), "cookie", "sid"), get("/", "Cookie: SID=7"), None),
        (AuthFilter("f", Verdicts("f"), "fields", fields=("Cookie", "x-a")), get("/", "X-A: 1", "X-A: 2", "Cookie: c"),
         b"\x01\nc\n\x02\n2\n\x02\n1\n"),
        (AuthFilter("f", Verdicts("f"), "fields", fields=("Cookie", "x-a")), get(), b""),
        (AuthFilter("f", Verdicts("f"), "fields", fields=("x-a",), per_target=True), get("/p?q", "X-A: 1", method="PUT"),
         b"PUT\ntest\n/p\nq\n\x01\n1\n"),
    ],
)
def test_places_of_credentials(clocked: Rig, step: AuthFilter, request_: bytes, credential: bytes | None) -> None:
    guarded(clocked, step)
    client = clocked.connect()
    client.send(request_)
    if credential is None:
        assert client.response().status == 401
        assert nothing_asked(clocked)
    else:
        asked = decision(clocked)
        assert asked.credential == credential
        asked.allow()
        assert client.response().status == 200


def test_what_fields_differ_in_is_another_credential(clocked: Rig) -> None:
    step = AuthFilter("f", Verdicts("f"), "fields", fields=("a", "b"), per_target=True)
    guarded(clocked, step)
    requests = [
        get("/x", "A: 1"), get("/x", "B: 1"), get("/x", "A: 1", "B: 1"), get("/x", "A: 1", "A: 1"), get("/x", "A: 1\t1"), get("/y", "A: 1"),
        get("/x?", "A: 1"), get("/x?q", "A: 1"), get("/x", "A: 1", host="b"), get("/x", "A: 1", method="DELETE"), get("/x"),
        get("/x", "A:"),
    ]
    digests = set()
    for request in requests:
        client = clocked.connect()
        client.send(request)
        asked = decision(clocked)
        digests.add(asked.digest)
        asked.allow()
        client.response()
    assert len(digests) == len(requests) - 1        # "/x" and "/x?": servers are asked the same
    client = clocked.connect()
    client.send(get("/x", "A: " + "1" * 15_000, "B: " + "2" * 15_000))
    assert client.response().status == 431


# ---- what comes of the answer ----

@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_denied_in_full(rig: Rig, method: str) -> None:
    """The verdict's status, fields and body; then the connection goes on."""
    _, origin = guarded(rig, bearer(), HeadersFilter(response_set=b"X-Route: 1\r\n"))
    client = rig.connect()
    client.send(get("/", TOKEN, method=method) + get("/2", TOKEN))
    head = b"Location: https://id.example/?to=/\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Type: text/html\r\n"
    decision(rig).deny(status=302, head=head, body=b"<p>sign in")
    answer = client.response(to=method)
    assert (answer.status, answer.field("location"), answer.all("set-cookie")) == (302, "https://id.example/?to=/", ["a=1", "b=2"])
    assert (answer.field("content-type"), answer.field("content-length"), answer.field("x-route")) == ("text/html", "10", None)
    assert answer.body == (b"<p>sign in" if method == "GET" else b"")
    decision(rig).allow()
    assert client.response().status == 200
    assert len(origin.requests) == 1
    assert rig.requests() == {(method, 302): 1, ("GET", 200): 1}


def test_denied_without_a_body(clocked: Rig) -> None:
    """proxyd's own, with the status and the fields of the verdict; and the route's error page, if it has one."""
    origin = clocked.origin()
    route = RouteSpec("all", ProxyAction([TargetSpec(0)]), filters=[bearer()], error_pages=[ErrorPage(((403, 403),), b"page {status}")])
    clocked.publish([route], [clocked.upstream(origin)])
    client = clocked.connect()
    for status, head in ((401, CHALLENGE), (403, b"X-Why: 1\r\n"), (503, b"Retry-After: 7\r\n")):
        client.send(get("/", TOKEN, "Accept: application/json"))
        decision(clocked).deny(status=status, head=head)
        answer = client.response()
        assert answer.status == status
        assert head in answer.head
        assert answer.field("proxy-status") == 'proxyd; error=http_request_denied; details="credential_refused"'
        assert (b'"status":%d' % status in answer.body) == (status != 403)
    assert answer.all("retry-after") == ["7"]


def test_large_refusals(rig: Rig) -> None:
    guarded(rig)
    client = rig.connect()
    head = b"Location: /?" + b"x" * 8_000 + b"\r\nSet-Cookie: a=b\r\n"
    for size in (0, 70_000, 300_000):
        client.send(get("/", TOKEN))
        body = bytes(range(256)) * (size // 256)
        decision(rig).deny(status=303, head=head, body=body)
        answer = client.response()
        assert head in answer.head
        assert answer.status == 303
        assert not size or answer.body == body


def test_nobody_could_say(rig: Rig) -> None:
    verdicts, origin = guarded(rig)
    client = rig.connect()
    client.send(get("/", TOKEN) + get("/", TOKEN))
    decision(rig).fail()
    answer = client.response()
    assert (answer.status, answer.all("retry-after")) == (503, ["1"])
    assert answer.field("proxy-status") == 'proxyd; error=proxy_internal_error; details="auth_unavailable"'
    decision(rig).allow()
    assert client.response().status == 200
    assert auth_counts(verdicts) == {"allowed": 1, "asked": 1, "failed": 1}
    assert len(origin.requests) == 1


def test_an_answer_to_another_question_is_none(rig: Rig) -> None:
    """What is answered is no verdict: as if nobody could say."""
    guarded(rig)
    client = rig.connect()
    for what in ("change", "empty change", "reply", "proceed"):
        client.send(get("/", TOKEN))
        asked = decision(rig)
        if what == "reply":
            asked.reply(200, body=b"hijacked")
        elif what == "proceed":
            asked.engine.proceed(asked.slot, asked.generation)
        else:
            asked.change(lines=b"X: 1\r\n" if what == "change" else b"")
        assert client.response().status == 503


@pytest.mark.parametrize("late", [False, True])
def test_no_answer_in_time(clocked: Rig, late: bool) -> None:
    verdicts = Verdicts("sso")
    guarded(clocked, bearer(verdicts, timeout_ms=700))
    client = clocked.connect()
    client.send(get("/", TOKEN))
    asked = decision(clocked)
    clocked.advance(699)
    assert client.silent()
    clocked.advance(1)
    assert client.response().status == 503
    if late:
        asked.allow()
        clocked.settle()
        assert clocked.total("consults_late") == 1
    client.send(get("/", TOKEN))
    again = decision(clocked)
    assert (again.slot, again.generation) == (asked.slot, asked.generation + 1)
    asked.deny()
    again.allow()
    assert client.response().status == 200
    assert auth_counts(verdicts) == {"allowed": 1, "asked": 1, "failed": 1}


def test_optional(rig: Rig) -> None:
    """Nobody may pass as nobody; who says who they are must be right."""
    verdicts = Verdicts("sso")
    _, origin = guarded(rig, bearer(verdicts, optional=True), HeadersFilter(request_remove=["X-User"]))
    client = rig.connect()
    for fields in ([], ["Authorization: Basic YTpi"], ["Authorization: Bearer a", "Authorization: Bearer b"]):
        client.send(get("/", "X-User: root", *fields))
        assert client.response().status == 200
    client.send(get("/", TOKEN, "X_User: root"))
    decision(rig).allow(lines=b"X-User: ann\r\n")
    assert client.response().status == 200
    client.send(get("/", TOKEN))
    decision(rig).deny(status=403)
    assert client.response().status == 403
    assert [[value for _, value in sent(request, "x-user", "x_user")] for request in origin.requests] == [[], [], [], ["ann"]]
    assert auth_counts(verdicts) == {"allowed": 1, "denied": 1, "asked": 2}


def test_identity_is_said_by_nobody_else(rig: Rig) -> None:
    steps: list[Filter] = [bearer(), HeadersFilter(request_remove=["x-user", "x-role"], request_add=b"X-Env: prod\r\n")]
    _, origin = guarded(rig, *steps)
    client = rig.connect()
    client.send(get("/", TOKEN, "X-User: root", "x_USER: root", "X-Role: admin", "X-Env: test", "X-Other: mine"))
    decision(rig).allow(lines=b"X-User: ann\r\nX-Role: a\r\nX-Role: b\r\n")
    assert client.response().status == 200
    assert sent(origin.requests[0], "x-user", "x_user", "x-role", "x-env", "x-other") == [
        ("X-Env", "test"), ("X-Other", "mine"), ("X-Env", "prod"), ("X-User", "ann"), ("X-Role", "a"), ("X-Role", "b"),
    ]


@pytest.mark.parametrize(
    ("step", "field"),
    [
        (bearer(hide=True), TOKEN), (AuthFilter("b", Verdicts("b"), "basic", hide=True), "Authorization: Basic YTpi"),
        (AuthFilter("h", Verdicts("h"), "header", "X-Key", hide=True), "x_key: k"),
    ],
)
def test_hidden_credentials(clocked: Rig, step: AuthFilter, field: str) -> None:
    _, origin = guarded(clocked, step)
    client = clocked.connect()
    client.send(get("/", field, *(["X-Key: k"] if "key" in field else [])))
    decision(clocked).allow()
    assert client.response().status == 200
    assert [name for name, _ in origin.requests[0].fields if name.lower() in ("authorization", "x-key", "x_key")] == []


def test_two_policies_on_a_route(rig: Rig) -> None:
    """Each is asked with what the one before found out; each writes its lines; the last that names somebody names the user."""
    one, two = bearer(policy="one"), AuthFilter("two", Verdicts("two"), "header", "X-Key")
    _, origin = guarded(rig, one, two)
    client = rig.connect()
    client.send(get("/", TOKEN, "X-Key: k"))
    first = decision(rig)
    assert (first.subject, first.user) == (one.verdicts.id, "")
    first.allow("ann", lines=b"X-One: 1\r\n")
    second = decision(rig)
    assert (second.subject, second.user, second.credential) == (two.verdicts.id, "ann", b"k")
    assert second.fields == first.fields
    second.allow("", lines=b"X-Two: 2\r\n")
    assert client.response().status == 200
    assert sent(origin.requests[0], "x-one", "x-two") == [("X-One", "1"), ("X-Two", "2")]
    client.send(get("/", TOKEN, "X-Key: k"))
    decision(rig).allow()
    decision(rig).deny(status=403)
    assert client.response().status == 403
    client.send(get("/", TOKEN))
    decision(rig).allow()
    assert client.response().status == 401


def test_more_lines_than_a_head_holds(clocked: Rig) -> None:
    """Each verdict is within its bound, together they are not: refused, not cut."""
    steps = [AuthFilter(str(i), Verdicts(str(i)), "header", "K") for i in range(4)]
    guarded(clocked, HeadersFilter(request_add=b"X: y\r\n" * 100), *steps)
    client = clocked.connect()
    client.send(get("/", "K: 1"))
    for _ in steps:
        decision(clocked).allow(lines=b"X-L: " + b"x" * 8_185 + b"\r\n")
    assert client.response().status == 431
    client.send(get("/", "K: 1"))
    for _ in steps:
        decision(clocked).allow(lines=b"X-L: " + b"x" * 7_000 + b"\r\n")
    assert client.response().status == 200


# ---- what is remembered ----

def test_remembered_until_it_is_too_old(clocked: Rig) -> None:
    verdicts, _ = guarded(clocked)
    client = clocked.connect()
    client.send(get("/", TOKEN))
    asked = decision(clocked)
    verdict = Verdict(allow=True)
    verdicts.put(asked.digest, verdict, 60_000)
    asked.decide(verdict)
    assert client.response().status == 200
    clocked.advance(59_000)
    client.send(get("/", TOKEN))
    assert client.response().status == 200
    clocked.advance(20_000)        # more than a minute behind any clock
    client.send(get("/", TOKEN))
    decision(clocked).deny()
    assert client.response().status == 401


@pytest.mark.parametrize("how", ["forget", "forget_user", "clear", "evict", "replace"])
def test_no_longer_remembered(rig: Rig, how: str) -> None:
    """In effect when the call returns; a request that has its verdict goes on with it."""
    verdicts = Verdicts("sso", capacity=1)
    origin = rig.origin()
    rig.serve(origin, filters=[bearer(verdicts)])
    client = rig.connect()
    client.send(get("/", TOKEN))
    asked = decision(rig)
    verdict = Verdict(allow=True, user="ann", lines=b"X-User: ann\r\n")
    verdicts.put(asked.digest, verdict, HOUR_MS)
    asked.decide(verdict)
    peer, request = origin.asked()
    assert request.field("x-user") == "ann"
    peer.send(OK)
    assert client.response().status == 200
    client.send(get("/", TOKEN))
    assert peer.request().field("x-user") == "ann"
    del verdict
    if how == "forget":
        assert verdicts.forget(asked.digest)
    elif how == "forget_user":
        assert (verdicts.forget_user("bob"), verdicts.forget_user("ann")) == (0, 1)
    elif how == "clear":
        assert verdicts.clear() == 1
    else:
        digest = asked.digest if how == "replace" else bytes(16)
        verdicts.put(digest, Verdict(allow=False, status=403), HOUR_MS)
        verdicts.put(digest, Verdict(allow=False, status=403), HOUR_MS)
    peer.send(OK)
    assert client.response().status == 200
    client.send(get("/", TOKEN))
    if how != "replace":
        decision(rig).deny(status=403)
    assert client.response().status == 403
