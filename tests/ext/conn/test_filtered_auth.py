"""Requests that wait for a word about their credential, on the wire: what is asked, what comes of each answer, and of none."""
from __future__ import annotations

from collections.abc import Sequence

import pytest

from proxyd_ext.auth.verdict import Verdict, Verdicts
from proxyd_ext.snapshot.spec import (
    AuthFilter,
    ConsultAction,
    CorsFilter,
    ErrorPage,
    HeadersFilter,
    ProxyAction,
    RedirectAction,
    RespondAction,
    RewriteSpec,
    RouteSpec,
    TargetSpec,
)
from tests.support.engine import OK, Rig, get, post
from tests.support.questions import CHALLENGE, auth_counts, bearer, decision, maybe_question, nothing_asked, question
from tests.support.wire import Message, Origin, Peer

TOKEN = "Authorization: Bearer t0ken"
ROOM = 960                # slots of an engine that exchanges may wait in
HOUR_MS = 3_600_000


def guarded(rig: Rig, *steps: AuthFilter | HeadersFilter, **settings: object) -> tuple[Verdicts, Origin]:
    """A route to one origin, which answers, behind these steps (one that wants a bearer token, unless told otherwise)."""
    verdicts = Verdicts("sso")
    origin = rig.origin().serve()
    rig.serve(origin, filters=steps or [bearer(verdicts)], **settings)  # type: ignore[arg-type]
    return verdicts, origin


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
        get("/x?", "A: 1"), get("/x?q", "A: 1"), get("/x", "A: 1", host="b"), get("/x", "A: 1", method="DELETE"), get("/x"), get("/x", "A:"),
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
    steps = [bearer(), HeadersFilter(request_remove=["x-user", "x-role"], request_add=b"X-Env: prod\r\n")]
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


# ---- while it waits ----

def test_pipelined_requests_wait_their_turn(rig: Rig) -> None:
    _, origin = guarded(rig)
    client = rig.connect()
    client.send(get("/1", TOKEN) + get("/2", TOKEN) + post("/3", b"three", TOKEN) + get("/4"))
    for path in ("/1", "/2", "/3"):
        asked = decision(rig)
        assert asked.target[1] == path
        assert nothing_asked(rig)
        asked.allow()
        assert client.response().status == 200
    assert client.response().status == 401
    assert [(request.target, request.body) for request in origin.requests] == [("/1", b""), ("/2", b""), ("/3", b"three")]


