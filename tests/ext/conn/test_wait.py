"""The consult door: an exchange waits, the control plane decides, the answer resumes it."""

from __future__ import annotations

import pytest

from proxyd_ext.cache.store import Cache
from proxyd_ext.snapshot.spec import CacheSpec, ConsultAction, HeadersFilter, ProxyAction, RouteSpec, SnapshotSpec, TargetSpec
from tests.support.engine import Rig, get, post
from tests.support.heap import heap_in_use
from tests.support.wire import Peer

CONSULTS_MAX = 1024


def publish(rig: Rig, **settings: int) -> None:
    rig.publish(
        [RouteSpec("ready", ConsultAction("ready", **settings), path="/ready"), RouteSpec("live", ConsultAction("live", **settings))]
    )


def asked(rig: Rig, client: Peer, path: str = "/ready") -> tuple[int, int, int]:
    """Send a request that needs an answer: (engine, slot, generation)."""
    client.send(get(path))
    return taken(rig)


def taken(rig: Rig, kind: str = "") -> tuple[int, int, int]:
    def find() -> tuple[int, int, int] | None:
        for at, (engine, event) in enumerate(rig.events):
            if event[0] == "consult" and kind in ("", event[3]):
                del rig.events[at]
                return engine, event[1], event[2]
        return None

    found = rig.until(find, "a consult")
    assert found is not None
    return found


def test_answered(rig: Rig) -> None:
    publish(rig)
    client = rig.connect()
    for i in range(20):
        engine, slot, generation = asked(rig, client)
        assert client.silent()
        rig.engines[engine].answer(slot, generation, 200 if i % 2 else 503, b"body %d" % i, "text/plain")
        response = client.response()
        assert (response.status, response.body) == (200 if i % 2 else 503, b"body %d" % i)
        assert response.field("content-type") == "text/plain"
    assert rig.requests("ready") == {("GET", 200): 10, ("GET", 503): 10}
    assert rig.errors("ready") == {}
    assert rig.total("consults_late") == rig.total("consults_refused") == 0


def test_kinds(rig: Rig) -> None:
    publish(rig)
    client = rig.connect()
    for path, kind in (("/ready", "ready"), ("/x", "live")):
        client.send(get(path))
        engine, slot, generation = taken(rig, kind)
        rig.engines[engine].answer(slot, generation, 200, b"", "text/plain")
        assert client.response().status == 200


def test_several_at_once_answered_in_any_order(rig: Rig) -> None:
    publish(rig)
    clients = [rig.connect() for _ in range(10)]
    waiting = [(client, asked(rig, client)) for client in clients]
    for i, (client, (engine, slot, generation)) in enumerate(reversed(waiting)):
        rig.engines[engine].answer(slot, generation, 200, b"%d" % i, "text/plain")
        assert client.response().body == b"%d" % i


def test_head_and_response_fields(rig: Rig) -> None:
    rig.publish([RouteSpec("ready", ConsultAction("ready"), filters=[HeadersFilter(response_set=b"X-Added: 1\r\n")])])
    client = rig.connect()
    client.send(get("/", method="HEAD"))
    engine, slot, generation = taken(rig)
    rig.engines[engine].answer(slot, generation, 200, b"body", "text/plain")
    response = client.response(to="HEAD")
    assert (response.field("content-length"), response.field("x-added")) == ("4", "1")
    client.send(get())
    engine, slot, generation = taken(rig)
    rig.engines[engine].answer(slot, generation, 200, b"body", "text/plain")
    assert client.response().body == b"body"


def test_body_behind_the_request(rig: Rig) -> None:
    """It is not read: the connection ends with the answer."""
    publish(rig)
    client = rig.connect()
    client.send(post("/ready", b"body") + get("/smuggled"))
    engine, slot, generation = taken(rig)
    rig.engines[engine].answer(slot, generation, 200, b"", "text/plain")
    assert client.response().field("connection") == "close"
    assert client.ended()
    assert [event for _, event in rig.events if event[0] == "consult"] == []


