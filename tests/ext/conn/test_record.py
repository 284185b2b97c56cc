"""The end of every exchange: its counters and its access record, each once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proxyd_ext.engine import Engine
from proxyd_ext.limit.rate import RateLimit
from proxyd_ext.log import AccessLog
from proxyd_ext.snapshot.spec import (
    AccessFilter,
    ErrorPage,
    HeadersFilter,
    LimitKeyPart,
    ProxyAction,
    RateLimitFilter,
    RespondAction,
    RetrySpec,
    RewriteSpec,
    RouteSpec,
    TargetSpec,
)
from tests.support.engine import OK, Rig, get, post
from tests.support.questions import bearer, decision, hooked, script
from tests.support.records import read_records


@pytest.fixture
def logged(tmp_path: Path, clocked: Rig) -> Any:
    """A rig whose engine writes access records: (rig, read them)."""
    path = tmp_path / "access.log"
    with path.open("wb") as file:
        log = AccessLog(file.fileno(), "json", 1)
    log.start()
    clocked.engines[:] = [Engine(0, 1, inline=True, log=log, fake_clock=True)]

    def records(count: int) -> list[dict[str, Any]]:
        clocked.until(lambda: log.written >= count, f"{count} records, {log.written} are written")
        log.flush()
        return read_records(path.read_bytes())

    yield clocked, records
    log.stop()


def test_size_of_the_combined_format(tmp_path: Path, clocked: Rig) -> None:
    """Apache's %b: bytes of the body, without heads, interim answers, chunk framing and trailers."""
    path = tmp_path / "access.log"
    with path.open("wb") as file:
        log = AccessLog(file.fileno(), "combined", 1)
    log.start()
    clocked.engines[:] = [Engine(0, 1, inline=True, log=log, fake_clock=True)]
    origin = clocked.origin()
    clocked.serve(origin)
    answers = [
        ("GET", OK, 2),
        ("HEAD", OK[:-2], 0),
        ("GET", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK, 2),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n", 5),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000, 100_000),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", 0),
        ("GET", b"nonsense\r\n\r\n", None),
    ]
    sizes: list[int | None] = []
    for method, answer, _ in answers:
        client = clocked.connect()
        client.send(get("/", "Connection: close", method=method))
        peer = origin.peers[-1] if origin.peers and not origin.peers[-1].eof else origin.accept()
        peer.request()
        peer.send(answer)
        response = client.response(to=method)
        while response.status < 200:
            response = client.response(to=method)
        assert client.ended()
        sizes.append(None if response.status == 502 else len(response.body))
    assert sizes == [size for _, _, size in answers]
    clocked.until(lambda: log.written >= len(answers), "the records")
    log.flush()
    logged = [line.split('" ')[1].split()[1].split(" ")[0] for line in path.read_text().splitlines()]
    log.stop()
    assert [0 if size == "-" else int(size) for size in logged[:-1]] == sizes[:-1]
    assert int(logged[-1]) == len(response.body)


def test_one_record_an_exchange(logged: Any) -> None:
    rig, records = logged
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(post("/a%7e?q=1", b"body", "User-Agent: test/1", "Referer: http://ref/"))
    peer, request = origin.asked()
    rig.advance(30)
    peer.send(OK)
    client.response()
    [record] = records(1)
    text = json.dumps(record)
    for value in ("all", "app", origin.label, "POST", "/a~", "q=1", "test/1", "http://ref/", "127.0.0.1", request.field("x-request-id")):
        assert value in text, (value, text)
    assert 200 in record.values() or "200" in text
    assert rig.stats_of("web", "all").stats()["bytes_in"] == 4


def test_what_an_engine_holds_back_is_counted(clocked: Rig) -> None:
    """Nobody writes records, and all that come at a moment tell of something: of each class as many as its budget has are made."""
    log = AccessLog(-1, "json", 1)
    log.start()
    clocked.engines[:] = [Engine(0, 1, inline=True, log=log, fake_clock=True)]
    clocked.publish([RouteSpec("all", RespondAction(503, b""))])
    client = clocked.connect()
    client.send(get("/") * 520)
    for _ in range(520):
        assert client.response().status == 503
    log.flush()
    assert (log.take().count(b"\n"), log.tap_held) == (500, {"5xx": 20, "fault": 0, "other": 0})
    log.stop()


def test_a_rewritten_path(logged: Any) -> None:
    """The log keeps what the client asked for."""
    rig, records = logged
    origin = rig.origin().serve()
    rig.serve(origin, action={"rewrite": RewriteSpec(strip="/api", host="other")})
    client = rig.connect()
    client.send(get("/api/x?q"))
    assert client.response().status == 200
    assert origin.requests[0].target == "/x?q"
    [record] = records(1)
    assert {"/api/x", "test"} <= {str(value) for value in record.values()}


def test_an_intercepted_answer(logged: Any) -> None:
    """The status is the server's, the bytes are the page's."""
    rig, records = logged
    origin = rig.origin().serve(b"HTTP/1.1 503 X\r\nContent-Length: 6\r\n\r\ntheirs")
    page = ErrorPage([(503, 503)], b"x" * 1_000, intercept=True)
    rig.publish([RouteSpec("all", ProxyAction([TargetSpec(0)]), error_pages=[page])], [rig.upstream(origin)])
    client = rig.connect()
    client.send(get())
    size = 1_000 + len(client.response().head)
    [record] = records(1)
    assert {"upstream", "503", str(size)} <= {str(value) for value in record.values()}