@pytest.mark.parametrize("size", [5, 60_000, 400_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_waits(rig: Rig, size: int, chunked: bool) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    origin = rig.origin()
    rig.serve(origin, filters=[bearer()])
    client = rig.connect()
    if chunked:
        client.send(get("/", TOKEN, "Transfer-Encoding: chunked", method="PUT"))
        client.send(b"%x\r\n%s\r\n0\r\n\r\n" % (size, body))
    else:
        client.send(post("/", body, TOKEN))
    decision(rig).allow()
    peer, request = origin.asked()
    assert request.body == body
    peer.send(OK)
    assert client.response().status == 200
    client.send(post("/", body, TOKEN))
    decision(rig).deny(status=403)
    refused = client.response()
    assert (refused.status, refused.field("connection")) == (403, "close")


def test_expect_continue(rig: Rig) -> None:
    """Nobody says 100 before the verdict; a refusal spares the body."""
    origin = rig.origin()
    rig.serve(origin, filters=[bearer()])
    client = rig.connect()
    head = get("/", TOKEN, "Expect: 100-continue", "Content-Length: 4", method="PUT")
    client.send(head)
    asked = decision(rig)
    assert client.silent()
    asked.allow()
    peer = origin.accept()
    assert b"100-continue" in peer.head()
    peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.response().status == 100
    client.send(b"body")
    assert peer.read(4) == b"body"
    peer.send(OK)
    assert client.response().status == 200
    client.send(head)
    decision(rig).deny(status=403)
    assert client.response().field("connection") == "close"
    assert client.ended()


@pytest.mark.parametrize("how", ["reset", "half_close"])
def test_client_goes_meanwhile(rig: Rig, how: str) -> None:
    verdicts, origin = guarded(rig)
    client = rig.connect()
    client.send(get("/", TOKEN))
    asked = decision(rig)
    getattr(client, how)()
    if how == "reset":
        rig.until(lambda: rig.total("exchanges") == 0, "the exchange is over")
        asked.allow()
        rig.until(lambda: rig.total("consults_late") == 1, "the late word is counted")
        rig.counted("GET", 499)
        assert origin.requests == []
        assert auth_counts(verdicts) == {}
    else:
        asked.allow()
        assert client.response().status == 200
        assert client.ended()


def test_client_goes_in_the_middle_of_its_body(rig: Rig) -> None:
    origin = rig.origin()
    rig.serve(origin, filters=[bearer()])
    client = rig.connect()
    client.send(get("/", TOKEN, "Content-Length: 10", method="PUT") + b"1234")
    asked = decision(rig)
    client.half_close()
    asked.allow()
    rig.counted("PUT", 499)
    rig.until(lambda: rig.of(origin)["connections_active"] == 0, "the server is left")


REQUESTS = [
    get("/x", TOKEN),
    get("/a/../%7euser//b/%2F/c%20?q=%7e", TOKEN, "Cookie: a=b", "X-A: 1", "Connection: keep-alive, X-A"),
    get("http://other/abs?x", TOKEN, "Accept: */*", host="other"),
    get("*", TOKEN, method="OPTIONS"),
    post("/%61", b"body" * 100, TOKEN, "Content-Type: text/plain"),
    get("/old", TOKEN, version="1.0", host=None),
    b"\r\n" + get("/after-an-empty-line", TOKEN),
    get("/" + "p" * 3_000 + "?" + "q" * 3_000, TOKEN, *[f"X-{i}: {'v' * 90}" for i in range(80)]),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=[str(i) for i in range(len(REQUESTS))])
@pytest.mark.parametrize("trusted", [False, True])
def test_what_the_server_gets_is_the_same(clocked: Rig, request_: bytes, trusted: bool) -> None:
    """Byte for byte what it gets without a wait, but for the request's id; waited once, or twice and a delay between."""
    settings = {"trust": ["127.0.0.0/8"], "client_ip_header": "X-Client"} if trusted else {}
    fields = b"X-Client: 192.0.2.9\r\nX-Request-ID: kept\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n"
    request = request_.replace(b"\r\n\r\n", b"\r\n" + fields, 1) if not request_.startswith(b"\r\n") else request_
    origin = clocked.origin().serve()
    rewrite = RewriteSpec(strip="/a") if request_ is REQUESTS[0] else None
    heads = []
    for steps in ([], [bearer()], [bearer(policy="1"), AuthFilter("2", Verdicts("2"), "bearer")]):
        route = RouteSpec("all", ProxyAction([TargetSpec(0)], rewrite=rewrite), filters=steps)
        clocked.publish([route], [clocked.upstream(origin)], **settings)  # type: ignore[arg-type]
        client = clocked.connect()
        client.send(request)
        for _ in steps:
            asked = decision(clocked)
            assert asked.target[3] == ("192.0.2.9" if trusted and not request_.startswith(b"\r\n") else "127.0.0.1")
            asked.allow()
        assert client.response().status == 200
        served = origin.requests.pop()
        lines = [line for line in served.head.split(b"\r\n") if not line.startswith(b"X-Request-ID") or b"kept" in line]
        heads.append((lines, served.body))
        client.close()
    assert heads[0] == heads[1] == heads[2]


def test_heads_cut_at_every_byte(clocked: Rig) -> None:
    _, origin = guarded(clocked)
    client = clocked.connect()
    request = post("/%7eann?x", b"body", TOKEN, "X-A: 1")
    for cut in range(1, len(request)):
        client.send(request[:cut])
        clocked.settle()
        client.send(request[cut:])
        decision(clocked).allow()
        assert client.response().status == 200
        served = origin.requests.pop()
        assert (served.target, served.body, served.field("x-a")) == ("/~ann?x", b"body", "1")


@pytest.mark.parametrize("size", [3_000, 5_000, 15_000, 40_000])
def test_heads_of_all_sizes(rig: Rig, size: int) -> None:
    """Larger than a buffer's first class, with the next request behind."""
    _, origin = guarded(rig, header_size=65_536)
    client = rig.connect()
    fields = [f"X-{i}: {'v' * 1_000}" for i in range(size // 1_000)]
    client.send(get("/one", TOKEN, *fields) + get("/two", TOKEN))
    for _ in range(2):
        decision(rig).allow()
        assert client.response().status == 200
    assert len([name for name, _ in origin.requests[0].fields if name.startswith("X-") and name[2:].isdigit()]) == len(fields)


def test_actions_of_all_kinds_wait(rig: Rig) -> None:
    routes = [
        RouteSpec("respond", RespondAction(200, b"r"), path="/respond", filters=[bearer()]),
        RouteSpec("redirect", RedirectAction(302, "/to"), path="/redirect", filters=[bearer()]),
        RouteSpec("live", ConsultAction("live"), path="/live", filters=[bearer()]),
    ]
    rig.publish(routes)
    client = rig.connect()
    for path, status in (("/respond", 200), ("/redirect", 302), ("/live", 200)):
        client.send(get(path, TOKEN))
        asked = decision(rig)
        asked.allow()
        if path == "/live":
            _, slot, generation, *_ = rig.event("consult")
            asked.engine.answer(slot, generation, 200, b"", "text/plain")
        assert client.response().status == status


def test_preflights_need_no_credential(rig: Rig) -> None:
    """And refusals can be read across origins."""
    guarded(rig, CorsFilter("cors", ["https://a.example"], headers=["authorization"]), bearer())  # type: ignore[arg-type]
    client = rig.connect()
    origin = "Origin: https://a.example"
    client.send(get("/", origin, "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization", method="OPTIONS"))
    preflight = client.response()
    assert (preflight.status, preflight.field("access-control-allow-headers")) == (204, "authorization")
    client.send(get("/", origin) + get("/", origin, TOKEN))
    refused = client.response()
    assert (refused.status, refused.field("access-control-allow-origin")) == (401, "https://a.example")
    decision(rig).allow()
    answer = client.response()
    assert (answer.status, answer.all("access-control-allow-origin")) == (200, ["https://a.example"])


# ---- many, and the end ----

def test_door_is_bounded(clocked: Rig) -> None:
    """Whoever finds no slot is told at once; the others get their answers."""
    verdicts = Verdicts("sso")
    clocked.publish([RouteSpec("all", RespondAction(200), filters=[bearer(verdicts)])])
    clients = []
    for _ in range(ROOM + 3):
        clients.append(clocked.connect())
        clients[-1].send(get("/", TOKEN))
        clocked.turn()
    clocked.until(lambda: clocked.errors() == {"auth_unavailable": 3}, "three are refused")
    assert auth_counts(verdicts) == {"failed": 3}
    asked = []
    while (next_ := maybe_question(clocked)) is not None:
        asked.append(next_)
    assert len(asked) == ROOM
    for each in reversed(asked):
        each.allow()
    clocked.settle()
    statuses = [client.response().status for client in clients]
    assert (statuses.count(200), statuses.count(503)) == (ROOM, 3)


def test_reload_while_it_waits(rig: Rig) -> None:
    """It goes on by the rules with which it came; the old snapshot stays until then."""
    old, new = Verdicts("old"), Verdicts("new")
    origin = rig.origin().serve()
    rig.serve(origin, filters=[bearer(old, "old"), HeadersFilter(request_set=b"X-Rules: old\r\n")])
    client, other = rig.connect(), rig.connect()
    client.send(get("/", TOKEN))
    asked = decision(rig)
    rig.serve(origin, filters=[bearer(new, "new"), HeadersFilter(request_set=b"X-Rules: new\r\n")])
    other.send(get("/", TOKEN))
    second = decision(rig)
    assert (asked.subject, second.subject) == (old.id, new.id)
    second.allow()
    assert other.response().status == 200
    retired = [event for _, event in rig.events if event == ("retired", 1)]
    assert len(retired) == len(rig.engines) - 1
    asked.allow()
    assert client.response().status == 200
    for _ in range(len(rig.engines) - len(retired)):
        rig.event("retired", 1)
    assert [request.field("x-rules") for request in origin.requests] == ["new", "old"]


@pytest.mark.parametrize("answered", [False, True])
def test_engine_closes_while_it_waits(rig: Rig, answered: bool) -> None:
    """Neither question nor verdict is left behind, nor the request (Rig.finish looks)."""
    guarded(rig)
    clients = [rig.connect() for _ in range(5)]
    for client in clients:
        client.send(post("/", b"body", TOKEN))
    asked = [question(rig) for _ in clients]
    for engine in rig.engines:
        engine.close()
    if answered:
        for each in asked:
            each.allow(lines=b"X: 1\r\n")
    rig.turn()
    for client in clients:
        assert client.was_reset() or client.eof


def test_drain_while_it_waits(rig: Rig) -> None:
    guarded(rig)
    client = rig.connect()
    client.send(get("/", TOKEN))
    asked = decision(rig)
    for engine in rig.engines:
        engine.drain()
    asked.allow()
    answer = client.response()
    assert (answer.status, answer.field("connection")) == (200, "close")
    client.half_close()
    for _ in rig.engines:
        rig.event("drained")


def test_thousands_on_two_engines(threaded: Rig) -> None:
    """Verdicts are put, replaced and forgotten while engines look: each request gets one of those that held."""
    verdicts = Verdicts("sso", capacity=8)
    origin = threaded.origin().serve()
    threaded.serve(origin, filters=[bearer(verdicts)])
    peers: list[tuple[Peer, int]] = [(threaded.connect(), i % 16) for i in range(32)]
    expected = 0
    for round_ in range(20):
        for peer, token in peers:
            peer.send(get("/", f"Authorization: Bearer {token}"))
        expected += len(peers)

        def served() -> bool:
            while (asked := maybe_question(threaded)) is not None:
                verdict = Verdict(allow=True, user=asked.credential.decode(), lines=b"X-User: %s\r\n" % asked.credential)
                verdicts.put(asked.digest, verdict, HOUR_MS)
                asked.decide(verdict)
                if round_ % 3 == 0:
                    verdicts.forget_user(asked.credential.decode())
            return len(origin.requests) == expected

        threaded.until(served, "all are served")
        for peer, _ in peers:
            assert peer.response().status == 200
    assert all(str(r.field("authorization")).endswith(f" {r.field('x-user')}") for r in origin.requests)
    counts = verdicts.stats()
    assert counts["allowed"] == expected
    assert counts["evictions"] > 0