def test_timeout(clocked: Rig) -> None:
    """The default is closed; the answer that comes too late is dropped and counted."""
    publish(clocked, timeout_ms=1_000)
    client = clocked.connect()
    _, slot, generation = asked(clocked, client)
    clocked.advance(999)
    assert client.silent()
    clocked.advance(1)
    response = client.response()
    assert response.status == 503
    assert response.field("proxy-status") == 'proxyd; error=proxy_internal_error; details="consult_timeout"'
    assert clocked.errors("ready") == {"consult_timeout": 1}
    clocked.engines[0].answer(slot, generation, 200, b"late", "text/plain")
    clocked.settle()
    assert client.silent()
    assert clocked.total("consults_late") == 1
    _, slot, newer = asked(clocked, client)
    assert newer > generation
    clocked.engines[0].answer(slot, generation, 200, b"late", "text/plain")
    clocked.settle()
    assert clocked.total("consults_late") == 2
    clocked.engines[0].answer(slot, newer, 200, b"right", "text/plain")
    assert client.response().body == b"right"


@pytest.mark.parametrize("order", ["late first", "right first"])
def test_late_answer_never_takes_the_place_of_the_right_one(clocked: Rig, order: str) -> None:
    """Both come before the engine's next turn."""
    publish(clocked, timeout_ms=1_000)
    client = clocked.connect()
    _, slot, old = asked(clocked, client)
    clocked.advance(1_000)
    assert client.response().status == 503
    _, same, new = asked(clocked, client)
    assert same == slot
    answers = [(old, b"late"), (new, b"right")]
    for generation, body in answers if order == "late first" else reversed(answers):
        clocked.engines[0].answer(slot, generation, 200, body, "text/plain")
    assert client.response().body == b"right"


@pytest.mark.parametrize("how", ["reset", "close"])
def test_client_goes_meanwhile(rig: Rig, how: str) -> None:
    """The slot is given back at the latest with the answer, which finds nobody."""
    publish(rig)
    client = rig.connect()
    engine, slot, generation = asked(rig, client)
    getattr(client, how)()
    if how == "reset":
        rig.until(lambda: rig.total("exchanges") == 0, "the exchange is over")
    rig.engines[engine].answer(slot, generation, 200, b"late", "text/plain")
    rig.until(lambda: rig.total("connections") == 0, "the connection is gone")
    if how == "reset":
        rig.until(lambda: rig.total("consults_late") == 1, "the late answer is counted")
        assert rig.requests("ready") == {("GET", 499): 1}


def test_answers_to_nothing(rig: Rig) -> None:
    publish(rig)
    for slot in (-1, CONSULTS_MAX):
        with pytest.raises(ValueError, match="no consult slot"):
            rig.engines[0].answer(slot, 1, 200, b"x", "text/plain")
    for number, (slot, generation) in enumerate([(0, 1), (0, 0), (CONSULTS_MAX - 1, 1), (7, 1 << 33)]):
        rig.engines[0].answer(slot, generation, 200, b"x", "text/plain")
        assert rig.until(lambda: rig.total("consults_late"), "it is counted") >= number + 1 or rig.mode == "threads"
    rig.until(lambda: rig.total("consults_late") == 4, "all are counted")


def test_door_is_bounded(clocked: Rig) -> None:
    """More waiting than there are slots: those are refused at once, and counted; then there is room again."""
    publish(clocked, timeout_ms=60_000)
    clients = []
    for _ in range(CONSULTS_MAX + 3):
        clients.append(clocked.connect())
        clients[-1].send(get("/ready"))
        clocked.turn()
    clocked.until(lambda: clocked.total("consults_refused") == 3, "three are refused")
    consults = [taken(clocked) for _ in range(CONSULTS_MAX)]
    refused = [client for client in clients if client.got()]
    assert len(refused) == 3
    for client in refused:
        response = client.response()
        assert response.status == 503
        assert response.field("proxy-status") == 'proxyd; error=proxy_internal_error; details="consult_full"'
    for _, slot, generation in consults:
        clocked.engines[0].answer(slot, generation, 200, b"x", "text/plain")
    for client in clients:
        if client not in refused:
            assert client.response().status == 200
    _, slot, generation = asked(clocked, refused[0])
    clocked.engines[0].answer(slot, generation, 200, b"again", "text/plain")
    assert refused[0].response().body == b"again"
    assert clocked.total("commands_refused") == 0


