"""The end of every exchange: its counters and its access record, each once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proxyd_ext.engine import Engine
from proxyd_ext.log import AccessLog
from tests.support.engine import OK, Rig, get, post


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
        return [json.loads(line) for line in path.read_bytes().splitlines()]

    yield clocked, records
    log.stop()


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