def test_every_end_is_recorded_once(logged: Any) -> None:
    """Answered, refused, failed, retried, left by the client: one record and one count each."""
    rig, records = logged
    dead, origin = rig.origin(), rig.origin()
    dead.refuse()
    rig.serve(dead, origin, upstream={"passive_failures": 0})
    client = rig.connect()
    client.send(get("/retried"))
    peer, _ = origin.asked()
    peer.send(OK)
    client.response()
    client.send(get("/..", method="GET"))
    refused = client.response()
    assert (refused.status, refused.field("connection")) == (400, "close")
    client = rig.connect()
    client.send(get("/left"))
    peer.request()
    client.reset()
    rig.settle()
    broken = rig.connect()
    broken.send(b"nonsense\r\n\r\n")
    assert broken.response().status == 400
    written = records(4)
    assert len(written) == 4
    counted = rig.requests("all").copy()
    for key, count in rig.requests("-").items():
        counted[key] = counted.get(key, 0) + count
    assert sum(counted.values()) == 4
    statuses = sorted(status for (_, status), count in counted.items() for _ in range(count))
    assert statuses == [200, 400, 400, 499]
    assert any("connect_refused" in json.dumps(record) or '"attempts": 2' in json.dumps(record) for record in written)


def test_the_record_tells_failed_tries(logged: Any) -> None:
    """Each with its server and what was wrong: no connection, or an answer whose status is a reason to try again."""
    rig, records = logged
    dead, busy, good = rig.origin(), rig.origin().serve(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"), rig.origin().serve()
    dead.refuse()
    retry = RetrySpec(attempts=3, statuses=[(503, 503)])
    rig.serve(dead, busy, good, upstream={"balance": "first", "passive_failures": 0}, target={"retry": retry})
    client = rig.connect()
    client.send(get("/"))
    assert client.response().status == 200
    [record] = records(1)
    tries = [(entry["server"], entry.get("error", entry.get("status"))) for entry in record["tries"]]
    assert tries == [(dead.label, "connection_refused"), (busy.label, 503)]
    assert (record["server"], record["attempts"], record["status"]) == (good.label, 3, 200)
    assert all(0 <= entry["t"] <= record["t_total"] for entry in record["tries"])


def test_the_record_tells_four_failed_tries_and_counts_the_rest(logged: Any) -> None:
    rig, records = logged
    dead = [rig.origin() for _ in range(6)]
    for origin in dead:
        origin.refuse()
    retry = RetrySpec(attempts=5, budget_min=9)
    rig.serve(*dead, upstream={"balance": "first", "passive_failures": 0}, target={"retry": retry})
    client = rig.connect()
    client.send(get("/"))
    assert client.response().status == 502
    [record] = records(1)
    assert [entry["server"] for entry in record["tries"]] == [origin.label for origin in dead[:4]]
    assert (record["attempts"], record["error"]) == (6, "connection_refused")


TOKEN = "Authorization: Bearer t"


def _decided(rig: Any, client: Any, token: str = TOKEN, **said: Any) -> None:
    client.send(get("/", token))
    decision(rig).allow(**said)


def test_what_the_filters_decided(logged: Any) -> None:
    """In the order in which they did, and who it was; steps that let pass in silence are left out."""
    rig, records = logged
    key = (LimitKeyPart("client.ip"),)

    def limit(name: str, burst: int, **settings: Any) -> RateLimitFilter:
        return RateLimitFilter(name, RateLimit(name, requests=1, per_us=1_000_000, burst=burst, **settings), key)

    rig.serve(
        rig.origin().serve(),
        filters=[limit("calm", 99), limit("slow", 1, delay=0), bearer(), script("request", "response", policy="own", fail_open=True)],
    )
    client = rig.connect()
    _decided(rig, client, user="ann")
    hooked(rig).change(lines=b"X: 1\r\n")
    hooked(rig, "response").fail()
    assert client.response().status == 200
    client.send(get("/", TOKEN))
    decision(rig).deny(status=403)
    assert client.response().status == 403
    client.send(get())
    assert client.response().status == 429
    rig.advance(2_000)
    client.send(get())
    assert client.response().status == 401
    rig.advance(2_000)
    _decided(rig, client, user="bob ö")
    hooked(rig).reply()
    assert client.response().status == 200
    assert [(record["policies"], record.get("user")) for record in records(5)] == [
        ("sso:allowed,own:changed,own:failed_open", "ann"), ("slow:delayed,sso:denied", None), ("slow:refused", None), ("sso:denied", None),
        ("sso:allowed,own:replied", "bob ö"),
    ]


def test_refused_where_nothing_is_kept(logged: Any) -> None:
    rig, records = logged
    rig.serve(rig.origin(), filters=[AccessFilter(policy="office"), HeadersFilter(request_set=b"X: 1\r\n")])
    client = rig.connect()
    client.send(get())
    assert client.response().status == 403
    assert records(1)[0]["policies"] == "office:refused"


def test_client_gone_while_a_filter_waited(logged: Any) -> None:
    rig, records = logged
    rig.serve(rig.origin(), filters=[bearer()])
    client = rig.connect()
    client.send(get("/path?q", TOKEN, "User-Agent: me"))
    decision(rig)
    rig.advance(700)
    client.reset()
    record = records(1)[0]
    assert (record["status"], record["path"], record["user_agent"], record["t_total"]) == (499, "/path", "me", 0.7)


def test_time_to_the_first_byte_without_the_filter(logged: Any) -> None:
    rig, records = logged
    origin = rig.origin()
    rig.serve(origin, filters=[script("response")])
    client = rig.connect()
    client.send(get())
    peer, _ = origin.asked()
    rig.advance(30)
    peer.send(OK)
    asked = hooked(rig, "response")
    rig.advance(500)
    asked.change(status=404)
    assert client.response().status == 404
    record = records(1)[0]
    assert (record["status"], record["t_first_byte"], record["t_total"]) == (404, 0.03, 0.53)