def test_answers_that_nobody_asked_for_do_not_pile_up(clocked: Rig) -> None:
    publish(clocked)
    before = heap_in_use()
    for _ in range(2_000):
        clocked.engines[0].answer(0, 99, 200, b"x" * 10_000, "text/plain")
    assert heap_in_use() - before < 1 << 20
    clocked.settle()
    assert clocked.total("consults_late") >= 1
    client = clocked.connect()
    _, slot, generation = asked(clocked, client)
    clocked.engines[0].answer(slot, generation, 200, b"right", "text/plain")
    assert client.response().body == b"right"


def test_reload_and_drain_while_one_waits(rig: Rig) -> None:
    publish(rig)
    client = rig.connect()
    engine, slot, generation = asked(rig, client)
    publish(rig)
    for each in rig.engines:
        each.drain()
    rig.turn()
    rig.engines[engine].answer(slot, generation, 200, b"yes", "text/plain")
    response = client.response()
    assert (response.body, response.field("connection")) == (b"yes", "close")
    assert client.ended()
    client.half_close()
    for _ in rig.engines:
        rig.event("drained")


def test_close_while_one_waits(rig: Rig) -> None:
    publish(rig)
    client = rig.connect()
    engine, slot, generation = asked(rig, client)
    for each in rig.engines:
        each.close()
    rig.engines[engine].answer(slot, generation, 200, b"late", "text/plain")
    rig.turn()
    assert client.was_reset() or client.eof


def test_a_question_that_is_over_does_not_speak_for_the_slots_next_use(clocked: Rig) -> None:
    """Nobody took the look-up in the shared tier while there was time, and its slot asks for something else."""
    origin = clocked.origin()
    cached = ProxyAction([TargetSpec(0)], cache=CacheSpec("app", share=True, share_ms=100))
    routes = [RouteSpec("ready", ConsultAction("ready"), path="/ready"), RouteSpec("all", cached)]
    listener = clocked.listener_spec(routes)
    clocked.publish_spec(SnapshotSpec(0, "test", [listener], [routes], [clocked.upstream(origin)], cache=Cache(4 << 20)))
    engine, = clocked.engines

    def turn(*, ms: int = 0) -> None:
        engine.advance(ms)
        for _ in range(5):
            engine.poll()

    one, two = clocked.connect(), clocked.connect()
    turn()
    one.send(get("/a"))
    turn()
    turn(ms=100)
    two.send(get("/ready"))
    turn()
    (kind, slot, generation, what, text), = [event for event in engine.take_events() if event[0] in ("consult", "lookup")]
    assert (kind, what, text) == ("consult", "ready", b"")
    engine.answer(slot, generation, 200, b"well", "text/plain")
    assert two.response().body == b"well"
    assert clocked.total("consults_late") == 0


def test_a_question_is_told_once(clocked: Rig) -> None:
    """The slot was used again before the first question was taken: there is one, and it is the second."""
    cached = ProxyAction([TargetSpec(0)], cache=CacheSpec("app", share=True, share_ms=100))
    routes = [RouteSpec("all", cached)]
    upstream = clocked.upstream(clocked.origin())
    clocked.publish_spec(SnapshotSpec(0, "test", [clocked.listener_spec(routes)], [routes], [upstream], cache=Cache(4 << 20)))
    engine, = clocked.engines
    for path in ("/a", "/b"):
        client = clocked.connect()
        client.send(get(path))
        for _ in range(5):
            engine.poll()
        engine.advance(100)
        for _ in range(5):
            engine.poll()
    (_, _, _, key, variant), = [event for event in engine.take_events() if event[0] == "lookup"]
    assert (key, variant) == (b"app\0http://test/b", None)
