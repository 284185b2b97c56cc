"""The breaker as the engines carry it out: what the control plane says is admitted, refused, and counted."""

from __future__ import annotations

import pytest

from tests.support.engine import Rig, get, post


def counts(rig: Rig) -> tuple[dict[str, int], dict[str, int]]:
    stats = rig.states["app"].stats()
    return {"ok": stats["probes"]["ok"], "failed": stats["probes"]["failed"]}, stats["refused"]


@pytest.mark.parametrize("sent", [get(), post("/", b"body")])
def test_open(rig: Rig, sent: bytes) -> None:
    """Refused at once, whatever the method, and no server hears of it."""
    origin = rig.origin().serve()
    rig.serve(origin)
    rig.states["app"].set_circuit("open")
    client = rig.connect()
    client.send(sent)
    response = client.response()
    assert (response.status, response.field("retry-after")) == (503, "1")
    assert response.field("proxy-status") == 'proxyd; error=destination_unavailable; details="circuit_open"'
    assert origin.requests == []
    assert counts(rig) == ({"ok": 0, "failed": 0}, {"circuit_open": 1})
    rig.states["app"].set_circuit("closed")
    again = rig.connect()     # who sent a body that nobody read is on no connection any more
    again.send(get())
    assert again.response().status == 200


def test_half_open_lets_so_many_probes_through(rig: Rig) -> None:
    origin = rig.origin()
    rig.serve(origin, upstream={"passive_failures": 0})
    rig.states["app"].set_circuit("half_open", 2)
    clients = [rig.connect() for _ in range(2)]
    for client in clients:
        client.send(get())
    rig.until(lambda: rig.states["app"].stats()["in_flight"] == 2, "both probes are under way")
    late = rig.connect()
    late.send(get())
    assert late.response().status == 503
    answers = iter([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"])
    origin.serve(lambda request: next(answers))
    assert sorted(client.response().status for client in clients) == [200, 500]
    assert counts(rig) == ({"ok": 1, "failed": 1}, {"circuit_open": 1})


def test_a_probe_that_tells_nothing_is_given_back(rig: Rig) -> None:
    """Its client went away: another request may probe."""
    origin = rig.origin()
    rig.serve(origin)
    rig.states["app"].set_circuit("half_open", 1)
    client = rig.connect()
    client.send(get())
    rig.until(lambda: rig.states["app"].stats()["in_flight"] == 1, "the probe is under way")
    client.reset()
    rig.until(lambda: rig.states["app"].stats()["in_flight"] == 0, "it is gone")
    origin.serve()
    second = rig.connect()
    second.send(get())
    assert second.response().status == 200
    assert counts(rig) == ({"ok": 1, "failed": 0}, {})


def test_a_server_that_cannot_be_reached_fails_the_probe(rig: Rig) -> None:
    origin = rig.origin()
    origin.refuse()
    rig.serve(origin)
    rig.states["app"].set_circuit("half_open", 5)
    client = rig.connect()
    client.send(get())
    assert client.response().status == 502
    assert counts(rig)[0] == {"ok": 0, "failed": 1}
